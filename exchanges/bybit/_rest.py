"""Hosts, signatures and errors of Bybit v5. Source: bybit-exchange.github.io/docs/v5 (guide, error codes), July 2026."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple

import msgspec

from exchanges._adapter import Answer, Call, FailKind
from exchanges._failures import Failure
from exchanges._frames import UNREADABLE
from exchanges._signing import (
    hmac_sha256_hex,
    is_pem,
    load_private_key,
    sign_pkcs1v15_sha256_base64,
)
from exchanges.bybit._errors import meaning_of
from exchanges.credentials import Credentials
from exchanges.errors import CredentialUnusable

CATEGORY: Final = {"bybit": "spot", "bybitLinear": "linear", "bybitInverse": "inverse"}
PUBLIC_REST: Final = "https://api.bybit.com"
PUBLIC_WS: Final = "wss://stream.bybit.com/v5/public/"

RECV_WINDOW_MS: Final = 20_000
"""Longer than the default of 5 s: a call may wait in the REST pool for its budget. Only reading calls are made."""
AUTH_AHEAD_MS: Final = 10_000
"""`expires` of the login frame lies this far ahead: 1 s (pybit) proved too tight on slow links."""


class Site(NamedTuple):
    """Where the accounts of one region live."""

    ws: tuple[str, ...]
    """Origins of the private WebSocket: the next one is for when none before it can be opened."""
    rest: str
    headers: tuple[tuple[str, str], ...] = ()
    """Sent with every call and handshake of the region's accounts, and never with another's."""


_GLOBAL_WS: Final = "wss://stream.bybit.com"
_GLOBAL_REST: Final = "https://api.bybit.com"
REGIONS: Final[Mapping[str, Site]] = {
    "com": Site((_GLOBAL_WS,), _GLOBAL_REST),
    # The connect page lists the host of `eu` for `system.status` only, and bybit-api 4.7.7 uses the global one.
    "eu": Site(("wss://stream.bybit.eu", _GLOBAL_WS), "https://api.bybit.eu"),
    # No host is listed for `nl`; bybit-api uses the global one by design, checked live on 2026-09-04.
    "nl": Site((_GLOBAL_WS, "wss://stream.bybit.nl"), "https://api.bybit.nl"),
    "tr": Site(("wss://stream.bybit.tr",), "https://api.bybit.tr"),
    "kz": Site(("wss://stream.bybit.kz",), "https://api.bybit.kz"),
    "ge": Site(("wss://stream.bybitgeorgia.ge",), "https://api.bybitgeorgia.ge"),
    "id": Site(("wss://stream.bybit.id",), "https://api.bybit.id"),
    "jp": Site(("wss://stream.manepa.jp",), "https://api.manepa.jp"),
    "ae": Site((_GLOBAL_WS,), "https://api.bybit.ae"),
    "hk": Site(("wss://stream.spark-fintech.com",), "https://api.spark-fintech.com", (("x-refer-site-id", "HKG"),)),
    "br": Site((_GLOBAL_WS,), _GLOBAL_REST, (("x-site-id", "BRA_BTL"),)),
    "ar": Site((_GLOBAL_WS,), _GLOBAL_REST, (("x-site-id", "ARG_BTL"),)),
}
"""By `bybitHost`. Source: page "Connect" (2026-07-24), bybit-api 4.7.7; `br` and `ar` are names of ours. `VENUE_ENDPOINTS`
overrides single origins."""
TESTNET: Final = Site(("wss://stream-testnet.bybit.com",), "https://api-testnet.bybit.com")


def region_of(credentials: Credentials) -> str:
    """The region that an account names, in the spelling of `REGIONS`."""
    return (credentials.bybit_host or "com").strip().lower()


def site_of(credentials: Credentials) -> Site:
    """Where an account lives. The sandbox wins over a region; an unknown region means `com` (contract 1.3, bug A60)."""
    if credentials.environment == "sandbox":
        return TESTNET
    return REGIONS.get(region_of(credentials), REGIONS["com"])


class Signer:
    """Signs for one account. Raises `CredentialUnusable` on creation when the material can't sign."""

    __slots__ = ("_key", "_private", "_secret", "_site")

    def __init__(self, credentials: Credentials) -> None:
        self._site = site_of(credentials).headers
        self._key = credentials.key.reveal()
        self._secret = credentials.secret.reveal()
        if not self._key or not self._secret:
            raise CredentialUnusable("the API key or its secret is empty")
        self._private = load_private_key(self._secret) if is_pem(self._secret) else None
        self._sign("")

    def _sign(self, text: str) -> str:
        if self._private is not None:
            return sign_pkcs1v15_sha256_base64(self._private, text)
        return hmac_sha256_hex(self._secret, text)

    def login(self, expires_ms: int) -> list[str | int]:
        """Arguments of the `auth` frame."""
        return [self._key, expires_ms, self._sign(f"GET/realtime{expires_ms}")]

    def signed(self, call: Call, timestamp_ms: int) -> Call:
        """The call with fresh signature headers."""
        query = call.url.partition("?")[2]
        text = f"{timestamp_ms}{self._key}{RECV_WINDOW_MS}{query}{call.body or ''}"
        headers = {
            "X-BAPI-API-KEY": self._key,
            "X-BAPI-TIMESTAMP": str(timestamp_ms),
            "X-BAPI-RECV-WINDOW": str(RECV_WINDOW_MS),
            "X-BAPI-SIGN": self._sign(text),
            **dict(self._site),
        }
        return msgspec.structs.replace(call, headers=headers)


