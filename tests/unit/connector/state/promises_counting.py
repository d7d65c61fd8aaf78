"""What every `State` promises about who wants what: counts, flushes, epochs, candles."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from connector.core.ports import Applied, CandleKey, State, Wanted
from exchanges.credentials import credentials
from tests.unit.connector.state.backing import (
    KEY,
    LONG_S,
    NOW,
    OTHER_KEY,
    Backing,
    WithBacking,
    opened,
    want,
    want_after_open,
)


class Counting(WithBacking):
    """Commands change one level."""

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
            born=first.wanted.born if first.wanted else 0,
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

    def test_a_command_that_is_sent_again_because_its_answer_was_late_counts_once(self, state: State) -> None:
        """One close took the account from two bots, when Redis was late."""
        first, again = opened(state, nonce="a"), opened(state, nonce="a")
        assert (again.changed, again.wanted) == (first.changed, first.wanted)
        opened(state, nonce="b")
        opened(state, nonce="c")
        closed = [state.close("s1", nonce="d") for _ in range(3)]
        assert [one.wanted.count for one in closed if one.wanted is not None] == [2, 2, 2]
        restarted = [state.restart("s1", nonce="e") for _ in range(2)]
        assert [one.wanted.generation for one in restarted if one.wanted is not None] == [1, 1]

    def test_a_last_close_that_is_sent_again_neither_ends_what_was_opened_since_nor_comes_too_late(
        self, state: State
    ) -> None:
        opened(state, nonce="a")
        assert state.close("s1", nonce="b").changed
        opened(state, nonce="c")
        again = state.close("s1", nonce="b")
        assert again.changed
        assert again.wanted == want(state)
        assert want(state).count == 1

    def test_equal_commands_are_two(self, state: State) -> None:
        for nonce in ("a", "b", "", ""):
            opened(state, nonce=nonce)
        assert want(state).count == 4

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

    def test_candles_that_nobody_asked_for_since_an_announcement_are_forgotten(
        self, state: State, other: State
    ) -> None:
        old, again, new, kept = (CandleKey("okx", f"{name}-USDT", "candle1H") for name in ("A", "B", "C", "D"))
        for key in (old, again, kept):
            state.add_candle(key)

        assert state.drop_candles("1") == set(), "nothing was announced: nobody was asked"
        state.begin_candles()
        assert not other.add_candle(again)
        assert other.add_candle(new)
        other.add_candle(kept, asked=False)

        assert state.drop_candles("2") == {old, kept}
        assert other.candles() == {again, new}
        assert other.get("candles:dropped") == "2"
        assert state.drop_candles("3") == set()
        assert other.get("candles:dropped") == "2"

    def test_candle_subscriptions_are_a_set_of_typed_keys(self, state: State, other: State) -> None:
        one, two = CandleKey("okxLinear", "BTC-USDT", "candle1H"), CandleKey("okxLinear", "BTC-USDT", "candle1h")

        assert state.candles() == set()
        assert state.add_candle(one)
        assert not other.add_candle(one)
        assert state.add_candle(two)
        assert other.candles() == {one, two}

        other.remove_candle(one)
        other.remove_candle(one)

        assert state.candles() == {two}
        assert state.add_candle(one)
