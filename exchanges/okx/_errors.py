"""What OKX's codes mean (docs/venues/okx.md, section 7). Pure."""

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
    PHRASE,
    SIGNATURE,
    WRONG,
    Meaning,
    refused,
)

ORDER_UNKNOWN: Final = "51603"
LOGIN_FAILED: Final = "60009"
"""Alone it proves nothing: the venue uses it for its own troubles too."""
TRADE_TIMEOUT: Final = "51054"
"""The only passing one of the codes that say what is wrong with a request about an order (51xxx)."""
INSTRUMENT_UNKNOWN: Final = "60018"
_REGION: Final = f"{KEY}; accounts of other regions need --okx-source"

ERRORS: Final[Mapping[str, Meaning]] = {
    "60005": refused(KEY),
    "60007": refused(SIGNATURE),
    "60024": refused(PHRASE),
    "60032": refused(_REGION),  # the key doesn't exist; also: wrong region, or demo and live mixed up
    "50007": refused(ACCOUNT),
    "50008": refused(),  # user doesn't exist
    "50030": refused(PERMISSION),  # no permission to use this interface
    "50035": refused("this key has to be bound to an address: add this host's"),
    "50100": refused(),
    "50101": refused("the key belongs to the other environment (demo or live, ENVOKX)"),
    "50103": refused(),
    "50104": refused(),
    "50105": refused(PHRASE),
    "50106": refused(),
    "50107": refused(),
    "50110": refused(ADDRESS),
    "50111": refused(KEY),
    "50113": refused(SIGNATURE),
    "50114": refused(),
    "50118": refused(),
    "50119": refused(_REGION),
    "50120": refused(PERMISSION),
    "50121": refused(),
    **dict.fromkeys(("60004", "60006", "50102", "50112"), OFF),
    **dict.fromkeys(("60014", "60023", "50011", "50013", "50040", "50061"), LIMITED),
    "60008": WRONG,  # another service address carries this channel
    **dict.fromkeys(("60012", "60013", INSTRUMENT_UNKNOWN, "60019", "60027", "60028", "60033"), WRONG),
    **dict.fromkeys(("64000", "64001", "64002", "64003", "64004"), WRONG),
    TRADE_TIMEOUT: PASSING,
}


def meaning_of(code: str, text: str) -> Meaning:
    """What is in no table is the venue's own trouble. So are a repeated and a batched login (60010, 60031)."""
    meaning = ERRORS.get(code)
    if meaning is not OFF and "invalid apikey" in text.lower():
        return refused()
    if meaning is None:
        return WRONG if code.startswith("51") and len(code) == 5 else PASSING
    return meaning


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


def time_of(answer: Answer) -> int | None:
    """The venue's clock in ms out of the answer to `time_call`."""
    envelope = envelope_of(answer)
    if failure_of(answer) is not None or envelope is None:
        return None
    try:
        return int(_decode_times(envelope.data)[0].ts)
    except (*UNREADABLE, ValueError, IndexError):
        return None
