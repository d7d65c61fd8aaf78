"""KuCoin REST: signed calls, envelopes and what their errors mean (docs/venues/kucoin.md, sections 2 and 7)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final
from urllib.parse import urlsplit

import msgspec

from exchanges._adapter import Answer, Call, Fail, FailKind
from exchanges._frames import RETRYABLE, UNREADABLE
from exchanges._meaning import PASSING
from exchanges._signing import hmac_sha256_base64
from exchanges.credentials import Credentials
from exchanges.kucoin._errors import ERRORS

SUCCESS: Final = "200000"
TIME: Final = "time"
"""Tag of `time_call`."""

_NO_PATH: Final = frozenset({"404", "404000"})
MAX_WAIT_S: Final = 300.0
_WAIT_S: Final = 10.0
_CLOUDFLARE_WAIT_S: Final = 30.0


class Envelope(msgspec.Struct):
    """Every REST answer: business errors come with HTTP 200 as well."""

    code: str | int = ""
    msg: str = ""
    data: msgspec.Raw = msgspec.Raw(b"null")


_decode = msgspec.json.Decoder(Envelope).decode
_decode_number = msgspec.json.Decoder(int).decode


def read(answer: Answer) -> Envelope:
    """The envelope of an answer; an empty one when the body is not KuCoin's JSON (a gateway's page)."""
    try:
        return _decode(answer.body)
    except UNREADABLE:
        return Envelope()


def succeeded(answer: Answer, envelope: Envelope) -> bool:
    return 200 <= answer.status < 300 and str(envelope.code) == SUCCESS


def failure(answer: Answer, envelope: Envelope) -> Fail:
    """What an answer that did not succeed means. Clock errors are the caller's to handle first (`CLOCK`)."""
    code = str(envelope.code)
    reason = answer.error or " ".join(part for part in (code or f"HTTP {answer.status}", envelope.msg) if part)
    kind = ERRORS.get(code, PASSING).kind
    if kind is FailKind.CREDENTIAL:
        return Fail(kind=kind, reason=reason)
    if kind is FailKind.RATE_LIMITED or answer.status == 429 or b"error code: 1015" in answer.body[:4096]:
        return Fail(kind=FailKind.RATE_LIMITED, reason=reason, retry_after_s=wait_s(answer))
    return Fail(kind=FailKind.TRANSIENT, reason=reason)


def time_call(rest: str) -> Call:
    """Ask for the venue's clock."""
    return Call(tag=TIME, method="GET", url=f"{rest}/api/v1/timestamp", pool="public", weight=3)


def time_of(answer: Answer) -> int | None:
    """The venue's clock in ms out of the answer to `time_call`."""
    try:
        return _decode_number(read(answer).data)
    except UNREADABLE:
        return None


def wait_s(answer: Answer) -> float:
    """How long a rate-limit answer asks to wait: `gw-ratelimit-reset` in ms, at most 5 min."""
    reset = answer.headers.get("gw-ratelimit-reset", "")
    if reset.isdigit():
        return min(int(reset) / 1000, MAX_WAIT_S)
    return _CLOUDFLARE_WAIT_S if b"1015" in answer.body[:4096] else _WAIT_S


_V2: Final = "/api/ua/v2/"
_KEY_CODES: Final = frozenset({"400003", "400004", "400005"})


class KeyVersion:
    """Which `KC-API-KEY-VERSION` a key takes. Both mean "passphrase hashed": the official SDK sends 3, ccxt 2.

    The first signed call with a version decides: if it is refused, it is made once more with the other one before the key
    counts as bad, and what worked is kept.
    """

    __slots__ = ("_only", "_proven")

    def __init__(self) -> None:
        self._only = ""
        self._proven: set[str] = set()

    def of(self, url: str) -> str:
        return self._only or ("3" if _V2 in url else "2")

    def again(self, call: Call, answer: Answer) -> bool:
        """Whether this answer asks for the same call with the other version. To be told of every signed answer."""
        refused = str(read(answer).code) in _KEY_CODES
        version = self.of(call.url)
        if not refused:
            if answer.status not in RETRYABLE:
                self._proven.add(version)
            return False
        if self._only or version in self._proven:
            return False
        self._only = "2" if version == "3" else "3"
        return True


def unknown_path(answer: Answer, envelope: Envelope) -> bool:
    """The venue has no such address: another version of the API, not another kind of account."""
    return answer.status == 404 or str(envelope.code) in _NO_PATH


def sign(call: Call, credentials: Credentials, wall_ms: int, version: str = "2") -> Call:
    """The call with fresh authentication headers; replaces older ones. Raises `CredentialUnusable`."""
    parts = urlsplit(call.url)
    path = parts.path + (f"?{parts.query}" if parts.query else "")
    secret = credentials.secret.reveal()
    stamp = str(wall_ms)
    headers: Mapping[str, str] = {
        "KC-API-KEY": credentials.key.reveal(),
        "KC-API-TIMESTAMP": stamp,
        "KC-API-SIGN": hmac_sha256_base64(secret, f"{stamp}{call.method}{path}{call.body or ''}"),
        "KC-API-PASSPHRASE": hashed_passphrase(credentials),
        "KC-API-KEY-VERSION": version,
        "Content-Type": "application/json",
    }
    return msgspec.structs.replace(call, headers=headers)


def hashed_passphrase(credentials: Credentials) -> str:
    passphrase = credentials.passphrase.reveal() if credentials.passphrase else ""
    return hmac_sha256_base64(credentials.secret.reveal(), passphrase)
