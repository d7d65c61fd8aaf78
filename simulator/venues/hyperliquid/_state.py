"""What Hyperliquid's half, its connections and its REST share: accounts, prices, and the limits of an address. Pure."""

from __future__ import annotations

from decimal import Decimal
from typing import Any, Final, Protocol

import msgspec

from exchanges._venue import Rate
from simulator._peer import PerAddress
from simulator._values import ZERO, Order, Symbol, Tick
from simulator._venue import Close, Effects, Noted, World
from simulator.venues.hyperliquid._frames import fill_row, position_row, text
from simulator.venues.hyperliquid._symbols import DEXES, LINEAR, PERP_WALLET, SPOT

MESSAGES: Final = Rate(2_000, 60.0)
"""Client frames per address."""
MAX_CONNECTIONS: Final = 10
MAX_SUBSCRIPTIONS: Final = 1_000
MAX_USERS: Final = 10
"""Each per address."""
ROLES: Final = frozenset({"agent", "missing"})
"""What an address that is refused may be."""
STATES: Final = frozenset({"clearinghouseState", "allDexsClearinghouseState"})
USER_TYPES: Final = frozenset({"orderUpdates", "userFills", "userEvents"}) | STATES


class Client(Protocol):
    """A connection, as far as the limits of its address look at it."""

    remote: str
    subscribed: dict[str, dict[str, Any]]
    users: set[str]


class State:
    """Lives as long as the half."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.messages = PerAddress(MESSAGES)
        self.mids = Mids(world)
        self._peers: dict[int, Client] = {}

    # --- accounts ---

    def role(self, address: str) -> str:
        found = self.world.engine.find_key("hyperliquid", address)
        if found is None:
            return "missing"
        return found[1].rejected if found[1].rejected in ROLES else "missing" if found[1].rejected else "user"

    def speaking(self, address: str) -> str | None:
        """The account of an address; None if the address has none, or is refused."""
        found = self.world.engine.find_key("hyperliquid", address)
        return None if found is None or found[1].rejected else found[0].account_id

    def fills(self, account: str | None) -> list[dict[str, Any]]:
        """All trades of an account, oldest first."""
        if account is None:
            return []
        engine = self.world.engine
        return [
            fill_row(trade, engine.locate(trade.order_id), self.world.markets.symbol(trade.exchange, trade.symbol))
            for trade in engine.account(account).trades
        ]

    def clearinghouse(self, account: str | None, dex: str, time_ms: int) -> dict[str, Any]:
        """Money and positions of an account on a dex."""
        held = self.world.engine.account(account) if account is not None else None
        asset = DEXES.get(dex, "USDC")
        holdings = held.holdings(PERP_WALLET) if held is not None else []
        value = text(sum((holding.total for holding in holdings if holding.asset == asset), start=ZERO))
        summary = {"accountValue": value, "totalNtlPos": "0.0", "totalRawUsd": value, "totalMarginUsed": "0.0"}
        positions = [
            (one, self.world.markets.quote(LINEAR, one.symbol)) for one in (held.positions(LINEAR) if held else ())
        ]
        return {
            "marginSummary": summary,
            "crossMarginSummary": summary,
            "crossMaintenanceMarginUsed": "0.0",
            "withdrawable": value,
            "assetPositions": [position_row(one, quote) for one, quote in positions if quote.symbol.kind == dex],
            "time": time_ms,
        }

    # --- markets ---

    def exchange_of(self, coin: str) -> str | None:
        return next((name for name in (SPOT, LINEAR) if self.world.markets.symbol(name, coin)), None)

    def dex_of(self, order: Order) -> str:
        symbol = self.world.markets.symbol(order.exchange, order.symbol)
        return symbol.kind if symbol is not None else ""

    def price(self, order: Order) -> Decimal:
        return self.world.markets.quote(order.exchange, order.symbol).price

    # --- limits of an address ---

    def crowded(self, peer: Client) -> Effects:
        """A new connection: one too many is closed at once, with a reason."""
        self._peers[id(peer)] = peer
        if self.world.settings.limits and len(self._of(peer.remote)) > MAX_CONNECTIONS:
            return (Noted("limit", "connections"), Close(1008, f"Cannot open more than {MAX_CONNECTIONS} connections."))
        return ()

    def full(self, peer: Client, subscription: dict[str, Any]) -> str:
        """Why an address can't have one more subscription; empty if it can."""
        if not self.world.settings.limits:
            return ""
        peers = self._of(peer.remote)
        if sum(len(one.subscribed) for one in peers) >= MAX_SUBSCRIPTIONS:
            return f"Cannot track more than {MAX_SUBSCRIPTIONS} total subscriptions."
        if subscription["type"] not in USER_TYPES:
            return ""
        users = {user for one in peers for user in one.users} | {str(subscription.get("user", "")).lower()}
        return f"Cannot track more than {MAX_USERS} total users." if len(users) > MAX_USERS else ""

    def _of(self, remote: str) -> list[Client]:
        return [peer for peer in self._peers.values() if peer.remote == remote]

    def gone(self, peer: Client) -> None:
        self._peers.pop(id(peer), None)


class Mids:
    """Mid prices of all coins, rendered once per step for all connections."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._prices: dict[str, dict[str, str]] = {}
        """Dex → coin → mid. Spot stands with the native dex."""
        self._taken: dict[str, int] = {}
        self._rendered: dict[str, bytes] = {}

    def take(self, tick: Tick) -> None:
        """Prices moved."""
        if self._taken.get(tick.exchange) == tick.number:
            return
        self._taken[tick.exchange] = tick.number
        self._load()
        for quote in tick.quotes:
            self._prices[_dex(quote.symbol)][quote.symbol.wire] = text(quote.price)
        self._rendered.clear()

    def of(self, dex: str) -> dict[str, str]:
        self._load()
        return self._prices.get(dex, {})

    def frame(self, dex: str) -> bytes:
        known = self._rendered.get(dex)
        if known is None:
            data: dict[str, Any] = {"mids": self.of(dex)}
            if dex:
                data["dex"] = dex
            known = self._rendered[dex] = msgspec.json.encode({"channel": "allMids", "data": data})
        return known

    def _load(self) -> None:
        if self._prices:
            return
        for exchange in (SPOT, LINEAR):
            for quote in self._world.markets.quotes(exchange):
                self._prices.setdefault(_dex(quote.symbol), {})[quote.symbol.wire] = text(quote.price)


def _dex(symbol: Symbol) -> str:
    return symbol.kind
