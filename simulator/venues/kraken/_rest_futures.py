"""The futures REST interface as far as a connector and its tests need it: trading, history, charts. Pure."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal, InvalidOperation
from typing import Any, Final
from urllib.parse import parse_qs

from exchanges._times import milliseconds
from exchanges._venue import Rate
from simulator._peer import Weight
from simulator._values import ZERO, Order, Side
from simulator._venue import Instant, Reply, Request, json_reply
from simulator.engine import Account, NewOrder, Refused
from simulator.venues.kraken import _frames_futures as frames
from simulator.venues.kraken._auth import Failure, futures_account
from simulator.venues.kraken._state import State
from simulator.venues.kraken._symbols import FUTURES, MINUTES, instrument_row, unlisted_row

API: Final = "/derivatives/api/v3/"
HISTORY: Final = "/api/history/v2/"
CHARTS: Final = "/api/charts/v1/"
PAGE: Final = 100
HISTORY_PAGE: Final = 1_000
MAX_CANDLES: Final = 2_000
RECENT_MS: Final = 5_000
"""`orders/status` tells orders that ended within this time."""
BUDGET: Final = Rate(500, 10.0)
HISTORY_BUDGET: Final = Rate(100, 600.0)

Private = Callable[[Account, Request, Instant], dict[str, Any]]


class FuturesRest:
    """Public calls, and signed ones with their budgets."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._world = state.world
        self._spent: dict[tuple[str, str], Weight] = {}
        self._private: dict[tuple[str, str], tuple[int, Private]] = {
            ("GET", "openorders"): (2, self._open),
            ("GET", "fills"): (2, self._fills),
            ("GET", "accounts"): (2, self._accounts),
            ("GET", "openpositions"): (2, self._positions),
            ("POST", "orders/status"): (1, self._status),
            ("POST", "sendorder"): (10, self._place),
            ("POST", "cancelorder"): (10, self._cancel),
            ("POST", "editorder"): (10, self._edit),
        }

    def answer(self, request: Request, now: Instant) -> Reply:
        stamp = frames.rest_time(now.wall_ms)
        try:
            told = self._answer(request, now)
        except Failure as refusal:
            row = {"result": "error", "error": refusal.text, "serverTime": stamp}
            return json_reply(row, refusal.status)
        if request.path.startswith(API):
            told = {"result": "success", **told, "serverTime": stamp}
        return json_reply(told)

    def _answer(self, request: Request, now: Instant) -> dict[str, Any]:
        if request.path.startswith(CHARTS):
            return self._chart(request, now)
        if request.path == f"{HISTORY}orders" and request.method == "GET":
            account = futures_account(self._world, request)
            self._spend("history", account, 1, HISTORY_BUDGET, now)
            return self._history(account, request)
        name = request.path.removeprefix(API)
        if not request.path.startswith(API):
            raise Failure("notFound", 404)
        if request.method == "GET" and name == "instruments":
            return {"instruments": [*map(instrument_row, self._world.markets.symbols(FUTURES)), unlisted_row()]}
        if request.method == "GET" and name == "tickers":
            return {"tickers": [_ticker(quote) for quote in self._world.markets.quotes(FUTURES)]}
        private = self._private.get((request.method, name))
        if private is None:
            raise Failure("notFound", 404)
        account = futures_account(self._world, request)
        cost = 25 if name == "fills" and "lastFillTime" in request.params() else private[0]
        self._spend("derivatives", account, cost, BUDGET, now)
        return private[1](account, request, now)

    def _spend(self, budget: str, account: Account, cost: int, rate: Rate, now: Instant) -> None:
        if not self._world.settings.limits:
            return
        if not self._spent.setdefault((budget, account.account_id), Weight(rate)).take(cost, now.wall_ms):
            raise Failure("apiLimitExceeded", 429)

    # --- public ---

    def _chart(self, request: Request, now: Instant) -> dict[str, Any]:
        kind, _, rest = request.path.removeprefix(CHARTS).partition("/")
        wire, _, interval = rest.partition("/")
        if kind != "trade" or interval not in MINUTES.values() or self._world.markets.symbol(FUTURES, wire) is None:
            raise Failure("notFound", 404)
        params = request.params()
        start = _integer(params.get("from", ""), "from")
        end = _integer(params.get("to", ""), "to")
        start_ms = start * 1000 if start is not None else None
        end_ms = end * 1000 if end is not None else None
        rows = self._world.markets.candles(FUTURES, wire, interval, start_ms, end_ms, MAX_CANDLES, now.wall_ms)
        return {"candles": [frames.candle_row(row) for row in rows], "more_candles": len(rows) >= MAX_CANDLES}

    # --- private ---

    def _open(self, account: Account, _request: Request, _now: Instant) -> dict[str, Any]:
        orders = self._world.engine.open_orders(account.account_id, FUTURES)
        return {"openOrders": [frames.open_row(order) for order in orders if order.order_type != "MARKET"]}

    def _fills(self, account: Account, request: Request, _now: Instant) -> dict[str, Any]:
        """Newest first; with a time, those before it."""
        before = request.params().get("lastFillTime")
        trades = list(reversed(self._world.engine.trades(account.account_id, FUTURES)))
        if before is not None:
            trades = [trade for trade in trades if trade.time_ms < milliseconds(before)]
        return {
            "fills": [frames.rest_fill(trade, self._world.engine.locate(trade.order_id)) for trade in trades[:PAGE]]
        }

    def _accounts(self, account: Account, _request: Request, _now: Instant) -> dict[str, Any]:
        flex = {
            "type": "multiCollateralMarginAccount",
            "currencies": {
                code: {name: row[name] for name in ("quantity", "value", "available")}
                for code, row in frames.currencies(account.holdings(FUTURES)).items()
            },
        }
        return {"accounts": {"cash": {"type": "cashAccount", "balances": {}}, "flex": flex}}

    def _positions(self, account: Account, _request: Request, _now: Instant) -> dict[str, Any]:
        rows = [
            {
                "side": "long" if position.amount > 0 else "short",
                "symbol": position.symbol,
                "price": float(position.entry),
                "size": float(abs(position.amount)),
                "fillTime": None,
                "unrealizedFunding": 0,
            }
            for position in account.positions(FUTURES)
        ]
        return {"openPositions": rows}

    def _status(self, account: Account, request: Request, now: Instant) -> dict[str, Any]:
        form = parse_qs(request.body.decode("utf-8", "replace"))
        engine = self._world.engine
        found = [
            engine.order(account.account_id, FUTURES, order_id=frames.number_of(name))
            for name in form.get("orderIds", [])
        ]
        found += [engine.order(account.account_id, FUTURES, client_id=name) for name in form.get("cliOrdIds", [])]
        rows = [
            frames.status_row(order)
            for order in found
            if order is not None and (order.open or now.wall_ms - order.updated_ms <= RECENT_MS)
        ]
        return {"orders": rows}

    def _history(self, account: Account, request: Request) -> dict[str, Any]:
        params = request.params()
        since = _integer(params.get("since", ""), "since") or 0
        orders = self._world.engine.orders(account.account_id, FUTURES)
        elements = [element for order in orders for element in frames.history(order) if element["timestamp"] >= since]
        elements.sort(key=lambda element: int(element["timestamp"]), reverse=params.get("sort") != "asc")
        begin = _integer(params.get("continuation_token", ""), "continuation_token") or 0
        page = elements[begin : begin + HISTORY_PAGE]
        more = {"continuationToken": str(begin + HISTORY_PAGE)} if len(elements) > begin + HISTORY_PAGE else {}
        return {"elements": page, "len": len(page), **more}

    # --- trading ---

    def _place(self, account: Account, request: Request, now: Instant) -> dict[str, Any]:
        form = request.params() | request.form()
        kind = form.get("orderType", "lmt")
        side: Side = "SELL" if form.get("side") == "sell" else "BUY"
        new = NewOrder(
            symbol=form.get("symbol", ""),
            side=side,
            quantity=_amount(form.get("size")),
            price=ZERO if kind == "mkt" else _amount(form.get("limitPrice")),
            order_type={"mkt": "MARKET", "post": "LIMIT_MAKER"}.get(kind, "LIMIT"),
            time_in_force="IOC" if kind == "ioc" else "GTC",
            client_id=form.get("cliOrdId", ""),
            reduce_only=form.get("reduceOnly") == "true",
        )
        try:
            order = self._world.engine.place(account.account_id, FUTURES, new, now.wall_ms)
        except Refused as refused:
            return {"sendStatus": {"status": _refusal(refused), "receivedTime": frames.rest_time(now.wall_ms)}}
        return {"sendStatus": self._sent(order, "placed", now)}

    @staticmethod
    def _sent(order: Order, status: str, now: Instant) -> dict[str, Any]:
        stamp = frames.rest_time(now.wall_ms)
        return {
            "order_id": frames.order_id(order.order_id),
            "cliOrdId": order.client_id,
            "status": status,
            "receivedTime": stamp,
            "orderEvents": [
                {"type": "PLACE", "order": frames.status_row(order)["order"] | {"type": "lmt"}, "reducedQuantity": None}
            ],
        }

    def _named(self, account: Account, form: dict[str, str]) -> Order | None:
        engine, name = self._world.engine, form.get("order_id") or form.get("orderId") or ""
        if name:
            return engine.order(account.account_id, FUTURES, order_id=frames.number_of(name))
        return engine.order(account.account_id, FUTURES, client_id=form.get("cliOrdId", ""))

    def _cancel(self, account: Account, request: Request, now: Instant) -> dict[str, Any]:
        order = self._named(account, request.params() | request.form())
        if order is None or not order.open:
            return {"cancelStatus": {"status": "notFound", "receivedTime": frames.rest_time(now.wall_ms)}}
        order = self._world.engine.cancel(account.account_id, FUTURES, order.order_id, now.wall_ms)
        return {"cancelStatus": self._sent(order, "cancelled", now)}

    def _edit(self, account: Account, request: Request, now: Instant) -> dict[str, Any]:
        form = request.params() | request.form()
        order = self._named(account, form)
        if order is None or not order.open:
            return {"editStatus": {"status": "orderForEditNotFound", "receivedTime": frames.rest_time(now.wall_ms)}}
        try:
            order = self._world.engine.amend(
                account.account_id,
                FUTURES,
                order.order_id,
                now.wall_ms,
                quantity=_amount(form["size"]) + order.executed if form.get("size") else None,
                price=_amount(form["limitPrice"]) if form.get("limitPrice") else None,
            )
        except Refused as refused:
            return {"editStatus": {"status": _refusal(refused), "receivedTime": frames.rest_time(now.wall_ms)}}
        return {"editStatus": self._sent(order, "edited", now)}


