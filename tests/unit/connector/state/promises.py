"""What every `State` promises: one suite, run on memory, on an in-process Redis and on a real one."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from connector.core.ports import Applied, CandleKey, Gate, State, Wanted, WorkerInfo
from connector.core.window import period_ms
from connector.state.bucket import Bucket
from exchanges.credentials import credentials

KEY = credentials("key-1", "secret-1", "pass-1", bybit_host="eu")
OTHER_KEY = credentials("key-2", "secret-2")
NOW = 1_790_000_000_000
PATIENCE_S = 10.0
SHORT_S = 0.05
LONG_S = 60.0
PERIODS = st.sampled_from([0.001, 0.1, 1.0, 7.3, 60.0])
"""Seconds."""


def eventually(condition: Callable[[], bool]) -> None:
    """Wait until a condition holds."""
    tick, waited = threading.Event(), 0.0
    while not condition():
        assert waited < PATIENCE_S, "the condition never came true"
        tick.wait(0.01)
        waited += 0.01


class Heard:
    """A callback that collects texts."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self.texts: list[str] = []

    def __call__(self, text: str) -> None:
        with self._changed:
            self.texts.append(text)
            self._changed.notify_all()

    def wait_for(self, text: str) -> None:
        with self._changed:
            assert self._changed.wait_for(lambda: text in self.texts, PATIENCE_S), f"{text} not in {self.texts}"


class Backing(Protocol):
    """Where the states of a test keep their things."""

    def state(self) -> State:
        """A state as another process would build it."""

    def flush(self) -> None:
        """Lose everything."""

    def enable_exchanges(self, text: str | None) -> None:
        """Write the admin page's key, and tell."""


def opened(state: State, stream_id: str = "s1", keys: int = 1) -> Applied:
    return state.open(stream_id, "bybitLinear", "user-1", KEY if keys == 1 else OTHER_KEY, NOW)


def want(state: State, stream_id: str = "s1") -> Wanted:
    return state.wanted([stream_id])[stream_id]


def want_after_open(state: State) -> Wanted:
    opened(state)
    return want(state)


def worker(owner: str = "w1", **changes: object) -> WorkerInfo:
    basics = {"role": "user", "host": "h", "pid": 1, "started_ms": NOW, "capacity": 10, "streams": 2}
    return WorkerInfo(owner=owner, **(basics | changes))  # type: ignore[arg-type]


