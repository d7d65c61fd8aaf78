"""What every `State` promises about who runs what: leases, processes, gates, positions."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import msgspec

from connector.core.ports import Gate, State
from tests.unit.connector.state.backing import (
    KEY,
    LONG_S,
    NOW,
    SHORT_S,
    Backing,
    WithBacking,
    eventually,
    opened,
    worker,
)


class Ownership(WithBacking):
    """One owner at a time, and what outlives it."""

    # --- ownership ---

    def test_only_free_leases_are_taken(self, state: State, other: State) -> None:
        first = state.claim(["a", "b"], "w1", LONG_S)
        second = other.claim(["b", "c"], "w2", LONG_S)

        assert set(first) == {"a", "b"}
        assert set(second) == {"c"}
        assert state.owners(["a", "b", "c", "d"]) == {"a": "w1", "b": "w1", "c": "w2"}
        assert state.claim([], "w1", LONG_S) == {}
        assert state.owners([]) == {}

    def test_a_repeated_claim_finds_ones_own_lease_with_the_same_number(self, state: State) -> None:
        """The answer to the first may have been lost."""
        assert state.claim(["a"], "w1", LONG_S) == state.claim(["a"], "w1", LONG_S)

    def test_fencing_numbers_rise_with_every_change_of_hands(self, state: State) -> None:
        fences = []
        for owner in ["w1", "w2", "w1"]:
            fences.append(state.claim(["a"], owner, LONG_S)["a"])
            state.release({"a": fences[-1]}, owner)
        fences.append(state.claim(["a"], "w1", LONG_S)["a"])
        handed = state.hand_over("a", fences[-1], "w1", "w2", LONG_S)
        assert handed is not None
        fences.append(handed)

        assert fences == sorted(set(fences))

    def test_fencing_numbers_rise_across_a_flush(self, backing: Backing, state: State) -> None:
        before = state.claim(["a"], "w1", LONG_S)["a"]

        backing.flush()

        assert state.claim(["a"], "w2", LONG_S)["a"] > before

    def test_one_of_many_claimers_wins(self, state: State, other: State) -> None:
        with ThreadPoolExecutor(8) as pool:
            won = list(pool.map(lambda i: [state, other][i % 2].claim(["a"], f"w{i}", LONG_S), range(40)))

        assert sum(map(len, won)) == 1

    def test_an_expired_lease_is_free(self, state: State) -> None:
        state.claim(["a"], "w1", SHORT_S)

        eventually(lambda: state.owners(["a"]) == {})

        assert set(state.claim(["a"], "w2", LONG_S)) == {"a"}

    def test_renewing_prolongs(self, state: State) -> None:
        mine = state.claim(["a", "b"], "w1", 0.3)
        short = state.claim(["short"], "w1", 0.3)

        assert state.renew(mine, "w1", LONG_S) == set()

        eventually(lambda: state.owners(["short"]) == {})
        assert state.owners(["a", "b"]) == {"a": "w1", "b": "w1"}
        assert short

    def test_renewing_tells_what_is_lost_to_somebody_else(self, state: State, other: State) -> None:
        mine = state.claim(["a", "b"], "w1", SHORT_S)
        eventually(lambda: state.owners(["a", "b"]) == {})
        other.claim(["b"], "w2", LONG_S)

        assert state.renew(mine, "w1", LONG_S) == {"b"}
        assert state.owners(["a", "b"]) == {"a": "w1", "b": "w2"}
        assert state.renew({}, "w1", LONG_S) == set()

    def test_renewing_takes_a_lease_back_that_was_flushed(self, backing: Backing, state: State) -> None:
        mine = state.claim(["a"], "w1", LONG_S)
        backing.flush()

        assert state.renew(mine, "w1", LONG_S) == set()

        assert state.owners(["a"]) == {"a": "w1"}
        assert state.claim(["b"], "w2", LONG_S)["b"] > mine["a"]

    def test_a_holder_that_slept_is_fenced_even_if_its_successor_is_gone_too(self, state: State) -> None:
        sleeper = state.claim(["a"], "w1", SHORT_S)
        eventually(lambda: state.owners(["a"]) == {})
        successor = state.claim(["a"], "w2", LONG_S)
        state.release(successor, "w2")

        assert state.renew(sleeper, "w1", LONG_S) == {"a"}
        assert state.owners(["a"]) == {}

    def test_an_older_number_of_the_same_owner_is_fenced(self, state: State) -> None:
        old = state.claim(["a"], "w1", LONG_S)
        state.release(old, "w1")
        new = state.claim(["a"], "w1", LONG_S)

        assert state.renew(old, "w1", LONG_S) == {"a"}
        assert state.renew(new, "w1", LONG_S) == set()

    def test_only_the_holder_releases(self, state: State) -> None:
        mine = state.claim(["a"], "w1", LONG_S)

        state.release(mine, "w2")
        state.release({"a": mine["a"] - 1}, "w1")
        assert state.owners(["a"]) == {"a": "w1"}
        state.release(mine, "w1")
        assert state.owners(["a"]) == {}

    def test_a_renewal_that_comes_after_the_release_takes_nothing_back(self, state: State, other: State) -> None:
        mine = state.claim(["a", "b"], "w1", LONG_S)
        state.release({"a": mine["a"]}, "w1")

        assert state.renew(mine, "w1", LONG_S) == {"a"}
        assert state.owners(["a", "b"]) == {"b": "w1"}
        fence = other.claim(["a"], "w2", LONG_S)["a"]
        assert fence > mine["a"]
        assert other.renew({"a": fence}, "w2", LONG_S) == set()

    def test_the_life_that_is_left_of_a_heartbeat_is_told(self, state: State, other: State) -> None:
        state.heartbeat(worker("w1"), LONG_S)
        other.heartbeat(worker("w2"), LONG_S / 2)

        left_s = other.beats_left_s(["w1", "w2", "nobody"])

        assert set(left_s) == {"w1", "w2"}
        assert LONG_S / 2 < left_s["w1"] <= LONG_S
        assert left_s["w2"] <= LONG_S / 2
        assert state.beats_left_s([]) == {}

    def test_a_wary_claim_takes_only_what_was_given_up(self, backing: Backing, state: State, other: State) -> None:
        """A lease that is missing without that may have been forgotten, and its owner goes on."""
        units = ["given up", "ran out", "never owned", "mine"]
        mine = state.claim(["given up", "ran out"], "w1", SHORT_S) | other.claim(["mine"], "w2", LONG_S)
        state.release({"given up": mine["given up"]}, "w1")
        eventually(lambda: state.owners(units) == {"mine": "w2"})
        assert set(other.claim(units, "w2", LONG_S, set(units))) == {"given up", "mine"}
        other.release(other.claim(["given up"], "w2", LONG_S), "w2")
        assert set(other.claim(["given up"], "w2", SHORT_S)) == {"given up"}
        eventually(lambda: state.owners(["given up"]) == {})
        assert state.claim(["given up"], "w1", LONG_S, {"given up"}) == {}, "it was taken since it was given up"
        assert set(state.claim(units, "w1", LONG_S)) == {"given up", "ran out", "never owned"}

    def test_hand_over_passes_a_lease_on_in_one_step(self, state: State, other: State) -> None:
        fence = state.claim(["a"], "w1", LONG_S)["a"]

        new = state.hand_over("a", fence, "w1", "w2", LONG_S)

        assert new is not None
        assert state.owners(["a"]) == {"a": "w2"}
        assert state.renew({"a": fence}, "w1", LONG_S) == {"a"}
        assert other.renew({"a": new}, "w2", LONG_S) == set()

    def test_hand_over_of_what_is_not_ours_is_refused(self, state: State) -> None:
        fence = state.claim(["a"], "w1", LONG_S)["a"]

        assert state.hand_over("a", fence, "w2", "w3", LONG_S) is None
        assert state.hand_over("a", fence + 1, "w1", "w3", LONG_S) is None
        assert state.hand_over("b", fence, "w1", "w3", LONG_S) is None
        assert state.owners(["a", "b"]) == {"a": "w1"}

    def test_a_thousand_leases_are_claimed_renewed_and_released_together(self, state: State) -> None:
        units = [f"u{i}" for i in range(1001)]

        leases = state.claim(units, "w1", LONG_S)

        assert list(leases) == units
        assert len(set(leases.values())) == len(units)
        assert state.renew(leases, "w1", LONG_S) == set()
        assert len(state.owners(units)) == len(units)
        state.release(leases, "w1")
        assert state.owners(units) == {}

    # --- workers ---

    def test_live_workers_are_listed_by_role(self, state: State, other: State) -> None:
        user = worker("w2", states={"live": 2}, sinks={"redis": 0}, exchanges={"kraken": 2}, draining=True)
        price = worker("w1", role="price")
        state.heartbeat(user, LONG_S)
        other.heartbeat(price, LONG_S)

        assert other.workers() == [price, user]
        assert state.workers("user") == [user]
        assert state.workers("price") == [price]

    def test_a_worker_that_stops_beating_or_retires_is_gone(self, state: State) -> None:
        state.heartbeat(worker("dies"), SHORT_S)
        state.heartbeat(worker("retires"), LONG_S)
        state.heartbeat(worker("stays"), LONG_S)

        state.retire("retires")

        eventually(lambda: [info.owner for info in state.workers()] == ["stays"])

    # --- gates, positions ---

    def test_a_gate_survives_a_close_and_lapses(self, state: State, other: State) -> None:
        gate = Gate(
            digest=KEY.digest, strikes=2, until_ms=NOW + 1, last_reject_ms=NOW, cooldown_ms=60, reason='"quoted" – ünï'
        )
        opened(state)
        state.set_gate("s1", gate, 60_000)
        state.close("s1")

        assert other.gate("s1") == gate
        other.set_gate("s1", gate, 30)
        eventually(lambda: state.gate("s1") is None)
        state.set_gate("s1", gate, 60_000)
        state.clear_gate("s1", "of another key")
        assert state.gate("s1") == gate
        state.clear_gate("s1", KEY.digest)
        assert state.gate("s1") is None
        state.clear_gate("s1", KEY.digest)

    def test_a_process_that_lost_a_stream_overwrites_neither_its_gate_nor_its_position(
        self, state: State, other: State
    ) -> None:
        gate = Gate(digest="new", strikes=1, until_ms=NOW, last_reject_ms=NOW, cooldown_ms=1, reason="refused")
        state.claim(["s1"], "w2", 60)
        other.set_gate("s1", gate, 60_000, "w2")
        other.save_positions({"s1": b"of its owner"}, 60, "w2")
        state.set_gate("s1", msgspec.structs.replace(gate, digest="old"), 60_000, "w1")
        state.save_positions({"s1": b"of a sleeper", "s2": b"of nobody's stream"}, 60, "w1")
        assert other.gate("s1") == gate
        assert other.positions(["s1", "s2"]) == {"s1": b"of its owner", "s2": b"of nobody's stream"}

    def test_positions_are_bytes_as_given(self, state: State, other: State) -> None:
        state.save_positions({"a": b"\x00\xff", "b": b"", "c": b"x"}, 60)
        state.save_positions({"c": b"y"}, 60)
        state.save_positions({}, 60)

        assert other.positions(["a", "b", "c", "d"]) == {"a": b"\x00\xff", "b": b"", "c": b"y"}
        other.drop_position("a")
        assert state.positions(["a"]) == {}
        assert state.positions([]) == {}
