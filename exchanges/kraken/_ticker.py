"""Tickers, spot, futures and unified: each message complete, moved by trades (docs/venues/kraken.md, sections 5 and 6)."""

from __future__ import annotations

from math import inf
from typing import Final

import msgspec

from exchanges._adapter import EmitTickers, Instant, Note, Output, Outputs, Seen
from exchanges._feed import TickerFeed
from exchanges._rows import read_rows, tolerant
from exchanges._stamps import Stamps
from exchanges._times import milliseconds
from exchanges._venue import Setup
from exchanges.events import Ticker
from exchanges.kraken._connection_futures import TICKER, FuturesLink
from exchanges.kraken._connection_futures_frames import Frame as FuturesFrame
from exchanges.kraken._connection_spot import SpotLink
from exchanges.kraken._connection_spot_frames import Frame as SpotFrame
from exchanges.kraken._connection_topic import DERIVATIVES, PRODUCT, Topic
from exchanges.kraken._hosts import UNIFIED_WS
from exchanges.kraken._symbols import pair_in

_OFFERED: Final = ("PF_", "PI_")


class _SpotTick(msgspec.Struct, gc=False):
    symbol: str
    last: float | None = None
    volume: float | None = None
    ask_qty: float | None = None
    bid_qty: float | None = None
    timestamp: str | None = None


class _FuturesTick(msgspec.Struct, gc=False):
    product_id: str
    last: float | None = None
    volume: float | None = None
    ask_size: float | None = None
    bid_size: float | None = None
    time: int = 0


_decode_spot = tolerant(_SpotTick, blank=True)
_decode_futures = tolerant(_FuturesTick, blank=True)


class _Tickers(TickerFeed[Topic]):
    """What both markets make of a tick."""

    def __init__(self, setup: Setup) -> None:
        super().__init__(setup)
        self._pairs: dict[str, str] = {}
        self._stamps = Stamps()

    def _topic(self, symbol: str) -> Topic:
        return Topic(symbol)

    def _pair(self, wire: str) -> str:
        pair = self._pairs.get(wire)
        if pair is None:
            pair = pair_in(self._setup.table(), wire)
            if pair != wire:  # a symbol that the table lacks may be in the next one
                self._pairs[wire] = pair
        return pair

    def _ticker(
        self,
        wire: str,
        time_ms: int,
        price: float | None,
        volume: float | None,
        ask_size: float | None,
        bid_size: float | None,
        wall_ms: int,
    ) -> Ticker | None:
        """None without a last price. Ask and bid carry it too (contract 2.6)."""
        if price is None or not 0 < price < inf:
            return None
        symbol, exchange = self._pair(wire), self._exchange
        time_ms = time_ms or self._stamps.at(wall_ms)
        return Ticker(
            symbol,
            time_ms,
            price,
            volume or 0.0,
            price,
            price,
            ask_size or 0.0,
            bid_size or 0.0,
            f"{symbol}@{time_ms}@{exchange}:{price}:{volume}:{ask_size}:{bid_size}",
            wall_ms,
            exchange,
        )

    def _told(self, tickers: list[Ticker]) -> list[Output]:
        if not self._stream_id:
            return []
        return [EmitTickers(self._stream_id, self._exchange, tickers) if tickers else Seen(self._stream_id)]


class SpotTicker(_Tickers, SpotLink):
    """One shard of symbols."""

    channel = "ticker"

    def _data(self, message: SpotFrame, now: Instant) -> Outputs:
        rows, odd = read_rows(message.data, _decode_spot)
        told = [
            self._ticker(
                row.symbol, milliseconds(row.timestamp), row.last, row.volume, row.ask_qty, row.bid_qty, now.wall_ms
            )
            for row in rows
        ]
        notes: list[Output] = [Note(odd.phrase("tickers"))] if odd else []
        return [*notes, *self._told([ticker for ticker in told if ticker is not None])]


class UnifiedTicker(SpotTicker):
    """One shard of products on the unified socket."""

    url = UNIFIED_WS
    names = PRODUCT

    def _further(self, minutes: int) -> dict[str, object]:
        return DERIVATIVES


class FuturesTicker(_Tickers, FuturesLink):
    """One shard of products."""

    def _data(self, message: FuturesFrame, frame: bytes, now: Instant) -> Outputs:
        if message.feed in ("heartbeat", f"{TICKER}_snapshot"):
            return self._told([])
        if message.feed != TICKER:
            return [Note(f"unknown public frame {message.feed[:40] or 'without a feed'}")]
        row = _decode_futures(frame)
        if not row.product_id.startswith(_OFFERED):
            return self._told([])
        ticker = self._ticker(row.product_id, row.time, row.last, row.volume, row.ask_size, row.bid_size, now.wall_ms)
        return self._told([ticker] if ticker is not None else [])
