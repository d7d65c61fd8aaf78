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
    want,
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

    def test_a_lease_that_is_missing_is_not_free_while_another_process_holds_the_unit(
        self, backing: Backing, state: State, other: State
    ) -> None:
        """It was forgotten, and its owner goes on."""
        state.heartbeat(worker("w1"), LONG_S)
        mine = state.claim(["forgotten", "given up"], "w1", SHORT_S)
        state.release({"given up": mine["given up"]}, "w1")
        eventually(lambda: other.owners(["forgotten"]) == {})

        assert set(other.claim(["forgotten", "given up", "never owned"], "w2", LONG_S)) == {"given up", "never owned"}
        assert set(state.claim(["forgotten"], "w1", LONG_S)) == {"forgotten"}, "its owner may"

    def test_a_process_without_a_heartbeat_claims_nothing_if_it_says_so(self, backing: Backing, state: State) -> None:
        """The state forgot everything, and the process does not know it yet."""
        state.heartbeat(worker("w1"), LONG_S)
        assert set(state.claim(["a"], "w1", LONG_S, alive=True)) == {"a"}

        backing.flush()

        assert state.claim(["b"], "w1", LONG_S, alive=True) == {}
        assert state.owners(["b"]) == {}
        state.heartbeat(worker("w1"), LONG_S)
        assert set(state.claim(["b"], "w1", LONG_S, alive=True)) == {"b"}

    # --- what a process's heartbeat keeps ---

    def test_a_heartbeat_tells_how_much_its_process_holds_and_whether_the_last_one_stood(
        self, backing: Backing, state: State
    ) -> None:
        assert state.heartbeat(worker("w1"), LONG_S) is None
        assert state.heartbeat(worker("w1"), LONG_S) == 0
        mine = state.claim(["a", "b", "c"], "w1", LONG_S)
        assert state.heartbeat(worker("w1"), SHORT_S) == 3
        assert state.held("w1") == {"a", "b", "c"}
        state.release({"b": mine["b"]}, "w1")
        eventually(lambda: state.workers() == [])
        assert state.heartbeat(worker("w1"), LONG_S) is None
        assert state.heartbeat(worker("w1"), LONG_S) == 2
        backing.flush()
        assert state.heartbeat(worker("w1"), LONG_S) is None

    def test_who_lives_is_not_buried(self, state: State, other: State) -> None:
        state.heartbeat(worker("w1"), LONG_S)
        state.claim(["a"], "w1", LONG_S)

        assert other.bury("w1") is None
        assert state.owners(["a"]) == {"a": "w1"}
        assert state.held("w1") == {"a"}

    def test_what_a_dead_process_held_is_free_in_one_step(self, state: State, other: State) -> None:
        opened(state, "a")
        opened(state, "in its name")
        state.heartbeat(worker("w1"), SHORT_S)
        state.claim(["a", "b", "in its name"], "w1", LONG_S)
        assert other.unowned().free == set()
        eventually(lambda: other.workers() == [])
        assert set(other.roll()) == {"w1"}, "it is not buried"

        freed = other.bury("w1", ["in its name", "in its name"])

        assert freed is not None
        assert set(freed) == {"a", "b", "in its name"}
        assert other.unowned().free == {"a", "in its name"}, "the third is no stream"
        assert other.owners(["a", "b"]) == {}
        assert (other.held("w1"), other.roll(), other.bury("w1")) == (set(), {}, [])
        assert set(other.claim(["a", "b"], "w2", LONG_S)) == {"a", "b"}
        assert other.unowned().free == {"in its name"}

    def test_a_process_that_was_buried_alive_loses_what_others_took_and_keeps_the_rest(
        self, state: State, other: State
    ) -> None:
        state.heartbeat(worker("w1"), SHORT_S)
        mine = state.claim(["taken", "left"], "w1", LONG_S)
        eventually(lambda: other.workers() == [])
        other.bury("w1")
        other.claim(["taken"], "w2", LONG_S)

        assert state.heartbeat(worker("w1"), LONG_S) is None
        assert state.renew(mine, "w1", LONG_S) == {"taken"}
        assert state.owners(["taken", "left"]) == {"taken": "w2", "left": "w1"}
        assert (state.held("w1"), other.held("w2"), other.unowned().free) == ({"left"}, {"taken"}, set())

    def test_what_was_being_handed_over_stays_with_its_giver_until_the_taker_says_so(
        self, state: State, other: State
    ) -> None:
        """The giver still publishes: if the taker dies nobody else may have it."""
        fences = state.claim(["a", "b", "c"], "w1", LONG_S)
        handed = {unit: state.hand_over(unit, fences[unit], "w1", "w2", LONG_S) for unit in ("a", "b")}
        assert state.renew({"b": handed["b"] or 0}, "w2", LONG_S, kept=False) == set()

        assert other.bury("w2") == []
        assert other.owners(["a", "b"]) == {"a": "w2", "b": "w2"}
        assert other.renew({"a": handed["a"] or 0}, "w2", LONG_S) == set()
        assert (state.held("w1"), state.held("w2")) == ({"a", "b", "c"}, {"a"})
        assert other.bury("w1") == ["c"], "the others have a taker"
        assert other.held("w2") == {"a", "b"}
        assert sorted(other.bury("w2") or ()) == ["a", "b"]

    def test_a_stream_that_is_handed_over_while_a_beat_renews_it_does_not_stay_dark_if_the_giver_dies_then(
        self, state: State, other: State
    ) -> None:
        """The taker never heard of it: it finds it in its name, and gives it back."""
        opened(state, "a")
        mine = state.claim(["a"], "w1", LONG_S)
        state.hand_over("a", mine["a"], "w1", "w2", LONG_S)
        assert state.renew(mine, "w1", LONG_S) == {"a"}, "with what a beat knew when it began"

        assert other.bury("w1") == []

        assert other.held("w2") == {"a"}
        other.give_back(["a"], "w2")
        assert other.unowned().free == {"a"}

    def test_who_retires_leaves_nothing_in_its_name(self, state: State) -> None:
        state.heartbeat(worker("w1"), LONG_S)
        opened(state, "a")
        state.claim(["a"], "w1", LONG_S)

        state.retire("w1")

        assert (state.owners(["a"]), state.roll(), state.unowned().free) == ({}, {}, {"a"})

    def test_what_is_in_ones_name_unknowingly_is_given_back(self, state: State, other: State) -> None:
        mine = state.claim(["a", "b"], "w1", LONG_S) | other.claim(["c"], "w2", LONG_S)

        state.give_back(["a", "c", "d"], "w1")

        assert state.owners(["a", "b", "c"]) == {"b": "w1", "c": "w2"}
        assert state.held("w1") == {"b"}
        assert state.renew({"a": mine["a"]}, "w1", LONG_S) == {"a"}
        assert set(other.claim(["a"], "w2", LONG_S)) == {"a"}

    def test_a_late_release_of_an_older_number_takes_nothing_away(self, state: State) -> None:
        old = state.claim(["a"], "w1", LONG_S)
        state.release(old, "w1")
        state.claim(["a"], "w1", LONG_S)

        state.release(old, "w1")

        assert (state.owners(["a"]), state.held("w1"), state.unowned().free) == ({"a": "w1"}, {"a"}, set())

    def test_a_release_of_a_lease_that_was_forgotten_is_not_undone_by_a_renewal(
        self, backing: Backing, state: State
    ) -> None:
        mine = state.claim(["a"], "w1", SHORT_S)
        eventually(lambda: state.owners(["a"]) == {})

        state.release(mine, "w1")

        assert state.renew(mine, "w1", LONG_S) == {"a"}
        assert state.owners(["a"]) == {}

    # --- what is free ---

    def test_a_stream_is_free_from_its_open_to_its_claim_and_from_its_release_to_its_close(
        self, state: State, other: State
    ) -> None:
        opened(state, "a")
        opened(state, "b")
        assert state.unowned() == (2, {"a", "b"})
        mine = other.claim(["a"], "w1", LONG_S)
        assert state.unowned() == (2, {"b"})
        opened(state, "a")
        assert state.unowned() == (2, {"b"}), "it has an owner"
        other.release(mine, "w1")
        assert state.unowned() == (2, {"a", "b"})
        state.close("b")
        assert state.unowned() == (1, {"a"})
        state.begin_epoch(NOW)
        opened(state, "c")
        state.close_stale(state.begin_epoch(NOW + 1))
        assert state.unowned() == (0, set())

    def test_a_stream_that_is_remembered_is_free_unless_it_has_an_owner(self, backing: Backing, state: State) -> None:
        opened(state, "a")
        opened(state, "b")
        a, b = want(state, "a"), want(state, "b")
        mine = state.claim(["a"], "w1", LONG_S)
        backing.flush()
        state.renew(mine, "w1", LONG_S)

        assert state.remember(a)
        assert state.remember(b)

        assert state.unowned() == (2, {"b"})

    def test_what_is_no_wanted_stream_is_not_free(self, state: State) -> None:
        """Feeds of the price role, which are found by their names, and streams that were closed meanwhile."""
        opened(state, "a")
        mine = state.claim(["ticker:okx", "a"], "w1", LONG_S)
        state.close("a")
        state.release(mine, "w1")
        assert state.unowned() == (0, set())

    def test_a_scan_finds_what_the_index_forgot_and_whom_nobody_buried(
        self, backing: Backing, state: State, other: State
    ) -> None:
        names = {f"s{number:02}" for number in range(25)}
        for name in names:
            opened(state, name)
        state.heartbeat(worker("lives"), LONG_S)
        state.claim(["s00", "s01"], "lives", LONG_S)
        other.heartbeat(worker("dies"), SHORT_S)
        other.claim(["s02", "s03"], "dies", LONG_S)
        backing.evict("free")
        eventually(lambda: [info.owner for info in state.workers()] == ["lives"])

        assert state.unowned().free == set()
        cursor, silent = state.scan(0, 10)
        while cursor:
            cursor, more = state.scan(cursor, 10)
            silent = {**silent, **{owner: [*silent.get(owner, ()), *units] for owner, units in more.items()}}

        assert state.unowned().free == names - {"s00", "s01", "s02", "s03"}
        assert {owner: sorted(units) for owner, units in silent.items()} == {"dies": ["s02", "s03"]}
        assert state.scan(0, 10_000).cursor == 0

    def test_a_glance_tells_whether_a_stream_changed(self, state: State) -> None:
        opened(state, "a")
        first = state.glance(["a", "b"])
        wanted = want(state, "a")
        assert first == {"a": (wanted.count, wanted.generation, wanted.digest, wanted.epoch)}
        opened(state, "a", keys=2)
        state.restart("a")
        second = state.glance(["a"])["a"]
        assert (second.subscribers, second.generation, second.digest != first["a"].digest) == (2, 1, True)
        assert state.glance([]) == {}

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
