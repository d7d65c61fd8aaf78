"""Stalled feeds: restart the failing socket, then build the market anew, and never leak (rows A28, A31, B19-B22, D8)."""

from __future__ import annotations

from typing import Any, cast

import pytest

from connector.core.loop import Loop
from connector.core.ports import CandleKey
from connector.streams.instruments import Instruments
from connector.streams.leases import Leases
from connector.streams.market import Markets
from connector.streams.placement import Placement
from exchanges._venue import Limits, Rate
from exchanges.instruments import EMPTY, SymbolTable
from tests.unit.connector.streams.fakes import Bench, FakeSession

LIMIT_S = 75.0


class Lists:
    """Symbol lists that never come: all-market streams and candles need none."""

    def __init__(self) -> None:
        self.refreshed: list[str] = []

    def table(self, exchange: str) -> SymbolTable:
        return EMPTY

    def refresh(self, exchange: str) -> None:
        self.refreshed.append(exchange)


class Market:
    """The feeds of Binance's markets over a supervisor whose thread is the test."""

    def __init__(self, *exchanges: str) -> None:
        self.bench = Bench(room=50)
        self.bench.placement.limits = Limits(connects=Rate(1, 1.0), messages=Rate(1, 1.0), data_silence_s=LIMIT_S)
        self.lists = Lists()
        leases = Leases(self.bench.state, "p1", "price", 8.0)
        self.markets = Markets(
            self.bench.state, leases, self.bench.supervisor, cast(Placement, self.bench.placement),
            self.bench.pipeline, cast(Instruments, self.lists), self.bench.clock,
            Loop("markets", self.bench.clock, threaded=False), role="all",
            exchanges=lambda: exchanges, enabled=lambda _: True, candle_stall_s=None,
        )  # fmt: skip

    def sweep(self) -> None:
        self.markets._sweep()
        self.settle()

    def settle(self) -> None:
        self.bench.run()
        for session in self.bench.placement.sessions():
            if not session.opened_mono:
                session.last_data_mono = self.bench.clock.seconds
                for stream_id in sorted(session.streams):
                    self.bench.live(stream_id, session)

    def wait(self, seconds: float, *delivering: FakeSession) -> None:
        self.bench.advance(seconds)
        for session in delivering:
            session.last_data_mono = self.bench.clock.seconds
        self.markets._stalls.watch()
        self.bench.advance(61)  # the longest pause before a reconnect
        self.settle()

    def session(self, exchange: str, feed: str) -> FakeSession:
        return next(one for one in self.bench.placement.open if (one.exchange, one.feed) == (exchange, feed))

    def stalls(self) -> list[dict[str, Any]]:
        return self.bench.sink.services("watchdogStall")


@pytest.fixture
def market() -> Market:
    made = Market("binance", "binanceUsdm")
    for exchange in ("binance", "binanceUsdm"):
        made.bench.state.add_candle(CandleKey(exchange=exchange, symbol="BTCUSDT", interval="1m"))
    made.sweep()
    return made


def test_every_market_has_its_own_sockets(market: Market) -> None:
    """Bugs B22, D8: one record per market and feed, made by one class for every exchange."""
    feeds = sorted((session.exchange, session.feed) for session in market.bench.placement.open)
    assert feeds == [
        ("binance", "candle"), ("binance", "ticker"), ("binanceUsdm", "candle"), ("binanceUsdm", "ticker")
    ]  # fmt: skip


def test_a_candle_stall_restarts_that_socket_only_and_says_so_first(market: Market) -> None:
    stalled = market.session("binance", "candle")
    others = [one for one in market.bench.placement.open if one is not stalled]
    market.wait(181, *others)
    notice = {"exchange": "binance", "kind": "candle", "staleSeconds": 181, "role": "all"}
    assert market.stalls() == [{"watchdogStall": notice}]
    assert stalled.closed
    assert market.session("binance", "candle") is not stalled
    assert not any(one.closed for one in others)


def test_the_third_stall_without_data_builds_the_market_anew(market: Market) -> None:
    """Bug B21: the escalation itself, which at upstream could never happen."""
    for number in (1, 2, 3):
        assert market.lists.refreshed == []
        delivering = [one for one in market.bench.placement.open if (one.exchange, one.feed) != ("binance", "candle")]
        market.wait(181, *delivering)
        assert len(market.stalls()) == number
    assert market.lists.refreshed == ["binance"]
    assert market.session("binance", "candle").streams == {"candle:BTCUSDT@binance@1m"}


def test_data_in_between_starts_the_count_over(market: Market) -> None:
    for _ in range(6):
        market.wait(1, *market.bench.placement.open)
        delivering = [one for one in market.bench.placement.open if (one.exchange, one.feed) != ("binance", "candle")]
        market.wait(181, *delivering)
    assert market.lists.refreshed == []


def test_fifty_rebuilds_leave_as_many_sockets_as_before(market: Market) -> None:
    """Bug B20: sockets that nobody holds any more went on publishing at upstream."""
    for _ in range(50):
        market.wait(181)
    assert len(market.bench.placement.made) > 50
    assert len(market.bench.placement.open) == 4
    assert len({one.name for one in market.bench.placement.open}) == 4


def test_a_feed_whose_every_connect_fails_is_tried_at_a_bounded_rate() -> None:
    """Bugs A5, B19: a simulated hour in which nothing works."""
    market = Market("binance")
    market.markets._sweep()
    market.bench.run()
    end = market.bench.clock.seconds + 3600
    while market.bench.clock.seconds < end:
        market.bench.advance(1.0)
        for session in market.bench.placement.sessions():
            market.bench.lost(session)
    assert 60 <= len(market.bench.placement.made) <= 300
    assert market.bench.placement.open == []
