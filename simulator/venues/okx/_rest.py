"""OKX's REST interface as far as a connector and its tests need it. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from decimal import Decimal, InvalidOperation
from typing import Any, Final

import msgspec

from exchanges._venue import Rate
from simulator._peer import PerAddress
from simulator._values import ZERO, Order, Side
from simulator._venue import Instant, Reply, Request, json_reply
from simulator.engine import Account, NewOrder, Refused
from simulator.venues.okx._auth import Failure, signer
from simulator.venues.okx._frames import (
    INTERVAL_OF,
    account_row,
    candle_row,
    fill_row,
    order_row,
    position_row,
    ticker_row,
)
from simulator.venues.okx._state import State
from simulator.venues.okx._symbols import EXCHANGE_OF, WALLET, instrument_row

PREFIX: Final = "/api/v5/"
PAGE: Final = 100
MAX_CANDLES: Final = 300
CANDLES_KEPT: Final = 1_440
HOUR_MS: Final = 3_600_000
UNFILLED_KEPT_MS: Final = 2 * HOUR_MS
"""Orders cancelled without any fill are forgotten after this long."""
FILLS_KEPT_MS: Final = 72 * HOUR_MS
HISTORY_KEPT_MS: Final = 168 * HOUR_MS

_TIF: Final = {"ioc": "IOC", "fok": "FOK", "optimal_limit_ioc": "IOC"}
_TYPE: Final = {"market": "MARKET", "optimal_limit_ioc": "MARKET", "post_only": "LIMIT_MAKER"}
_REFUSED: Final = {
    "balance": ("51008", "Order failed. Insufficient balance in account"),
    "duplicate": ("51016", "Client order ID already exists."),
    "symbol": ("51001", "Instrument ID doesn't exist."),
    "quantity": ("51020", "Your order should meet or exceed the minimum order amount."),
    "price": ("51000", "Parameter px error"),
    "unknown_order": ("51603", "Order does not exist"),
    "finished": ("51400", "Cancellation failed as the order has been filled, canceled or does not exist."),
    "would_take": ("51121", "Order would be filled immediately."),
}

Params = dict[str, str]


class Rest:
    """All calls, with their limits: public ones by address, private ones by account."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._world = state.world
        self._limits: dict[str, PerAddress] = {}
        self._public: dict[str, tuple[Rate, Callable[[Params, Instant], list[Any]]]] = {
            "public/time": (Rate(10, 2.0), lambda _, now: [{"ts": str(now.wall_ms)}]),
            "public/instruments": (Rate(20, 2.0), self._instruments),
            "market/ticker": (Rate(20, 2.0), self._tickers),
            "market/tickers": (Rate(20, 2.0), self._tickers),
            "market/candles": (Rate(40, 2.0), self._candles),
            "market/history-candles": (Rate(20, 2.0), self._candles),
            "system/status": (Rate(1, 5.0), lambda _params, _now: []),
        }
        self._private: dict[str, tuple[Rate, Callable[[Account, Params, Instant], list[Any]]]] = {
            "account/config": (Rate(5, 2.0), self._config),
            "account/balance": (Rate(10, 2.0), self._balance),
            "account/positions": (Rate(10, 2.0), self._positions),
            "account/instruments": (Rate(20, 2.0), lambda _, params, now: self._instruments(params, now)),
            "trade/orders-pending": (Rate(60, 2.0), self._pending),
            "trade/orders-history": (Rate(40, 2.0), self._history),
            "trade/orders-history-archive": (Rate(20, 2.0), self._history),
            "trade/fills": (Rate(60, 2.0), self._fills),
            "trade/order": (Rate(60, 2.0), self._order),
        }
        self._deeds: dict[str, Callable[[Account, dict[str, Any], Instant], Order]] = {
            "trade/order": self._place,
            "trade/cancel-order": self._cancel,
            "trade/amend-order": self._amend,
        }

    def answer(self, request: Request, now: Instant) -> Reply:
        path = request.path.removeprefix(PREFIX)
        try:
            return self._answer(path, request, now)
        except Failure as refusal:
            return json_reply({"code": refusal.code, "msg": refusal.text, "data": []}, refusal.status)

    def _answer(self, path: str, request: Request, now: Instant) -> Reply:
        public = self._public.get(path)
        if public is not None and request.method == "GET":
            rate, call = public
            self._spend(path, request.remote, rate, now)
            return _good(call(request.params(), now))
        if path not in self._private and path not in self._deeds:
            raise Failure("404", "Not Found", 404)
        account = signer(self._world, request, now)
        if request.method == "POST" and path in self._deeds:
            self._spend(f"POST {path}", account.account_id, Rate(60, 2.0), now)
            return self._deed(path, account, request, now)
        private = self._private.get(path)
        if private is None or request.method != "GET":
            raise Failure("50115", "Invalid request method.", 405)
        rate, private_call = private
        self._spend(path, account.account_id, rate, now)
        return _good(private_call(account, request.params(), now))

    def _spend(self, path: str, who: str, rate: Rate, now: Instant) -> None:
        if not self._world.settings.limits:
            return
        if not self._limits.setdefault(path, PerAddress(rate)).hit(who, now.mono):
            raise Failure("50011", "Too Many Requests", 429)

    # --- public ---

    def _instruments(self, params: Params, _now: Instant) -> list[Any]:
        kind = params.get("instType", "")
        if kind not in EXCHANGE_OF:
            raise Failure("51000", "Parameter instType error")
        symbols = [s for exchange in EXCHANGE_OF[kind] for s in self._world.markets.symbols(exchange) if s.kind == kind]
        return [instrument_row(symbol) for symbol in symbols if params.get("instId", symbol.wire) == symbol.wire]

    def _tickers(self, params: Params, _now: Instant) -> list[Any]:
        wanted, kind = params.get("instId"), params.get("instType")
        exchanges = EXCHANGE_OF.get(kind or "", ("okx", "okxLinear", "okxInverse"))
        quotes = [quote for exchange in exchanges for quote in self._world.markets.quotes(exchange)]
        rows = [quote for quote in quotes if kind in (None, quote.symbol.kind) and wanted in (None, quote.symbol.wire)]
        if wanted and not rows:
            raise Failure("51001", "Instrument ID doesn't exist.")
        return [ticker_row(quote) for quote in rows]

    def _candles(self, params: Params, now: Instant) -> list[Any]:
        """Newest first; `before` = newer than, `after` = older than, both without the candle itself."""
        found = self._state.symbol(params.get("instId", ""))
        interval = INTERVAL_OF.get(f"candle{params.get('bar', '1m')}")
        if found is None or interval is None:
            raise Failure("51001" if found is None else "51000", "Parameter instId or bar error")
        exchange, symbol = found
        limit = min(_number(params, "limit", 100), MAX_CANDLES)
        after = _number(params, "after", 0)
        end_ms = after - 1 if after else None
        rows = self._world.markets.candles(exchange, symbol.wire, interval, None, end_ms, CANDLES_KEPT, now.wall_ms)
        newest = rows[-1].start_ms if rows and end_ms is None else -1
        wanted = [row for row in rows if row.start_ms > _number(params, "before", -1)]
        return [candle_row(row, symbol, closed=row.start_ms != newest) for row in reversed(wanted[-limit:])]

    # --- private ---

    def _config(self, account: Account, _params: Params, _now: Instant) -> list[Any]:
        return [{"uid": account.account_id, "acctLv": "3", "posMode": "net_mode", "perm": "read_only,trade", "ip": ""}]

    def _balance(self, account: Account, params: Params, now: Instant) -> list[Any]:
        names = params.get("ccy", "")
        holdings = [h for h in account.holdings(WALLET) if h.total and (not names or h.asset in names.split(","))]
        return [account_row(holdings, now.wall_ms)]

    def _positions(self, account: Account, params: Params, _now: Instant) -> list[Any]:
        kind, wires = params.get("instType"), params.get("instId", "")
        rows = []
        for exchange in ("okxLinear", "okxInverse"):
            for held in account.positions(exchange):
                quote = self._world.markets.quote(exchange, held.symbol)
                if kind in (None, quote.symbol.kind) and (not wires or held.symbol in wires.split(",")):
                    rows.append(position_row(held, quote))
        return rows

    def _orders(self, account: Account, kind: str) -> list[Order]:
        """All remembered orders of an instrument type, newest first."""
        kinds = [kind] if kind in EXCHANGE_OF else list(EXCHANGE_OF)
        orders = [
            order
            for exchange in dict.fromkeys(exchange for one in kinds for exchange in EXCHANGE_OF[one])
            for order in self._world.engine.orders(account.account_id, exchange)
            if self._kind(order) in kinds
        ]
        return sorted(orders, key=lambda order: order.order_id, reverse=True)

    def _kind(self, order: Order) -> str:
        symbol = self._world.markets.symbol(order.exchange, order.symbol)
        return symbol.kind if symbol else ""

    def _pending(self, account: Account, params: Params, _now: Instant) -> list[Any]:
        orders = [order for order in self._orders(account, params.get("instType", "")) if order.open]
        return self._rows(account, _page(orders, params))

    def _history(self, account: Account, params: Params, now: Instant) -> list[Any]:
        orders = [
            order
            for order in self._orders(account, params.get("instType", ""))
            if not order.open and self._remembered(order, now) and now.wall_ms - order.updated_ms < HISTORY_KEPT_MS
        ]
        return self._rows(account, _page(orders, params))

    @staticmethod
    def _remembered(order: Order, now: Instant) -> bool:
        return order.open or bool(order.executed) or now.wall_ms - order.updated_ms < UNFILLED_KEPT_MS

    def _rows(self, account: Account, orders: Sequence[Order]) -> list[Any]:
        """REST tells the last fill of each order."""
        last = {trade.order_id: trade for trade in account.trades}
        return [order_row(order, self._kind(order), last.get(order.order_id)) for order in orders]

    def _fills(self, account: Account, params: Params, now: Instant) -> list[Any]:
        kind = params.get("instType", "")
        oldest = max(_number(params, "begin", 0), now.wall_ms - FILLS_KEPT_MS)
        after = _number(params, "after", 0)
        rows = []
        for trade in reversed(account.trades):
            order = self._world.engine.locate(trade.order_id)
            symbol = self._world.markets.symbol(trade.exchange, trade.symbol)
            if symbol is None or (kind and symbol.kind != kind) or trade.time_ms < oldest:
                continue
            if not after or trade.trade_id < after:
                rows.append(fill_row(trade, order, symbol.kind))
        return rows[: min(_number(params, "limit", PAGE), PAGE)]

    def _order(self, account: Account, params: Params, now: Instant) -> list[Any]:
        order = self._find(account, params)
        if order is None or not self._remembered(order, now):
            raise Failure("51603", "Order does not exist")
        return self._rows(account, [order])

    def _find(self, account: Account, params: dict[str, Any]) -> Order | None:
        found = self._state.symbol(str(params.get("instId", "")))
        if found is None:
            return None
        order_id, client_id = str(params.get("ordId") or ""), str(params.get("clOrdId") or "")
        engine = self._world.engine
        if order_id:
            return engine.order(account.account_id, found[0], order_id=int(order_id) if order_id.isdigit() else -1)
        return engine.order(account.account_id, found[0], client_id=client_id)

    # --- trading ---

    def _deed(self, path: str, account: Account, request: Request, now: Instant) -> Reply:
        """One order at a time; a refusal stands in the row, under the general code 1."""
        try:
            body = msgspec.json.decode(request.body, type=dict[str, Any])
        except (msgspec.DecodeError, UnicodeDecodeError):
            raise Failure("50002", "JSON syntax error") from None
        row = {"ordId": "", "clOrdId": str(body.get("clOrdId", "")), "tag": "", "ts": str(now.wall_ms)}
        try:
            order = self._deeds[path](account, body, now)
        except Refused as refused:
            code, text = _REFUSED.get(refused.reason, ("50000", str(refused)))
            return json_reply(
                {"code": "1", "msg": "All operations failed", "data": [row | {"sCode": code, "sMsg": text}]}
            )
        row |= {"ordId": str(order.order_id), "clOrdId": order.client_id, "sCode": "0", "sMsg": ""}
        return _good([row])

    def _place(self, account: Account, body: dict[str, Any], now: Instant) -> Order:
        found = self._state.symbol(str(body.get("instId", "")))
        if found is None:
            raise Refused("symbol", "no such instrument")
        client_id = str(body.get("clOrdId", ""))
        if client_id and (not client_id.isalnum() or len(client_id) > 32):
            raise Failure("51000", "Parameter clOrdId error")
        kind, size = str(body.get("ordType", "")), _amount(body.get("sz"))
        side: Side = "BUY" if body.get("side") == "buy" else "SELL"
        spot_market = found[1].kind == "SPOT" and kind == "market"
        by_funds = spot_market and body.get("tgtCcy", "quote_ccy" if side == "BUY" else "base_ccy") == "quote_ccy"
        new = NewOrder(
            symbol=found[1].wire,
            side=side,
            quantity=ZERO if by_funds else size,
            quote_quantity=size if by_funds else ZERO,
            price=_amount(body.get("px")),
            order_type=_TYPE.get(kind, "LIMIT"),
            time_in_force=_TIF.get(kind, "GTC"),
            client_id=client_id,
            reduce_only=str(body.get("reduceOnly", "")).lower() == "true",
        )
        return self._world.engine.place(account.account_id, found[0], new, now.wall_ms)

    def _cancel(self, account: Account, body: dict[str, Any], now: Instant) -> Order:
        order = self._required(account, body)
        return self._world.engine.cancel(account.account_id, order.exchange, order.order_id, now.wall_ms)

    def _amend(self, account: Account, body: dict[str, Any], now: Instant) -> Order:
        order = self._required(account, body)
        return self._world.engine.amend(
            account.account_id,
            order.exchange,
            order.order_id,
            now.wall_ms,
            quantity=_amount(body["newSz"]) if body.get("newSz") else None,
            price=_amount(body["newPx"]) if body.get("newPx") else None,
            request_id=str(body.get("reqId", "")),
        )

    def _required(self, account: Account, body: dict[str, Any]) -> Order:
        order = self._find(account, body)
        if order is None:
            raise Refused("unknown_order", "no such order")
        return order


def _good(data: list[Any]) -> Reply:
    return json_reply({"code": "0", "msg": "", "data": data})


def _page(orders: Sequence[Order], params: Params) -> list[Order]:
    after = _number(params, "after", 0)
    older = [order for order in orders if not after or order.order_id < after]
    return older[: min(_number(params, "limit", PAGE), PAGE)]


def _number(params: Params, name: str, otherwise: int) -> int:
    text = params.get(name, "")
    if not text:
        return otherwise
    if not text.lstrip("-").isdigit():
        raise Failure("51000", f"Parameter {name} error")
    return int(text)


def _amount(value: object) -> Decimal:
    try:
        return Decimal(str(value or 0))
    except InvalidOperation:
        raise Failure("51000", "Parameter sz or px error") from None
