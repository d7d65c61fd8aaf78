"""Addresses that are no accounts, and what the venue's texts mean (docs/venues/hyperliquid.md 2 and 7)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final, NamedTuple

import msgspec

from exchanges._adapter import Answer, FailKind
from exchanges._frames import NO_WEIGHT, UNREADABLE
from exchanges._meaning import Meaning, refused
from exchanges.errors import CredentialUnusable
from exchanges.hyperliquid._connection_frames import Topic, decode_text, topic_named

_ADDRESS: Final = re.compile(r"0x[0-9a-fA-F]{40}")
_ADDRESS_IN_TEXT: Final = re.compile(r"0x[0-9a-fA-F]{40}(?![0-9a-fA-F])")
SPEAKING_ROLES: Final = frozenset({"user", "vault", "subAccount"})
"""Roles of an address whose streams tell something. An `agent` (API wallet) and a `missing` account stay silent."""
ROLE_REASONS: Final = {
    "agent": "agent: this is the address of an API wallet, which has no orders of its own",
    "missing": "missing: the venue has no account of this address",
}


def address_of(key: str) -> str:
    """The account's address in lower case. Raises `CredentialUnusable` for anything else."""
    if not _ADDRESS.fullmatch(key):
        raise CredentialUnusable("the key is no account address of 42 hexadecimal characters")
    return key.lower()


def without_addresses(text: str) -> str:
    """The venue repeats what it was sent; an account's address is its key here and stays out of every text."""
    return _ADDRESS_IN_TEXT.sub("0x…", text)


RETRY_S: Final = 60.0
"""Weights and connects are counted by the minute."""
FAILURES: Final[tuple[tuple[str, FailKind], ...]] = (
    ("Cannot open more than", FailKind.RATE_LIMITED),  # connections of an address
    ("Cannot track more than", FailKind.RATE_LIMITED),  # accounts, or subscriptions, of an address
    ("Invalid subscription", FailKind.REQUEST),
    ("Error parsing JSON", FailKind.REQUEST),
    ("Expired", FailKind.TRANSIENT),
    ("Inactive", FailKind.TRANSIENT),
)
"""Beginnings of error texts and close reasons. What is in no row is the venue's own trouble."""
ERRORS: Final[Mapping[str, Meaning]] = {
    "api wallet": refused("give the address of the account itself, not that of a wallet that may trade for it"),
    "no account of this address": refused(
        "the account must have been funded on this network once (HYPERLIQUIDENV chooses it)"
    ),
    "no account address": refused("the key is the account's address, 0x and 40 hexadecimal digits; there is no secret"),
}
"""Parts of our own texts about an address, in lower case → what they mean."""
TOO_MANY_CONNECTIONS: Final = "Cannot open more than"
ALREADY: Final = "Already subscribed"
"""Benign: the topic is subscribed."""


class Complaint(NamedTuple):
    """An error frame: its class, its text without addresses, and the topic that it names."""

    kind: FailKind
    reason: str
    topic: Topic | None
    already: bool


def complaint(data: msgspec.Raw) -> Complaint:
    """What an error frame says. Never raises."""
    try:
        text = decode_text(data)
    except UNREADABLE:
        text = bytes(data)[:200].decode("utf-8", "replace")
    kind = next((kind for start, kind in FAILURES if text.startswith(start)), FailKind.TRANSIENT)
    named = None
    if "{" in text:
        try:
            named = topic_named(text[text.index("{") :].encode())
        except UNREADABLE:
            named = None  # the text goes on behind the object, or names something else
    return Complaint(kind, without_addresses(text)[:200], named, text.startswith(ALREADY))


def used_up(answer: Answer) -> bool:
    """Whether the weight of the address is used up, as the venue says or as we know."""
    return answer.status == 429 or (answer.status == 0 and answer.error == NO_WEIGHT)


def refusal_of(answer: Answer) -> str:
    """Why an answer is no use, without addresses; empty for a good one."""
    if answer.status == 200:
        return ""
    if answer.status == 0:
        return answer.error or "no answer"
    text = answer.body[:120].decode("utf-8", "replace") if answer.status == 422 else ""
    return without_addresses(f"HTTP {answer.status} {text}".strip())
