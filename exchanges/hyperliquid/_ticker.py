"""Mid prices: every coin of a dex in each frame (venue file, sections 5 and 6)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import msgspec

from exchanges._adapter import EmitTickers, Fail, FailKind, Instant, Output, Outputs, Seen, Setup
from exchanges._feed import TickerFeed
from exchanges._numbers import number
from exchanges.events import Ticker
from exchanges.hyperliquid._markets import LINEAR, SPOT, dex_of, market_of, pair_of
from exchanges.hyperliquid._public import PublicFeed
from exchanges.hyperliquid._wire import Topic

VOLUME: Final = 10_000_000.0
"""The venue tells mids only; the platform knows this figure from the old connector, and uses the price."""
NATIVE: Final = Topic("allMids")
"""Spot and the native perps."""


class _Mids(msgspec.Struct, gc=False):
    mids: dict[str, str]


_decode = msgspec.json.Decoder(_Mids).decode


class TickerAdapter(TickerFeed[Topic], PublicFeed):
    """Prices of one exchange id; perps with one more subscription for each builder dex. See `exchanges._adapter.Adapter`."""

    channel = NATIVE.type

    def __init__(self, setup: Setup) -> None:
        super().__init__(setup)
        self._recorded = False

    def _topic(self, symbol: str) -> Topic:
        """All coins of a dex have one topic."""
        return Topic(NATIVE.type, dex=dex_of(symbol))

    def _all(self) -> Sequence[str]:
        return [""]

    def _refused(self, topics: Sequence[Topic], fail: Fail, now: Instant) -> list[Output]:
        """A builder dex that is gone costs only its own coins."""
        if NATIVE in topics:
            return [self._fail(FailKind.TRANSIENT, fail.reason)]
        return super()._refused(topics, fail, now)

    def _told_data(self, data: msgspec.Raw, now: Instant) -> Outputs:
        mids = _decode(data).mids
        stream_id = self._stream_id
        if not stream_id:
            return []
        if self._recorded:
            return self._whole(mids, now)
        tickers = self._tickers(self._exchange, mids, now.wall_ms)
        return [EmitTickers(stream_id, self._exchange, tickers) if tickers else Seen(stream_id)]

    def _tickers(self, exchange: str, mids: Mapping[str, str], wall_ms: int) -> list[Ticker]:
        """The venue tells no time, so it is ours."""
        table = self._setup.table()
        tickers: list[Ticker] = []
        if not len(table):
            return tickers  # every price would go out under the venue's code
        for code, text in mids.items():
            if market_of(code) != exchange:
                continue
            price = number(text)
            if price <= 0:
                continue
            symbol = pair_of(table, code)
            identity = f"{symbol}@{wall_ms}@{exchange}:{text}"
            tickers.append(
                Ticker(symbol, wall_ms, price, VOLUME, price, price, price, price, identity, wall_ms, exchange)
            )
        return tickers

    def replay(self, stream_id: str) -> None:
        super().replay(stream_id)
        self._recorded = True

    def _whole(self, mids: Mapping[str, str], now: Instant) -> Outputs:
        """A recorded frame is shown whole, by channel; a live stream passes on its own exchange id's part of it."""
        rows = [row for exchange in (SPOT, LINEAR) for row in self._tickers(exchange, mids, now.wall_ms)]
        rows.sort(key=lambda row: (row.symbol, row.exchange))
        return [EmitTickers(self._stream_id, row.exchange, [row]) for row in rows]
