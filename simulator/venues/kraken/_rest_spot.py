"""The spot REST interface as far as a connector and its tests need it. Pure. HTTP 200 also for errors."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal, InvalidOperation
from typing import Any, Final

from simulator._values import ZERO, Order, Side, Symbol
from simulator._venue import Instant, Reply, Request, json_reply
from simulator.engine import Account, NewOrder, Refused
from simulator.venues.kraken import _frames_spot as frames
from simulator.venues.kraken._auth import Failure, spot_account
from simulator.venues.kraken._state import State
from simulator.venues.kraken._symbols import (
    MINUTES,
    SPOT,
    TOKENIZED,
    asset_key,
    asset_pairs,
    assets,
    pair_altname,
    pair_key,
)

PUBLIC: Final = "/0/public/"
PRIVATE: Final = "/0/private/"
PAGE: Final = 50
MAX_CANDLES: Final = 720
POINTS: Final = 20.0
DECAY: Final = 0.5
"""Counter of an intermediate key: most calls add 1, histories 2, and it falls by this much a second."""
_COSTS: Final = {"TradesHistory": 2.0, "AddOrder": 0.0, "CancelOrder": 0.0, "AmendOrder": 0.0}
_REFUSED: Final = {
    "balance": "EOrder:Insufficient funds",
    "duplicate": "EOrder:Duplicate cl_ord_id",
    "symbol": "EQuery:Unknown asset pair",
    "quantity": "EOrder:Order minimum not met",
    "price": "EOrder:Invalid price",
    "unknown_order": "EOrder:Unknown order",
    "finished": "EOrder:Unknown order",
    "would_take": "EOrder:Post only order",
}

Params = dict[str, str]


class SpotRest:
    """Public calls and signed ones."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._world = state.world
        self._points: dict[str, tuple[float, float]] = {}
        """Key → counter, and when it stood so."""
        self._public: dict[str, Callable[[Params, Instant], Any]] = {
            "Time": lambda _, now: {"unixtime": now.wall_ms // 1000, "rfc1123": ""},
            "SystemStatus": lambda _, now: {"status": "online", "timestamp": frames.moment(now.wall_ms)},
            "Assets": lambda params, _: assets(self._symbols, params.get("aclass", "currency")),
            "AssetPairs": self._pairs,
            "OHLC": self._candles,
            "Ticker": self._tickers,
        }
        self._private: dict[str, Callable[[Account, Params, Instant], Any]] = {
            "GetWebSocketsToken": self._token,
            "OpenOrders": self._open,
            "ClosedOrders": self._closed,
            "QueryOrders": self._query,
            "TradesHistory": self._trades,
            "Balance": self._balance,
            "BalanceEx": self._extended,
            "AddOrder": self._place,
            "CancelOrder": self._cancel,
            "AmendOrder": self._amend,
        }

    def answer(self, request: Request, now: Instant) -> Reply:
        try:
            return json_reply({"error": [], "result": self._answer(request, now)})
        except Failure as refusal:
            return json_reply({"error": [refusal.text]})
        except Refused as refused:
            return json_reply({"error": [_REFUSED.get(refused.reason, "EGeneral:Internal error")]})

    def _answer(self, request: Request, now: Instant) -> Any:
        public = self._public.get(request.path.removeprefix(PUBLIC))
        if public is not None and request.path.startswith(PUBLIC):
            return public(request.params() | request.form(), now)
        name = request.path.removeprefix(PRIVATE)
        private = self._private.get(name)
        if private is None or request.method != "POST":
            raise Failure("EGeneral:Unknown method")
        account, key = spot_account(self._world, self._state.nonces, request)
        self._spend(key, _COSTS.get(name, 1.0), now)
        return private(account, request.form(), now)

    def _spend(self, key: str, cost: float, now: Instant) -> None:
        if not self._world.settings.limits or not cost:
            return
        points, since = self._points.get(key, (0.0, now.mono))
        points = max(0.0, points - (now.mono - since) * DECAY) + cost
        if points > POINTS:
            raise Failure("EAPI:Rate limit exceeded")
        self._points[key] = (points, now.mono)

    # --- public ---

    @property
    def _symbols(self) -> tuple[Symbol, ...]:
        return self._world.markets.symbols(SPOT)

    def _named(self, name: str) -> Symbol:
        names = (pair_altname, pair_key)
        found = next((one for one in self._symbols if any(name == named(one) for named in names)), None)
        if found is None:
            raise Failure("EQuery:Unknown asset pair")
        return found

    def _pairs(self, params: Params, _now: Instant) -> Any:
        return asset_pairs(self._symbols, params.get("aclass_base") or params.get("aclass") or "currency")

    def _candles(self, params: Params, now: Instant) -> Any:
        symbol = self._named(params.get("pair", ""))
        if symbol.kind == TOKENIZED and params.get("asset_class") != TOKENIZED:
            raise Failure("EQuery:Unknown asset pair")
        interval = MINUTES.get(_integer(params.get("interval", "1")))
        if interval is None:
            raise Failure("EGeneral:Invalid arguments")
        since = _integer(params.get("since", "-1"))
        wire, wall_ms = symbol.wire, now.wall_ms
        rows = self._world.markets.candles(SPOT, wire, interval, None, None, MAX_CANDLES, wall_ms)
        told = [row for row in rows if row.start_ms // 1000 > since]
        last = told[-1].start_ms // 1000 if told else since
        return {pair_key(symbol): [_ohlc(row) for row in told], "last": last}

    def _tickers(self, params: Params, _now: Instant) -> Any:
        names = params.get("pair", "").split(",") if params.get("pair") else [pair_key(one) for one in self._symbols]
        found = [self._named(name) for name in names]
        return {pair_key(one): _ticker(self._world.markets.quote(SPOT, one.wire)) for one in found}

    # --- private ---

    def _token(self, account: Account, _params: Params, now: Instant) -> Any:
        return {"token": self._state.tokens.make(account.account_id, now), "expires": 900}

    def _rows(self, orders: list[Order]) -> dict[str, Any]:
        return {
            frames.order_id(order.order_id): frames.rest_order(order, self._world.markets.symbol(SPOT, order.symbol))
            for order in orders
        }

    def _open(self, account: Account, _params: Params, _now: Instant) -> Any:
        return {"open": self._rows(self._world.engine.open_orders(account.account_id, SPOT))}

    def _closed(self, account: Account, params: Params, _now: Instant) -> Any:
        """Newest end first."""
        start_ms = _integer(params.get("start", "0")) * 1000
        orders = [
            order
            for order in self._world.engine.orders(account.account_id, SPOT)
            if not order.open and max(order.updated_ms, order.created_ms) >= start_ms
        ]
        orders.sort(key=lambda order: order.updated_ms, reverse=True)
        offset = _integer(params.get("ofs", "0"))
        return {"closed": self._rows(orders[offset : offset + PAGE]), "count": len(orders)}

    def _query(self, account: Account, params: Params, _now: Instant) -> Any:
        names = params.get("txid", "").split(",")
        if len(names) > PAGE:
            raise Failure("EGeneral:Invalid arguments")
        found = [self._world.engine.order(account.account_id, SPOT, order_id=frames.number_of(name)) for name in names]
        return self._rows([order for order in found if order is not None])

    def _trades(self, account: Account, params: Params, _now: Instant) -> Any:
        start_ms = _integer(params.get("start", "0")) * 1000
        trades = [one for one in self._world.engine.trades(account.account_id, SPOT) if one.time_ms >= start_ms]
        trades.reverse()
        offset = _integer(params.get("ofs", "0"))
        rows = {
            f"T{one.trade_id:06d}-SIMUL-KRAKEN": frames.trade_row(one, self._world.markets.symbol(SPOT, one.symbol))
            for one in trades[offset : offset + PAGE]
        }
        return {"trades": rows, "count": len(trades)}

    def _balance(self, account: Account, _params: Params, _now: Instant) -> Any:
        return {asset_key(one.asset): frames.text(one.total) for one in account.holdings(SPOT) if one.total}

    def _extended(self, account: Account, _params: Params, _now: Instant) -> Any:
        return {
            asset_key(one.asset): {"balance": frames.text(one.total), "hold_trade": frames.text(one.locked)}
            for one in account.holdings(SPOT)
        }

    # --- trading ---

    def _place(self, account: Account, params: Params, now: Instant) -> Any:
        symbol = self._named(params.get("pair", ""))
        market = params.get("ordertype") == "market"
        side: Side = "SELL" if params.get("type") == "sell" else "BUY"
        new = NewOrder(
            symbol=symbol.wire,
            side=side,
            quantity=_amount(params.get("volume")),
            price=ZERO if market else _amount(params.get("price")),
            order_type="MARKET" if market else "LIMIT",
            time_in_force=params.get("timeinforce", "GTC").upper(),
            client_id=params.get("cl_ord_id", ""),
        )
        order = self._world.engine.place(account.account_id, SPOT, new, now.wall_ms)
        described = frames.rest_order(order, symbol)["descr"]["order"]
        return {"descr": {"order": described}, "txid": [frames.order_id(order.order_id)]}

    def _named_order(self, account: Account, params: Params) -> Order:
        engine, name = self._world.engine, params.get("txid", "")
        client_id = params.get("cl_ord_id", "")
        number = frames.number_of(name)
        order = (
            engine.order(account.account_id, SPOT, client_id=client_id)
            if client_id
            else engine.order(account.account_id, SPOT, order_id=number)
        )
        if order is None:
            raise Refused("unknown_order", "no such order")
        return order

    def _cancel(self, account: Account, params: Params, now: Instant) -> Any:
        order = self._named_order(account, params)
        self._world.engine.cancel(account.account_id, SPOT, order.order_id, now.wall_ms)
        return {"count": 1}

    def _amend(self, account: Account, params: Params, now: Instant) -> Any:
        order = self._named_order(account, params)
        self._world.engine.amend(
            account.account_id,
            SPOT,
            order.order_id,
            now.wall_ms,
            quantity=_amount(params["order_qty"]) if params.get("order_qty") else None,
            price=_amount(params["limit_price"]) if params.get("limit_price") else None,
        )
        return {"amend_id": f"TAMND{order.order_id}"}


def _ohlc(row: Any) -> list[Any]:
    figures = [frames.text(one) for one in (row.open, row.high, row.low, row.close, row.close, row.volume)]
    return [row.start_ms // 1000, *figures, row.trades]


def _ticker(quote: Any) -> dict[str, Any]:
    price, volume = frames.text(quote.price), frames.text(quote.volume)
    return {
        "a": [frames.text(quote.ask), "1", "1"],
        "b": [frames.text(quote.bid), "1", "1"],
        "c": [price, frames.text(quote.size)],
        "v": [volume, volume],
        "p": [price, price],
        "t": [quote.trades, quote.trades],
        "l": [frames.text(quote.low)] * 2,
        "h": [frames.text(quote.high)] * 2,
        "o": frames.text(quote.open),
    }


def _integer(text: str) -> int:
    try:
        return int(Decimal(text))
    except (InvalidOperation, ValueError, OverflowError):
        raise Failure("EGeneral:Invalid arguments") from None


def _amount(text: str | None) -> Decimal:
    try:
        value = Decimal(text or "0")
    except InvalidOperation:
        raise Failure("EGeneral:Invalid arguments") from None
    if not value.is_finite():
        raise Failure("EGeneral:Invalid arguments")
    return value
