"""Frames of the spot WebSocket v2 that are no data of a channel: answers, status, pongs (venues/kraken.md 3 and 4)."""

from __future__ import annotations

import itertools
from typing import Final

import msgspec

from exchanges._adapter import Fail, FailKind, Note, Output, Send
from exchanges._rows import tolerant
from exchanges._timers import Heartbeat
from exchanges.kraken._errors import FIRST_BACKOFF_S

PING_EVERY_S: Final = 10.0
ANSWER_WITHIN_S: Final = 5.0
"""The venue itself sends a heartbeat each second once something is subscribed: 10 s without a frame are a dead socket."""

_SILENT: Final = frozenset({"pong", "ping"})
_CHATTER: Final = frozenset({"heartbeat", "status"})


class Result(msgspec.Struct):
    """What a subscribe answer is about."""

    channel: str = ""
    symbol: str = ""
    interval: int = 0


class Frame(msgspec.Struct):
    """Any frame: a message of a channel, or an answer when `method` or `error` is set."""

    channel: str = ""
    type: str = ""
    data: msgspec.Raw = msgspec.Raw(b"[]")
    sequence: int | None = None
    method: str = ""
    success: bool = True
    error: str | None = None
    result: Result | None = None
    symbol: str | None = None
    req_id: int | None = None


class _Status(msgspec.Struct):
    system: str = ""


decode_frame: Final = tolerant(Frame)
_decode_status = msgspec.json.Decoder(list[_Status]).decode


class Numbers:
    """Request ids: small integers, unique on the connection."""

    def __init__(self) -> None:
        self._count = itertools.count(1)

    def next(self) -> int:
        return next(self._count)

    def text(self) -> str:
        return str(next(self._count))


def heartbeat(numbers: Numbers) -> Heartbeat:
    """Any inbound frame counts as life."""
    return Heartbeat(PING_EVERY_S, ANSWER_WITHIN_S, lambda: f'{{"method":"ping","req_id":{numbers.next()}}}')


def request(method: str, params: dict[str, object], req_id: int) -> Send:
    return Send(msgspec.json.encode({"method": method, "params": params, "req_id": req_id}).decode())


def chatter(frame: Frame) -> list[Output] | None:
    """What follows from a frame that every connection gets; None for any other frame. Raises what `UNREADABLE` lists."""
    if frame.method in _SILENT:
        return []
    if frame.channel not in _CHATTER:
        return None
    if frame.channel == "heartbeat":
        return []
    system = next((row.system for row in _decode_status(frame.data)), "")
    if system == "maintenance":
        reason = "Kraken is in maintenance"
        return [Fail(kind=FailKind.MAINTENANCE, reason=reason, retry_after_s=FIRST_BACKOFF_S)]
    return [] if system in ("online", "") else [Note(f"Kraken says: {system[:30]}")]
