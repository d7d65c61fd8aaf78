"""Who signed: spot calls with their nonces, socket tokens, futures calls and challenges, with Kraken's texts. Pure."""

from __future__ import annotations

import base64
import binascii
from typing import Final

import msgspec

from simulator._values import ApiKey
from simulator._venue import Instant, Request, World
from simulator.engine import Account
from simulator.signing import hmac_base64, same, sha256

VENUE: Final = "kraken"
DERIVATIVES_KEY: Final = "derivatives"
"""What keys of the classic derivatives API begin with; each API refuses the other's."""
TOKEN_S: Final = 900.0
MAX_TOKENS: Final = 10_000


class Failure(Exception):
    """A request is refused: the venue's text, and the HTTP status of a futures answer."""

    def __init__(self, text: str, status: int = 200) -> None:
        super().__init__(text)
        self.text = text
        self.status = status


def sign(key: ApiKey, message: bytes) -> str:
    """HMAC-SHA512 with the decoded secret; a secret that is no base64 signs nothing that anybody could send."""
    try:
        secret = base64.b64decode(key.secret, validate=True)
    except (binascii.Error, ValueError):
        return ""
    return hmac_base64(secret, message, "sha512")


def matches(key: ApiKey, message: bytes, signature: str) -> bool:
    wanted = sign(key, message)
    return bool(wanted) and same(wanted, signature)


class Nonces:
    """The last nonce of every key: the next one has to be higher."""

    def __init__(self) -> None:
        self._last: dict[str, int] = {}

    def take(self, key: str, text: str) -> bool:
        if not text.isdigit() or int(text) <= self._last.get(key, -1):
            return False
        self._last[key] = int(text)
        return True


def spot_account(world: World, nonces: Nonces, request: Request) -> tuple[Account, str]:
    """The account and key that signed a spot call. Raises `Failure` in the order in which the venue checks."""
    name = request.headers.get("api-key", "")
    found = None if name.startswith(DERIVATIVES_KEY) else world.engine.find_key(VENUE, name)
    if found is None:
        raise Failure("EAPI:Invalid key")
    account, key = found
    if key.rejected:
        raise Failure(_text_of(key.rejected, "EAPI:Invalid key"))
    nonce = request.form().get("nonce", "")
    message = request.path.encode() + sha256(nonce.encode() + request.body)
    if not matches(key, message, request.headers.get("api-sign", "")):
        raise Failure("EAPI:Invalid signature")
    if not nonces.take(name, nonce):
        raise Failure("EAPI:Invalid nonce")
    return account, name


def futures_account(world: World, request: Request) -> Account:
    """The account that signed a futures call. Raises `Failure`."""
    name = request.headers.get("apikey", "")
    found = world.engine.find_key(VENUE, name) if name.startswith(DERIVATIVES_KEY) else None
    if found is None:
        raise Failure("authenticationError", 401)
    account, key = found
    path = request.path.removeprefix("/derivatives")
    nonce = request.headers.get("nonce", "")
    data = request.query.encode() + request.body + nonce.encode() + path.encode()
    if key.rejected or not matches(key, sha256(data), request.headers.get("authent", "")):
        raise Failure("authenticationError", 401)
    return account


def futures_key(world: World, name: str) -> tuple[Account, ApiKey] | None:
    """The account and key of a futures frame, if the venue knows and accepts it."""
    found = world.engine.find_key(VENUE, name) if name.startswith(DERIVATIVES_KEY) else None
    return found if found is not None and not found[1].rejected else None


def _text_of(code: str, otherwise: str) -> str:
    """The text that a fault asks for, if it is one of spot's."""
    return code if code.startswith("E") and ":" in code else otherwise


class Token(msgspec.Struct, frozen=True):
    account: str
    until: float


class Tokens:
    """Socket tokens that were handed out. One serves all subscriptions of its connection."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._tokens: dict[str, Token] = {}

    def make(self, account: str, now: Instant) -> str:
        text = base64.b64encode(self._world.random.randbytes(30)).decode()
        self._tokens[text] = Token(account, now.mono + TOKEN_S)
        while len(self._tokens) > MAX_TOKENS:
            self._tokens.pop(next(iter(self._tokens)))
        return text

    def take(self, text: str, now: Instant) -> str | None:
        """The account of a token that is used on a connection for the first time; it is worth nothing on another one."""
        token = self._tokens.pop(text, None)
        return token.account if token is not None and token.until > now.mono else None

    def forget(self, account: str) -> None:
        """The tokens of an account (empty: of all) end now."""
        self._tokens = {text: token for text, token in self._tokens.items() if account and token.account != account}
