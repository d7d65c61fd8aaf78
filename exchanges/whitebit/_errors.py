"""What WhiteBIT's errors mean (docs.whitebit.com: errors)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import msgspec

from exchanges._adapter import Answer, FailKind
from exchanges._failures import Failure
from exchanges._frames import RETRYABLE, UNREADABLE
from exchanges._meaning import ACCOUNT, LIMITED, OFF, PERMISSION, SIGNATURE, WRONG, Meaning, refused

RATE_WAIT_S: Final = 1.0
MAINTENANCE_WAIT_S: Final = 3.5
ERRORS: Final[Mapping[str, Meaning]] = {
    # Numbers of errors are used twice (2: key off, and order not found), so the text decides.
    "nonce": OFF,
    "unauthorized request": refused(SIGNATURE),
    "this action is unauthorized": refused(
        "the key is switched off (one that nobody uses for 14 days switches itself off), or its list of addresses lacks this "
        "host's: look at it in the venue's API settings"
    ),
    "not authorized to perform this action": refused(PERMISSION),
    "you don't have permission": refused(
        "the key is bound to a list of endpoints that lacks one: allow the socket token, orders, and the trade and "
        "collateral accounts, or remove the list"
    ),
    "user not found": refused(ACCOUNT),
    "too many requests": LIMITED,
    "system maintenance": Meaning(FailKind.MAINTENANCE),
    "market is not available": WRONG,
    "does not exist": WRONG,
}
"""Part of an error's text, in lower case → what it means. The first one counts."""
SOCKET_CODES: Final[dict[int, FailKind]] = {
    1: FailKind.REQUEST,
    2: FailKind.TRANSIENT,
    3: FailKind.TRANSIENT,
    4: FailKind.REQUEST,
    5: FailKind.TRANSIENT,
    6: FailKind.TRANSIENT,
    7: FailKind.RATE_LIMITED,
    9: FailKind.REQUEST,
}
"""Codes of refused socket requests: invalid argument, internal error, unavailable, method, timeout, not authorised, too many
requests, unknown market."""


def kind_of_text(text: str) -> FailKind | None:
    said = text.lower()
    return next((meaning.kind for part, meaning in ERRORS.items() if part in said), None)


def failure_of_code(code: int, text: str) -> Failure:
    """What a refused socket request means."""
    kind = kind_of_text(text) or SOCKET_CODES.get(code, FailKind.TRANSIENT)
    wait_s = RATE_WAIT_S if kind is FailKind.RATE_LIMITED else None
    return Failure(kind, f"{text.strip()[:200] or 'refused without a reason'} (code {code})", wait_s)


def bad_nonce(reason: str) -> bool:
    """Whether a refusal is about the clock."""
    return "nonce" in reason.lower()


class _Error(msgspec.Struct):
    code: object = None
    message: object = ""
    errors: msgspec.Raw = msgspec.Raw(b"")
    success: bool | None = None


_decode_error = msgspec.json.Decoder(_Error).decode


def failure_of(answer: Answer) -> Failure | None:
    """Why an answer is none; None for a good one. The body decides before the status does."""
    if not answer.status:
        return Failure(FailKind.TRANSIENT, answer.error or "no answer")
    text, refused = "", answer.status >= 400
    try:
        error = _decode_error(answer.body)
        refused = refused or error.success is False
        text = f"{error.message} {bytes(error.errors).decode()}".strip()
        text = f"{text} (code {error.code})" if error.code is not None else text
    except UNREADABLE:
        pass  # a list, or no JSON
    if not refused:
        return None
    reason = f"HTTP {answer.status}: {text[:200]}" if text else f"HTTP {answer.status}"
    kind = kind_of_text(text)
    if answer.status >= 500:
        # Says nothing about the key, whatever stands in the page of a gateway.
        passing = kind if kind in (FailKind.MAINTENANCE, FailKind.RATE_LIMITED) else FailKind.TRANSIENT
        return Failure(passing, reason, MAINTENANCE_WAIT_S)
    if kind is FailKind.TRANSIENT or kind is FailKind.CREDENTIAL:
        return Failure(kind, reason)
    if answer.status in (418, 429):
        return Failure(FailKind.RATE_LIMITED, reason, RATE_WAIT_S)
    if answer.status == 401:
        return Failure(FailKind.CREDENTIAL, reason)
    if kind is None:
        kind = FailKind.REQUEST if answer.status == 422 else FailKind.TRANSIENT
    wait_s = {FailKind.RATE_LIMITED: RATE_WAIT_S, FailKind.MAINTENANCE: MAINTENANCE_WAIT_S}.get(kind)
    return Failure(kind, reason, wait_s or (MAINTENANCE_WAIT_S if answer.status in RETRYABLE else None))


class _Status(msgspec.Struct):
    status: object = ""


_decode_status = msgspec.json.Decoder(_Status).decode


def under_maintenance(answer: Answer) -> bool:
    """Whether the platform's status says so (docs.whitebit.com: maintenance status)."""
    try:
        return "maintenance" in str(_decode_status(answer.body).status).lower()
    except UNREADABLE:
        return False
