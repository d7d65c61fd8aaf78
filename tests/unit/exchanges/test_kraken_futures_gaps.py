"""Kraken futures over several gaps: each fill counts once, wherever the gaps begin and whatever the lists told of it."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from connector.streams.tracker import OrderTracker
from exchanges._times import rfc3339
from tests.unit.exchanges.test_kraken_futures import (
    ORDER,
    WALL,
    Futures,
    body,
    fill,
    fills,
    good,
    open_order,
    placed,
    repaired,
    reports,
    rest_fill,
    steps,
)

SIZE = 20
STEP_MS = 5_000
BEGUN = WALL - 80_000


class Account:
    """An order of a venue, and what a stream that is connected only now and then has published of it."""

    def __init__(self) -> None:
        self.tracker = OrderTracker("krakenUsdm")
        self.filled = 0
        self.fills: list[dict[str, object]] = []
        self.updated_ms = BEGUN
        self.seen: list[tuple[str, str]] = []

    def fill(self, quantity: int, time_ms: int, lag_ms: int) -> None:
        """`lag_ms`: how much earlier the order says that it was touched than its fill."""
        self.filled += quantity
        self.fills.append(rest_fill(quantity, time_ms, len(self.fills) + 1))
        self.updated_ms = time_ms - lag_ms

    def gap(self, since_ms: int) -> None:
        """Connect, repair, and lose the connection again."""
        rests = open_order(SIZE - self.filled, self.filled, lastUpdateTime=rfc3339(self.updated_ms))
        shown: Sequence[object] = [rests] if self.filled < SIZE else []
        replies: dict[str, list[object]] = {
            "open orders": [good(openOrders=shown)], "fills": [good(fills=self.fills[::-1])],
        }  # fmt: skip
        outputs, _ = repaired(Futures(self.tracker.resume(since_ms)), replies)
        for report in reports(outputs):
            told = self.tracker.admit(report, repaired=True)
            if told is not None:
                self.seen.append((report.order_status, report.total_trade_quantity))


@pytest.mark.parametrize("lag_ms", [0, 1, 700])
def test_a_fill_that_a_total_contained_is_not_counted_again_after_the_next_gap(lag_ms: int) -> None:
    """The first event told the total of two fills under the time of the first, so the second counted once more."""
    account = Account()
    account.gap(BEGUN)
    account.fill(5, BEGUN + STEP_MS, lag_ms)
    account.fill(5, BEGUN + 2 * STEP_MS, lag_ms)
    account.gap(BEGUN)
    assert account.seen == [("NEW", "0"), ("PARTIALLY_FILLED", "10")]
    account.gap(BEGUN + STEP_MS)
    assert account.seen[2:] == []
    account.fill(10, BEGUN + 3 * STEP_MS, lag_ms)
    account.gap(BEGUN + STEP_MS)
    assert account.seen[2:] == [("FILLED", "20")]


@settings(max_examples=120, deadline=None)
@given(
    st.lists(st.tuples(st.integers(1, 6), st.integers(0, 3), st.sampled_from([0, 1, 900])), min_size=1, max_size=6),
    st.sampled_from([0, STEP_MS, 4 * STEP_MS]),
)
def test_over_any_gaps_an_order_ends_once_and_with_what_it_filled(
    steps: list[tuple[int, int, int]], overlap_ms: int
) -> None:
    account = Account()
    account.gap(BEGUN)
    now, begun = BEGUN, BEGUN
    for quantity, gaps, lag_ms in [*steps, (SIZE, 1, 0)]:
        now += STEP_MS
        if account.filled < SIZE:
            account.fill(min(quantity, SIZE - account.filled), now, lag_ms)
        for _ in range(gaps):
            account.gap(begun - overlap_ms)
            begun = now
            assert max(float(total) for _, total in account.seen) <= account.filled
    assert [total for status, total in account.seen if status == "FILLED"] == [str(SIZE)]
    assert account.seen[-1][0] == "FILLED"


SHARES = {1: (0.1, -40_000), 2: (0.2, -31_000), 3: (0.05, -20_000)}
"""Fills of one order: size, and when."""


@pytest.mark.parametrize("order", list(itertools.permutations(SHARES)), ids=str)
@pytest.mark.parametrize("seen", [1, 2, 3])
def test_a_fill_that_came_late_does_not_make_a_newer_one_count_again(order: Sequence[int], seen: int) -> None:
    """Live fills out of order, then a gap that tells all of them: what was told last is not as old as its fill."""
    tracker = OrderTracker("krakenUsdm")
    live = Futures()
    live.live()
    live.frame({"feed": "open_orders_snapshot", "orders": [body(0.5, 0)]})
    for number in order[:seen]:
        size, at_ms = SHARES[number]
        for report in reports(live.frame(fills(fill(size, None, number, time=WALL + at_ms)))):
            tracker.admit(report)
    rows = [rest_fill(SHARES[number][0], WALL + SHARES[number][1], number) for number in (3, 2, 1)]
    ended = [placed(ORDER, "0.5"), placed(ORDER, "0.5", name="OrderCancelled")]
    replies: dict[str, list[object]] = {"fills": [good(fills=rows)], "order history": [{"elements": ended}]}
    outputs, _ = repaired(Futures(tracker.resume(WALL - 60_000)), replies)
    assert steps(outputs)[-1] == ("CANCELED", "0.35", "31937.5")
