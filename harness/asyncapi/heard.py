"""Which schema holds for something that was published."""

from __future__ import annotations

import json
from typing import Any, Final

from connector.core.channels import SERVICE_LOG
from harness.asyncapi.examples import BY_TYPE
from harness.asyncapi.schemas import wrapper

_KINDS: Final = {"info": "Info", "ticker": "Ticker", "tickers": "Tickers", "candle": "Candle"}


def on_rabbitmq(kind: str, body: bytes) -> tuple[str, Any]:
    """Name of the schema and the value, for a message whose AMQP `type` is `kind`."""
    return BY_TYPE.get(kind) or _KINDS.get(kind) or wrapper(kind), json.loads(body)


def on_redis(channel: str, payload: bytes) -> tuple[str, Any]:
    """The same for a channel. `InfoText` is no JSON; it has a schema of its own in the AsyncAPI document."""
    if channel.startswith("userStreamInfo"):
        return "InfoText", payload.decode()
    value = json.loads(payload)
    if channel == SERVICE_LOG:
        return wrapper(next(iter(value))), value
    if channel.startswith("trade@"):
        return "Ticker", value
    if channel.endswith("Candle"):
        return "Candle", value
    return BY_TYPE[value["eventType"]], value
