"""Who signed a REST call, with WhiteBIT's refusals; socket tokens. Pure."""

from __future__ import annotations

import base64
from collections import deque
from typing import Any, Final

import msgspec

from simulator._values import ApiKey
from simulator._venue import Instant, Request, World
from simulator.engine import Account
from simulator.signing import hmac_hex, same

VENUE: Final = "whitebit"
TOKEN_S: Final = 60.0
MAX_TOKENS: Final = 10_000
WINDOW_MS: Final = 5_000
MAX_NONCES: Final = 2_000
"""Of one key: far more than it may use within the window."""


class Failure(Exception):
    """A call is refused: HTTP status, code and text of the error, as the venue words it."""

    def __init__(self, status: int, text: str, code: int = 0, field: str = "") -> None:
        super().__init__(text)
        self.status, self.text, self.code, self.field = status, text, code, field


UNAUTHORISED: Final = (401, "This action is unauthorized. Enable your key in API settings", 2)
_REJECTED: Final[dict[str, tuple[int, str, int, str]]] = {
    "4": (403, "This API Key is not authorized to perform this action.", 4, ""),
    "10": (401, "Unauthorized request.", 10, ""),
    "30": (422, "user not found", 30, "user"),
}


class Nonces:
    """The nonces that each key has used."""

    def __init__(self) -> None:
        self._last: dict[str, int] = {}
        self._used: dict[str, deque[int]] = {}

    def check(self, key: str, body: dict[str, Any], now: Instant) -> None:
        """Raises `Failure`: an old nonce is answered like too many requests."""
        try:
            nonce = int(body["nonce"])
        except (KeyError, ValueError, TypeError):
            raise Failure(422, "Nonce not provided.") from None
        used = self._used.setdefault(key, deque(maxlen=MAX_NONCES))
        if body.get("nonceWindow") is True:
            if nonce < now.wall_ms - WINDOW_MS:
                raise Failure(422, "Your nonce is more than 5 seconds lesser than the current nonce")
            if nonce > now.wall_ms + WINDOW_MS:
                raise Failure(422, "Your nonce is more than 5 seconds greater than the current nonce")
            fresh = nonce not in used
        else:
            fresh = nonce > self._last.get(key, -1)
        if not fresh:
            raise Failure(429, "Too many requests.")
        used.append(nonce)
        self._last[key] = max(nonce, self._last.get(key, -1))


def account_of(world: World, nonces: Nonces, request: Request, now: Instant) -> tuple[Account, dict[str, Any]]:
    """The account that signed a call, and the call's parameters. Raises `Failure` in the order of the venue's checks."""
    headers = request.headers
    payload = headers.get("x-txc-payload", "")
    if not payload:
        raise Failure(422, "Payload not provided.")
    try:
        body = msgspec.json.decode(request.body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        body = None
    if not isinstance(body, dict) or base64.b64encode(request.body).decode() != payload:
        raise Failure(422, "Invalid payload")
    if body.get("request") != request.path:
        raise Failure(422, "Request not provided.")
    found = world.engine.find_key(VENUE, headers.get("x-txc-apikey", ""))
    if found is None:
        raise Failure(*UNAUTHORISED)
    account, key = found
    if key.rejected:
        raise _rejection(key)
    if not same(hmac_hex(key.secret, payload, "sha512"), headers.get("x-txc-signature", "")):
        raise Failure(401, "Unauthorized request.", 10)
    nonces.check(key.key, body, now)
    return account, body


def _rejection(key: ApiKey) -> Failure:
    return Failure(*_REJECTED.get(key.rejected, (*UNAUTHORISED, "")))


class Tokens:
    """Socket tokens: each serves one connection, within a minute."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._tokens: dict[str, tuple[str, float]] = {}

    def make(self, account: str, now: Instant) -> str:
        token = f"{self._world.random.getrandbits(256):064x}"
        self._tokens[token] = (account, now.mono + TOKEN_S)
        while len(self._tokens) > MAX_TOKENS:
            self._tokens.pop(next(iter(self._tokens)))
        return token

    def take(self, token: str, now: Instant) -> str | None:
        account, until = self._tokens.pop(token, ("", 0.0))
        return account if account and until > now.mono else None

    def forget(self, account: str) -> None:
        """The tokens of an account (empty: of all) end now."""
        self._tokens = {text: one for text, one in self._tokens.items() if account and one[0] != account}
