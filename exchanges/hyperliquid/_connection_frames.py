"""Subscriptions and their answers, the same for prices and accounts (docs/venues/hyperliquid.md 3 and 4).

Sources: hyperliquid.gitbook.io, for-developers/api: websocket, subscriptions, timeouts-and-heartbeats, info-endpoint,
rate-limits (2026).
"""

from __future__ import annotations

from typing import Final

import msgspec

from exchanges._adapter import Send
from exchanges._rows import tolerant
from exchanges._timers import Heartbeat

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


def topic_named(text: bytes) -> Topic:
    """The topic of a subscription that the venue repeats. Raises what `UNREADABLE` lists."""
    return _topic(_decode_subscription(text))
