"""Hosts, addresses, subscriptions, and the meaning of the venue's texts (docs/venues/hyperliquid.md 1 to 4 and 7).

Sources: hyperliquid.gitbook.io, for-developers/api: websocket, subscriptions, timeouts-and-heartbeats, info-endpoint,
rate-limits (2026).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final, NamedTuple

import msgspec

from exchanges._adapter import Answer, Call, FailKind, Send
from exchanges._frames import NO_WEIGHT, UNREADABLE
from exchanges._meaning import Meaning, refused
from exchanges._rows import tolerant
from exchanges._timers import Heartbeat
from exchanges.errors import CredentialUnusable

# --- hosts ---


class Site(NamedTuple):
    """One of the two networks. One socket URL and one REST path serve every market."""

    ws: str
    info: str
    testnet: bool


LIVE: Final = Site("wss://api.hyperliquid.xyz/ws", "https://api.hyperliquid.xyz/info", testnet=False)
TESTNET: Final = Site("wss://api.hyperliquid-testnet.xyz/ws", "https://api.hyperliquid-testnet.xyz/info", testnet=True)


def site_of(options: Mapping[str, str]) -> Site:
    """The network that `HYPERLIQUIDENV` names: `demo` is the testnet."""
    return TESTNET if options.get("HYPERLIQUIDENV", "").strip().lower() == "demo" else LIVE


# --- accounts ---

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


# --- frames ---

PING_EVERY_S: Final = 30.0
"""The venue cuts a connection to which it has sent nothing for 60 s."""
ANSWER_WITHIN_S: Final = 15.0


def heartbeat() -> Heartbeat:
    return Heartbeat(PING_EVERY_S, ANSWER_WITHIN_S, lambda: '{"method":"ping"}')


class Topic(msgspec.Struct, frozen=True, omit_defaults=True):
    """What is subscribed, without the account."""

    type: str
    coin: str = ""
    interval: str = ""
    dex: str = ""


class Frame(msgspec.Struct):
    """Every frame of the venue."""

    channel: str
    data: msgspec.Raw = msgspec.Raw(b"null")


class _Subscription(msgspec.Struct):
    """As the venue repeats it: fields that were left out may come back as null."""

    type: str
    coin: str | None = None
    interval: str | None = None
    dex: str | None = None


class _Ack(msgspec.Struct):
    method: str
    subscription: _Subscription


decode_frame: Final = tolerant(Frame)
decode_text: Final = msgspec.json.Decoder(str).decode
_decode_ack = msgspec.json.Decoder(_Ack).decode
_decode_subscription = msgspec.json.Decoder(_Subscription).decode


def request(method: str, topic: Topic, user: str = "") -> Send:
    subscription = msgspec.to_builtins(topic) | ({"user": user} if user else {})
    return Send(msgspec.json.encode({"method": method, "subscription": subscription}).decode())


def acknowledged(data: msgspec.Raw) -> Topic | None:
    """The topic that a subscription answer confirms; None for the end of one. Raises what `UNREADABLE` lists."""
    ack = _decode_ack(data)
    return _topic(ack.subscription) if ack.method == "subscribe" else None


def _topic(found: _Subscription) -> Topic:
    return Topic(found.type, found.coin or "", found.interval or "", found.dex or "")


# --- errors ---

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
            named = _topic(_decode_subscription(text[text.index("{") :].encode()))
        except UNREADABLE:
            named = None  # the text goes on behind the object, or names something else
    return Complaint(kind, without_addresses(text)[:200], named, text.startswith(ALREADY))


# --- REST ---

POOL: Final = "info"
_HEADERS: Final = {"Content-Type": "application/json"}


def info(site: Site, tag: str, weight: int, body: Mapping[str, object], context: object = None) -> Call:
    """A question to the one REST path. All are POST and unsigned."""
    return Call(
        tag=tag,
        method="POST",
        url=site.info,
        headers=_HEADERS,
        body=msgspec.json.encode(body).decode(),
        weight=weight,
        pool=POOL,
        context=context,
    )


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
