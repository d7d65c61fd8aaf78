"""Messages of the engine as a program sees them: one `Event` each, its `data` typed."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final, Generic, TypeVar

import msgspec

from connector.core.messages import AccountMessage, CandleMessage, InfoMessage, Message, ServiceMessage, TickerMessage
from exchanges.events import AccountEvent, Candle, Ticker

T = TypeVar("T")


class Event(msgspec.Struct, Generic[T], frozen=True, kw_only=True):
    """One thing that happened. `data` is of the type that docs/python.md names for `name`."""

    name: str
    """What `on` takes: `executionReport`, `ticker`, `streamGap` …"""
    data: T
    exchange: str = ""
    stream_id: str = ""
    """The account stream it belongs to; empty for prices."""
    user_id: str = ""
    id: str = ""
    """Equal for the same event however often it is told: `message_id` on RabbitMQ (docs/events.md). Empty for tickers."""


class Subscribed(msgspec.Struct, frozen=True, kw_only=True):
    """The account is live; events that were missed came before this one."""


class StreamGap(msgspec.Struct, frozen=True, kw_only=True):
    """An account was not connected for a while, and what was found of that time. Times: ms since the epoch."""

    exchange: str
    stream: str
    from_ms: int = msgspec.field(name="from")
    """0: nobody knows since when."""
    to_ms: int = msgspec.field(name="to")
    orders: int
    balances: int
    candles: int
    missing: list[str]
    """What the exchange could not tell, in plain words."""


class AuthReject(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """The exchange refuses a key; it is left alone for a while (30 min, doubling to 24 h)."""

    exchange: str
    user_id: str
    reason: str
    exchange_uuid: str = msgspec.field(name="exchangeUUID")
    """The stream's id."""
    kind: str
    """`authReject`, or `legacyKey` where the exchange refuses the type of key."""


class AuthRecovered(msgspec.Struct, frozen=True, kw_only=True):
    """An account whose key was refused delivers events again."""

    exchange_uuid: str = msgspec.field(name="exchangeUUID")


class Flap(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """An account reconnected that often within the window."""

    exchange: str
    user_id: str
    """The stream's id, as on the wire."""
    reconnects: int
    window_sec: int


class Stall(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A price feed went silent and is being restarted."""

    exchange: str
    kind: str
    stale_seconds: int
    role: str


class Failure(msgspec.Struct, frozen=True, kw_only=True):
    """Something that the program should know of: a callback of it raised, or this connector can't go on."""

    text: str
    error: BaseException | None = None


class _Told(msgspec.Struct, frozen=True):
    """A `Failure` on its way through the queue."""

    text: str

    def failure(self) -> Failure:
        return Failure(text=self.text)


ACCOUNT_EVENTS: Final = (
    "executionReport",
    "ORDER_TRADE_UPDATE",
    "outboundAccountPosition",
    "balanceUpdate",
    "ACCOUNT_UPDATE",
    "ACCOUNT_CONFIG_UPDATE",
    "MARGIN_CALL",
    "USER_DATA_STREAM_EXPIRED",
    "positionUpdate",
)
NOTICES: Final[dict[str, tuple[str, type[msgspec.Struct]]]] = {
    "streamGap": ("streamGap", StreamGap),
    "userStreamAuthReject": ("authReject", AuthReject),
    "userStreamAuthRecovered": ("authRecovered", AuthRecovered),
    "userStreamFlap": ("flap", Flap),
    "watchdogStall": ("stall", Stall),
}
"""Service messages that a program hears of: kind → name of the event, class of its data."""
ACCOUNT_NAMES: Final = frozenset(
    {*ACCOUNT_EVENTS, "subscribed", "streamGap", "authReject", "authRecovered", "flap", "error", "*"}
)
PRICE_NAMES: Final = frozenset({"ticker", "candle", "stall", "error", "*"})

_account = msgspec.json.Decoder(AccountEvent).decode
_ticker = msgspec.json.Decoder(Ticker).decode
_candle = msgspec.json.Decoder(Candle).decode


def events_of(message: Message) -> Iterator[Event[Any]]:
    """None for what only the platform needs (announcements, beacons, closed streams)."""
    match message:
        case AccountMessage():
            yield Event(
                name=message.event_type,
                data=_account(message.body),
                exchange=message.exchange,
                stream_id=message.stream_id,
                id=message.event_id,
            )
        case InfoMessage():
            yield Event(name="subscribed", data=Subscribed(), exchange=message.exchange, stream_id=message.stream_id)
        case TickerMessage():
            for body in message.bodies:
                yield Event(name="ticker", data=_ticker(body), exchange=message.exchange)
        case CandleMessage():
            yield Event(name="candle", data=_candle(message.body), exchange=message.exchange, id=message.event_id)
        case ServiceMessage():
            yield from _notice(message)


def _notice(message: ServiceMessage) -> Iterator[Event[Any]]:
    if message.kind == "error":
        yield Event(name="error", data=msgspec.json.decode(message.body, type=dict[str, _Told])["error"].failure())
        return
    known = NOTICES.get(message.kind)
    if known is None:
        return
    name, kind = known
    data: Any = msgspec.json.decode(message.body, type=dict[str, kind])[message.kind]  # type: ignore[valid-type]
    stream = getattr(data, "stream", None) or getattr(data, "exchange_uuid", "")
    yield Event(
        name=name,
        data=data,
        exchange=getattr(data, "exchange", ""),
        stream_id=stream or (data.user_id if isinstance(data, Flap) else ""),
    )
