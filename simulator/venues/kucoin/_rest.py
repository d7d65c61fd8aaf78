"""KuCoin's REST answers. Pure."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Any, Final, NamedTuple

from simulator._values import INTERVALS as LENGTHS
from simulator._venue import Instant, Reply, Request, json_reply
from simulator.venues.kucoin import _rest_classic, _rest_unified
from simulator.venues.kucoin._auth import Failure, authenticate
from simulator.venues.kucoin._context import Context
from simulator.venues.kucoin._frames import Row, candle_row
from simulator.venues.kucoin._state import REFUSED_S, State
from simulator.venues.kucoin._symbols import (
    FUTURES,
    INTERVALS,
    NO_FUTURES,
    SPOT,
    code,
    digits,
)

PING_MS: Final = 18_000
PONG_MS: Final = 10_000
FUNDING_MS: Final = 8 * 3_600_000
SPOT_CANDLES: Final = 1500
FUTURES_CANDLES: Final = 500


class Route(NamedTuple):
    answer: Callable[[Context], Any]
    weight: int
    pool: str
    private: bool = False


class Rest:
    """Answers HTTP requests."""

    def __init__(self, state: State) -> None:
        self._state = state

    def answer(self, request: Request, now: Instant) -> Reply:
        """One REST call."""
        if self._state.refuses(request.remote, now):
            return Reply(429, b"error code: 1015", {"Retry-After": str(REFUSED_S)})
        spot = request.host != "api-futures.kucoin.com"
        found = _route(request, spot=spot)
        version = request.path.removeprefix("/api/ua/v")[:1] if request.path.startswith("/api/ua/v") else ""
        if found is None or (version and int(version) not in self._state.versions):
            return json_reply({"code": "404000", "msg": "Not found"}, 404)
        path, route = found
        context = Context(self._state, request, request.params(), now, spot)
        try:
            if self._state.closed_until > now.mono and path not in ("/api/v1/status", "/api/v1/timestamp"):
                raise Failure("503000", "Service unavailable", 503)
            account = authenticate(self._state.world, request, now, self._state.key_versions) if route.private else None
            payer = account.account_id if account else request.remote
            wait_ms = self._state.spend(route.pool, payer, route.weight, now)
            if wait_ms:
                return json_reply(
                    {"code": "429000", "msg": "Too many requests"},
                    429,
                    {"gw-ratelimit-remaining": "0", "gw-ratelimit-reset": str(wait_ms)},
                )
            data = route.answer(context._replace(account=account))
        except Failure as failure:
            return json_reply({"code": failure.code, "msg": failure.text}, failure.status)
        return json_reply({"code": "200000", "data": data})


def _route(request: Request, *, spot: bool) -> tuple[str, Route] | None:
    path = request.path
    routes = SPOT_ROUTES if spot else FUTURES_ROUTES
    route = routes.get((request.method, path))
    if route is None:
        parent, _, last = path.rpartition("/")
        route = routes.get((request.method, parent + "/{}")) if last else None
    return None if route is None else (path, route)


# --- public ---


def _timestamp(context: Context) -> int:
    return context.now.wall_ms


def _status(context: Context) -> Row:
    closed = context.state.closed_until > context.now.mono
    return {"status": "close" if closed else "open", "msg": "upgrade" if closed else ""}


def _token(context: Context) -> Row:
    account = context.account.account_id if context.account else ""
    host = "ws-api-spot.kucoin.com" if context.spot else "ws-api-futures.kucoin.com"
    server = {
        "endpoint": f"wss://{host}/",
        "encrypt": True,
        "protocol": "websocket",
        "pingInterval": PING_MS,
        "pingTimeout": PONG_MS,
    }
    token = context.state.tokens.make(account, context.now, spot=context.spot)
    return {"token": token, "instanceServers": [server]}


def _symbols(context: Context) -> list[Row]:
    return [
        {
            "symbol": symbol.wire,
            "name": symbol.wire,
            "baseCurrency": symbol.base,
            "quoteCurrency": symbol.quote,
            "market": "USDS",
            "baseIncrement": digits(_step(symbol.quantity_decimals)),
            "priceIncrement": digits(_step(symbol.price_decimals)),
            "enableTrading": True,
        }
        for symbol in context.state.world.markets.symbols(SPOT)
    ]


def _contracts(context: Context) -> list[Row]:
    return [
        {
            "symbol": symbol.wire,
            "rootSymbol": code(symbol.quote),
            "type": "FFWCSX",
            "baseCurrency": code(symbol.base),
            "quoteCurrency": symbol.quote,
            "settleCurrency": code(symbol.settle),
            "isInverse": symbol.inverse,
            "multiplier": -1.0 if symbol.inverse else float(symbol.contract_size),
            "lotSize": 1,
            "tickSize": float(_step(symbol.price_decimals)),
            "status": "Open",
            "expireDate": None,
            # Clients tell perpetual contracts from dated ones by this field (ms until the next funding).
            "nextFundingRateTime": FUNDING_MS - context.now.wall_ms % FUNDING_MS,
            "maxOrderQty": 1_000_000,
            "maxPrice": 1_000_000.0,
        }
        for exchange in FUTURES
        for symbol in context.state.world.markets.symbols(exchange)
    ]


def _step(decimals: int) -> Decimal:
    return Decimal(1).scaleb(-decimals)


def _spot_candles(context: Context) -> list[list[str]]:
    """Newest first."""
    params = context.params
    interval = INTERVALS.get(params.get("type", ""))
    wire = params.get("symbol", "")
    markets = context.state.world.markets
    if interval is None or markets.symbol(SPOT, wire) is None:
        raise Failure("400100", "symbol or type is invalid")
    start, end = context.integer("startAt"), context.integer("endAt")
    rows = markets.candles(
        SPOT,
        wire,
        interval,
        start * 1000 if start else None,
        end * 1000 - 1 if end else None,
        SPOT_CANDLES,
        context.now.wall_ms,
    )
    return [candle_row(candle, spot=True) for candle in reversed(rows)]


def _futures_candles(context: Context) -> list[list[float | int]]:
    """Oldest first, in the usual order, times in ms, volume in contracts."""
    minutes = context.integer("granularity") or 0
    names = {length // 60_000: name for name, length in LENGTHS.items() if length >= 60_000}
    interval, wire = names.get(minutes), context.params.get("symbol", "")
    exchange = context.state.exchange_of(wire)
    if interval is None or exchange is None or interval in {INTERVALS[name] for name in NO_FUTURES}:
        raise Failure("400100", "symbol or granularity is invalid")
    rows = context.state.world.markets.candles(
        exchange,
        wire,
        interval,
        context.integer("from"),
        context.integer("to"),
        FUTURES_CANDLES,
        context.now.wall_ms,
    )
    return [[c.start_ms, *map(float, (c.open, c.high, c.low, c.close)), int(c.volume)] for c in rows]


_COMMON: Final = {
    ("GET", "/api/v1/timestamp"): Route(_timestamp, 3, "public"),
    ("GET", "/api/v1/status"): Route(_status, 3, "public"),
    ("POST", "/api/v1/bullet-public"): Route(_token, 10, "public"),
}


def _unified(version: int) -> dict[tuple[str, str], Route]:
    """The unified API: both versions have the same calls."""
    root = f"/api/ua/v{version}"
    return {
        ("GET", f"{root}/account/mode"): Route(_rest_classic.mode, 30, "unified", private=True),
        ("GET", f"{root}/unified/order/open-list"): Route(_rest_unified.open_list, 4, "unified", private=True),
        ("GET", f"{root}/unified/order/history"): Route(_rest_unified.history, 4, "unified", private=True),
        ("GET", f"{root}/unified/order/detail"): Route(_rest_unified.detail, 4, "unified", private=True),
        ("GET", f"{root}/unified/position/open-list"): Route(_rest_unified.positions, 3, "unified", private=True),
        ("GET", f"{root}/unified/account/balance"): Route(_rest_unified.balances, 4, "unified", private=True),
    }


SPOT_ROUTES: Final = {
    **_COMMON,
    ("POST", "/api/v1/bullet-private"): Route(_token, 10, "spot", private=True),
    ("GET", "/api/v2/symbols"): Route(_symbols, 4, "public"),
    ("GET", "/api/v1/market/candles"): Route(_spot_candles, 3, "public"),
    ("GET", "/api/v1/hf/orders/active/symbols"): Route(_rest_classic.active_symbols, 2, "spot", private=True),
    ("GET", "/api/v1/hf/orders/active"): Route(_rest_classic.active, 2, "spot", private=True),
    ("GET", "/api/v1/hf/orders/done"): Route(_rest_classic.done, 2, "spot", private=True),
    ("GET", "/api/v1/hf/orders/{}"): Route(_rest_classic.spot_one, 2, "spot", private=True),
    ("GET", "/api/v1/accounts"): Route(_rest_classic.accounts, 5, "management", private=True),
    **_unified(1),
    **_unified(2),
}
FUTURES_ROUTES: Final = {
    **_COMMON,
    ("POST", "/api/v1/bullet-private"): Route(_token, 10, "futures", private=True),
    ("GET", "/api/v1/contracts/active"): Route(_contracts, 3, "public"),
    ("GET", "/api/v1/kline/query"): Route(_futures_candles, 3, "public"),
    ("GET", "/api/v1/orders"): Route(_rest_classic.futures_orders, 2, "futures", private=True),
    ("GET", "/api/v1/orders/{}"): Route(_rest_classic.futures_one, 5, "futures", private=True),
    ("GET", "/api/v1/recentDoneOrders"): Route(_rest_classic.recent, 5, "futures", private=True),
    ("GET", "/api/v1/fills"): Route(_rest_classic.fills, 5, "futures", private=True),
    ("GET", "/api/v1/positions"): Route(_rest_classic.positions, 2, "futures", private=True),
    ("GET", "/api/v1/account-overview"): Route(_rest_classic.overview, 5, "futures", private=True),
}
