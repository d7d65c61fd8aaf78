"""Hosts, and what answers mean that are no good answers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import msgspec

from exchanges._adapter import Answer, FailKind
from exchanges._failures import Failure
from exchanges._frames import UNREADABLE
from exchanges._meaning import KEY, LIMITED, OFF, PASSING, SIGNATURE, WRONG, Meaning, refused

REST: Final = "https://api.template.example"
WS: Final = "wss://ws.template.example"

CLOCK: Final = "CLOCK"
UNKNOWN_ORDER: Final = "UNKNOWN_ORDER"
ERRORS: Final[Mapping[str, Meaning]] = {
    "KEY": refused(KEY),
    "EXPIRED": refused("the key has expired: make a new one"),
    "SIGNATURE": refused(SIGNATURE),
    CLOCK: OFF,
    "RATE": LIMITED,
    "PARAMETER": WRONG,
    UNKNOWN_ORDER: WRONG,
}


class _Body(msgspec.Struct):
    code: str = ""
    message: str = ""


_decode = msgspec.json.Decoder(_Body).decode


def failure_of_code(code: str, message: str) -> Failure:
    return Failure(ERRORS.get(code, PASSING).kind, f"{code} {message}".rstrip(), code=code)


def failure_of(answer: Answer) -> Failure | None:
    """None for a good answer."""
    if answer.status == 0:
        return Failure(FailKind.TRANSIENT, answer.error or "no answer")
    try:
        body = _decode(answer.body)
    except UNREADABLE:
        kind = FailKind.CREDENTIAL if answer.status == 401 else FailKind.TRANSIENT
        return Failure(kind, f"HTTP {answer.status} without a readable body")
    if body.code:
        return failure_of_code(body.code, body.message)
    return None if answer.status == 200 else Failure(FailKind.TRANSIENT, f"HTTP {answer.status}")
