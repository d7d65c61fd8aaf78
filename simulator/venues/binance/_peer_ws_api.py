"""Spot WebSocket API: signed requests, and account events of up to 1,000 accounts on one socket. Pure."""

# Hooks have the signature of `Peer` whether they need every argument or not.
# ruff: noqa: ARG002

from __future__ import annotations

from typing import Any, Final

import msgspec

from simulator._peer import BasePeer
from simulator._values import ApiKey, Change
from simulator._venue import (
    Close,
    Effect,
    Effects,
    Follow,
    Frame,
    Instant,
    Noted,
    Request,
    Signal,
    Unfollow,
)
from simulator.engine import Account
from simulator.venues.binance._auth import Failure, account_of, check_signature
from simulator.venues.binance._frames import frames_of
from simulator.venues.binance._rest import perform
from simulator.venues.binance._state import State
from simulator.venues.binance._symbols import SPOT

MAX_LIVE: Final = 1_000
MAX_LIFETIME: Final = 65_535
SHUTDOWN_S: Final = 10.0

_REST_METHODS: Final = {
    "exchangeInfo": ("GET", "exchangeInfo"),
    "klines": ("GET", "klines"),
    "order.place": ("POST", "order"),
    "order.cancel": ("DELETE", "order"),
    "order.status": ("GET", "order"),
    "openOrders.status": ("GET", "openOrders"),
    "openOrders.cancelAll": ("DELETE", "openOrders"),
    "order.amend.keepPriority": ("PUT", "order/amend/keepPriority"),
    "allOrders": ("GET", "allOrders"),
    "myTrades": ("GET", "myTrades"),
    "account.status": ("GET", "account"),
}
"""Methods that answer like a REST call of the same market."""
_WEIGHTS: Final = {"ping": 1, "time": 1, "session.logon": 2, "session.status": 2, "session.logout": 2}

Params = dict[str, Any]


