"""Tickers and candles on their way out: in order, never one twice.

Two sessions deliver the same symbols while one replaces the other, and two processes the same candles while one gives a feed
away.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from typing import Final

from connector.core.messages import CandleMessage, Sink, TickerMessage
from connector.core.metrics import METRICS
from exchanges import closed_candles
from exchanges._adapter import EmitCandle, EmitTickers
from exchanges._plausible import AHEAD_MS
from exchanges.events import encode

LONGEST_CANDLE_MS: Final = 32 * 86_400_000


class MarketFeed:
    """I/O threads call `tickers` and `candle`, the owner of the feeds the rest."""

    def __init__(self, sink: Sink, wall_ms: Callable[[], int]) -> None:
        self._sink, self._wall_ms = sink, wall_ms
        self.allows: Callable[[str], Callable[[str], bool] | None] | None = None
        """By exchange, which symbols' prices are published (`connector.streams.price_symbols`); None = all."""
        self._ticker_times: dict[str, dict[str, int]] = {}
        self._candle_starts: dict[tuple[str, str, str], int] = {}
        self._candle_lock = threading.Lock()
        self._candles_ended: set[str] = set()

    def tickers(self, emit: EmitTickers, mono: float) -> None:
        # Two sessions deliver the same symbols while one replaces the other: times never go back (contract 2.6).
        times = self._ticker_times.setdefault(emit.exchange, {})
        before = times.get
        tickers = [ticker for ticker in emit.tickers if ticker.time >= before(ticker.symbol, 0)]
        allows = self.allows(emit.exchange) if self.allows is not None else None
        if allows is not None:  # streams with all symbols of a market carry the others as well
            tickers = [ticker for ticker in tickers if allows(ticker.symbol)]
        latest_ms = self._wall_ms() + AHEAD_MS
        if max([ticker.time for ticker in tickers], default=0) > latest_ms:
            whole, tickers = tickers, [ticker for ticker in tickers if ticker.time <= latest_ms]
            METRICS.count("implausible_times_total", len(whole) - len(tickers), exchange=emit.exchange, kind="ticker")
        if tickers:
            # Thousands of rows a frame: lists made at once, and no call of ours for each.
            symbols = [ticker.symbol for ticker in tickers]
            times.update(zip(symbols, [ticker.time for ticker in tickers], strict=True))
            self._sink.submit(
                [
                    TickerMessage(
                        exchange=emit.exchange,
                        symbols=symbols,
                        bodies=list(map(encode, tickers)),
                        received_mono=mono,
                    )
                ]
            )

    def candle(self, emit: EmitCandle, mono: float) -> None:
        key = (emit.exchange, emit.symbol, emit.interval)
        closed = closed_candles(emit.exchange)
        if emit.candle.start > self._wall_ms() + max(emit.length_ms, AHEAD_MS):
            METRICS.count("implausible_times_total", exchange=emit.exchange, kind="candle")
            return
        with self._candle_lock:
            last = self._candle_starts.get(key)
            repeated = last is not None and (emit.candle.start < last or (closed and emit.candle.start == last))
            if repeated or emit.exchange in self._candles_ended:
                return
            self._candle_starts[key] = emit.candle.start
        self._sink.submit(
            [
                CandleMessage(
                    exchange=emit.exchange,
                    symbol=emit.symbol,
                    interval=emit.interval,
                    event_id=f"{emit.exchange}:{emit.symbol}:{emit.interval}:{emit.candle.unique_message_id}",
                    start_ms=emit.candle.start,
                    body=encode(emit.candle),
                    closed=closed,
                    received_mono=mono,
                )
            ]
        )

    def end_candles(self, exchange: str) -> None:
        """Publish no candle of this exchange from here on: another process goes on after what `candle_starts` says then."""
        with self._candle_lock:
            self._candles_ended.add(exchange)

    def begin_candles(self, exchange: str) -> None:
        """This process has the candles of this exchange (again)."""
        with self._candle_lock:
            self._candles_ended.discard(exchange)

    def last_candle_ms(self, exchange: str, symbol: str, interval: str) -> int | None:
        """Opening time of the last candle published; None = none yet."""
        return self._candle_starts.get((exchange, symbol, interval))

    def candle_starts(self, exchange: str) -> dict[str, int]:
        """`symbol|interval` → opening time of the last candle published, for the saved position."""
        return {
            f"{symbol}|{interval}": start
            for (of, symbol, interval), start in list(self._candle_starts.items())
            if of == exchange
        }

    def load_candle_starts(self, exchange: str, starts: Mapping[str, int]) -> None:
        """What an earlier life published. A start that can't be true (of an earlier release) would silence its topic."""
        latest_ms = self._wall_ms() + LONGEST_CANDLE_MS
        for name, start in starts.items():
            symbol, _, interval = name.rpartition("|")
            if start > latest_ms:
                continue
            key = (exchange, symbol, interval)
            self._candle_starts[key] = max(start, self._candle_starts.get(key, 0))
