"""Messages as RabbitMQ sees them, and as they wait on disk."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Final

import msgspec
import pika

from connector.core.channels import subscribed_text
from connector.core.messages import AccountMessage, CandleMessage, InfoMessage, ServiceMessage, TickerMessage
from connector.core.traces import TRACES
from connector.sinks._common import utf8
from connector.sinks._stores import Portion

APP_ID: Final = "websocket-connector"
SCHEMA: Final = 1
"""Version of the event bodies and headers, in the header `schema`."""
PERSISTENT: Final = 2
TRANSIENT: Final = 1
SHORT_BYTES: Final = 255
MESSAGE_BYTES: Final = 96 * 1024
"""Of one message with many rows: it fits into one frame of AMQP (128 KiB)."""
"""AMQP's limit for routing keys, message ids and types."""

Durable = AccountMessage | InfoMessage | CandleMessage | ServiceMessage
"""What is never dropped on purpose: persistent, confirmed, sent again after a reconnect."""


class Outgoing:
    """One durable message on its way. `message_id` is chosen once, so that every repetition carries the same."""

    __slots__ = ("born", "counted", "message", "message_id", "portion", "tag")

    def __init__(self, message: Durable, message_id: str, born: float) -> None:
        self.message = message
        self.message_id = message_id
        self.born = born
        """When it was taken in; 0.0 for what an earlier process left behind."""
        self.portion: Portion | None = None
        """What it was read from the outbox with."""
        self.counted = True
        """False for what an earlier process left behind."""
        self.tag = 0
        """Delivery tag when it was last sent: tells the order of what is in flight."""


def short(text: str) -> str:
    """Text that fits AMQP's short strings: longer ids become their hash, so different ids stay different."""
    data = utf8(text)
    if len(data) <= SHORT_BYTES:
        return data.decode()
    return data[:150].decode("utf-8", "ignore") + "~" + hashlib.sha256(data).hexdigest()


def kind_of(message: Durable) -> str:
    """The `kind` label of the metrics."""
    if isinstance(message, AccountMessage):
        return "user"
    if isinstance(message, CandleMessage):
        return "candle"
    return "info" if isinstance(message, InfoMessage) else "service"


def publishing(outgoing: Outgoing, now_s: int) -> tuple[str, bytes, pika.BasicProperties]:
    """Routing key, body and properties; `now_s` stands for messages without a time of their own."""
    message = outgoing.message
    headers: dict[str, object] = {"schema": SCHEMA}
    timestamp_s = now_s
    if isinstance(message, AccountMessage):
        key = f"user.{message.exchange}.{message.event_type}.{message.stream_id}"
        kind, body = message.event_type, message.body
        headers |= {"stream": message.stream_id, "exchange": message.exchange}
        if TRACES.on:
            headers |= TRACES.headers(message)
        timestamp_s = message.event_time_ms // 1000 or now_s
    elif isinstance(message, InfoMessage):
        key = f"user.{message.exchange}.info.{message.stream_id}"
        kind, body = "info", msgspec.json.encode({"info": subscribed_text(message.stream_id)})
        headers |= {"stream": message.stream_id, "exchange": message.exchange}
    elif isinstance(message, CandleMessage):
        key = f"candle.{message.exchange}.{message.interval}.{message.symbol}"
        kind, body = "candle", message.body
        headers |= {"exchange": message.exchange}
    else:
        key = f"service.{message.kind}"
        kind, body = message.kind, message.body
    return short(key), body, properties(outgoing.message_id, kind, headers, PERSISTENT, timestamp_s)


def properties(
    message_id: str, kind: str, headers: dict[str, object], delivery_mode: int, timestamp_s: int
) -> pika.BasicProperties:
    return pika.BasicProperties(
        content_type="application/json",
        headers=headers,
        delivery_mode=delivery_mode,
        message_id=short(message_id),
        timestamp=timestamp_s,
        type=short(kind),
        app_id=APP_ID,
    )


def ticker_properties(message_id: str, kind: str, exchange: str, now_s: int) -> pika.BasicProperties:
    return properties(message_id, kind, {"exchange": exchange, "schema": SCHEMA}, TRANSIENT, now_s)


