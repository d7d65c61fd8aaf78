"""Events as they leave the service, told apart by where they came: a routing key or a Redis channel. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import Final, get_args

from connector.core.channels import SERVICE_LOG, candle_channel, subscribed_text, ticker_channel, user_info_channel
from exchanges.events import AccountEvent

_TICKER: Final = re.compile(re.escape(ticker_channel("\0", "\1")).replace("\0", "(.+)").replace("\1", "([^@]+)"))
_CANDLE: Final = re.compile(
    re.escape(candle_channel("\0", "\1", "\2")).replace("\0", "(.+)").replace("\1", "([^@]+)").replace("\2", "([^@]+)")
)
_INFO: Final = re.compile(re.escape(user_info_channel("\0")).replace("\0", "(.+)"))
TYPES: Final = (
    *sorted(kind.__struct_config__.tag for kind in get_args(AccountEvent)),
    "info", "ticker", "candle", "restart", "priceConnectorAlive", "streamGap", "userStreamAuthReject",
    "userStreamAuthRecovered", "userStreamFlap", "watchdogStall", "error",
)  # fmt: skip
"""Every type of row that there is."""
_UNPRINTABLE: Final = re.compile(r"[\x00-\x1f\x7f-\x9f]")


@dataclass(frozen=True, slots=True)
class Row:
    """One event, from either sink. Fields that its place does not tell are empty."""

    source: str
    """Routing key or Redis channel."""
    type: str
    """`executionReport` …, `info`, `ticker`, `candle`, or the kind of a service message."""
    event: object
    exchange: str = ""
    stream: str = ""
    symbol: str = ""
    interval: str = ""


@dataclass(frozen=True, slots=True)
class Filter:
    """What to show; empty sets show everything. A filter on something that a row does not tell leaves the row out."""

    streams: frozenset[str] = field(default_factory=frozenset)
    exchanges: frozenset[str] = field(default_factory=frozenset)
    types: frozenset[str] = field(default_factory=frozenset)

    def shows(self, row: Row) -> bool:
        wanted = ((self.streams, row.stream), (self.exchanges, row.exchange), (self.types, row.type))
        return all(not values or value in values for values, value in wanted)


def from_rabbitmq(key: str, headers: Mapping[str, object], body: bytes) -> Iterator[Row]:
    """Rows of one message of the topic exchange; a batch of tickers has many."""
    event = _decoded(body)
    kind, _, rest = key.partition(".")
    if kind == "user":
        exchange, _, rest = rest.partition(".")
        event_type, _, stream = rest.partition(".")
        # Routing keys are cut at 255 bytes; the header has the whole id.
        yield Row(key, event_type, event, exchange, str(headers.get("stream", stream)))
    elif kind == "candle":
        exchange, _, rest = rest.partition(".")
        interval, _, symbol = rest.partition(".")
        yield Row(key, "candle", event, exchange, symbol=symbol, interval=interval)
    elif kind in {"tickers", "ticker"}:
        exchange = rest.partition(".")[0]
        for ticker in event if isinstance(event, list) else [event]:
            yield Row(key, "ticker", ticker, exchange, symbol=_member(ticker, "symbol"))
    else:
        yield Row(key, rest or kind, event)


def from_redis(channel: str, text: str) -> Row | None:
    """The row of one pub/sub message; None for channels that are not the service's.

    Account events don't name their exchange there.
    """
    if channel == SERVICE_LOG:
        event = _decoded(text.encode())
        return Row(channel, next(iter(event), "service") if isinstance(event, dict) else "service", event)
    if match := _INFO.fullmatch(channel):
        return Row(channel, "info", text, stream=match[1])
    if match := _TICKER.fullmatch(channel):
        return Row(channel, "ticker", _decoded(text.encode()), match[2], symbol=match[1])
    if match := _CANDLE.fullmatch(channel):
        return Row(channel, "candle", _decoded(text.encode()), match[2], symbol=match[1], interval=match[3])
    event = _decoded(text.encode())
    event_type = _member(event, "eventType")
    return Row(channel, event_type, event, stream=channel) if event_type else None


def binding_keys(wanted: Filter) -> list[str]:
    """Routing keys to bind, so that the broker sends no more than needed. The filter still decides."""
    streams = sorted(wanted.streams)
    exchanges = sorted(wanted.exchanges) or ["*"]
    if streams:
        if any(set(stream) & set("*#") for stream in streams):
            return ["user.#"]
        return [f"user.{exchange}.*.{stream}" for exchange in exchanges for stream in streams]
    if not wanted.exchanges:
        return ["#"]
    kinds = ("user.{}.#", "candle.{}.#", "ticker.{}.#", "tickers.{}")
    return [kind.format(exchange) for exchange in exchanges for kind in kinds]


def redis_channels(wanted: Filter) -> tuple[list[str], list[str]]:
    """Channels and patterns to subscribe to."""
    if wanted.streams:
        streams = sorted(wanted.streams)
        return [*streams, *(user_info_channel(stream) for stream in streams)], []
    return [], ["*"]


def as_json(row: Row) -> str:
    """One line for programs."""
    return json.dumps({name: value for name, value in asdict(row).items() if value != ""}, ensure_ascii=False)


def as_text(row: Row, now: datetime | None = None) -> str:
    """One line for people."""
    moment = (now or datetime.now(UTC)).strftime("%H:%M:%S.%f")[:-3]
    where = " ".join(part for part in (row.exchange, row.stream, row.symbol, row.interval) if part)
    line = f"{moment} {row.type:<24} {where:<40} {_summary(row)}"
    return _UNPRINTABLE.sub("?", line).rstrip()


def _summary(row: Row) -> str:
    event = row.event
    if not isinstance(event, dict):
        return str(event)
    if row.type in {"executionReport", "ORDER_TRADE_UPDATE"}:
        filled, size = event.get("totalTradeQuantity", "?"), event.get("quantity", "?")
        parts = [event.get(name) for name in ("orderStatus", "side", "symbol", "orderType")]
        price = event.get("averagePrice") or event.get("price", "?")
        client = event.get("newClientOrderId") or event.get("clientOrderId", "")
        return " ".join(str(part) for part in parts if part) + f" {filled}/{size} @ {price} {client}"
    if row.type == "outboundAccountPosition":
        balances = [item for item in event.get("balances", []) if isinstance(item, dict)]
        shown = [f"{item.get('asset')}={item.get('free')}+{item.get('locked', '?')}" for item in balances[:6]]
        return " ".join(shown) + (f" and {len(balances) - 6} more" if len(balances) > 6 else "")
    if row.type == "ticker":
        return f"{event.get('price')}"
    if row.type == "candle":
        return " ".join(f"{name[0]}={event.get(name)}" for name in ("open", "high", "low", "close", "volume"))
    if row.type == "info":
        return str(event.get("info", subscribed_text(row.stream)))
    return json.dumps(event, ensure_ascii=False)


def _decoded(body: bytes) -> object:
    """JSON, or the text as it is."""
    try:
        return json.loads(body)
    except ValueError:
        return body.decode("utf-8", "replace")


def _member(event: object, name: str) -> str:
    value = event.get(name) if isinstance(event, dict) else None
    return value if isinstance(value, str) else ""
