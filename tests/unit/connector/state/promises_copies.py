"""What every `State` promises about a command without an id that comes again to another process: it counts once."""

from __future__ import annotations

from connector.core.copies import Copy
from connector.core.ports import Applied, State
from tests.unit.connector.state.backing import KEY, NOW, WithBacking, opened, want


def a_copy(holder: str, *, again: bool = False, late: bool = False, behind: int = 0, body: str = "open") -> Copy:
    return Copy(body, holder, again, late, behind)


def came(state: State, nonce: str, copy: Copy) -> Applied:
    return state.open("s1", "bybitLinear", "user-1", KEY, NOW, nonce=nonce, copy=copy)


class CopiesOnce(WithBacking):
    """A is the process that had the messages first, B the next one, C the one after that."""

    def test_an_open_that_the_broker_brings_to_another_process_counts_once(self, state: State, other: State) -> None:
        first = came(state, "a1", a_copy("A"))
        assert came(other, "b1", a_copy("B", again=True)) == first
        assert came(other, "b1", a_copy("B", again=True)) == first
        assert want(state).count == 1

    def test_a_close_that_the_broker_brings_to_another_process_counts_once(self, state: State, other: State) -> None:
        for _ in range(3):
            opened(state)
        state.close("s1", nonce="a1", copy=a_copy("A"))
        state.close("s1", nonce="b1", copy=a_copy("B", again=True))
        assert want(state).count == 2
        other.close("s1", everybody=True, nonce="a2", copy=a_copy("A", body="close"))
        assert other.close("s1", nonce="b2", copy=a_copy("B", again=True, body="close")).changed

    def test_it_counts_once_through_three_processes(self, state: State) -> None:
        came(state, "a1", a_copy("A"))
        came(state, "b1", a_copy("B", again=True))
        came(state, "c1", a_copy("C", again=True))
        assert want(state).count == 1

    def test_what_was_delivered_and_not_carried_out_counts(self, state: State) -> None:
        came(state, "b1", a_copy("B", again=True))
        came(state, "b2", a_copy("B", again=True))
        assert want(state).count == 2

    def test_of_two_equal_opens_one_of_which_was_carried_out_both_count_once(self, state: State) -> None:
        came(state, "a1", a_copy("A", behind=1))
        came(state, "b1", a_copy("B", again=True, behind=1))
        came(state, "b2", a_copy("B", again=True))
        assert want(state).count == 2

    def test_an_open_behind_one_whose_acknowledgement_arrived_counts(self, state: State) -> None:
        """The mark of the first is not taken back yet; that there was another one behind it is known."""
        came(state, "a1", a_copy("A", behind=1))
        came(state, "b1", a_copy("B", again=True))
        assert want(state).count == 2

    def test_a_mark_that_was_taken_back_hides_nothing(self, state: State, other: State) -> None:
        came(state, "a1", a_copy("A"))
        state.drop_marks([(a_copy("A"), "a1"), (a_copy("A", body="unknown"), "a9")])
        came(other, "b1", a_copy("B", again=True))
        assert want(state).count == 2

    def test_one_of_two_marks_is_taken_back(self, state: State) -> None:
        came(state, "a1", a_copy("A", behind=1))
        came(state, "a2", a_copy("A"))
        state.drop_marks([(a_copy("A"), "a1")])
        came(state, "b1", a_copy("B", again=True))
        assert want(state).count == 2
        came(state, "b2", a_copy("B", again=True))
        assert want(state).count == 3

    def test_a_new_message_ends_what_the_process_before_left(self, state: State) -> None:
        """What comes again was before it; else the next equal one that comes again would be taken for one of those."""
        came(state, "a1", a_copy("A"))
        came(state, "b1", a_copy("B"))
        came(state, "c1", a_copy("C", again=True))
        came(state, "c2", a_copy("C", again=True))
        assert want(state).count == 3

    def test_a_process_never_takes_its_own_work_for_anothers(self, state: State) -> None:
        came(state, "b1", a_copy("B"))
        came(state, "b2", a_copy("B", again=True))
        assert want(state).count == 2

    def test_other_bodies_are_other_messages(self, state: State) -> None:
        came(state, "a1", a_copy("A"))
        came(state, "b1", a_copy("B", again=True, body="open by another sender"))
        assert want(state).count == 2

    def test_who_waited_for_the_state_does_not_count_what_the_next_process_carried_out(self, state: State) -> None:
        """The first one lost its connection, not the command; the other's acknowledgement has arrived meanwhile."""
        again = a_copy("B", again=True)
        came(state, "b1", again)
        state.drop_marks([(again, "b1")])
        came(state, "a1", a_copy("A", late=True))
        assert want(state).count == 1
        came(state, "a2", a_copy("A", late=True))
        assert want(state).count == 2

    def test_the_next_process_does_not_count_what_who_waited_carried_out(self, state: State) -> None:
        came(state, "a1", a_copy("A", behind=1))
        came(state, "a2", a_copy("A", late=True))
        came(state, "b1", a_copy("B", again=True))
        came(state, "b2", a_copy("B", again=True))
        assert want(state).count == 2
