"""REST of the four markets: routes with their weights, signatures, answers. Pure. Source: venues/binance.md 2, 7, 8, 9."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final
from urllib.parse import parse_qsl

import msgspec

from simulator._venue import Instant, Reply, Request
from simulator.engine import Account, Refused
from simulator.venues.binance import _rest_balances, _rest_public, _rest_trading
from simulator.venues.binance._auth import Failure, account_of, check_signature, refused
from simulator.venues.binance._context import Context, Params
from simulator.venues.binance._state import State
from simulator.venues.binance._symbols import SPOT, Profile


class Route(msgspec.Struct, frozen=True):
    handler: Callable[[Context], Any]
    weight: int = 1
    security: str = "none"
    """`none`, `key` (API key header only) or `signed`."""
    weight_without_symbol: int = 0


_SIGNED: Final = "signed"


def _symbol_route(handler: Callable[[Context], Any], weight: int, without: int) -> Route:
    return Route(handler, weight, _SIGNED, without)


_COMMON: Final[dict[tuple[str, str], Route]] = {
    ("GET", "ping"): Route(lambda _: {}),
    ("GET", "time"): Route(_rest_public.server_time),
    ("GET", "exchangeInfo"): Route(_rest_public.exchange_info),
    ("GET", "klines"): Route(_rest_public.klines, 2),
    ("GET", "ticker/price"): Route(_rest_public.prices, 2),
    ("GET", "ticker/24hr"): Route(_rest_public.day_tickers, 2),
    ("POST", "order"): Route(_rest_trading.place, 1, _SIGNED),
    ("DELETE", "order"): Route(_rest_trading.cancel, 1, _SIGNED),
    ("GET", "order"): Route(_rest_trading.one_order, 1, _SIGNED),
    ("GET", "openOrders"): _symbol_route(_rest_trading.open_orders, 1, 40),
    ("GET", "allOrders"): Route(_rest_trading.all_orders, 5, _SIGNED),
}
_SPOT: Final = {
    **_COMMON,
    ("GET", "exchangeInfo"): Route(_rest_public.exchange_info, 20),
    ("GET", "order"): Route(_rest_trading.one_order, 4, _SIGNED),
    ("GET", "openOrders"): _symbol_route(_rest_trading.open_orders, 6, 80),
    ("DELETE", "openOrders"): Route(_rest_trading.cancel_all, 1, _SIGNED),
    ("GET", "allOrders"): Route(_rest_trading.all_orders, 20, _SIGNED),
    ("GET", "myTrades"): Route(_rest_balances.my_trades, 20, _SIGNED),
    ("GET", "account"): Route(_rest_balances.spot_account, 20, _SIGNED),
    ("PUT", "order/amend/keepPriority"): Route(_rest_trading.amend_spot, 4, _SIGNED),
}
_FUTURES: Final = {
    **_COMMON,
    ("PUT", "order"): Route(_rest_trading.amend_futures, 1, _SIGNED),
    ("DELETE", "allOpenOrders"): Route(_rest_trading.cancel_all, 1, _SIGNED),
    ("GET", "userTrades"): Route(_rest_balances.user_trades, 5, _SIGNED),
    ("GET", "forceOrders"): _symbol_route(_rest_trading.forced_orders, 20, 50),
    ("GET", "balance"): Route(_rest_balances.futures_balance, 5, _SIGNED),
    ("GET", "account"): Route(_rest_balances.futures_account, 5, _SIGNED),
    ("GET", "positionRisk"): Route(_rest_balances.position_risk, 5, _SIGNED),
}


def _key_routes(path: str) -> dict[tuple[str, str], Route]:
    return {
        ("POST", path): Route(_rest_trading.create_listen_key, 1, "key"),
        ("PUT", path): Route(_rest_trading.extend_listen_key, 1, "key"),
        ("DELETE", path): Route(_rest_trading.delete_listen_key, 1, "key"),
    }


ROUTES: Final[dict[str, dict[tuple[str, str], Route]]] = {
    "binance": _SPOT,
    "binanceUS": {**_SPOT, **_key_routes("userDataStream")},
    "binanceUsdm": {**_FUTURES, **_key_routes("listenKey")},
    "binanceCoinm": {**_FUTURES, **_key_routes("listenKey")},
}
_VERSIONS: Final = {"api": {"v3"}, "fapi": {"v1", "v2", "v3"}, "dapi": {"v1"}}


class Rest:
    """Answers HTTP requests."""

    def __init__(self, state: State) -> None:
        self._state = state

    def answer(self, profile: Profile, request: Request, now: Instant) -> Reply:
        """One HTTP request of a market."""
        try:
            body = msgspec.json.encode(_perform_http(self._state, profile, request, now))
            status, headers = 200, {}
        except Failure as failure:
            body, status = failure.body(), failure.status
            headers = {"Retry-After": str(failure.retry_after_s)} if failure.retry_after_s else {}
        used = str(self._state.weights.used(profile, request.remote))
        common = {
            "Content-Type": "application/json;charset=UTF-8",
            "X-MBX-USED-WEIGHT-1M": used,
            "X-MBX-USED-WEIGHT": used,
        }
        return Reply(status, body, {**common, **headers})


def _perform_http(state: State, profile: Profile, request: Request, now: Instant) -> Any:
    _, _, version, *rest = request.path.split("/") if request.path.count("/") > 2 else ("", "", "", "")
    path = "/".join(rest)
    route = ROUTES[profile.exchange].get((request.method, path)) if version in _VERSIONS[profile.api] else None
    if route is None:
        if profile is SPOT and path == "userDataStream":
            raise Failure(410, -1000, "This endpoint was removed; use the WebSocket API.")
        raise Failure(404, -5000, f"Path {request.path}, Method {request.method} is invalid")
    raw = "&".join(part for part in (request.query, request.body.decode("utf-8", "replace")) if part)
    params = dict(parse_qsl(raw, keep_blank_values=True))
    state.weights.spend(profile, request.remote, _weight(route, params), now)
    account: Account | None = None
    if route.security != "none":
        account, key = account_of(state.world.engine, request.headers.get("x-mbx-apikey"))
        if route.security == _SIGNED:
            signature = params.pop("signature", None)
            check_signature(key, signed_payload(request), signature, now.wall_ms, params)
    return _run(route, Context(state, profile, params, account, now))


def signed_payload(request: Request) -> str:
    """What a client had to sign: query and body as they were sent, without the signature itself."""
    body = request.body.decode("utf-8", "replace")
    return _without_signature(request.query) + _without_signature(body)


def _without_signature(text: str) -> str:
    return "&".join(part for part in text.split("&") if not part.startswith("signature=")) if text else ""


def perform(
    state: State,
    profile: Profile,
    method: str,
    path: str,
    params: Params,
    account: Account | None,
    remote: str,
    now: Instant,
) -> Any:
    """The same routes for a caller that checked the signature itself (WebSocket API). Raises `Failure`."""
    route = ROUTES[profile.exchange][(method, path)]
    state.weights.spend(profile, remote, _weight(route, params), now)
    if route.security != "none" and account is None:
        raise Failure(401, -2015, "WebSocket session not authenticated")
    return _run(route, Context(state, profile, params, account, now))


def _weight(route: Route, params: Params) -> int:
    if route.weight_without_symbol and not params.get("symbol"):
        return route.weight_without_symbol
    if route.handler is _rest_balances.my_trades and params.get("orderId"):
        return 5
    return route.weight


def _run(route: Route, context: Context) -> Any:
    try:
        return route.handler(context)
    except Refused as problem:
        raise refused(problem) from problem
