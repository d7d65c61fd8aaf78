"""The ledger of a venue: figures used in full, spans with a margin in time, and what happens while the state is away."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from connector.core.errors import StateUnavailable
from connector.state.memory_state import MemoryState
from connector.streams.budget import AWAY_S, SPREAD_S, Budget
from exchanges import venue_of
from exchanges._venue import Rate
from exchanges.ids import Feed
from tests.unit.connector.streams.fakes import Clock

RATE = Rate(10, 60.0)
SPAN_S = RATE.per_s + SPREAD_S


class State(MemoryState):
    """Can be away, and counts how often it was asked."""

    def __init__(self, clock: Clock) -> None:
        super().__init__(clock)
        self.away = False
        self.asked = 0

    def take(self, bucket: str, cost: int, count: int, per_s: float, now_ms: int) -> int:
        self.asked += 1
        if self.away:
            raise StateUnavailable("away")
        return super().take(bucket, cost, count, per_s, now_ms)

    def block(self, bucket: str, until_ms: int) -> None:
        if self.away:
            raise StateUnavailable("away")
        super().block(bucket, until_ms)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def state(clock: Clock) -> State:
    return State(clock)


@pytest.fixture
def take(state: State, clock: Clock) -> Callable[..., float]:
    return taker(Budget(state, clock))


def taker(budget: Budget) -> Callable[..., float]:
    def take(cost: int = 1, rate: Rate = RATE, egress: str = "") -> float:
        return budget.take("venue", "connect", egress, rate, cost)

    return take


def test_the_figure_is_granted_in_full_and_then_nothing_for_a_period_and_the_margin(
    take: Callable[..., float], clock: Clock
) -> None:
    assert [take() for _ in range(10)] == [0.0] * 10
    assert take() == pytest.approx(SPAN_S)

    clock.seconds += SPAN_S - 0.5
    assert take() == pytest.approx(0.5, abs=0.002)  # the clock is read in whole ms
    clock.seconds += 0.502
    assert [take() for _ in range(10)] == [0.0] * 10
    assert take() > 0


def test_processes_share_a_ledger_and_addresses_do_not(state: State, clock: Clock) -> None:
    one, two = taker(Budget(state, clock)), taker(Budget(state, clock))

    assert [one(6), two(4)] == [0.0, 0.0]
    assert one(1) > 0
    assert one(10, egress="10.0.0.2") == 0.0


def test_a_process_that_used_the_figure_up_itself_need_not_ask(take: Callable[..., float], state: State) -> None:
    assert take(10) == 0.0
    asked = state.asked

    assert take() == pytest.approx(SPAN_S)
    assert state.asked == asked


def test_a_cost_above_the_figure_takes_all_of_it(take: Callable[..., float], state: State, clock: Clock) -> None:
    assert take(25) == 0.0
    assert take(1) == pytest.approx(SPAN_S)


def test_while_the_state_is_away_half_of_the_figure_is_granted_in_a_period(
    take: Callable[..., float], state: State, clock: Clock
) -> None:
    state.away = True

    assert [take() for _ in range(5)] == [0.0] * 5
    assert take() == pytest.approx(SPAN_S)
    clock.seconds += SPAN_S + 0.002
    assert [take() for _ in range(5)] == [0.0] * 5
    assert take() > 0


def test_a_call_that_costs_more_than_half_is_not_put_off_for_ever(
    take: Callable[..., float], state: State, clock: Clock
) -> None:
    state.away = True

    assert take(1) == 0.0
    wait_s = take(10)
    assert wait_s > 0
    clock.seconds += wait_s + 0.002
    assert take(10) == 0.0


def test_a_process_alone_never_exceeds_the_figure_when_the_state_goes_and_comes_back(
    take: Callable[..., float], state: State, clock: Clock
) -> None:
    granted: list[float] = []
    for second in range(600):
        state.away = second // 7 % 3 == 1
        if second % 100 == 0:
            state.flush()
        while take() == 0.0:
            granted.append(clock.seconds)
        clock.seconds += 1.0

    for start in granted:
        assert sum(start <= at < start + RATE.per_s for at in granted) <= RATE.limit
    assert len(granted) > 60


def test_a_block_binds_this_process_also_while_the_state_is_away(state: State, clock: Clock) -> None:
    budget = Budget(state, clock)
    state.away = True

    budget.block("venue", "connect", "", 30.0)

    assert taker(budget)() == pytest.approx(30.0)
    clock.seconds += 30.0
    assert taker(budget)() == 0.0


def test_a_block_binds_the_other_processes(state: State, clock: Clock) -> None:
    Budget(state, clock).block("venue", "connect", "", 30.0)

    assert taker(Budget(state, clock))() == pytest.approx(30.0)


def test_threads_together_get_the_figure_and_no_more(take: Callable[..., float], state: State, clock: Clock) -> None:
    start = threading.Barrier(8)

    def greedy(_: int) -> int:
        start.wait(10.0)
        return sum(take() == 0.0 for _ in range(10))

    for away in (True, False):
        state.away = away
        with ThreadPoolExecutor(8) as pool:
            assert sum(pool.map(greedy, range(8))) == 5
        clock.seconds += AWAY_S


def test_a_redis_that_hangs_is_waited_for_once_and_not_at_each_dial(
    take: Callable[..., float], state: State, clock: Clock
) -> None:
    state.away = True
    assert [take(egress=f"10.0.0.{number}") for number in range(200)] == [0.0] * 200
    assert state.asked == 1
    state.away = False
    clock.seconds += AWAY_S
    assert take() == 0.0
    assert state.asked == 2


@pytest.mark.parametrize(
    ("exchange", "feed", "pool", "figure"),
    [
        ("binance", "user", "", Rate(300, 300.0)),
        ("binance", "user", "spot", Rate(6000, 60.0)),
        ("binanceUS", "user", "us", Rate(1200, 60.0)),
        ("binanceUsdm", "user", "futures", Rate(2400, 60.0)),
        ("bybit", "user", "", Rate(500, 300.0)),
        ("bybit", "user", "rest", Rate(600, 5.0)),
        ("okx", "ticker", "public", Rate(10, 2.0)),
        ("okx", "candle", "candles", Rate(40, 2.0)),
        ("kucoin", "user", "", Rate(30, 60.0)),
        ("kucoin", "user", "spot", Rate(4000, 30.0)),
        ("kucoin", "user", "public", Rate(2000, 30.0)),
        ("bitget", "user", "", Rate(300, 300.0)),
        ("bitget", "ticker", "public", Rate(20, 1.0)),
        ("coinbase", "user", "", Rate(8, 1.0)),
        ("coinbase", "user", "rest", Rate(10, 1.0)),
    ],
)
def test_venue_modules_take_the_margin_off_the_venues_figures(
    exchange: str, feed: Feed, pool: str, figure: Rate
) -> None:
    """The budget uses what they say in full (docs/venues, sections 3 and 4)."""
    venue = venue_of(exchange)
    assert venue is not None
    limits = venue.limits(exchange, feed)
    rate = {**limits.rest, **limits.own_rest}[pool] if pool else limits.connects

    assert rate.per_s >= figure.per_s
    assert 0.85 * figure.limit <= rate.limit < figure.limit


def test_what_others_used_up_is_not_asked_for_before_the_venue_s_next_period(state: State, clock: Clock) -> None:
    budget, other = Budget(state, clock), Budget(state, clock)
    clock.seconds += 60.0 - clock.wall_ms() % 60_000 / 1000 + 42.0
    budget.used("venue", "connect", "", RATE, 9)
    assert taker(other)() == 0.0
    budget.used("venue", "connect", "", RATE, 11)
    assert taker(budget)() == pytest.approx(18.0)
    assert taker(other)() == pytest.approx(18.0)
    assert taker(other)(egress="127.0.0.2") == 0.0
    clock.seconds += 18.0
    assert taker(other)() == 0.0
