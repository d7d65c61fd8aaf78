"""What the venue's refusals mean (docs/venues/coinbase.md, section 7)."""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import msgspec

from exchanges._adapter import Answer, FailKind
from exchanges._frames import UNREADABLE

_KEY_TYPE: Final = ("siwc api with cloud api keys",)
_CREDENTIAL: Final = (
    "authentication failure",
    "jwt",
    "signature",
    "permission",
    "missing required scopes",
    "unauthorized",
)
_RATE: Final = ("rate_limit_exceeded", "rate limit", "too many visits", "too many errors", "too many requests")
_REQUEST: Final = ("too many l2 streams", "product", "channel")
_MAINTENANCE: Final = ("maintenance",)
TEXT_LIMIT_WAIT_S: Final = 10.0
"""Least wait after the rate limits that come as text."""
BLOCKED_WAIT_S: Final = 10.0
"""First wait after a 403 with an HTML body: the firewall in front of the venue."""

_decode = msgspec.json.Decoder().decode


class Failure(NamedTuple):
    """What is wrong; `retry` = the same call may well succeed in a moment."""

    kind: FailKind
    reason: str
    wait_s: float | None = None
    retry: bool = False


def failure_of_text(text: str) -> Failure:
    """The class of an error frame."""
    lower = text.lower()
    if any(part in lower for part in _KEY_TYPE):
        return Failure(FailKind.KEY_TYPE, text)
    if any(part in lower for part in _CREDENTIAL):
        return Failure(FailKind.CREDENTIAL, text)
    if any(part in lower for part in _RATE):
        return Failure(FailKind.RATE_LIMITED, text, TEXT_LIMIT_WAIT_S, retry=True)
    if any(part in lower for part in _MAINTENANCE):
        return Failure(FailKind.MAINTENANCE, text)
    if any(part in lower for part in _REQUEST):
        return Failure(FailKind.REQUEST, text)
    return Failure(FailKind.TRANSIENT, text, retry=True)


def failure_of(answer: Answer) -> Failure | None:
    """None for a good answer, else its class."""
    status = answer.status
    if 200 <= status < 300:
        return None
    if status == 0:
        return Failure(FailKind.TRANSIENT, answer.error or "no answer", retry=True)
    text = _text_of(answer.body)
    reason = f"HTTP {status} {text}".rstrip()
    if any(part in text.lower() for part in _KEY_TYPE):
        return Failure(FailKind.KEY_TYPE, reason)
    if status == 401:  # may be clock skew or a token that waited too long: worth a second token
        return Failure(FailKind.CREDENTIAL, reason, retry=True)
    if status == 403:
        if answer.body.lstrip()[:1] == b"<":
            return Failure(FailKind.RATE_LIMITED, "HTTP 403 from the firewall", BLOCKED_WAIT_S, retry=True)
        return Failure(FailKind.CREDENTIAL, reason)
    if status == 429:
        return Failure(FailKind.RATE_LIMITED, reason, retry=True)
    if status in (400, 404):
        return Failure(FailKind.REQUEST, reason)
    return Failure(FailKind.TRANSIENT, reason, retry=True)


def _text_of(body: bytes) -> str:
    """The venue's own words in an error body, a hundred characters of them at most."""
    try:
        value = _decode(body)
    except UNREADABLE:
        return body[:100].decode("utf-8", "replace") if not body.lstrip().startswith(b"<") else "(a web page)"
    return _words(value)[:100]


def _words(value: Any) -> str:
    if isinstance(value, dict):
        errors = value.get("errors")
        if isinstance(errors, list) and errors:
            return _words(errors[0])
        return " ".join(str(value[key]) for key in ("id", "error", "message") if isinstance(value.get(key), str))
    return value if isinstance(value, str) else ""
