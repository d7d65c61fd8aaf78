"""Bitget's public v3 connection: tickers and candles of every market, inverse perpetuals among them. Pure."""

# Hooks have the signature of `Peer` whether they need every argument or not.
# ruff: noqa: ARG002

from __future__ import annotations

from simulator._values import CandleUpdate, Tick
from simulator._venue import Effects, Frame, Instant, Noted, Unwatch, Watch
from simulator.venues.bitget import _frames
from simulator.venues.bitget._peer import HISTORY, MAX_CHANNELS, BitgetPeer, RefusedArg, Row
from simulator.venues.bitget._state import State
from simulator.venues.bitget._symbols import MODERN_CODES, MODERN_INTERVALS, PRODUCTS, REALITY, REALITY_INTERVALS

Key = tuple[str, str, str]
"""Exchange id, symbol, interval (empty for the ticker)."""


class ModernPeer(BitgetPeer):
    """Products in small letters, and `topic` and `symbol` in place of `channel` and `instId`."""

    feed = "market"

    def __init__(self, state: State, now: Instant) -> None:
        super().__init__(state, now)
        self._topics: set[Key] = set()

    def _checked(self, arg: Row) -> Key:
        """Raises `RefusedArg`."""
        product, topic, wire = str(arg.get("instType")), str(arg.get("topic")), str(arg.get("symbol"))
        exchange = PRODUCTS.get(product.upper()) if product.islower() else None
        symbol = self.world.markets.symbol(exchange, wire) if exchange else None
        if exchange is None or symbol is None or symbol.kind != product.upper():
            raise RefusedArg(30001, f"instType:{product},topic:{topic},symbol:{wire} doesn't exist")
        if topic == "ticker":
            return exchange, wire, ""
        code = str(arg.get("interval"))
        if topic != "kline" or code not in (REALITY_INTERVALS if wire in REALITY else MODERN_INTERVALS):
            raise RefusedArg(30016, "Param error")
        return exchange, wire, MODERN_INTERVALS[code]

    def subscribe(self, arg: Row, now: Instant) -> Effects:
        key = exchange, wire, interval = self._checked(arg)
        if len(self._topics) >= MAX_CHANNELS:
            raise RefusedArg(30006, "too many channels")
        self._topics.add(key)
        noted = Noted("subscribe", f"{arg['instType']}/{arg['topic']}/{wire}")
        if not interval:
            return (noted, Watch(exchange))
        rows = self.world.markets.candles(exchange, wire, interval, None, None, HISTORY, now.wall_ms)
        history = _frames.push(arg, [_frames.modern_candle(row) for row in rows], now.wall_ms)
        return (noted, Frame(history), Watch(exchange, wire, interval))

    def unsubscribe(self, arg: Row, now: Instant) -> Effects:
        key = exchange, wire, interval = self._checked(arg)
        self._topics.discard(key)
        noted = Noted("unsubscribe", f"{arg['instType']}/{arg['topic']}/{wire}")
        return (noted, Unwatch(exchange, wire, interval)) if interval else (noted,)

    def ticked(self, tick: Tick, now: Instant) -> Effects:
        frames = self.state.modern_tickers.frames(tick)
        return [Frame(text) for wire, text in frames if (tick.exchange, wire, "") in self._topics]

    def candle(self, update: CandleUpdate, now: Instant) -> Effects:
        symbol, code = update.symbol, MODERN_CODES.get(update.interval)
        if code is None:
            return ()
        arg = {"instType": symbol.kind.lower(), "topic": "kline", "symbol": symbol.wire, "interval": code}
        return (Frame(_frames.push(arg, [_frames.modern_candle(update.candle)], update.time_ms, "update")),)
