"""What Kraken's error texts mean, spot and futures, and what they come in (docs/venues/kraken.md, section 7). Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final, NamedTuple

import msgspec

from exchanges._adapter import Answer, Fail, FailKind
from exchanges._failures import Failure
from exchanges._frames import UNREADABLE
from exchanges._meaning import ACCOUNT, KEY, PERMISSION, SIGNATURE, WRONG, Meaning, refused

RATE_WAIT_S: Final = 10.0
LOCKOUT_S: Final = 900.0
NONCE_WAIT_S: Final = 1.0
FIRST_BACKOFF_S: Final = 3.5
"""During an outage the engine answers every attempt."""

NONCE: Final = Meaning(FailKind.TRANSIENT, wait_s=NONCE_WAIT_S)
_RATE: Final = Meaning(FailKind.RATE_LIMITED, wait_s=RATE_WAIT_S)
_UNKNOWN: Final = Meaning(FailKind.TRANSIENT, wait_s=FIRST_BACKOFF_S)
_FUTURES_KEY: Final = "spot keys don't work on futures"

ERRORS: Final[Mapping[str, Meaning]] = {
    "eapi:invalid key": refused(KEY),
    "eapi:invalid signature": refused(SIGNATURE),
    "egeneral:permission denied": refused(PERMISSION),
    "eauth:account temporary disabled": refused(ACCOUNT),
    "eaccount:invalid permissions": refused(PERMISSION),
    "failed to subscribe to authenticated feed": refused(
        f"the key is unknown, lacks access, or the secret isn't its own; {_FUTURES_KEY}"
    ),
    "authenticationerror": refused(f"the key is unknown, or the secret isn't its own; {_FUTURES_KEY}"),
    **dict.fromkeys(("eapi:invalid nonce", "noncebelowthreshold", "nonceduplicate"), NONCE),
    **dict.fromkeys(
        (
            "eapi:rate limit exceeded",
            "eauth:rate limit exceeded",
            "eauth:too many requests",
            "apilimitexceeded",
            "exceeded msg rate",
        ),
        _RATE,
    ),
    "egeneral:too many requests": _RATE._replace(own=False),
    "egeneral:temporary lockout": Meaning(FailKind.RATE_LIMITED, wait_s=LOCKOUT_S),
    "currency pair not supported": WRONG,
    "subscription ohlc interval": WRONG,
    "equery:unknown asset pair": WRONG,
    "invalid product id": WRONG,
    "invalid feed": WRONG,
}
"""Beginnings of error texts as `normalised` makes them. What is in no row is the venue's own trouble."""
_BENIGN: Final = ("already subscribed to feed", "already subscribed")
ONE_INTERVAL: Final = "already subscribed to one ohlc interval"
_COLON: Final = re.compile(r"\s*:\s*")


def normalised(text: str) -> str:
    """Any case, blanks around the colon allowed (contract 4.3)."""
    return _COLON.sub(":", text.strip()).lower()


def benign(text: str) -> bool:
    """A reply that asks for nothing: the subscription exists."""
    said = normalised(text)
    return said.startswith(_BENIGN) and not said.startswith(ONE_INTERVAL)


def meaning_of(text: str) -> Meaning:
    said = normalised(text)
    return next((meaning for start, meaning in ERRORS.items() if said.startswith(start)), _UNKNOWN)


def failure_of_text(text: str) -> Failure:
    """The class of an error text."""
    meaning = meaning_of(text)
    reason = text.strip()[:200] or "an error without a text"
    return Failure(meaning.kind, reason, meaning.wait_s, own=meaning.own)


def fail_of(failure: Failure, stream_id: str | None) -> Fail:
    """What counts per key belongs to the account's stream, everything else to its connection. What an account subscribes is
    right, so that a request that is called wrong is the venue's trouble."""
    limited = failure.kind is FailKind.RATE_LIMITED and failure.own
    scoped = limited or failure.kind is FailKind.CREDENTIAL
    kind = FailKind.TRANSIENT if failure.kind is FailKind.REQUEST else failure.kind
    return failure._replace(kind=kind).fail(stream_id if scoped else None)


def bad_nonce(text: str) -> bool:
    return meaning_of(text) is NONCE


class _SpotEnvelope(msgspec.Struct):
    """Around every spot answer; HTTP 200 also for errors."""

    error: list[str] | None
    result: msgspec.Raw = msgspec.Raw(b"null")


class _FuturesEnvelope(msgspec.Struct):
    """Around futures answers; lists stand beside these keys, and history answers have only lists."""

    result: str | None = "success"
    error: str | None = None
    errors: list[msgspec.Raw] | None = None


_decode_spot = msgspec.json.Decoder(_SpotEnvelope).decode
_decode_futures = msgspec.json.Decoder(_FuturesEnvelope).decode


class Read(NamedTuple):
    """An answer as far as it is understood: `data` of a good one, or why it is none."""

    data: bytes
    failure: Failure | None = None


def _unusable(answer: Answer) -> Failure:
    """The failures that stand in no body."""
    if answer.status == 0:
        return Failure(FailKind.TRANSIENT, answer.error or "no answer", FIRST_BACKOFF_S)
    if answer.status == 429:
        return Failure(FailKind.RATE_LIMITED, "HTTP 429", RATE_WAIT_S, own=False)
    return Failure(FailKind.TRANSIENT, f"HTTP {answer.status} without a usable body", FIRST_BACKOFF_S)


def read_spot(answer: Answer) -> Read:
    """An answer of the spot API."""
    try:
        envelope = _decode_spot(answer.body)
    except UNREADABLE:
        return Read(b"", _unusable(answer))
    errors = [text for text in envelope.error or () if not text.startswith("W")]  # W… is a warning
    if errors:
        return Read(b"", failure_of_text(errors[0]))
    if answer.status >= 400:
        return Read(b"", _unusable(answer))
    return Read(bytes(envelope.result))


def read_futures(answer: Answer) -> Read:
    """An answer of the futures API."""
    try:
        envelope = _decode_futures(answer.body)
    except UNREADABLE:
        return Read(b"", _unusable(answer))
    if envelope.result not in ("success", None) or envelope.error or envelope.errors:
        return Read(b"", failure_of_text(envelope.error or f"HTTP {answer.status} {envelope.result}"))
    if answer.status >= 400:
        return Read(b"", _unusable(answer))
    return Read(answer.body)
