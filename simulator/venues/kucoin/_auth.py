"""Signed REST calls and one-time socket tokens. Pure."""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

import msgspec

from simulator._venue import Instant, Request, World
from simulator.engine import Account
from simulator.signing import hmac_base64, same

WINDOW_MS: Final = 5_000
TOKEN_S: Final = 86_400.0
MAX_TOKENS: Final = 10_000


class Failure(Exception):
    """A business error: `{"code": …, "msg": …}`."""

    def __init__(self, code: str, text: str, status: int = 200) -> None:
        super().__init__(text)
        self.code = code
        self.text = text
        self.status = status


def authenticate(world: World, request: Request, now: Instant, key_versions: Collection[str]) -> Account:
    """The account whose key signed the request. Raises `Failure` in the order in which the venue checks."""
    headers = request.headers
    names = ("kc-api-key", "kc-api-sign", "kc-api-timestamp", "kc-api-passphrase")
    if any(not headers.get(name) for name in names):
        raise Failure("400001", "Please check the header of your request for KC-API-KEY, KC-API-SIGN", 401)
    stamp = headers["kc-api-timestamp"]
    if not stamp.isdigit() or abs(int(stamp) - now.wall_ms) > WINDOW_MS:
        raise Failure("400002", "KC-API-TIMESTAMP Invalid", 401)
    found = world.engine.find_key("kucoin", headers["kc-api-key"])
    if found is None:
        raise Failure("400003", "KC-API-KEY not exists", 401)
    account, key = found
    if key.rejected:
        raise Failure(key.rejected, "the key was rejected", 401)
    phrase = hmac_base64(key.secret, key.passphrase)
    if headers.get("kc-api-key-version", "1") not in key_versions or not same(phrase, headers["kc-api-passphrase"]):
        raise Failure("400004", "KC-API-PASSPHRASE error", 401)
    path = request.path + (f"?{request.query}" if request.query else "")
    text = f"{stamp}{request.method}{path}{request.body.decode('utf-8', 'replace')}"
    if not same(hmac_base64(key.secret, text), headers["kc-api-sign"]):
        raise Failure("400005", "Invalid KC-API-SIGN", 401)
    return account


class Token(msgspec.Struct, frozen=True):
    """What a socket may be opened for. `account` is empty for public tokens."""

    account: str
    spot: bool
    until: float


class Tokens:
    """Tokens that were handed out and not used yet."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._tokens: dict[str, Token] = {}

    def make(self, account: str, now: Instant, *, spot: bool) -> str:
        text = f"2neA{self._world.random.getrandbits(128):032x}+/="
        self._tokens[text] = Token(account, spot, now.mono + TOKEN_S)
        while len(self._tokens) > MAX_TOKENS:
            self._tokens.pop(next(iter(self._tokens)))
        return text

    def use(self, text: str, now: Instant) -> Token | None:
        """A token opens one connection."""
        token = self._tokens.pop(text, None)
        return token if token is not None and token.until > now.mono else None

    def forget(self, account: str) -> None:
        """The tokens of an account (empty: of all) end now."""
        self._tokens = {text: token for text, token in self._tokens.items() if account and token.account != account}
