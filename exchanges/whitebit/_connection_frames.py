"""JSON-RPC frames of WhiteBIT's one socket: requests, answers, pushes, and its ping (docs.whitebit.com: WebSocket)."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Final

import msgspec

from exchanges._adapter import Send
from exchanges._timers import Heartbeat

PING_ID: Final = 0
PING_EVERY_S: Final = 30.0
"""The venue closes a connection whose client says nothing for 60 s; pushes and control pings do not count."""
ANSWER_WITHIN_S: Final = 10.0


class Error(msgspec.Struct):
    code: int = 0
    message: str = ""


class Status(msgspec.Struct):
    status: str = ""


class Frame(msgspec.Struct):
    """A push has a method, an answer the id of its request."""

    id: int | None = None
    method: str | None = None
    params: msgspec.Raw = msgspec.Raw(b"null")
    result: msgspec.Raw = msgspec.Raw(b"null")
    error: Error | None = None


decode_frame: Final = msgspec.json.Decoder(Frame).decode
decode_raws: Final = msgspec.json.Decoder(list[msgspec.Raw]).decode


class Numbers:
    """Ids of a connection's requests, from 1; 0 is the ping."""

    def __init__(self) -> None:
        self._count = itertools.count(1)

    def next(self) -> int:
        return next(self._count)

    def text(self) -> str:
        return str(next(self._count))


def request(method: str, params: Sequence[object], number: int, *, urgent: bool = False) -> Send:
    return Send(msgspec.json.encode({"id": number, "method": method, "params": params}).decode(), urgent=urgent)


def heartbeat() -> Heartbeat:
    """Any inbound frame counts as life."""
    return Heartbeat(PING_EVERY_S, ANSWER_WITHIN_S, lambda: request("ping", [], PING_ID).text)