def joined(frames: Sequence[TickerMessage], rows: int) -> list[TickerMessage]:
    """Frames of the same exchange joined, then cut into messages of at most `rows` and `MESSAGE_BYTES`, but one row."""
    symbols: dict[str, list[str]] = {}
    bodies: dict[str, list[bytes]] = {}
    received: dict[str, float] = {}
    for frame in frames:
        symbols.setdefault(frame.exchange, []).extend(frame.symbols)
        bodies.setdefault(frame.exchange, []).extend(frame.bodies)
        received.setdefault(frame.exchange, frame.received_mono)
    return [
        TickerMessage(
            exchange=exchange,
            symbols=names[start : start + size],
            bodies=bodies[exchange][start : start + size],
            received_mono=received[exchange],
        )
        for exchange, names in symbols.items()
        for size in [min(rows, _fitting(bodies[exchange]))]
        for start in range(0, len(names), size)
    ]


def _fitting(bodies: Sequence[bytes]) -> int:
    """How many rows a message takes."""
    return max(1, MESSAGE_BYTES // (max(map(len, bodies)) + 1))


# --- on disk ---


class _Account(msgspec.Struct, frozen=True, array_like=True, tag="a"):
    message_id: str
    stream_id: str
    exchange: str
    event_type: str
    event_id: str
    event_time_ms: int
    body: bytes


class _Info(msgspec.Struct, frozen=True, array_like=True, tag="i"):
    message_id: str
    stream_id: str
    exchange: str


class _Candle(msgspec.Struct, frozen=True, array_like=True, tag="c"):
    message_id: str
    exchange: str
    symbol: str
    interval: str
    start_ms: int
    body: bytes
    closed: bool


class _Service(msgspec.Struct, frozen=True, array_like=True, tag="s"):
    message_id: str
    kind: str
    body: bytes


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(_Account | _Info | _Candle | _Service).decode


class InMemory(msgspec.Struct, frozen=True):
    """What doesn't go to disk: times of this process's clock, and whose event it is, in case the disk spoils it."""

    received_mono: float
    born: float = 0.0
    counted: bool = True
    stream_id: str = ""
    """Of an account message."""


def stored(outgoing: Outgoing) -> bytes:
    """The message as an outbox record. Raises `UnicodeEncodeError` for ids that are not valid text."""
    message, message_id = outgoing.message, outgoing.message_id
    if isinstance(message, AccountMessage):
        return _encode(
            _Account(
                message_id,
                message.stream_id,
                message.exchange,
                message.event_type,
                message.event_id,
                message.event_time_ms,
                message.body,
            )
        )
    if isinstance(message, InfoMessage):
        return _encode(_Info(message_id, message.stream_id, message.exchange))
    if isinstance(message, CandleMessage):
        return _encode(
            _Candle(
                message_id,
                message.exchange,
                message.symbol,
                message.interval,
                message.start_ms,
                message.body,
                message.closed,
            )
        )
    return _encode(_Service(message_id, message.kind, message.body))


def in_memory(outgoing: Outgoing) -> InMemory | None:
    """The part of a stored message that stays in memory."""
    message = outgoing.message
    if isinstance(message, AccountMessage):
        return InMemory(message.received_mono, outgoing.born, outgoing.counted, message.stream_id)
    return None if outgoing.counted else InMemory(0.0, outgoing.born, counted=False)


def restored(record: bytes, kept: object, now: float) -> Outgoing:
    """A message read from the outbox at the monotonic time `now`. `kept` is its `InMemory` part, if this process wrote it.

    Raises `msgspec.DecodeError` for a record of another program version.
    """
    row = _decode(record)
    memory = kept if isinstance(kept, InMemory) else InMemory(now)
    message: Durable
    if isinstance(row, _Account):
        message = AccountMessage(
            stream_id=row.stream_id,
            exchange=row.exchange,
            event_type=row.event_type,
            event_id=row.event_id,
            event_time_ms=row.event_time_ms,
            body=row.body,
            received_mono=memory.received_mono,
        )
    elif isinstance(row, _Info):
        message = InfoMessage(stream_id=row.stream_id, exchange=row.exchange)
    elif isinstance(row, _Candle):
        message = CandleMessage(
            exchange=row.exchange,
            symbol=row.symbol,
            interval=row.interval,
            event_id=row.message_id,
            start_ms=row.start_ms,
            body=row.body,
            closed=row.closed,
            received_mono=memory.received_mono,
        )
    else:
        message = ServiceMessage(kind=row.kind, body=row.body)
    return Outgoing(message, row.message_id, memory.born)
