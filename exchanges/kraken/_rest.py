"""Hosts, signed calls, and what Kraken's error texts mean, spot and futures (docs/venues/kraken.md 1, 2 and 7)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final, NamedTuple
from urllib.parse import urlsplit

import msgspec

from exchanges._adapter import Answer, Call, FailKind
from exchanges._frames import UNREADABLE
from exchanges._signing import base64_secret, hmac_sha512_base64, sha256
from exchanges.credentials import Credentials
from exchanges.errors import CredentialUnusable
from exchanges.kraken._route import route_refusal

# --- hosts ---

SPOT_REST: Final = "https://api.kraken.com"
SPOT_WS: Final = "wss://ws.kraken.com/v2"
SPOT_PRIVATE_WS: Final = "wss://ws-auth.kraken.com/v2"
FUTURES_HOST: Final = "futures.kraken.com"
NO_SANDBOX: Final = "Kraken has no sandbox: spot never had one, and the futures demo was retired on 2026-07-14"
FORM: Final = "application/x-www-form-urlencoded"

UNIFIED_WS: Final = "wss://uws.kraken.com/v2/public"
UNIFIED_PRIVATE_WS: Final = "wss://uws.kraken.com/v2/private"
FUTURES_WS: Final = f"wss://{FUTURES_HOST}/ws/v1"
"""Public and private frames share a socket address."""
FUTURES_REST: Final = f"https://{FUTURES_HOST}"


def option_refusal(options: Mapping[str, str]) -> str | None:
    """None, or why the deployment's options can't be had. A key of the demo must never be sent to production."""
    demo = options.get("KRAKEN_ENV", "").strip().lower() == "demo"
    return f"KRAKEN_ENV=demo: {NO_SANDBOX}" if demo else route_refusal(options)


def account_refusal(options: Mapping[str, str], credentials: Credentials) -> str | None:
    """None, or why an account can't be streamed."""
    return NO_SANDBOX if credentials.environment == "sandbox" else option_refusal(options)


# --- signatures ---


class Signer:
    """Signs for one account. Raises `CredentialUnusable` on creation for material that can't sign."""

    __slots__ = ("_key", "_nonce", "_secret")

    def __init__(self, credentials: Credentials) -> None:
        key = credentials.key.reveal()
        if not key or not key.isascii() or any(not char.isprintable() for char in key):
            raise CredentialUnusable("the API key is empty or holds characters that no key has")
        self._key = key
        self._secret = base64_secret(credentials.secret.reveal())
        self._nonce = 0

    def spot(self, call: Call, wall_ms: int) -> Call:
        """The call with a fresh nonce, ms as every other user of the key counts, and its signature."""
        self._nonce = max(wall_ms, self._nonce + 1)
        body = "&".join(part for part in (f"nonce={self._nonce}", call.body) if part)
        message = urlsplit(call.url).path.encode() + sha256(f"{self._nonce}{body}")
        headers = {
            "API-Key": self._key,
            "API-Sign": hmac_sha512_base64(self._secret, message),
            "Content-Type": FORM,
        }
        return msgspec.structs.replace(call, body=body, headers=headers)

    def futures(self, call: Call) -> Call:
        """The call with its signature; without a nonce, so that calls may arrive in any order."""
        parts = urlsplit(call.url)
        path = parts.path.removeprefix("/derivatives")
        sign = hmac_sha512_base64(self._secret, sha256(f"{parts.query}{call.body or ''}{path}"))
        headers = {"APIKey": self._key, "Authent": sign}
        if call.body is not None:
            headers["Content-Type"] = FORM
        return msgspec.structs.replace(call, headers=headers)

    def challenge(self, message: str) -> dict[str, str]:
        """The fields of a private subscription that answer a challenge."""
        return {
            "api_key": self._key,
            "original_challenge": message,
            "signed_challenge": hmac_sha512_base64(self._secret, sha256(message)),
        }

    def asks_challenge(self) -> dict[str, str]:
        return {"event": "challenge", "api_key": self._key}


# --- errors ---


class Failure(NamedTuple):
    """What an error text means. `own` = it counts per key and says nothing about others on the address."""

    kind: FailKind
    reason: str
    retry_after_s: float | None = None
    own: bool = True


RATE_WAIT_S: Final = 10.0
LOCKOUT_S: Final = 900.0
NONCE_WAIT_S: Final = 1.0
FIRST_BACKOFF_S: Final = 3.5
"""During an outage the engine answers every attempt."""

