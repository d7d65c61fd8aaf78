"""What KuCoin's codes mean (docs/venues/kucoin.md, section 7). Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import msgspec

from exchanges._adapter import Answer, Call, Fail, FailKind
from exchanges._frames import UNREADABLE
from exchanges._meaning import (
    ACCOUNT,
    ADDRESS,
    KEY,
    LIMITED,
    OFF,
    PASSING,
    PERMISSION,
    PHRASE,
    SIGNATURE,
    Meaning,
    refused,
)

CLOCK: Final = "400002"
"""`KC-API-TIMESTAMP` more than 5 s from the venue's clock."""

ERRORS: Final[Mapping[str, Meaning]] = {
    CLOCK: OFF,
    "400001": refused("key, secret and passphrase are all needed"),  # a KC-API header is missing
    "400003": refused(KEY),
    "400004": refused(PHRASE),
    "400005": refused(SIGNATURE),
    "400006": refused(ADDRESS),
    "400007": refused(PERMISSION),
    "400303": refused(),
    "400401": refused(),
    "126047": refused(),
    "411100": refused(ACCOUNT),  # frozen
    **dict.fromkeys(("429000", "429", "200002", "1015"), LIMITED),
}


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


def unknown_path(answer: Answer, envelope: Envelope) -> bool:
    """The venue has no such address: another version of the API, not another kind of account."""
    return answer.status == 404 or str(envelope.code) in _NO_PATH
