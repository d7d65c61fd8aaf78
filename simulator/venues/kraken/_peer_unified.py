"""Connections of the unified WebSocket, of which only derivatives are served: public and private. Pure."""

# Hooks have the signature of `Peer` whether they need every argument or not.

from __future__ import annotations

from typing import Any, Final

import msgspec

from simulator._values import Change, OrderChange, Tick
from simulator._venue import Effect, Effects, Follow, Frame, Instant, Noted, Unfollow
from simulator.venues.kraken import _frames_unified as frames
from simulator.venues.kraken._peer_spot import PrivatePeer, PublicPeer, SpotRequest
from simulator.venues.kraken._state import State
from simulator.venues.kraken._symbols import FUTURES, SPOT

CHANNELS: Final = ("executions", "balances", "margin", "positions")
SNAPSHOT_FILLS: Final = 50
_TAKEN: Final = {
    "executions": {"channel", "token", "asset_class", "snap_orders", "snap_trades", "order_status"},
    "balances": {"channel", "token", "snapshot"},
    "margin": {"channel", "token", "asset_class"},
    "positions": {"channel", "token", "asset_class", "snapshot", "with_margin"},
    "ticker": {"channel", "symbol", "asset_class", "snapshot"},
    "ohlc": {"channel", "symbol", "asset_class", "interval", "tick_type", "snapshot"},
    "instrument": {"channel", "asset_class", "snapshot"},
}
"""The parameters of each channel; another one is refused."""
_encode = msgspec.json.encode


def refusal(channel: str, params: dict[str, Any]) -> str | None:
    """Why the parameters of a channel are refused."""
    for name in params:
        if name not in _TAKEN[channel]:
            return f"'params.{name}' is not valid for the {channel} channel"
    if "asset_class" in _TAKEN[channel] and params.get("asset_class") != frames.CLASS:
        return f"'params.asset_class' is required for the {channel} channel"
    return None


class UnifiedPublicPeer(PublicPeer):
    """Tickers, candles and the list of instruments."""

    exchange = FUTURES

    def subscribe(self, request: SpotRequest, now: Instant) -> list[Effect]:
        channel = str(request.params.get("channel"))
        if channel in ("ticker", "ohlc", "instrument"):
            text = refusal(channel, request.params)
            if text is not None:
                return [self._refused(request, text, now)]
        if channel != "instrument":
            return super().subscribe(request, now)
        told = {"channel": channel, "type": "snapshot", "data": frames.instruments(self.world.markets.symbols(FUTURES))}
        ack = self._answer(request, now, {"channel": channel, "snapshot": True})
        return [ack, Noted("subscribe", channel), Frame(_encode(told))]

    def rendered(self, tick: Tick) -> dict[str, bytes]:
        return self._state.tickers.unified(tick)


class UnifiedPrivatePeer(PrivatePeer):
    """Executions, balances and margin of one account's derivatives."""

    def __init__(self, state: State, now: Instant) -> None:
        super().__init__(state, now)
        self._odd = state.unified_connections % 2 == 1
        state.unified_connections += 1

    def subscribe(self, request: SpotRequest, now: Instant) -> list[Effect]:
        channel, token = str(request.params.get("channel")), str(request.params.get("token", ""))
        if channel not in CHANNELS:
            return [self._refused(request, "Public market data is unavailable on this endpoint", now)]
        text = refusal(channel, request.params)
        if text is not None:
            return [self._refused(request, text, now)]
        effects: list[Effect] = []
        if not token or token != self._token:
            account = self._state.tokens.take(token, now)
            if account is None:
                return [self._refused(request, "ESession:Invalid session", now), Noted("login_refused", "token")]
            effects += [Noted("login", account), Follow(account)]
            self._account, self._token = account, token
        if channel in self._channels:
            named = channel in ("margin", "positions")
            again = f"Already subscribed to {channel} channel" if named else "Already subscribed"
            return [*effects, self._refused(request, again, now)]
        self._channels.add(channel)
        effects += [self._answer(request, now, {"channel": channel}), Noted("subscribe", channel)]
        return [*effects, *self._snapshots(channel, request.params, now)]

    def _snapshots(self, channel: str, params: dict[str, Any], now: Instant) -> list[Frame]:
        engine = self.world.engine
        account = engine.account(self._account)
        if channel == "margin":
            return [self._margin()]
        if channel == "positions":
            told = frames.positions(account.positions(FUTURES), now.wall_ms)
            return [self._message(channel, "snapshot", told)] if params.get("snapshot", True) else []
        if channel == "balances":
            rows = frames.balance_snapshot(account.holdings(SPOT), account.holdings(FUTURES))
            return [self._message(channel, "snapshot", rows)]
        orders = [frames.full_row(one, "status") for one in engine.open_orders(self._account, FUTURES)]
        if not params.get("snap_trades"):
            return [self._message(channel, "snapshot", orders)]
        trades = engine.trades(self._account, FUTURES)
        fills = frames.past_rows(trades, engine.orders(self._account, FUTURES))[:SNAPSHOT_FILLS]
        if self._odd:
            return [self._message(channel, "snapshot", orders), self._message(channel, "snapshot", fills)]
        return [self._message(channel, "snapshot", [*orders, *fills])]

    def _margin(self) -> Frame:
        holdings = self.world.engine.account(self._account).holdings(FUTURES)
        return self._message("margin", "multi_collateral", frames.margin(holdings))

    def unsubscribe(self, request: SpotRequest, now: Instant) -> list[Effect]:
        channel = str(request.params.get("channel"))
        self._channels.discard(channel)
        effects: list[Effect] = [self._answer(request, now, {"channel": channel}), Noted("unsubscribe", channel)]
        if not self._channels and self._account:
            effects.append(Unfollow(self._account))
        return effects

    def changed(self, change: Change, now: Instant) -> Effects:
        if change.account != self._account or change.exchange != FUTURES:
            return ()
        effects: list[Effect] = []
        if isinstance(change, OrderChange):
            if "executions" in self._channels:
                effects.append(self._message("executions", "update", frames.rows_of(change, plain=self._odd)))
            return self._say(effects, now)
        rows = frames.ledger_rows(change.holdings, change.seq, change.time_ms)
        if rows and "balances" in self._channels:
            effects.append(self._message("balances", "update", rows))
        if change.holdings and "margin" in self._channels:
            effects.append(self._margin())
        if change.positions and "positions" in self._channels:
            effects.append(self._message("positions", "update", frames.positions(change.positions, change.time_ms)))
        return self._say(effects, now)
