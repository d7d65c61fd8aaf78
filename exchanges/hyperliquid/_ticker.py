"""Mid prices: every coin of a dex in each frame (docs/venues/hyperliquid.md, sections 5 and 6)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec

from exchanges._adapter import EmitTickers, Fail, FailKind, Instant, Output, Outputs, Seen
from exchanges._feed import TickerFeed
from exchanges._numbers import number
from exchanges._stamps import Stamps
from exchanges._venue import Setup
from exchanges.events import Ticker
from exchanges.hyperliquid._connection import PublicFeed
from exchanges.hyperliquid._connection_frames import Topic
from exchanges.hyperliquid._symbols import DOUBLE, LINEAR, SPOT, dex_of, market_of

VOLUME: Final = 10_000_000.0
"""The venue tells mids only; the platform knows this figure from the old connector, and uses the price."""
NATIVE: Final = Topic("allMids")
"""Spot and the native perps."""


class _Mids(msgspec.Struct, gc=False):
    """Each value is looked at by itself: every frame is the whole market, and one odd price must not cost the others."""

    mids: dict[str, Any]


_decode = msgspec.json.Decoder(_Mids).decode


class TickerAdapter(TickerFeed[Topic], PublicFeed):
    """Prices of one exchange id; perps with one more subscription for each builder dex. See `exchanges._adapter.Adapter`."""

    channel = NATIVE.type

    def __init__(self, setup: Setup) -> None:
        super().__init__(setup)
        self._recorded = False
        self._stamps = Stamps()

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
        tickers = self._tickers(self._exchange, mids, self._stamps.at(now.wall_ms), now.wall_ms)
        return [EmitTickers(stream_id, self._exchange, tickers) if tickers else Seen(stream_id)]

    def _tickers(self, exchange: str, mids: Mapping[str, object], time_ms: int, wall_ms: int) -> list[Ticker]:
        table = self._setup.table()
        tickers: list[Ticker] = []
        if not len(table):
            return tickers  # every price would go out under the venue's code
        for code, told in mids.items():
            if market_of(code) != exchange:
                continue
            price = _price(told)
            found = table.wire(code)
            if price <= 0 or (found is not None and DOUBLE in found.extra):
                continue
            symbol = code if found is None else found.pair
            identity = f"{symbol}@{time_ms}@{exchange}:{told}"
            tickers.append(
                Ticker(symbol, time_ms, price, VOLUME, price, price, price, price, identity, wall_ms, exchange)
            )
        return tickers

    def replay(self, stream_id: str) -> None:
        super().replay(stream_id)
        self._recorded = True

    def _whole(self, mids: Mapping[str, object], now: Instant) -> Outputs:
        """A recorded frame is shown whole, by channel; a live stream passes on its own exchange id's part of it."""
        rows = [row for exchange in (SPOT, LINEAR) for row in self._tickers(exchange, mids, now.wall_ms, now.wall_ms)]
        rows.sort(key=lambda row: (row.symbol, row.exchange))
        return [EmitTickers(self._stream_id, row.exchange, [row]) for row in rows]


def _price(told: object) -> float:
    """A mid is text; anything that is no figure counts as no price."""
    if isinstance(told, int | float) and not isinstance(told, bool):
        told = repr(told)
    return number(told) if isinstance(told, str) else 0.0
