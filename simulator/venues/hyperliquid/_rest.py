"""Hyperliquid's one REST path, as far as a connector and its tests need it. Pure. Nothing is signed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import msgspec

from exchanges._venue import Rate
from simulator._peer import Weight
from simulator._values import INTERVALS, Order
from simulator._venue import Instant, Reply, Request, json_reply
from simulator.engine import Account
from simulator.venues.hyperliquid._frames import candle_row, frontend_row, status_of, text
from simulator.venues.hyperliquid._state import State
from simulator.venues.hyperliquid._symbols import (
    LINEAR,
    SPOT,
    SPOT_WALLET,
    meta,
    perp_dexs,
    spot_meta,
    token,
)

WEIGHT: Final = Rate(1_200, 60.0)
PAGE: Final = 2_000
FILLS_KEPT: Final = 10_000
MAX_CANDLES: Final = 5_000
LIGHT: Final = frozenset({"allMids", "clearinghouseState", "orderStatus", "spotClearinghouseState", "exchangeStatus"})
_BY_ROWS: Final = {"historicalOrders": 20, "userFills": 20, "userFillsByTime": 20, "candleSnapshot": 60}
"""So many rows of an answer weigh one more."""

Json = dict[str, Any]


class Rest:
    """Every question is a POST to `/info`; weight counts by address."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._world = state.world
        self._weights: dict[str, Weight] = {}
        self._public: dict[str, Callable[[Json, Instant], Any]] = {
            "spotMeta": lambda _body, _now: spot_meta(self._world.markets.symbols(SPOT)),
            "meta": lambda body, _now: meta(self._world.markets.symbols(LINEAR), str(body.get("dex") or "")),
            "perpDexs": lambda _body, _now: perp_dexs(),
            "allMids": lambda body, _now: state.mids.of(str(body.get("dex") or "")),
            "exchangeStatus": lambda _body, now: {"specialStatuses": None, "time": now.wall_ms},
            "candleSnapshot": self._candles,
        }
        self._private: dict[str, Callable[[Account | None, Json], Any]] = {
            "frontendOpenOrders": self._open,
            "openOrders": self._open,
            "historicalOrders": self._history,
            "orderStatus": self._status,
            "userFills": lambda account, _body: self._trades(account)[::-1][:PAGE],
            "userFillsByTime": self._fills,
            "spotClearinghouseState": self._spot_balances,
            "clearinghouseState": self._perp_balances,
        }

    def answer(self, request: Request, now: Instant) -> Reply:
        if request.path != "/info" or request.method != "POST":
            return Reply(404 if request.path != "/info" else 405, b"", {"Content-Type": "text/plain"})
        try:
            body = msgspec.json.decode(request.body, type=Json)
            kind = body["type"]
            value = self._value(kind, body, now)
        except (msgspec.DecodeError, UnicodeDecodeError, KeyError, TypeError, ValueError, AttributeError):
            return Reply(422, b"Failed to deserialize the JSON body into the target type")
        if self._world.settings.limits and not self._spend(request.remote, kind, value, now):
            return Reply(429, b"null", {"Content-Type": "application/json"})
        return json_reply(value)

    def _spend(self, remote: str, kind: str, value: Any, now: Instant) -> bool:
        cost = 60 if kind == "userRole" else 2 if kind in LIGHT else 20
        if kind in _BY_ROWS:
            cost += len(value) // _BY_ROWS[kind]
        return self._weights.setdefault(remote, Weight(WEIGHT)).take(cost, now.wall_ms)

    def _value(self, kind: str, body: Json, now: Instant) -> Any:
        """Raises KeyError, TypeError or ValueError for a question that the venue can't read."""
        if kind in self._public:
            return self._public[kind](body, now)
        address = str(body["user"]).lower()
        if len(address) != 42 or int(address, 16) < 0:
            raise ValueError("no address")
        if kind == "userRole":
            return {"role": self._state.role(address)}
        account = self._state.speaking(address)
        found = self._world.engine.account(account) if account is not None else None
        return self._private[kind](found, body)

    # --- public ---

    def _candles(self, body: Json, now: Instant) -> list[Json]:
        asked = body["req"]
        exchange, interval = self._state.exchange_of(asked["coin"]), asked["interval"]
        if exchange is None or interval not in INTERVALS:
            raise ValueError("no such candle")
        start_ms, end_ms = int(asked["startTime"]), int(asked.get("endTime") or now.wall_ms)
        symbol = self._world.markets.symbol(exchange, asked["coin"])
        rows = self._world.markets.candles(
            exchange, asked["coin"], interval, start_ms, end_ms, MAX_CANDLES, now.wall_ms
        )
        return [candle_row(row, symbol, interval) for row in rows] if symbol is not None else []

    # --- accounts ---

    def _orders(self, account: Account | None) -> list[Order]:
        """Oldest first, of both markets."""
        if account is None:
            return []
        engine = self._world.engine
        found = [order for exchange in (SPOT, LINEAR) for order in engine.orders(account.account_id, exchange)]
        return sorted(found, key=lambda order: order.order_id)

    def _open(self, account: Account | None, body: Json) -> list[Json]:
        """Spot orders stand with the native dex."""
        dex = str(body.get("dex") or "")
        rows = [order for order in self._orders(account) if order.open and self._state.dex_of(order) == dex]
        return [frontend_row(order, self._state.price(order)) for order in reversed(rows)]

    def _history(self, account: Account | None, _body: Json) -> list[Json]:
        newest = self._orders(account)[::-1][:PAGE]
        return [self._told(order) for order in newest]

    def _told(self, order: Order) -> Json:
        row = frontend_row(order, self._state.price(order))
        return {"order": row, "status": status_of(order), "statusTimestamp": order.updated_ms}

    def _status(self, account: Account | None, body: Json) -> Json:
        """By a client id: the order that holds it now."""
        oid = body["oid"]
        for order in reversed(self._orders(account)):
            if oid in (order.order_id, order.client_id):
                return {"status": "order", "order": self._told(order)}
        return {"status": "unknownOid"}

    def _trades(self, account: Account | None) -> list[Json]:
        return self._state.fills(account.account_id) if account is not None else []

    def _fills(self, account: Account | None, body: Json) -> list[Json]:
        start_ms, end_ms = int(body["startTime"]), int(body.get("endTime") or 2**62)
        kept = self._trades(account)[-FILLS_KEPT:]
        return [row for row in kept if start_ms <= row["time"] <= end_ms][:PAGE]

    def _spot_balances(self, account: Account | None, _body: Json) -> Json:
        holdings = account.holdings(SPOT_WALLET) if account is not None else []
        rows = [
            {
                "coin": token(holding.asset),
                "token": number,
                "hold": text(holding.locked),
                "total": text(holding.total),
                "entryNtl": "0.0",
            }
            for number, holding in enumerate(holdings)
        ]
        return {"balances": rows}

    def _perp_balances(self, account: Account | None, body: Json) -> Json:
        name = account.account_id if account is not None else None
        return self._state.clearinghouse(
            name, str(body.get("dex") or ""), account.last_ms if account is not None else 0
        )
