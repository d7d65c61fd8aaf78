"""What Binance's error codes mean for us. Source: error pages of the spot and derivatives docs."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

import msgspec

from exchanges._adapter import Answer, Fail, FailKind, Instant
from exchanges._frames import UNREADABLE
from exchanges._meaning import KEY, LIMITED, OFF, PERMISSION, SIGNATURE, WRONG, Meaning, refused

CLOCK: Final = -1021
LISTEN_KEY_UNKNOWN: Final = -1125
UNKNOWN_ORDER: Final = -2013
WANTS_SYMBOL: Final = frozenset({-1102, -1105, -1128, -1121})
"""A mandatory parameter was not sent, is empty, is not one of a valid combination, or the (empty) symbol is bad."""
ALREADY_SUBSCRIBED: Final = -2035
NOT_SUBSCRIBED: Final = -2036
IDS_USED_UP: Final = -2042

KEY_TYPE: Final = "this account needs an Ed25519 key: make one and give its PEM as the secret"
ERRORS: Final[Mapping[int, Meaning]] = {
    -2015: refused(
        "wrong key, a host address that the key doesn't allow, or a permission that it lacks (reading; futures too)"
    ),
    -2014: refused(KEY),  # its format
    -2008: refused(KEY),
    -1022: refused(SIGNATURE),
    -1002: refused(PERMISSION),  # unauthorised
    -1193: refused(),  # seen by the platform next to -2015, undocumented
    -4056: Meaning(FailKind.KEY_TYPE, KEY_TYPE),  # "HMAC_SHA256 API key is not supported."
    CLOCK: OFF,
    -1003: LIMITED,
    -1034: LIMITED,  # too many connections
    -1121: WRONG,  # bad symbol
    -4120: WRONG,  # futures stop order on the old path
}
"""Every other code (-1000, -1001, -1006, -1007, -1008, -1016, -1125, -2042 …) is transient."""

_CONNECTIONS: Final = -1034
_PAUSE_S: Final = 300.0
"""Wait after a refusal of the web application firewall (403) or of further connections."""
_DEFAULT_WAIT_S: Final = 60.0
"""Weight is counted by the minute."""
_BANNED_UNTIL: Final = re.compile(r"banned until (\d{12,14})")


class VenueError(msgspec.Struct, frozen=True, kw_only=True):
    """An error answer, wherever it came from."""

    status: int
    """HTTP status, or the status of a WebSocket API answer."""
    code: int = 0
    text: str = ""
    retry_after_s: float | None = None
    until_ms: int | None = None
    """Not before this moment, venue time."""


class _Body(msgspec.Struct):
    code: int = 0
    msg: str = ""


_decode_body = msgspec.json.Decoder(_Body).decode


def of_answer(answer: Answer) -> VenueError | None:
    """The error of a REST answer; None if it succeeded."""
    if answer.status == 200:
        return None
    try:
        body = _decode_body(answer.body)
    except UNREADABLE:
        body = _Body()  # proxies and the firewall answer in HTML
    text = body.msg or answer.error
    return VenueError(
        status=answer.status,
        code=body.code,
        text=text,
        retry_after_s=seconds(answer.headers.get("retry-after")),
        until_ms=_banned_until(text),
    )


def of_frame(status: int, code: int, text: str, retry_after_ms: int | None) -> VenueError:
    """The error of a WebSocket API answer; `retry_after_ms` is an epoch time there."""
    return VenueError(status=status, code=code, text=text, until_ms=retry_after_ms or _banned_until(text))


def kind_of(error: VenueError) -> FailKind:
    found = ERRORS.get(error.code)
    if found is not None and not found.clock:
        return found.kind
    if "session not authenticated" in error.text or ("apiKey" in error.text and error.code <= -1100):
        return FailKind.CREDENTIAL
    if error.status in (403, 418, 429):
        return FailKind.RATE_LIMITED
    if error.status == 401:
        return FailKind.CREDENTIAL
    return FailKind.TRANSIENT


def fail(error: VenueError, now: Instant, stream_id: str | None = None) -> Fail:
    """What the session is told about an error."""
    kind = kind_of(error)
    return Fail(
        kind=kind,
        reason=describe(error),
        stream_id=stream_id,
        retry_after_s=wait_s(error, now) if kind is FailKind.RATE_LIMITED else error.retry_after_s,
        # Codes count towards the threshold (a mistyped IP list heals); this text never heals (contract 4.3).
        first_sight="session not authenticated" in error.text or kind is FailKind.KEY_TYPE,
    )


def wait_s(error: VenueError, now: Instant) -> float:
    """How long a rate limit or ban lasts."""
    if error.until_ms is not None:
        return max(1.0, (error.until_ms - now.wall_ms) / 1000)
    if error.retry_after_s is not None:
        return error.retry_after_s
    return _PAUSE_S if error.status == 403 or error.code == _CONNECTIONS else _DEFAULT_WAIT_S


def describe(error: VenueError) -> str:
    """The venue's own words and code; an address that it names is cut out."""
    text = re.sub(r"\b\d{1,3}(?:\.\d{1,3}){3}\b", "<address>", error.text)[:200]
    parts = [text] if text else []
    parts.append(f"code {error.code}" if error.code else f"status {error.status}")
    return ", ".join(parts)


def seconds(header: str | None) -> float | None:
    try:
        value = float(header) if header else None
    except ValueError:
        return None
    return value if value is not None and 0 <= value < 1e7 else None


def _banned_until(text: str) -> int | None:
    found = _BANNED_UNTIL.search(text)
    return int(found.group(1)) if found else None
