"""Tickers: the market statistics of a day, every second and also in a quiet market."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec

from exchanges._adapter import EmitTickers, Instant, Outputs, Seen
from exchanges._feed import TickerFeed
from exchanges._numbers import number
from exchanges._stamps import Stamps
from exchanges._venue import Setup
from exchanges.events import Ticker
from exchanges.whitebit._connection import PublicFeed

AGAIN_S: Final = 20.0
"""A price that did not change is published this often: a symbol without one for minutes counts as dead."""


class _Market(msgspec.Struct):
    last: str | None = None
    volume: str | None = None


class _Update(msgspec.Struct, array_like=True):
    market: str
    figures: _Market


_decode = msgspec.json.Decoder(_Update).decode


class TickerAdapter(TickerFeed[str], PublicFeed[str]):
    """All markets of an id. See `exchanges._adapter.Adapter`."""

    channel = "market"

    def __init__(self, setup: Setup) -> None:
        super().__init__(setup)
        self._stamps = Stamps()
        self._last: dict[str, tuple[float, float, float]] = {}
        """Price, volume, and when they were published, monotonic seconds."""

    def _topic(self, symbol: str) -> str:
        return symbol

    def _params(self, topics: Sequence[str]) -> list[object]:
        return list(topics)

    def _named(self, market: str) -> str | None:
        return market or None

    def _data(self, params: msgspec.Raw, now: Instant) -> Outputs:
        update = _decode(params)
        if not self._stream_id:
            return []
        instrument = self._setup.table().wire(update.market)
        price, volume = number(update.figures.last), number(update.figures.volume)
        if instrument is None or price <= 0:
            return [Seen(self._stream_id)]
        last = self._last.get(update.market)
        if last is not None and last[:2] == (price, volume) and now.mono < last[2] + AGAIN_S:
            return [Seen(self._stream_id)]
        self._last[update.market] = (price, volume, now.mono)
        time, pair = self._stamps.at(now.wall_ms), instrument.pair
        message_id = f"{pair}@{time}@{self._exchange}:{update.figures.last}:{volume}"
        ticker = Ticker(
            pair, time, price, volume, price, price, volume, volume, message_id, now.wall_ms, self._exchange
        )
        return [EmitTickers(self._stream_id, self._exchange, [ticker])]