class WsApiPeer(BasePeer):
    """One socket of the WebSocket API."""

    ping_every_s = 20.0
    pong_within_s = 60.0

    def __init__(self, state: State, request: Request, now: Instant) -> None:
        super().__init__(state.world, now)
        self.feed = "user"
        self._state = state
        self._remote = request.remote
        self._subscriptions: dict[int, str] = {}
        self._next = 0
        self._session: tuple[Account, ApiKey] | None = None
        self._shutdown: float | None = None

    def frame(self, data: str | bytes, now: Instant) -> Effects:
        request_id: object = None
        try:
            request = msgspec.json.decode(data)
            if not isinstance(request, dict) or not isinstance(request.get("method"), str):
                raise Failure(400, -1135, "Invalid JSON Request")
            request_id = request.get("id")
            result, effects = self._call(request["method"], request.get("params") or {}, now)
            answer: Params = {"id": request_id, "status": 200, "result": result}
        except (msgspec.DecodeError, UnicodeDecodeError):
            answer, effects = {"id": None, "status": 400, "error": {"code": -1135, "msg": "Invalid JSON Request"}}, []
        except Failure as failure:
            effects = [Noted("login_refused", str(failure.code))] if failure.status == 401 else []
            answer = {"id": request_id, "status": failure.status, "error": self._error(failure, now)}
        answer["rateLimits"] = [self._state.weights.usage(SPOT, self._remote)]
        return (Frame(msgspec.json.encode(answer), ack=True), *effects)

    def _error(self, failure: Failure, now: Instant) -> Params:
        error: Params = {"code": failure.code, "msg": failure.text}
        if failure.until_ms:
            error["data"] = {"serverTime": now.wall_ms, "retryAfter": failure.until_ms}
        return error

    def _call(self, method: str, params: Params, now: Instant) -> tuple[Any, list[Effect]]:
        """Raises `Failure`."""
        if method not in _REST_METHODS:
            self._state.weights.spend(SPOT, self._remote, _WEIGHTS.get(method, 2), now)
        match method:
            case "ping":
                return {}, []
            case "time":
                return {"serverTime": now.wall_ms}, []
            case "session.logon":
                return self._logon(params, now)
            case "session.status":
                return self._session_state(now), []
            case "session.logout":
                self._session = None
                return self._session_state(now), []
            case "userDataStream.subscribe":
                if self._session is None:
                    raise Failure(401, -2015, "WebSocket session not authenticated")
                return self._subscribe(self._session[0])
            case "userDataStream.subscribe.signature":
                account, key = account_of(self.world.engine, _text(params.get("apiKey")))
                self._check(key, params, now)
                return self._subscribe(account)
            case "userDataStream.unsubscribe":
                return self._unsubscribe(params.get("subscriptionId"))
            case "session.subscriptions":
                return [{"subscriptionId": number} for number in self._subscriptions], []
            case "userDataStream.start" | "userDataStream.ping" | "userDataStream.stop":
                raise Failure(410, -1000, "This method was removed; use userDataStream.subscribe.signature.")
            case _ if method in _REST_METHODS:
                return self._rest(method, params, now), []
            case _:
                raise Failure(400, -1100, f"Unknown method {method}")

    def _check(self, key: ApiKey, params: Params, now: Instant) -> None:
        texts = {name: _text(value) for name, value in params.items()}
        signature = texts.pop("signature", None)
        payload = "&".join(f"{name}={texts[name]}" for name in sorted(texts))
        check_signature(key, payload, signature, now.wall_ms, texts)

    # --- sessions and subscriptions ---

    def _logon(self, params: Params, now: Instant) -> tuple[Any, list[Effect]]:
        account, key = account_of(self.world.engine, _text(params.get("apiKey")))
        if key.kind != "ed25519":
            raise Failure(400, -4056, "HMAC_SHA256 API key is not supported.")
        self._check(key, params, now)
        self._session = (account, key)
        return self._session_state(now), [Noted("login", account.account_id)]

    def _session_state(self, now: Instant) -> Params:
        key = self._session[1].key if self._session else None
        return {
            "apiKey": key,
            "authorizedSince": int(now.wall_ms) if key else None,
            "connectedSince": now.wall_ms - int((now.mono - self.born) * 1000),
            "returnRateLimits": True,
            "serverTime": now.wall_ms,
            "userDataStream": bool(self._subscriptions),
        }

    def _subscribe(self, account: Account) -> tuple[Any, list[Effect]]:
        if account.account_id in self._subscriptions.values():
            raise Failure(400, -2035, "User Data Stream subscription already active.")
        if self._next > MAX_LIFETIME:
            raise Failure(400, -2042, "Subscription ids of this connection are used up.")
        if len(self._subscriptions) >= MAX_LIVE:
            raise Failure(400, -1034, "Too many user data stream subscriptions.")
        number = self._next
        self._next += 1
        self._subscriptions[number] = account.account_id
        login: list[Effect] = [] if self._session else [Noted("login", account.account_id)]
        noted = Noted("subscribe", account.account_id)
        return {"subscriptionId": number}, [*login, noted, Follow(account.account_id)]

    def _unsubscribe(self, number: object) -> tuple[Any, list[Effect]]:
        numbers = list(self._subscriptions) if number is None else [number]
        effects: list[Effect] = []
        for each in numbers:
            if not isinstance(each, int) or each not in self._subscriptions:
                raise Failure(400, -2036, "User Data Stream subscription not active.")
            account = self._subscriptions.pop(each)
            effects += [Unfollow(account), Noted("unsubscribe", account)]
        return {}, effects

    def _rest(self, method: str, params: Params, now: Instant) -> Any:
        """Raises `Failure`."""
        verb, path = _REST_METHODS[method]
        texts = {name: _text(value) for name, value in params.items()}
        account: Account | None = None
        if "apiKey" in texts:
            account, key = account_of(self.world.engine, texts["apiKey"])
            self._check(key, params, now)
        elif self._session is not None:
            account = self._session[0]
        return perform(self._state, SPOT, verb, path, texts, account, self._remote, now)

    # --- events ---

    def changed(self, change: Change, now: Instant) -> Effects:
        if change.exchange != SPOT.exchange:
            return ()
        return [
            Frame(msgspec.json.encode({"subscriptionId": number, "event": row}))
            for number, account in self._subscriptions.items()
            if account == change.account
            for row in frames_of(SPOT, None, change, {})
        ]

    def next_timer(self) -> float | None:
        return self._shutdown

    def timer(self, now: Instant) -> Effects:
        return (Close(1001, "shutdown"),)

    def signal(self, signal: Signal, now: Instant) -> Effects:
        if signal.name == "maintenance":
            self._shutdown = now.mono + float(signal.params.get("seconds") or SHUTDOWN_S)
            return (Frame(msgspec.json.encode({"event": {"e": "serverShutdown", "E": now.wall_ms}})),)
        if signal.name in {"terminate", "key_changed"}:
            return self._terminate(signal.account, now)
        return super().signal(signal, now)

    def _terminate(self, account: str, now: Instant) -> Effects:
        """The subscription is gone, the socket stays."""
        effects: list[Effect] = []
        for number, owner in list(self._subscriptions.items()):
            if account in {"", owner}:
                del self._subscriptions[number]
                event = {"subscriptionId": number, "event": {"e": "eventStreamTerminated", "E": now.wall_ms}}
                effects += [Frame(msgspec.json.encode(event)), Unfollow(owner)]
        return effects


def _text(value: object) -> str:
    """A parameter as it stands in the signed text."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)