class Promises:
    """Subclasses give the `backing` fixture."""

    @pytest.fixture
    def state(self, backing: Backing) -> State:
        return backing.state()

    @pytest.fixture
    def other(self, backing: Backing) -> State:
        """The state of a second process."""
        return backing.state()

    # --- counting ---

    def test_the_first_open_changes_something_and_the_next_ones_only_count(self, state: State) -> None:
        first, second = opened(state), opened(state)

        assert (first.changed, second.changed) == (True, False)
        assert first.wanted == Wanted(
            stream_id="s1",
            exchange="bybitLinear",
            user_id="user-1",
            count=1,
            generation=0,
            digest=KEY.digest,
            credentials=KEY,
            epoch=0,
        )
        assert second.wanted is not None
        assert second.wanted.count == 2
        assert state.wanted_ids() == {"s1"}

    def test_n_opens_need_n_closes(self, state: State) -> None:
        opened(state)
        opened(state)

        first, second, third = state.close("s1"), state.close("s1"), state.close("s1")

        assert first.wanted is not None
        assert (first.wanted.count, first.changed) == (1, False)
        assert (second.wanted, second.changed) == (None, True)
        assert (third.wanted, third.changed) == (None, False)
        assert state.wanted(["s1"]) == {}
        assert state.wanted_ids() == set()

    def test_a_reopened_stream_starts_over(self, state: State) -> None:
        opened(state)
        state.restart("s1")
        state.close("s1")

        again = opened(state, keys=2)

        assert again.changed
        assert again.wanted is not None
        assert (again.wanted.count, again.wanted.generation, again.wanted.digest) == (1, 0, OTHER_KEY.digest)

    def test_restart_raises_the_generation_and_keeps_the_count(self, state: State) -> None:
        opened(state)
        opened(state)

        applied = state.restart("s1")

        assert applied.changed
        assert applied.wanted is not None
        assert (applied.wanted.count, applied.wanted.generation) == (2, 1)
        assert want(state) == applied.wanted

    def test_restart_of_an_unknown_stream_does_nothing(self, state: State) -> None:
        assert state.restart("nobody") == Applied(wanted=None, owner=None, changed=False)
        assert state.wanted_ids() == set()

    def test_another_digest_is_new_key_material_and_keeps_the_count(self, state: State) -> None:
        opened(state)

        applied = opened(state, keys=2)

        assert applied.changed
        assert applied.wanted is not None
        assert (applied.wanted.count, applied.wanted.digest) == (2, OTHER_KEY.digest)
        assert applied.wanted.credentials == OTHER_KEY
        assert not opened(state, keys=2).changed

    def test_a_command_without_options_does_not_erase_those_of_another_sender(self, state: State) -> None:
        opened(state)

        bare = state.open("s1", "bybitLinear", "user-1", credentials("key-1", "secret-1", "pass-1"), NOW)

        assert not bare.changed
        assert want(state).credentials == KEY

    def test_new_key_material_brings_its_own_options(self, state: State) -> None:
        opened(state)
        opened(state, keys=2)

        found = want(state).credentials

        assert found is not None
        assert found.bybit_host is None

    def test_a_command_tells_who_holds_the_lease(self, state: State) -> None:
        state.claim(["s1"], "w1", LONG_S)

        assert opened(state).owner == "w1"
        assert state.restart("s1").owner == "w1"
        assert state.close("s1").owner == "w1"
        assert state.close("s1").owner == "w1"

    def test_everybody_can_leave_at_once(self, state: State) -> None:
        opened(state)
        opened(state)
        state.claim(["s1"], "w1", LONG_S)

        applied = state.close("s1", everybody=True)

        assert (applied.wanted, applied.owner, applied.changed) == (None, "w1", True)
        assert state.wanted_ids() == set()
        assert not state.close("s1", everybody=True).changed
        assert want_after_open(state).count == 1

    def test_any_text_is_a_stream_id(self, state: State) -> None:
        ids = ["ünï code", "a|b:c", "*", "{x}", "0"]
        for stream_id in ids:
            opened(state, stream_id)
        fences = state.claim(ids, "own|er", LONG_S)

        assert state.wanted_ids() == set(ids)
        assert set(state.wanted(ids)) == set(ids)
        assert state.owners(ids) == dict.fromkeys(ids, "own|er")
        assert state.renew(fences, "own|er", LONG_S) == set()

    def test_many_streams_are_read_at_once(self, state: State) -> None:
        ids = [f"s{i}" for i in range(1200)]
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(lambda stream_id: opened(state, stream_id), ids))

        assert list(state.wanted([*ids, "unknown"])) == ids
        assert state.wanted([]) == {}

    def test_concurrent_commands_lose_no_count(self, state: State, other: State) -> None:
        opened(state)

        def pair(i: int) -> None:
            opened([state, other][i % 2])
            [other, state][i % 2].close("s1")

        with ThreadPoolExecutor(8) as pool:
            list(pool.map(pair, range(200)))

        assert want(state).count == 1

    # --- flush, epochs ---

    def test_a_flush_heals_through_remember(self, backing: Backing, state: State) -> None:
        opened(state)
        opened(state)
        state.restart("s1")
        before = want(state)

        backing.flush()
        assert state.wanted(["s1"]) == {}
        state.remember(before)

        assert want(state) == before
        assert state.wanted_ids() == {"s1"}

    def test_remember_leaves_a_present_entry_alone(self, state: State) -> None:
        opened(state)
        old = want(state)
        opened(state, keys=2)

        state.remember(old)

        assert (want(state).count, want(state).digest) == (2, OTHER_KEY.digest)

    def test_remember_does_not_bring_back_what_was_closed_on_purpose(self, state: State, other: State) -> None:
        """The owner's heartbeat may still hold a stream whose close it has not noticed."""
        opened(state)
        held = want(state)
        state.close("s1")

        other.remember(held)

        assert state.wanted_ids() == set()
        assert opened(state).changed

    def test_after_a_flush_and_an_open_the_next_restart_exceeds_the_running_generation(
        self, backing: Backing, state: State
    ) -> None:
        opened(state)
        for _ in range(3):
            state.restart("s1")
        running = want(state)

        backing.flush()
        opened(state)
        state.remember(running)

        applied = state.restart("s1")
        assert applied.wanted is not None
        assert applied.wanted.generation == 4

    def test_a_new_epoch_restarts_the_counts_while_the_streams_stay(self, state: State) -> None:
        for _ in range(3):
            opened(state)

        epoch = state.begin_epoch(NOW)

        assert want(state).count > 0, "0 would close it"
        applied = opened(state)
        assert applied.changed
        assert applied.wanted is not None
        assert (applied.wanted.count, applied.wanted.epoch) == (1, epoch)
        assert not opened(state).changed
        assert want(state).count == 2

    def test_epochs_rise_also_within_one_millisecond_and_when_the_clock_falls_back(self, state: State) -> None:
        epochs = [
            state.begin_epoch(NOW),
            state.begin_epoch(NOW),
            state.begin_epoch(NOW - 5000),
            state.begin_epoch(NOW + 9),
        ]

        assert epochs == sorted(set(epochs))

    def test_close_stale_forgets_what_nobody_asked_for_again(self, state: State) -> None:
        opened(state, "gone")
        opened(state, "asked again")
        epoch = state.begin_epoch(NOW)
        opened(state, "asked again")
        opened(state, "new")
        held = want(state, "gone")

        assert state.close_stale(epoch) == ["gone"]
        assert state.wanted_ids() == {"asked again", "new"}
        assert state.close_stale(epoch) == []
        state.remember(held)
        assert state.wanted_ids() == {"asked again", "new"}

    def test_before_any_epoch_nothing_is_stale(self, state: State) -> None:
        opened(state)

        assert state.close_stale(0) == []

    def test_a_close_after_the_announcement_counts_down_from_the_old_number(self, state: State) -> None:
        """The others have not asked again yet: one listener's close must not take the stream from them."""
        opened(state)
        opened(state)
        state.begin_epoch(NOW)

        assert not state.close("s1").changed
        assert state.close("s1").changed

    def test_an_epoch_survives_a_flush(self, backing: Backing, state: State) -> None:
        opened(state)
        epoch = state.begin_epoch(NOW)
        opened(state)
        held = want(state)

        backing.flush()
        state.remember(held)
        opened(state, "s2")

        assert state.close_stale(epoch) == []
        assert want(state, "s2").epoch == epoch
        assert state.begin_epoch(NOW - 9999) > epoch

    def test_a_process_that_knows_no_epoch_begins_a_newer_one_after_a_flush(
        self, backing: Backing, state: State
    ) -> None:
        epoch = state.begin_epoch(NOW)
        opened(state)
        held = want(state)
        backing.flush()

        newer = backing.state().begin_epoch(NOW + 60_000)
        state.remember(held)

        assert newer > epoch
        assert state.close_stale(newer) == ["s1"]

    # --- candles ---

    def test_candle_subscriptions_are_a_set_of_typed_keys(self, state: State, other: State) -> None:
        one, two = CandleKey("okxLinear", "BTC-USDT", "candle1H"), CandleKey("okxLinear", "BTC-USDT", "candle1h")

        assert state.candles() == set()
        assert state.add_candle(one)
        assert not other.add_candle(one)
        assert state.add_candle(two)
        assert other.candles() == {one, two}

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
        state.clear_gate("s1")
        assert state.gate("s1") is None
        state.clear_gate("s1")

    def test_positions_are_bytes_as_given(self, state: State, other: State) -> None:
        state.save_positions({"a": b"\x00\xff", "b": b"", "c": b"x"}, 60)
        state.save_positions({"c": b"y"}, 60)
        state.save_positions({}, 60)

        assert other.positions(["a", "b", "c", "d"]) == {"a": b"\x00\xff", "b": b"", "c": b"y"}
        other.drop_position("a")
        assert state.positions(["a"]) == {}
        assert state.positions([]) == {}

    # --- budgets ---

    def test_a_bucket_gives_its_full_burst_and_then_nothing_until_it_has_left(self, state: State, other: State) -> None:
        def take(cost: int, now_ms: int) -> int:
            return state.take("b", cost, 10, 1.0, now_ms)

        assert [take(5, NOW), other.take("b", 3, 10, 1.0, NOW + 400), take(2, NOW + 500)] == [0, 0, 0]
        assert take(1, NOW + 600) == 400
        assert take(6, NOW + 600) == 800
        assert take(9, NOW + 600) == 900
        assert take(1, NOW + 999) == 1
        assert [take(5, NOW + 1000), take(1, NOW + 1000)] == [0, 400]
        assert take(10, NOW + 100_000) == 0

    def test_grants_of_one_slice_leave_together_with_its_last(self, state: State) -> None:
        """A slice is a fiftieth of the period."""
        for at in (0, 10, 19, 20):
            assert state.take("b", 1, 4, 1.0, NOW + at) == 0

        assert [state.take("b", cost, 4, 1.0, NOW + 100) for cost in (1, 3, 4)] == [919, 919, 920]

    def test_whoever_waits_as_told_is_given_what_he_asked_for(self, state: State) -> None:
        name = iter(range(1_000_000))

        @settings(max_examples=30, deadline=None)
        @given(
            count=st.integers(1, 50),
            per_s=PERIODS,
            steps=st.lists(st.tuples(st.integers(-8000, 8000), st.integers(0, 50)), min_size=1, max_size=20),
        )
        def check(count: int, per_s: float, steps: list[tuple[int, int]]) -> None:
            bucket, now = f"w{next(name)}", NOW
            for pause, cost in steps:
                now += pause
                wait = state.take(bucket, min(cost, count), count, per_s, now)
            if wait > 0:
                assert state.take(bucket, min(cost, count), count, per_s, now + wait - 1) == 1
                assert state.take(bucket, min(cost, count), count, per_s, now + wait) == 0

        check()

    def test_a_blocked_bucket_gives_nothing_until_then(self, state: State, other: State) -> None:
        state.block("b", NOW + 5000)
        other.block("b", NOW + 3000)

        assert other.take("b", 1, 10, 1.0, NOW) == 5000
        assert other.take("b", 1, 10, 1.0, NOW + 4999) == 1
        assert other.take("b", 10, 10, 1.0, NOW + 5000) == 0
        state.block("b", NOW + 6000)
        assert state.take("b", 1, 10, 1.0, NOW + 5500) == 500

    def test_a_cost_that_no_full_bucket_covers_is_an_error(self, state: State) -> None:
        with pytest.raises(ValueError, match="can't give 11"):
            state.take("b", 11, 10, 1.0, NOW)

    def test_buckets_do_not_touch_each_other(self, state: State) -> None:
        assert state.take("a", 1, 1, 60.0, NOW) == 0
        assert state.take("b", 1, 1, 60.0, NOW) == 0
        assert state.take("a", 1, 1, 60.0, NOW) == 60_000

    def test_no_span_of_a_period_holds_more_than_the_count(self, state: State, other: State) -> None:
        """Whoever asks: here two processes in turn, one of whose clocks is ahead."""
        name = iter(range(1_000_000))

        @settings(max_examples=30, deadline=None)
        @given(
            count=st.integers(1, 50),
            per_s=PERIODS,
            steps=st.lists(st.tuples(st.integers(0, 5000), st.integers(0, 50)), max_size=25),
            skew=st.sampled_from([0.0, 0.0, 0.1, 0.9]),
        )
        def check(count: int, per_s: float, steps: list[tuple[int, int]], skew: float) -> None:
            bucket, now, granted = f"h{next(name)}", NOW, []
            ahead = int(skew * per_s * 1000)
            for i, (pause, cost) in enumerate(steps):
                now += pause
                cost = min(cost, count)
                mine = i % 2 == 0
                asked = now if mine else now + ahead
                if [other, state][mine].take(bucket, cost, count, per_s, asked) == 0:
                    granted.append((now, cost))
            # A clock that is ahead sees old grants leave that much too early, and no earlier.
            span = round(per_s * 1000) - ahead
            for i, (start, _) in enumerate(granted):
                assert sum(cost for at, cost in granted[i:] if at < start + span) <= count

        check()

    def test_a_clock_that_is_ahead_holds_up_the_others_by_no_more_than_that(self, state: State, other: State) -> None:
        assert other.take("b", 2, 3, 60.0, NOW + 4000) == 0
        assert state.take("b", 1, 3, 60.0, NOW) == 0

        assert state.take("b", 3, 3, 60.0, NOW) == 64_000
        assert state.take("b", 3, 3, 60.0, NOW + 63_999) == 1
        assert state.take("b", 3, 3, 60.0, NOW + 64_000) == 0

    def test_a_clock_that_was_set_back_costs_one_period_at_the_most(self, state: State) -> None:
        assert [state.take("b", 1, 2, 60.0, NOW), state.take("b", 1, 2, 60.0, NOW + 9000)] == [0, 0]
        back = NOW - 86_400_000

        assert state.take("b", 1, 2, 60.0, back) == 51_000, "the first has been there for 9 s"
        assert state.take("b", 2, 2, 60.0, back + 1000) == 59_000
        assert state.take("b", 2, 2, 60.0, back + 60_000) == 0

    def test_a_changed_limit_holds_at_once(self, state: State) -> None:
        assert state.take("b", 10, 10, 1.0, NOW) == 0

        assert state.take("b", 1, 12, 1.0, NOW) == 0
        assert state.take("b", 1, 5, 1.0, NOW + 300) == 700
        assert state.take("b", 1, 12, 9.0, NOW + 300) == 0
        assert state.take("b", 1, 12, 9.0, NOW + 300) == 8700
        assert state.take("b", 1, 12, 0.3, NOW + 300) == 0

    def test_every_implementation_counts_alike(self, state: State) -> None:
        """Also with a clock that jumps, bans, and settings that change."""
        name = iter(range(1_000_000))
        take = st.tuples(
            st.just("take"),
            st.integers(-9000, 9000),
            st.integers(0, 9),
            st.integers(9, 12),
            st.sampled_from([0.5, 1.7, 9.0, 60.0]),
        )
        block = st.tuples(st.just("block"), st.integers(-9000, 9000))

        @settings(max_examples=30, deadline=None)
        @given(steps=st.lists(take | block, max_size=15))
        def check(steps: list[tuple]) -> None:  # type: ignore[type-arg]
            bucket, model, now = f"m{next(name)}", Bucket(), NOW
            for what, *numbers in steps:
                now += numbers[0]
                if what == "block":
                    state.block(bucket, now)
                    model.block(now)
                else:
                    _, cost, count, per_s = numbers
                    expected = model.take(cost, count, period_ms(cost, count, per_s), now)
                    assert state.take(bucket, cost, count, per_s, now) == expected

        check()

    # --- once, texts ---

    def test_once_is_true_for_one_caller_per_period(self, state: State, other: State) -> None:
        with ThreadPoolExecutor(8) as pool:
            answers = list(pool.map(lambda i: [state, other][i % 2].once("job", f"w{i}", LONG_S), range(20)))

        assert answers.count(True) == 1
        assert state.once("other job", "w1", SHORT_S)
        eventually(lambda: state.once("other job", "w1", LONG_S))

    def test_texts_are_kept_and_may_lapse(self, state: State, other: State) -> None:
        assert state.get("bootId") is None
        state.put("bootId", "all-17–1")
        state.put("short", "x", SHORT_S)

        assert other.get("bootId") == "all-17–1"
        eventually(lambda: state.get("short") is None)

    # --- notifications, admin config ---

    def test_a_notification_reaches_its_owner_and_a_star_reaches_all(self, state: State, other: State) -> None:
        first, second = Heard(), Heard()
        stops = [state.listen("w1", first), other.listen("w2", second)]

        state.notify("w1", "only w1")
        other.notify("*", "everybody – ü")
        state.notify("nobody", "lost")

        first.wait_for("everybody – ü")
        second.wait_for("everybody – ü")
        assert first.texts == ["only w1", "everybody – ü"]
        assert second.texts == ["everybody – ü"]
        for stop in stops:
            stop()

    def test_a_callback_that_raises_costs_only_its_message(self, state: State) -> None:
        heard = Heard()

        def callback(text: str) -> None:
            if text == "bad":
                raise RuntimeError("boom")
            heard(text)

        stop = state.listen("w1", callback)
        state.notify("w1", "bad")
        state.notify("w1", "good")

        heard.wait_for("good")
        stop()

    def test_a_stopped_listener_hears_nothing_and_may_stop_itself(self, state: State) -> None:
        stopped, awake = Heard(), Heard()
        stops: list[Callable[[], None]] = []
        silent = state.listen("w1", stopped)

        def stop_itself(text: str) -> None:
            awake(text)
            stops[0]()

        stops.append(state.listen("w1", stop_itself))
        silent()
        silent()

        state.notify("w1", "hello")

        awake.wait_for("hello")
        assert stopped.texts == []

    def test_a_listener_thread_ends_with_the_connections(self, backing: Backing) -> None:
        state = backing.state()
        state.listen("ends", Heard())
        state.close_connections()

        assert "state-listener:ends" not in [thread.name for thread in threading.enumerate()]

    def test_the_admin_page_switches_exchanges_and_tells(self, backing: Backing, state: State) -> None:
        heard = Heard()
        stop = state.listen("w1", heard)
        assert state.enabled_exchanges() is None

        backing.enable_exchanges('["binance", "kraken"]')

        heard.wait_for("admin-config")
        assert state.enabled_exchanges() == frozenset(["binance", "kraken"])
        backing.enable_exchanges("[]")
        assert state.enabled_exchanges() == frozenset()
        backing.enable_exchanges(None)
        assert state.enabled_exchanges() is None
        stop()

    def test_it_answers_a_ping(self, state: State) -> None:
        assert state.ping() is True
