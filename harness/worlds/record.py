"""Everything that left the service, as its consumers got it, and what its processes logged. World's turn only."""

from __future__ import annotations

import hashlib
import json
import logging
from dataclasses import dataclass, field
from typing import Any, Final

from connector.core.messages import BALANCE_DELTA
from harness.campaign.check import Seen, read_event
from harness.worlds.kernel import Kernel
from harness.worlds.rabbit import Message

POSITION_EVENT: Final = "positionUpdate"
EVENTS_QUEUE: Final = "gainium.user-events"
EVENTS_EXCHANGE: Final = "gainium.events"
SERVICE_QUEUE: Final = "world.service"


@dataclass(frozen=True, slots=True)
class Line:
    """One log line worth keeping: a warning or worse."""

    at: float
    host: str
    level: int
    text: str
    trace: str = ""

    def __str__(self) -> str:
        return f"{self.at:9.3f} s  {self.host:<12} {logging.getLevelName(self.level):<8} {self.text}"


@dataclass(frozen=True, slots=True)
class Told:
    """A service message: `restart`, `streamGap`, `userStreamAuth` …"""

    at: float
    host: str
    kind: str
    body: dict[str, Any]


@dataclass
class Record:
    """`rabbit` is what a consumer of `gainium.user-events` got, `redis` what a subscriber got; each with its publisher."""

    kernel: Kernel
    rabbit: list[Seen] = field(default_factory=list)
    redis: list[Seen] = field(default_factory=list)
    publishers: list[tuple[float, str, str, str]] = field(default_factory=list)
    """Time, sink, stream, host of every account event that must not come from two processes."""
    infos: list[tuple[float, str]] = field(default_factory=list)
    prices: list[tuple[float, str, bytes]] = field(default_factory=list)
    """Tickers and candles on Redis: time, channel, body."""
    positions: dict[tuple[str, str, str], dict[str, Any]] = field(default_factory=dict)
    """The last body of each position: by stream, symbol and side."""
    services: list[Told] = field(default_factory=list)
    lines: list[Line] = field(default_factory=list)
    crashes: list[str] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)
    """Everything that went out, for the search for secrets."""

    def __post_init__(self) -> None:
        self._digest = hashlib.sha256()

    @property
    def digest(self) -> str:
        """Of all published bytes, with their times and channels."""
        return self._digest.hexdigest()

    def _note(self, where: str, key: str, body: bytes) -> None:
        self._digest.update(f"{self.kernel.now:.6f} {where} {key} {len(body)}\n".encode())
        self._digest.update(body)
        self.bodies.append(body)

    def from_rabbit(self, host: str, message: Message) -> None:
        """A message that the queue of user events took."""
        message_id = str(message.properties.message_id)
        self._note("rabbit", f"{message.key} {message_id}", message.body)
        stream = str((message.properties.headers or {}).get("stream", ""))
        if message.properties.type == "info":
            return
        if message.properties.type == POSITION_EVENT:
            body = json.loads(message.body)
            self.positions[stream, body["symbol"], body["positionSide"]] = body
        self.rabbit.append(seen(self.kernel.now, stream, message_id, message.body))
        if self.rabbit[-1].kind != BALANCE_DELTA:
            # Those may still come from a former owner, which is the only one that saw them; their ids tell repetitions.
            self.publishers.append((self.kernel.now, "rabbit", stream, host))

    def service(self, host: str, message: Message) -> None:
        self._note("service", message.key, message.body)
        body = json.loads(message.body)
        self.services.append(Told(self.kernel.now, host, next(iter(body)), body))

    def from_redis(self, host: str, channel: str, payload: bytes, streams: frozenset[str]) -> None:
        self._note("redis", channel, payload)
        if channel in streams:
            self.redis.append(seen(self.kernel.now, channel, "", payload))
            self.publishers.append((self.kernel.now, "redis", channel, host))
        elif channel.startswith("userStreamInfo"):
            self.infos.append((self.kernel.now, channel.removeprefix("userStreamInfo")))
        elif "@" in channel:
            self.prices.append((self.kernel.now, channel, payload))


def seen(at: float, stream: str, message_id: str, body: bytes) -> Seen:
    event = json.loads(body)
    order, status, executed, quote = read_event(event)
    kind = str(event.get("eventType", ""))
    if kind == "balanceUpdate":
        status = f"{event.get('asset')} {event.get('balanceDelta')}"
    if not message_id:
        # What the backend compares: id, status, executed quantity (contract 2.1).
        message_id = f"{order}:{status}:{executed.normalize()}" if order else str(event.get("uniqueMessageId", ""))
    return Seen(
        at=at,
        message_id=message_id,
        stream=stream,
        kind=kind,
        order=order,
        status=status,
        executed=executed,
        quote=quote,
    )


class Ear(logging.Handler):
    """Hears the warnings of every process of a world."""

    def __init__(self, record: Record) -> None:
        super().__init__(logging.WARNING)
        self._record = record

    def emit(self, record: logging.LogRecord) -> None:
        fields = getattr(record, "fields", {})
        kernel = self._record.kernel
        if kernel.host is not None and not kernel.host.alive:
            return  # it unwinds after its death
        host = kernel.host.name if kernel.host is not None else "world"
        trace = ""
        if record.exc_info and record.exc_info[1] is not None:
            trace = self.format(record)
        text = " ".join([record.getMessage(), *[f"{name}={value}" for name, value in fields.items()]])
        self._record.lines.append(Line(kernel.now, host, record.levelno, text, trace))