# --- answers ---


class Envelope(msgspec.Struct):
    """Around every REST answer; the HTTP status is 200 for most errors."""

    retCode: int  # noqa: N815 - the venue's name
    retMsg: str = ""  # noqa: N815
    result: msgspec.Raw = msgspec.Raw(b"{}")
    time: int = 0


_decode_envelope = msgspec.json.Decoder(Envelope).decode

IP_BAN_S: Final = 600.0
"""HTTP 403 `access too frequent` binds the address; the documentation asks for ten minutes of silence."""


def envelope_of(answer: Answer) -> Envelope | None:
    try:
        return _decode_envelope(answer.body)
    except UNREADABLE:
        return None


def time_of(answer: Answer) -> int | None:
    """The venue's clock in ms: it stands in every envelope."""
    envelope = envelope_of(answer)
    return envelope.time or None if answer.status == 200 and envelope is not None else None


def failure_of(answer: Answer) -> Failure | None:
    """None for a good answer, else its class (docs/venues/bybit.md, section 7)."""
    if answer.status == 0:
        return Failure(FailKind.TRANSIENT, answer.error or "no answer")
    envelope = envelope_of(answer)
    if answer.status == 401:
        return Failure(FailKind.CREDENTIAL, f"HTTP 401 {envelope.retMsg if envelope else ''}".rstrip())
    if answer.status in (403, 429):
        return Failure(FailKind.RATE_LIMITED, f"HTTP {answer.status}")
    if envelope is None:
        return Failure(FailKind.TRANSIENT, f"HTTP {answer.status} without a readable body")
    return failure_of_code(envelope.retCode, envelope.retMsg)


def failure_of_code(code: int, text: str) -> Failure | None:
    if code == 0:
        return None
    meaning = meaning_of(code, text)
    return Failure(meaning.kind, f"{code} {text}".rstrip(), clock=meaning.clock)


def wait_of(answer: Answer, now_ms: int) -> float:
    """Seconds to wait after a rate limit: the venue says when its window resets; at least one second."""
    if answer.status == 403:
        return IP_BAN_S
    reset = answer.headers.get("x-bapi-limit-reset-timestamp", "")
    return max(1.0, (int(reset) - now_ms) / 1000) if reset.isdigit() else 1.0
