"""What Bitget's codes mean, of REST and of its sockets (docs/venues/bitget.md, section 7). Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import msgspec

from exchanges._adapter import Answer, Fail, FailKind
from exchanges._frames import UNREADABLE
from exchanges._meaning import ACCOUNT, ADDRESS, KEY, OFF, PERMISSION, PHRASE, SIGNATURE, WRONG, Meaning, refused

LOGIN_FAILED: Final = "30005"
NOT_LOGGED_IN: Final = "30004"
DENIED: Final = "40014"
"""A permission is missing."""

SOCKET: Final[Mapping[str, Meaning]] = {
    **dict.fromkeys(("30001", "30002", "30003", "30016"), WRONG),  # an argument
    # Our time may be the cause, so the clock is looked at first.
    LOGIN_FAILED: Meaning(FailKind.TRANSIENT, "key, secret and passphrase are all needed", clock=True),
    "30006": Meaning(FailKind.RATE_LIMITED, wait_s=1.0),
    "30007": Meaning(FailKind.RATE_LIMITED, wait_s=60.0),  # the address may be blocked for a while
    "30011": refused(KEY),
    "30012": refused(PHRASE),
    "30013": OFF,
    "30014": OFF,
    "30015": refused(SIGNATURE),
}
REST: Final[Mapping[str, Meaning]] = {
    "40001": refused(),  # ACCESS_KEY missing
    "40002": refused(),  # ACCESS_SIGN missing
    "40003": refused(),  # signature missing
    "40004": OFF,
    "40005": OFF,
    "40006": refused(KEY),
    "40008": OFF,
    "40009": refused(SIGNATURE),
    "40011": refused(PHRASE),  # missing
    "40012": refused("the key or its passphrase is wrong"),
    DENIED: refused(PERMISSION),
    "40018": refused(ADDRESS),
    "40031": refused(ACCOUNT),  # closed
    "40037": refused(KEY),  # gone
}
ERRORS: Final[Mapping[str, Meaning]] = {**SOCKET, **REST}


SUCCESS: Final = "00000"
UNIFIED: Final = "40085"
"""The account is unified: it wants the v3 API."""
CLASSIC: Final = "40084"
"""The account is classic: it wants the v2 API (seen on the simulator only; the venue's own code is not documented)."""
OTHER_GENERATION: Final = frozenset({UNIFIED, CLASSIC})
PASSING: Final = frozenset({"40010", "40015", "40200", "40604", "40725", "40808", "45001"})
"""The venue is busy or in a release window (docs/venues/bitget.md, section 7): worth another try."""
NO_ORDER: Final = frozenset({"40109", "40768", "43001", "25204"})
RATE_WAIT_S: Final = 1.0
MAX_WAIT_S: Final = 60.0


class Envelope(msgspec.Struct):
    code: str | int = ""
    msg: str | None = ""
    data: msgspec.Raw = msgspec.Raw(b"null")


_decode = msgspec.json.Decoder(Envelope).decode


def read(answer: Answer) -> Envelope:
    """The envelope of an answer; an empty one when the body is not Bitget's JSON (a gateway's page)."""
    try:
        return _decode(answer.body)
    except UNREADABLE:
        return Envelope()


def succeeded(answer: Answer, envelope: Envelope) -> bool:
    return 200 <= answer.status < 300 and str(envelope.code) == SUCCESS


def denied(envelope: Envelope) -> bool:
    """The key may not ask this: it says nothing about the account."""
    return str(envelope.code) == DENIED or "permission" in (envelope.msg or "").lower()


def late(envelope: Envelope) -> bool:
    """The venue refuses our time."""
    meaning = REST.get(str(envelope.code))
    return meaning is not None and meaning.clock


def failure(answer: Answer, envelope: Envelope) -> Fail:
    """What an answer that did not succeed means. Clock and account-mode errors are the caller's to handle first."""
    code, text = str(envelope.code), envelope.msg or ""
    reason = answer.error or " ".join(part for part in (code or f"HTTP {answer.status}", text) if part)
    meaning = REST.get(code)
    if meaning is not None and meaning.kind is FailKind.CREDENTIAL:
        return Fail(kind=meaning.kind, reason=reason)
    if answer.status == 429 or code == "429" or (code == "40725" and "too many" in text.lower()):
        header = answer.headers.get("retry-after", "")
        wait_s = min(float(header), MAX_WAIT_S) if header.isdigit() else RATE_WAIT_S
        return Fail(kind=FailKind.RATE_LIMITED, reason=reason, retry_after_s=wait_s)
    return Fail(kind=FailKind.TRANSIENT, reason=reason)


class _Time(msgspec.Struct, rename="camel"):
    server_time: str | int


_time = msgspec.json.Decoder(_Time).decode


def time_of(answer: Answer) -> int | None:
    """The venue's time, ms; None if it is not told."""
    try:
        return int(_time(read(answer).data).server_time)
    except (*UNREADABLE, ValueError):
        return None
