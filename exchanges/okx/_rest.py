"""Hosts, signatures and the meaning of error codes (venues/okx.md 1, 2 and 7). Source: okx.com/docs-v5 (June 2026)."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Final, NamedTuple

import msgspec

from exchanges._adapter import Answer, Call, FailKind
from exchanges._failures import Failure
from exchanges._frames import UNREADABLE
from exchanges._signing import hmac_sha256_base64
from exchanges.credentials import Credentials
from exchanges.errors import CredentialUnusable
from exchanges.okx._errors import meaning_of

# --- hosts ---


class Site(NamedTuple):
    """One of OKX's three sites; a key lives on exactly one of them. Demo shares the REST host."""

    ws: str
    demo_ws: str
    rest: str


SITES: Final = {
    "com": Site("wss://ws.okx.com:8443", "wss://wspap.okx.com:8443", "https://openapi.okx.com"),
    "my": Site("wss://wseea.okx.com:8443", "wss://wseeapap.okx.com:8443", "https://eea.okx.com"),
    "app": Site("wss://wsus.okx.com:8443", "wss://wsuspap.okx.com:8443", "https://us.okx.com"),
}
PUBLIC_WS: Final = f"{SITES['com'].ws}/ws/v5/public"
"""Prices are the same on all sites: everybody reads the global one."""
BUSINESS_WS: Final = f"{SITES['com'].ws}/ws/v5/business"
"""All candle channels live here; on `public` they are refused."""
PUBLIC_REST: Final = SITES["com"].rest


class Hosts(NamedTuple):
    """Where one account's connection and calls go."""

    ws: str
    rest: str
    demo: bool


def hosts_of(credentials: Credentials, options: Mapping[str, str]) -> Hosts:
    """By region of the key (unknown: the global site); demo by `ENVOKX=sandbox` or the account's own environment."""
    site = SITES.get((credentials.okx_source or "com").lower(), SITES["com"])
    demo = options.get("ENVOKX", "").lower() == "sandbox" or credentials.environment == "sandbox"
    return Hosts(f"{site.demo_ws if demo else site.ws}/ws/v5/private", site.rest, demo)


# --- signatures ---

_LOGIN_TEXT: Final = "GET/users/self/verify"


class Signer:
    """Signs for one account. Raises `CredentialUnusable` on creation when something is empty."""

    __slots__ = ("_demo", "_key", "_passphrase", "_secret")

    def __init__(self, credentials: Credentials, *, demo: bool) -> None:
        self._key = credentials.key.reveal()
        self._secret = credentials.secret.reveal()
        self._passphrase = credentials.passphrase.reveal() if credentials.passphrase else ""
        self._demo = demo
        if not (self._key and self._secret and self._passphrase):
            raise CredentialUnusable("the API key, its secret or its passphrase is empty")

    def login(self, now_ms: int) -> dict[str, str]:
        """The argument of the login frame; it is good for 30 s."""
        timestamp = str(now_ms // 1000)
        return {
            "apiKey": self._key,
            "passphrase": self._passphrase,
            "timestamp": timestamp,
            "sign": hmac_sha256_base64(self._secret, timestamp + _LOGIN_TEXT),
        }

    def signed(self, call: Call, now_ms: int) -> Call:
        """The call with fresh signature headers; they are good for 30 s."""
        moment = datetime.fromtimestamp(now_ms / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        path = "/" + call.url.split("/", 3)[3]
        headers = {
            "OK-ACCESS-KEY": self._key,
            "OK-ACCESS-PASSPHRASE": self._passphrase,
            "OK-ACCESS-TIMESTAMP": moment,
            "OK-ACCESS-SIGN": hmac_sha256_base64(self._secret, moment + call.method + path + (call.body or "")),
        }
        if self._demo:
            headers["x-simulated-trading"] = "1"
        return msgspec.structs.replace(call, headers=headers)


# --- answers ---


class Envelope(msgspec.Struct):
    """Around every REST answer; a code other than 0 is an error whatever the HTTP status."""

    code: str
    msg: str | None = ""
    data: msgspec.Raw = msgspec.Raw(b"[]")


class _Time(msgspec.Struct):
    ts: str


_decode_envelope = msgspec.json.Decoder(Envelope).decode
_decode_times = msgspec.json.Decoder(list[_Time]).decode

UPGRADE_NOTICE: Final = "64008"
FIRST_WAIT_S: Final = 2.0
LONGEST_WAIT_S: Final = 60.0


def failure_of_code(code: str, text: str) -> Failure:
    """The class of an error code."""
    meaning = meaning_of(code, text)
    return Failure(meaning.kind, f"{code} {text}".strip(), code=code, clock=meaning.clock)


def envelope_of(answer: Answer) -> Envelope | None:
    try:
        return _decode_envelope(answer.body)
    except UNREADABLE:
        return None


def failure_of(answer: Answer) -> Failure | None:
    """None for a good answer, else its class (docs/venues/okx.md, section 7)."""
    if answer.status == 0:
        return Failure(FailKind.TRANSIENT, answer.error or "no answer")
    envelope = envelope_of(answer)
    if envelope is not None and envelope.code != "0":
        return failure_of_code(envelope.code, envelope.msg or "")
    if answer.status == 429:
        return Failure(FailKind.RATE_LIMITED, "HTTP 429")
    if envelope is None or answer.status >= 400:
        return Failure(FailKind.TRANSIENT, f"HTTP {answer.status} without a usable body")
    return None


def time_call(rest: str, context: object = None) -> Call:
    """Ask for the venue's clock."""
    return Call(
        tag="time", method="GET", url=f"{rest}/api/v5/public/time", pool="public", timeout_s=5.0, context=context
    )


def time_of(answer: Answer) -> int | None:
    """The venue's clock in ms out of the answer to `time_call`."""
    envelope = envelope_of(answer)
    if failure_of(answer) is not None or envelope is None:
        return None
    try:
        return int(_decode_times(envelope.data)[0].ts)
    except (*UNREADABLE, ValueError, IndexError):
        return None
