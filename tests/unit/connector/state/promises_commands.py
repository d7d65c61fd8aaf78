"""What every `State` promises about a command that is sent again: it counts once (an answer may come late, or never)."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from connector.core.ports import Applied, State, Wanted
from tests.unit.connector.state.backing import KEY, LONG_S, NOW, Backing, WithBacking, opened, want


def signed_open(state: State, nonce: str, stream_id: str = "s1") -> Applied:
    return state.open(stream_id, "bybitLinear", "user-1", KEY, NOW, nonce=nonce)


class CommandsOnce(WithBacking):
    """The same nonce is the same command."""

    def test_an_open_that_is_sent_again_counts_once_and_is_answered_as_before(self, state: State, other: State) -> None:
        first, again = signed_open(state, "n1"), signed_open(other, "n1")
        assert first.changed
        assert again == first
        assert want(state).count == 1

    def test_two_equal_opens_are_two_commands(self, state: State) -> None:
        signed_open(state, "n1")
        assert not signed_open(state, "n2").changed
        assert want(state).count == 2

    def test_one_close_that_is_sent_three_times_does_not_take_the_account_from_others(self, state: State) -> None:
        for _ in range(3):
            opened(state)
        answers = [state.close("s1", nonce="n1") for _ in range(3)]
        assert {(one.changed, one.wanted and one.wanted.count) for one in answers} == {(False, 2)}

    def test_the_last_close_is_answered_as_the_last_one_again(self, state: State) -> None:
        state.claim(["s1"], "w1", LONG_S)
        opened(state)
        assert state.close("s1", nonce="n1") == state.close("s1", nonce="n1")
        assert state.close("s1", nonce="n1") == Applied(wanted=None, owner="w1", changed=True)

    def test_a_close_that_comes_late_does_not_end_what_was_opened_after_it(self, state: State) -> None:
        opened(state)
        state.close("s1", nonce="n1")
        signed_open(state, "n2")
        assert state.close("s1", nonce="n1").changed
        assert want(state).count == 1

    def test_a_late_open_does_not_bring_back_what_was_closed_after_it(self, state: State) -> None:
        signed_open(state, "n1")
        state.close("s1", nonce="n2")
        again = signed_open(state, "n1")
        assert (again.changed, again.wanted) == (True, None)
        assert state.wanted_ids() == set()

    def test_a_close_of_nothing_stays_one_of_nothing(self, state: State) -> None:
        assert not state.close("s1", nonce="n1").changed
        opened(state)
        assert not state.close("s1", nonce="n1").changed
        assert want(state).count == 1

    def test_a_restart_that_is_sent_again_replaces_one_session(self, state: State) -> None:
        opened(state)
        first, again = state.restart("s1", nonce="n1"), state.restart("s1", nonce="n1")
        assert again == first
        assert want(state).generation == 1
        assert state.restart("s1", nonce="n2").changed
        assert want(state).generation == 2

    def test_quick_pairs_from_many_threads_leave_nothing_behind(self, state: State, other: State) -> None:
        """Also when each is sent twice, and its owner writes what it has seen at any moment."""

        def pair(number: int) -> None:
            one, two = (state, other) if number % 2 else (other, state)
            stream_id = f"s{number % 5}"
            held = signed_open(one, f"o{number}", stream_id).wanted
            signed_open(two, f"o{number}", stream_id)
            two.close(stream_id, nonce=f"c{number}")
            if held is not None:
                one.remember(held)
            one.close(stream_id, nonce=f"c{number}")

        with ThreadPoolExecutor(8) as pool:
            list(pool.map(pair, range(200)))
        assert state.wanted_ids() == set()

    def test_answers_are_forgotten_with_everything_else(self, backing: Backing, state: State) -> None:
        signed_open(state, "n1")
        backing.flush()
        assert signed_open(state, "n1").changed
        assert want(state).count == 1


class Forgotten(WithBacking):
    """A stream that the state forgot keeps its subscribers, in whatever order commands and its owner come."""

    def five(self, backing: Backing, state: State) -> Wanted:
        """What the owner of a stream with five subscribers remembers; the state has forgotten it."""
        for _ in range(5):
            opened(state)
        held = want(state)
        backing.flush()
        return held

    def test_an_open_before_the_owner_came_counts_beside_what_it_remembers(
        self, backing: Backing, state: State
    ) -> None:
        held = self.five(backing, state)
        opened(state)
        assert state.remember(held)
        assert want(state).count == 6
        assert state.remember(held)
        assert want(state).count == 6

    def test_a_close_before_the_owner_came_is_taken_off(self, backing: Backing, state: State) -> None:
        held = self.five(backing, state)
        state.close("s1")
        assert state.remember(held)
        assert want(state).count == 4

    def test_an_open_and_a_close_before_the_owner_came_leave_the_others_alone(
        self, backing: Backing, state: State
    ) -> None:
        held = self.five(backing, state)
        opened(state)
        state.close("s1")
        opened(state)
        state.close("s1")
        state.close("s1")
        assert state.remember(held)
        assert want(state).count == 4

    def test_who_closed_all_of_a_forgotten_stream_ended_it(self, backing: Backing, state: State) -> None:
        held = self.five(backing, state)
        for _ in range(5):
            state.close("s1")
        assert not state.remember(held)
        assert not state.remember(held)
        assert state.wanted_ids() == set()
        assert opened(state).wanted is not None
        assert want(state).count == 1

    def test_opens_of_the_next_epoch_do_not_count_beside_those_of_the_last(
        self, backing: Backing, state: State
    ) -> None:
        held = self.five(backing, state)
        epoch = state.begin_epoch(NOW)
        opened(state)
        assert state.remember(held)
        assert (want(state).count, want(state).epoch) == (1, epoch)

    def test_remembering_late_brings_nothing_back_that_was_closed_and_nothing_twice(self, state: State) -> None:
        """Its owner looked between the close and the next open of the stream."""
        opened(state)
        held = want(state)
        state.close("s1")
        opened(state)
        assert state.remember(held)
        assert want(state).count == 1
        state.close("s1")
        assert not state.remember(held)
        assert state.wanted_ids() == set()

    def test_remembering_what_is_there_changes_no_count(self, state: State) -> None:
        opened(state)
        opened(state)
        assert state.remember(want(state))
        assert want(state).count == 2

    def test_a_close_of_nothing_is_not_taken_off_from_what_comes_later(self, state: State) -> None:
        state.close("s1")
        opened(state)
        assert state.remember(want(state))
        assert want(state).count == 1
