"""WhiteBIT's REST interface as far as a connector and its tests need it. Pure."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal, InvalidOperation
from typing import Any, Final

from exchanges._venue import Rate
from simulator._peer import PerAddress
from simulator._values import INTERVALS, Order, Symbol
from simulator._venue import Instant, Reply, Request, json_reply
from simulator.engine import Account, NewOrder, Refused
from simulator.venues.whitebit import _frames as frames
from simulator.venues.whitebit._auth import Failure, account_of
from simulator.venues.whitebit._state import State
from simulator.venues.whitebit._symbols import FUTURES, SPOT, market_rows

TOKENS: Final = Rate(10, 60.0)
PRIVATE: Final = Rate(12_000, 10.0)
PUBLIC: Final = Rate(1_000, 10.0)
MAX_ROWS: Final = 100
MAX_CANDLES: Final = 1_440
SPAN_S: Final = 31 * 86_400
GATEWAY: Final = Reply(503, b"<html>503 Service Temporarily Unavailable</html>", {})
"""Every call but the platform's status during a maintenance."""
_REFUSED: Final = {
    "balance": "Not enough balance.",
    "duplicate": "Client order id is already in use.",
    "symbol": "Market is not available.",
    "quantity": "Given amount is less than min amount.",
    "unknown_order": "Unexecuted order was not found.",
    "finished": "Unexecuted order was not found.",
}
Params = dict[str, Any]


