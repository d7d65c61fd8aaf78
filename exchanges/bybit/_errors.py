"""What Bybit's codes and texts mean (docs/venues/bybit.md, section 7). Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import msgspec

from exchanges._adapter import Answer, FailKind
from exchanges._failures import Failure
from exchanges._frames import UNREADABLE
from exchanges._meaning import (
    ACCOUNT,
    ADDRESS,
    KEY,
    LIMITED,
    OFF,
    PASSING,
    PERMISSION,
    SIGNATURE,
    WRONG,
    Meaning,
    refused,
)

_UNIFIED: Final = "only unified accounts can be used: upgrade the account"

ERRORS: Final[Mapping[int, Meaning]] = {
    10002: OFF,
    10003: refused(f"{KEY}; regional accounts need --bybit-host"),  # also: a key of another environment
    10004: refused(SIGNATURE),
    10005: refused(PERMISSION),
    10007: refused(),  # authentication failed
    10009: refused("this key belongs to another region: choose it with --bybit-host"),
    10010: refused(ADDRESS),
    10024: refused(ACCOUNT),  # compliance rules
    10027: refused(ACCOUNT),  # trading banned
    10028: refused(_UNIFIED),
    100028: refused(_UNIFIED),
    33004: refused("the key has expired: make a new one, or bind it to an address so that it lasts"),
    -2015: refused(),
    **dict.fromkeys((10006, 10018, 10429, 20003, 170222), LIMITED),
    10001: WRONG,  # a parameter that the venue does not take: asking again changes nothing
}
_EXPIRED: Final = -1
"""With "expired" in its text it is about our time."""
TEXTS: Final[tuple[tuple[str, Meaning], ...]] = (
    ("api key is invalid", refused()),
    ("your api key has expired", refused()),
    ("error sign", refused()),
    ("apikey is invalid", refused()),
    ("too many visits", LIMITED),
    ("maintenance", Meaning(FailKind.MAINTENANCE)),
    ("system upgrade", Meaning(FailKind.MAINTENANCE)),
    ("system is upgrading", Meaning(FailKind.MAINTENANCE)),
)
"""Part of a text in lower case. The first one counts."""
_LOUDER: Final = frozenset({FailKind.CREDENTIAL, FailKind.RATE_LIMITED})
"""What a text may say of a code that tells less."""


def meaning_of(code: int, text: str) -> Meaning:
    lower = text.lower()
    if code == _EXPIRED and "expired" in lower:
        return OFF
    found = ERRORS.get(code)
    said = next((meaning for part, meaning in TEXTS if part in lower), PASSING)
    if found is None:
        return said
    louder = said.kind in _LOUDER and found.kind is not FailKind.CREDENTIAL and found is not OFF
    return said if louder else found


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