_CREDENTIAL: Final = (
    "eapi:invalid key",
    "eapi:invalid signature",
    "egeneral:permission denied",
    "eauth:account temporary disabled",
    "eaccount:invalid permissions",
    "failed to subscribe to authenticated feed",
    "authenticationerror",
)
_NONCE: Final = ("eapi:invalid nonce", "noncebelowthreshold", "nonceduplicate")
_RATE: Final = (
    "eapi:rate limit exceeded",
    "eauth:rate limit exceeded",
    "eauth:too many requests",
    "apilimitexceeded",
    "exceeded msg rate",
)
_ADDRESS_RATE: Final = ("egeneral:too many requests",)
_LOCKOUT: Final = ("egeneral:temporary lockout",)
_REQUEST: Final = (
    "currency pair not supported",
    "subscription ohlc interval",
    "equery:unknown asset pair",
    "invalid product id",
    "invalid feed",
)
_BENIGN: Final = ("already subscribed to feed", "already subscribed")
ONE_INTERVAL: Final = "already subscribed to one ohlc interval"
_COLON: Final = re.compile(r"\s*:\s*")


def normalised(text: str) -> str:
    """Any case, blanks around the colon allowed (contract 4.3)."""
    return _COLON.sub(":", text.strip()).lower()


def benign(text: str) -> bool:
    """A reply that asks for nothing: the subscription exists."""
    said = normalised(text)
    return said.startswith(_BENIGN) and not said.startswith(ONE_INTERVAL)


def failure_of_text(text: str) -> Failure:
    """The class of an error text; what is in no table is the venue's own trouble."""
    said = normalised(text)
    reason = text.strip()[:200] or "an error without a text"
    table: tuple[tuple[tuple[str, ...], Failure], ...] = (
        (_CREDENTIAL, Failure(FailKind.CREDENTIAL, reason)),
        (_NONCE, Failure(FailKind.TRANSIENT, reason, NONCE_WAIT_S)),
        (_RATE, Failure(FailKind.RATE_LIMITED, reason, RATE_WAIT_S)),
        (_ADDRESS_RATE, Failure(FailKind.RATE_LIMITED, reason, RATE_WAIT_S, own=False)),
        (_LOCKOUT, Failure(FailKind.RATE_LIMITED, reason, LOCKOUT_S)),
        (_REQUEST, Failure(FailKind.REQUEST, reason)),
    )
    for texts, failure in table:
        if said.startswith(texts):
            return failure
    return Failure(FailKind.TRANSIENT, reason, FIRST_BACKOFF_S)


def bad_nonce(text: str) -> bool:
    return normalised(text).startswith(_NONCE)


class _SpotEnvelope(msgspec.Struct):
    """Around every spot answer; HTTP 200 also for errors."""

    error: list[str] | None
    result: msgspec.Raw = msgspec.Raw(b"null")


class _FuturesEnvelope(msgspec.Struct):
    """Around futures answers; lists stand beside these keys, and history answers have only lists."""

    result: str | None = "success"
    error: str | None = None
    errors: list[msgspec.Raw] | None = None


_decode_spot = msgspec.json.Decoder(_SpotEnvelope).decode
_decode_futures = msgspec.json.Decoder(_FuturesEnvelope).decode


class Read(NamedTuple):
    """An answer as far as it is understood: `data` of a good one, or why it is none."""

    data: bytes
    failure: Failure | None = None


def _unusable(answer: Answer) -> Failure:
    """The failures that stand in no body."""
    if answer.status == 0:
        return Failure(FailKind.TRANSIENT, answer.error or "no answer", FIRST_BACKOFF_S)
    if answer.status == 429:
        return Failure(FailKind.RATE_LIMITED, "HTTP 429", RATE_WAIT_S, own=False)
    return Failure(FailKind.TRANSIENT, f"HTTP {answer.status} without a usable body", FIRST_BACKOFF_S)


def read_spot(answer: Answer) -> Read:
    """An answer of the spot API."""
    try:
        envelope = _decode_spot(answer.body)
    except UNREADABLE:
        return Read(b"", _unusable(answer))
    errors = [text for text in envelope.error or () if not text.startswith("W")]  # W… is a warning
    if errors:
        return Read(b"", failure_of_text(errors[0]))
    if answer.status >= 400:
        return Read(b"", _unusable(answer))
    return Read(bytes(envelope.result))


def read_futures(answer: Answer) -> Read:
    """An answer of the futures API."""
    try:
        envelope = _decode_futures(answer.body)
    except UNREADABLE:
        return Read(b"", _unusable(answer))
    if envelope.result not in ("success", None) or envelope.error or envelope.errors:
        return Read(b"", failure_of_text(envelope.error or f"HTTP {answer.status} {envelope.result}"))
    if answer.status >= 400:
        return Read(b"", _unusable(answer))
    return Read(answer.body)
