"""What every `State` promises about budgets that processes share."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from connector.core.ports import State
from connector.core.window import period_ms
from connector.state.bucket import Bucket
from tests.unit.connector.state.backing import NOW, WithBacking

PERIODS = st.sampled_from([0.001, 0.1, 1.0, 7.3, 60.0])
"""Seconds."""


class Budgets(WithBacking):
    """No span of a period holds more than was granted."""

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
