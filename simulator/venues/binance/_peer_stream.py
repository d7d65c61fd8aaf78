"""Stream sockets of all four markets: market streams, and user streams named by a listen key. Pure."""

# Hooks have the signature of `Peer` whether they need every argument or not.
# ruff: noqa: ARG002

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from simulator._peer import BasePeer
from simulator._values import INTERVALS, CandleUpdate, Change, OrderChange, Tick
from simulator._venue import (
    Close,
    Effect,
    Effects,
    Follow,
    Frame,
    Instant,
    Noted,
    Signal,
    Unfollow,
    Unwatch,
    Watch,
)
from simulator.venues.binance._frames import frames_of
from simulator.venues.binance._frames_market import full, kline, mini
from simulator.venues.binance._state import State
from simulator.venues.binance._symbols import COINM, SPOT, USDM, Profile

_encode = msgspec.json.encode

ARRAYS = {"!miniTicker@arr": True, "!ticker@arr": False}
"""All-market streams; the value says whether rows are mini tickers. Spot lost `!ticker@arr` on 2026-03-26."""
SHUTDOWN_S = 10.0
"""From the `serverShutdown` notice to the close, unless the signal says otherwise."""


class StreamPeer(BasePeer):
    """One socket on a stream host. `section` is the routed part of a USD-M path (`market`, `private`, `public` or empty)."""

    def __init__(
        self, state: State, profile: Profile, section: str, *, combined: bool, names: Sequence[str], now: Instant
    ) -> None:
        self.ping_every_s = profile.ping_every_s
        self.pong_within_s = profile.pong_within_s
        self.messages = profile.messages
        super().__init__(state.world, now)
        self._state = state
        self._profile = profile
        self._section = section
        self._combined = combined
        self._first = names
        self._streams: dict[str, None] = {}
        self._arrays: dict[str, bool] = {}
        self._singles: dict[str, dict[str, bool]] = {}
        self._candles: dict[tuple[str, str], str] = {}
        self._keys: dict[str, str] = {}
        self._pending: dict[str, bytes] = {}
        self._shutdown: float | None = None
        self.feed = "user" if section == "private" or any(state.keys.live(n, now.mono) for n in names) else "market"

    def opened(self, now: Instant) -> Effects:
        return self._join(self._first, now)

    # --- control frames ---

    def frame(self, data: str | bytes, now: Instant) -> Effects:
        try:
            request = msgspec.json.decode(data)
        except (msgspec.DecodeError, UnicodeDecodeError) as problem:
            return (_ack({"code": 3, "msg": f"Invalid JSON: {problem}"}),)
        if not isinstance(request, dict):
            return (_ack({"code": 2, "msg": "Invalid request: request must be an object"}),)
        request_id, params = request.get("id"), request.get("params", [])
        if not isinstance(request_id, int | str) or (isinstance(request_id, str) and len(request_id) > 36):
            return (_ack({"code": 2, "msg": "Invalid request: id must be an integer or a string of up to 36"}),)
        if not isinstance(params, list) or not all(isinstance(name, str) for name in params):
            return (_ack({"code": 2, "msg": "Invalid request: params must be an array of strings", "id": request_id}),)
        match request.get("method"):
            case "SUBSCRIBE":
                return (_ack({"result": None, "id": request_id}), *self._join(params, now))
            case "UNSUBSCRIBE":
                return (_ack({"result": None, "id": request_id}), *self._leave(params))
            case "LIST_SUBSCRIPTIONS":
                return (_ack({"result": list(self._streams), "id": request_id}),)
            case other:
                return (_ack({"code": 2, "msg": f"Invalid request: unknown method {other}", "id": request_id}),)

    def _join(self, names: Sequence[str], now: Instant) -> list[Effect]:
        effects: list[Effect] = []
        for name in names:
            if name in self._streams:
                continue
            self._streams[name] = None
            if len(self._streams) > self._profile.streams and self.world.settings.limits:
                return [Noted("limit", "streams"), Close(1008, "Too many streams")]
            if self._state.keys.live(name, now.mono):
                effects += self._attach(name)
            else:
                effects += [Noted("subscribe", name), *self._watch(name)]
        return effects

    def _watch(self, name: str) -> list[Effect]:
        """An unknown, a wrongly routed or a removed stream is acknowledged and stays silent."""
        if self._profile is USDM and self._section != "market":
            return []
        exchange = self._profile.exchange
        if name in ARRAYS:
            if self._profile is SPOT and not ARRAYS[name]:
                return []
            self._arrays[name] = ARRAYS[name]
            return [Watch(source) for source in self._sources()]
        lower, _, kind = name.partition("@")
        wire = self._state.wire_of(exchange, lower)
        if wire is None:
            return []
        if kind in {"miniTicker", "ticker"}:
            self._singles.setdefault(wire, {})[name] = kind == "miniTicker"
            return [Watch(exchange)]
        interval = kind.removeprefix("kline_")
        if kind.startswith("kline_") and interval in INTERVALS:
            self._candles[(wire, interval)] = name
            return [Watch(exchange, wire, interval)]
        return []

    def _sources(self) -> tuple[str, ...]:
        """Since 2026-06-30 the all-market streams of both futures hosts carry the symbols of both markets."""
        if self._profile.row_kind:
            return (USDM.exchange, COINM.exchange)
        return (self._profile.exchange,)

    def _leave(self, names: Sequence[str]) -> list[Effect]:
        effects: list[Effect] = []
        for name in names:
            if name not in self._streams:
                continue
            del self._streams[name]
            effects.append(Noted("unsubscribe", name))
            self._arrays.pop(name, None)
            for wire, streams in list(self._singles.items()):
                streams.pop(name, None)
                if not streams:
                    del self._singles[wire]
            for (wire, interval), stream in list(self._candles.items()):
                if stream == name:
                    del self._candles[(wire, interval)]
                    effects.append(Unwatch(self._profile.exchange, wire, interval))
        if not self._arrays and not self._singles:
            effects += [Unwatch(source) for source in self._sources()]
        return effects

    # --- market data ---

    def ticked(self, tick: Tick, now: Instant) -> Effects:
        effects: list[Effect] = []
        if self._singles and tick.exchange == self._profile.exchange:
            for quote in tick.quotes:
                for name, minis in self._singles.get(quote.symbol.wire, {}).items():
                    row = mini(quote, tick.time_ms) if minis else full(self._profile, quote, tick.time_ms)
                    effects.append(self._wrapped(name, _encode(row)))
        for name, minis in self._arrays.items():
            rows = self._state.tickers.rows(tick, minis=minis)
            if self._profile.row_kind and tick.walk and tick.exchange == USDM.exchange:
                self._pending[name] = rows  # goes out together with the COIN-M rows of the same step
                continue
            if tick.walk:
                rows = b",".join(part for part in (self._pending.pop(name, b""), rows) if part)
            if rows:
                effects.append(self._wrapped(name, b"[%b]" % rows))
        return effects

    def candle(self, update: CandleUpdate, now: Instant) -> Effects:
        name = self._candles.get((update.symbol.wire, update.interval))
        if name is None or update.exchange != self._profile.exchange:
            return ()
        return (self._wrapped(name, _encode(kline(self._profile, update))),)

    def _wrapped(self, name: str, payload: bytes) -> Frame:
        return Frame(b'{"stream":%b,"data":%b}' % (_encode(name), payload)) if self._combined else Frame(payload)

    # --- user data ---

    def _attach(self, name: str) -> list[Effect]:
        listen_key = self._state.keys.get(name)
        routed = self._profile is not USDM or self._section == "private"
        if listen_key is None or listen_key.exchange != self._profile.exchange or not routed:
            return []
        self.feed = "user"
        self._keys[name] = listen_key.account
        return [Follow(listen_key.account), Noted("login", listen_key.account)]

    def changed(self, change: Change, now: Instant) -> Effects:
        if change.exchange != self._profile.exchange:
            return ()
        effects: list[Effect] = []
        for name, account in self._keys.items():
            if account != change.account or self._state.keys.live(name, now.mono) is None:
                continue
            markets = self.world.markets
            if isinstance(change, OrderChange):
                rows = frames_of(self._profile, markets.symbol(change.exchange, change.order.symbol), change, {})
            else:
                quotes = {p.symbol: markets.quote(change.exchange, p.symbol) for p in change.positions}
                rows = frames_of(self._profile, None, change, quotes)
            effects += [self._wrapped(name, _encode(row)) for row in rows]
        return effects

    def next_timer(self) -> float | None:
        times = [key.expires_mono for name in self._keys if (key := self._state.keys.get(name))]
        if self._shutdown is not None:
            times.append(self._shutdown)
        return min(times, default=None)

    def timer(self, now: Instant) -> Effects:
        if self._shutdown is not None and now.mono >= self._shutdown:
            return (Close(1001, "shutdown"),)
        return self._expire(now)

    def _expire(self, now: Instant) -> Effects:
        """The socket stays open and goes quiet, after one last frame."""
        effects: list[Effect] = []
        for name, account in list(self._keys.items()):
            if self._state.keys.live(name, now.mono) is None:
                del self._keys[name]
                row: dict[str, Any] = {"e": "listenKeyExpired", "E": now.wall_ms, "listenKey": name}
                effects += [self._wrapped(name, _encode(row)), Unfollow(account), Noted("token_expired", account)]
        return effects

    def signal(self, signal: Signal, now: Instant) -> Effects:
        if signal.name == "expire_token":
            return self._expire(now)
        if signal.name == "maintenance" and self._profile.spot:
            self._shutdown = now.mono + float(signal.params.get("seconds") or SHUTDOWN_S)
            row = _encode({"e": "serverShutdown", "E": now.wall_ms})
            return (self._wrapped("!serverShutdown", row),)
        if signal.name == "terminate":
            return ()
        return super().signal(signal, now)


def _ack(value: dict[str, Any]) -> Frame:
    return Frame(_encode(value), ack=True)
