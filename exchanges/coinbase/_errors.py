"""What the venue's refusals mean (docs/venues/coinbase.md, section 7)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from exchanges._adapter import Answer, FailKind
from exchanges._failures import Failure
from exchanges._frames import UNREADABLE
from exchanges._meaning import PASSING, PERMISSION, SIGNATURE, WRONG, Meaning, refused

TEXT_LIMIT_WAIT_S: Final = 10.0
"""Least wait after the rate limits that come as text."""
BLOCKED_WAIT_S: Final = 10.0
"""First wait after a 403 with an HTML body: the firewall in front of the venue."""

KEY_TYPE: Final = (
    "only CDP keys work: make one at the developer platform; its name is the key, its PEM (or seed) the secret"
)
_RATE: Final = Meaning(FailKind.RATE_LIMITED, wait_s=TEXT_LIMIT_WAIT_S)

ERRORS: Final[Mapping[str, Meaning]] = {
    "siwc api with cloud api keys": Meaning(FailKind.KEY_TYPE, KEY_TYPE),
    "permission": refused(PERMISSION),
    "missing required scopes": refused(PERMISSION),
    "signature": refused(SIGNATURE),
    "authentication failure": refused(
        "the key is unknown, or the secret doesn't belong to it: copy both again, completely"
    ),
    "jwt": refused(),
    "unauthorized": refused(),
    **dict.fromkeys(
        ("rate_limit_exceeded", "rate limit", "too many visits", "too many errors", "too many requests"), _RATE
    ),
    "maintenance": Meaning(FailKind.MAINTENANCE),
    **dict.fromkeys(("too many l2 streams", "product", "channel"), WRONG),
}
"""Part of an error's text, in lower case → what it means. The first one counts."""

_RETRY: Final = frozenset({FailKind.RATE_LIMITED, FailKind.TRANSIENT})

_decode = msgspec.json.Decoder().decode


def _meaning_of(text: str) -> Meaning:
    """What is in no row is the venue's own trouble."""
    lower = text.lower()
    return next((meaning for part, meaning in ERRORS.items() if part in lower), PASSING)


def failure_of_text(text: str) -> Failure:
    """The class of an error frame."""
    meaning = _meaning_of(text)
    return Failure(meaning.kind, text, meaning.wait_s, retry=meaning.kind in _RETRY)


def failure_of(answer: Answer) -> Failure | None:
    """None for a good answer, else its class."""
    status = answer.status
    if 200 <= status < 300:
        return None
    if status == 0:
        return Failure(FailKind.TRANSIENT, answer.error or "no answer", retry=True)
    text = _text_of(answer.body)
    reason = f"HTTP {status} {text}".rstrip()
    if _meaning_of(text).kind is FailKind.KEY_TYPE:
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
