"""What every `State` promises about the end of a lease: a process that died keeps nobody waiting."""

from __future__ import annotations

from connector.core.ports import State
from tests.unit.connector.state.backing import LONG_S, SHORT_S, Backing, WithBacking, eventually


class Ends(WithBacking):
    """No lease outlives its owner by more than its time."""

    def test_a_renewed_lease_ends(self, state: State, other: State) -> None:
        """Else the accounts of a process that died stay silent for as long."""
        mine = state.claim(["a", "b"], "w1", LONG_S)

        assert state.renew(mine, "w1", SHORT_S) == set()

        eventually(lambda: state.owners(["a", "b"]) == {})
        assert set(other.claim(["a", "b"], "w2", LONG_S)) == {"a", "b"}

    def test_a_lease_that_was_taken_back_after_a_flush_ends(self, backing: Backing, state: State) -> None:
        mine = state.claim(["a"], "w1", LONG_S)
        backing.flush()

        assert state.renew(mine, "w1", SHORT_S) == set()

        eventually(lambda: state.owners(["a"]) == {})

    def test_a_lease_that_was_taken_back_after_it_ran_out_ends_again(self, state: State) -> None:
        mine = state.claim(["a"], "w1", SHORT_S)
        eventually(lambda: state.owners(["a"]) == {})

        assert state.renew(mine, "w1", SHORT_S) == set()

        eventually(lambda: state.owners(["a"]) == {})

    def test_a_repeated_claim_ends_as_the_last_one_says(self, state: State) -> None:
        state.claim(["a"], "w1", LONG_S)
        state.claim(["a"], "w1", SHORT_S)

        eventually(lambda: state.owners(["a"]) == {})

    def test_a_repeated_claim_prolongs(self, state: State) -> None:
        state.claim(["a", "short"], "w1", 0.3)
        state.claim(["a"], "w1", LONG_S)

        eventually(lambda: state.owners(["short"]) == {})
        assert state.owners(["a"]) == {"a": "w1"}

    def test_a_lease_that_was_handed_over_ends(self, state: State) -> None:
        fence = state.claim(["a"], "w1", LONG_S)["a"]

        assert state.hand_over("a", fence, "w1", "w2", SHORT_S) is not None
        assert state.owners(["a"]) == {"a": "w2"}

        eventually(lambda: state.owners(["a"]) == {})

    def test_who_took_back_after_a_flush_fences_an_older_owner(self, backing: Backing, state: State) -> None:
        """Two of them remember a unit; the newer one was first after the flush and is gone again."""
        old = state.claim(["a"], "w1", LONG_S)
        handed = state.hand_over("a", old["a"], "w1", "w2", LONG_S)
        assert handed is not None
        backing.flush()

        assert state.renew({"a": handed}, "w2", SHORT_S) == set()
        eventually(lambda: state.owners(["a"]) == {})

        assert state.renew(old, "w1", LONG_S) == {"a"}
        assert state.owners(["a"]) == {}
        assert state.renew({"a": handed}, "w2", LONG_S) == set()

    def test_a_handed_lease_fences_the_giver(self, state: State) -> None:
        old = state.claim(["a"], "w1", LONG_S)
        handed = state.hand_over("a", old["a"], "w1", "w2", SHORT_S)
        assert handed is not None
        assert handed > old["a"]
        eventually(lambda: state.owners(["a"]) == {})

        assert state.renew(old, "w1", LONG_S) == {"a"}

    def test_leases_of_one_call_are_told_apart(self, state: State, other: State) -> None:
        mine = state.claim(["a", "b", "c"], "w1", LONG_S)
        state.release({"b": mine["b"]}, "w1")
        theirs = other.claim(["b"], "w2", LONG_S)

        assert state.renew(mine, "w1", LONG_S) == {"b"}
        assert other.renew(theirs, "w2", LONG_S) == set()
        assert state.owners(["a", "b", "c"]) == {"a": "w1", "b": "w2", "c": "w1"}

    def test_numbers_never_come_twice_after_a_flush(self, backing: Backing, state: State) -> None:
        """The taker's number is above those that are remembered, whoever renews first."""
        mine = state.claim(["a", "b"], "w1", LONG_S)
        backing.flush()
        state.renew({"b": mine["b"]}, "w1", LONG_S)
        state.renew({"a": mine["a"]}, "w1", LONG_S)

        new = state.claim(["c"], "w2", LONG_S)["c"]

        assert new > max(mine.values())