class Rest:
    """Public calls and signed ones."""

    def __init__(self, state: State) -> None:
        self._state, self._world = state, state.world
        self._tokens = PerAddress(TOKENS)
        self._calls = PerAddress(PRIVATE)
        self._public_calls = PerAddress(PUBLIC)
        self._private: dict[str, Callable[[Account, Params, Instant], Any]] = {
            "orders": self._open,
            "order/new": self._place,
            "order/market": self._place,
            "order/stock_market": self._place,
            "order/collateral/limit": self._place,
            "order/collateral/market": self._place,
            "order/cancel": self._cancel,
            "order/modify": self._modify,
            "trade-account/balance": lambda account, _, __: frames.spot_wallet(account.holdings(SPOT)) or [],
            "trade-account/order": self._deals,
            "trade-account/order/history": self._history,
            "trade-account/executed-history": self._executed,
            "collateral-account/balance": lambda account, _, __: {
                one.asset: frames.text(one.total) for one in account.holdings(FUTURES)
            },
            "collateral-account/balance-summary": self._summary,
        }

    def answer(self, request: Request, now: Instant) -> Reply:
        limits = self._world.settings.limits
        try:
            if request.method == "GET":
                if limits and not self._public_calls.hit(request.remote, now.mono):
                    raise Failure(429, "Too many requests.")
                return self._public(request, now)
            name = request.path.removeprefix("/api/v4/")
            token = name == "profile/websocket_token"
            if self._state.closed(now):
                return GATEWAY
            if request.method != "POST" or not request.path.startswith("/api/v4/"):
                return Reply(404, b"not found", {})
            call = self._private.get(name)
            if call is None and not token:
                return Reply(404, b"not found", {})
            window = self._tokens if token else self._calls
            if limits and not window.hit(request.remote, now.mono):
                raise Failure(429, "Too many requests.")
            account, params = account_of(self._world, self._state.nonces, request, now)
            if call is None:
                return json_reply({"websocket_token": self._state.tokens.make(account.account_id, now)})
            return json_reply(call(account, params, now))
        except Failure as refusal:
            errors = {refusal.field: [refusal.text]} if refusal.field else []
            row = {"code": refusal.code, "message": refusal.text, "errors": errors}
            return json_reply(row, refusal.status)
        except Refused as refused:
            text = _REFUSED.get(refused.reason, "Validation failed")
            return json_reply({"code": 10, "message": text, "errors": {}}, 422)

    # --- public ---

    def _public(self, request: Request, now: Instant) -> Reply:
        markets = self._world.markets
        if request.path == "/api/v4/public/markets":
            return json_reply(market_rows([*markets.symbols(SPOT), *markets.symbols(FUTURES)]))
        if request.path == "/api/v4/public/time":
            return json_reply({"time": now.wall_ms // 1000})
        if request.path == "/api/v4/public/platform/status":
            return json_reply({"status": "system maintenance" if self._state.closed(now) else "system operational"})
        if self._state.closed(now):
            return GATEWAY
        if request.path == "/api/v1/public/kline":
            return self._kline(request.params(), now)
        return Reply(404, b"not found", {})

    def _kline(self, params: dict[str, str], now: Instant) -> Reply:
        """Closed candles only; a refusal comes with status 200."""
        market, interval = params.get("market", ""), params.get("interval", "")
        exchange = next((one for one in (SPOT, FUTURES) if self._world.markets.symbol(one, market)), None)
        if exchange is None or interval not in INTERVALS:
            text = "Market is not available" if exchange is None else "Interval is not available"
            return json_reply({"success": False, "message": text, "params": []})
        limit = min(_integer(params.get("limit", "1440")), MAX_CANDLES)
        start = _integer(params["start"]) * 1000 if params.get("start") else None
        end = _integer(params["end"]) * 1000 if params.get("end") else None
        rows = self._world.markets.candles(exchange, market, interval, start, end, limit + 1, now.wall_ms)
        closed = [row for row in rows if row.start_ms + INTERVALS[interval] <= now.wall_ms][-limit:]
        return json_reply({"success": True, "message": "", "result": [frames.candle_row(row) for row in closed]})

    # --- private ---

    def _orders(self, account: Account, *, is_open: bool) -> list[Order]:
        engine = self._world.engine
        found = [one for exchange in (SPOT, FUTURES) for one in engine.orders(account.account_id, exchange)]
        return [one for one in found if one.open == is_open]

    def _open(self, account: Account, params: Params, _now: Instant) -> Any:
        """All markets, unless one is named."""
        market = params.get("market")
        orders = [one for one in self._orders(account, is_open=True) if market in (None, one.symbol)]
        orders.sort(key=lambda one: (one.created_ms, one.order_id), reverse=True)
        return [frames.rest_order(one, ended=False) for one in _page(orders, params)]

    def _history(self, account: Account, params: Params, now: Instant) -> Any:
        """By market, newest end first; dates count for nothing when an order is named."""
        orders = self._orders(account, is_open=False)
        if "orderId" in params or "clientOrderId" in params:
            orders = [
                one
                for one in orders
                if str(one.order_id) == str(params.get("orderId", one.order_id))
                and one.client_id == params.get("clientOrderId", one.client_id)
            ]
            if not orders and "clientOrderId" in params:
                raise Failure(422, "OrderHistory was not found.", 0, "orderHistory")
        else:
            end = _integer(params.get("endDate", now.wall_ms // 1000))
            start = _integer(params.get("startDate", end - SPAN_S))
            if end - start > SPAN_S:
                raise Failure(422, "The date range is longer than 31 days", 0, "startDate")
            orders = [one for one in orders if start * 1000 <= one.updated_ms]
        orders.sort(key=lambda one: one.updated_ms, reverse=True)
        found: dict[str, list[Any]] = {}
        for one in _page(orders, params):
            found.setdefault(one.symbol, []).append(frames.rest_order(one, ended=True))
        return found or []

    def _trades(self, account: Account) -> list[Any]:
        engine = self._world.engine
        return [one for exchange in (SPOT, FUTURES) for one in engine.trades(account.account_id, exchange)]

    def _client_id(self, account: Account, order_id: int) -> str:
        order = next((one for one in (*self._orders(account, is_open=True), *self._orders(account, is_open=False))
                      if one.order_id == order_id), None)  # fmt: skip
        return order.client_id if order is not None else ""

    def _deals(self, account: Account, params: Params, _now: Instant) -> Any:
        found = [one for one in self._trades(account) if str(one.order_id) == str(params.get("orderId"))]
        rows = [frames.rest_deal(one, self._client_id(account, one.order_id)) for one in _page(found, params)]
        return {"records": rows, "offset": _integer(params.get("offset", 0)), "limit": MAX_ROWS}

    def _executed(self, account: Account, params: Params, _now: Instant) -> Any:
        """By market, but a flat list when one is named."""
        trades = sorted(self._trades(account), key=lambda one: one.time_ms, reverse=True)
        market = params.get("market")
        rows = [one for one in trades if market in (None, one.symbol)]
        found: dict[str, list[Any]] = {}
        for one in _page(rows, params):
            found.setdefault(one.symbol, []).append(frames.rest_deal(one, self._client_id(account, one.order_id)))
        return found.get(str(market), []) if market is not None else found or []

    def _summary(self, account: Account, _params: Params, _now: Instant) -> Any:
        return [
            {
                "asset": one.asset,
                "balance": frames.text(one.total),
                "borrow": "0",
                "availableWithoutBorrow": frames.text(one.free),
                "availableWithBorrow": frames.text(one.free * 5),
            }
            for one in account.holdings(FUTURES)
        ]

    # --- trading ---

    def _symbol(self, market: object) -> tuple[str, Symbol]:
        for exchange in (SPOT, FUTURES):
            symbol = self._world.markets.symbol(exchange, str(market))
            if symbol is not None:
                return exchange, symbol
        raise Failure(422, "Market is not available", 31, "market")

    def _place(self, account: Account, params: Params, now: Instant) -> Any:
        exchange, symbol = self._symbol(params.get("market"))
        market = "price" not in params
        amount = _amount(params.get("amount"))
        buys = params.get("side") == "buy"
        funds = market and buys and exchange == SPOT and params.get("request") == "/api/v4/order/market"
        new = NewOrder(
            symbol=symbol.wire,
            side="BUY" if buys else "SELL",
            quantity=Decimal(0) if funds else amount,
            quote_quantity=amount if funds else Decimal(0),
            price=Decimal(0) if market else _amount(params["price"]),
            order_type="MARKET" if market else "LIMIT",
            client_id=str(params.get("clientOrderId", "")),
        )
        order = self._world.engine.place(account.account_id, exchange, new, now.wall_ms)
        return frames.rest_order(order, ended=False)

    def _modify(self, account: Account, params: Params, now: Instant) -> Any:
        """The order is cancelled and placed anew under its client id: `amount` is the size of the new one."""
        exchange, _ = self._symbol(params.get("market"))
        if ("orderId" in params) == ("clientOrderId" in params) or not {"amount", "price"} & params.keys():
            raise Failure(422, "Validation failed", 30, "orderId")
        open_ = [one for one in self._orders(account, is_open=True) if one.exchange == exchange]
        wanted = str(params.get("orderId", params.get("clientOrderId")))
        names = ((str(one.order_id), one) if "orderId" in params else (one.client_id, one) for one in open_)
        order = next((one for name, one in names if name == wanted), None)
        if order is None:
            raise Failure(400, "Inner validation failed", 2, "orderId")
        quantity = _amount(params["amount"]) if "amount" in params else order.quantity
        price = _amount(params["price"]) if "price" in params else None
        after = self._world.engine.replace(
            account.account_id, exchange, order.order_id, now.wall_ms, quantity=quantity, price=price
        )
        return frames.rest_order(after, ended=False)

    def _cancel(self, account: Account, params: Params, now: Instant) -> Any:
        exchange, _ = self._symbol(params.get("market"))
        number = _integer(params.get("orderId", 0))
        order = self._world.engine.cancel(account.account_id, exchange, number, now.wall_ms)
        return frames.rest_order(order, ended=False)


def _page(rows: list[Any], params: Params) -> list[Any]:
    limit = max(1, min(_integer(params.get("limit", 50)), MAX_ROWS))
    offset = max(0, _integer(params.get("offset", 0)))
    return rows[offset : offset + limit]


def _integer(value: object) -> int:
    try:
        return int(str(value))
    except ValueError:
        raise Failure(422, "Validation failed", 0, "limit") from None


def _amount(value: object) -> Decimal:
    try:
        amount = Decimal(str(value))
    except InvalidOperation:
        raise Failure(422, "Validation failed", 0, "amount") from None
    if not amount.is_finite():
        raise Failure(422, "Validation failed", 0, "amount")
    return amount