def _refusal(refused: Refused) -> str:
    return {
        "balance": "insufficientAvailableFunds",
        "symbol": "invalidOrderType",
        "would_take": "postWouldExecute",
    }.get(refused.reason, "invalidSize")


def _ticker(quote: Any) -> dict[str, Any]:
    row = frames.ticker(quote)
    return {
        "tag": "perpetual",
        "pair": row["pair"],
        "symbol": quote.symbol.wire,
        "markPrice": row["markPrice"],
        "bid": row["bid"],
        "bidSize": row["bid_size"],
        "ask": row["ask"],
        "askSize": row["ask_size"],
        "vol24h": row["volume"],
        "volumeQuote": row["volumeQuote"],
        "openInterest": row["openInterest"],
        "open24h": float(quote.open),
        "last": row["last"],
        "lastTime": frames.rest_time(quote.time_ms),
        "lastSize": float(quote.size),
        "suspended": False,
        "indexPrice": row["index"],
        "postOnly": False,
        "change24h": 0,
    }


def _integer(text: str, name: str) -> int | None:
    if not text:
        return None
    if not text.isdigit():
        raise Failure(f"invalidArgument: {name}")
    return int(text)


def _amount(text: str | None) -> Decimal:
    try:
        value = Decimal(text or "0")
    except InvalidOperation:
        raise Failure("invalidArgument: size") from None
    if not value.is_finite():
        raise Failure("invalidArgument: size")
    return value
