"""The AsyncAPI 3 document: commands in, events out, over RabbitMQ and Redis."""

from __future__ import annotations

from typing import Any, Final

from connector.core.channels import LAST_EVENT_TIME, ORDERS, SERVICE_LOG
from connector.core.settings import Settings
from connector.core.version import VERSION
from connector.sinks._amqp_messages import APP_ID, SCHEMA
from exchanges.ids import KNOWN
from harness.asyncapi.schemas import ACCOUNT, Schema, schemas, service_kinds, type_of, wrapper
from tasks.price import QUEUE as CANDLE_QUEUE
from tasks.user import QUEUE as USER_QUEUE

BINDING: Final = "0.3.0"
EXCHANGE: Final = str(Settings.model_fields["events_exchange"].default)
ROOT: Final = "#/components/schemas/"
POLICY: Final = f"""Commands come in over RabbitMQ, events go out over RabbitMQ and Redis with the same JSON bodies.

Delivery on RabbitMQ is at least once, in the exchange's order per account; a repetition has the same `message_id`. Consumers
keep the ids of the last day per stream. Redis pub/sub has neither ids nor memory.

Versions: the header `schema` ({SCHEMA}) rises when a field, a message or a key is taken away or changes its meaning, type or
unit. Fields, messages, routing keys under existing prefixes and values of open sets (`orderType`, `eventReasonType` …) are
added without that: ignore what you don't know.
"""
_PARAMETERS: Final = {
    "exchange": "Exchange id: `binance`, `okxLinear` …",
    "eventType": "The body's `eventType`.",
    "stream": "Id of the account stream: the `uuid` it was opened with.",
    "symbol": "Symbol, as the exchange writes it; may hold dots.",
    "interval": "The interval exactly as it was asked for.",
    "kind": "First key of the body.",
}


def document(examples: dict[str, Any]) -> Schema:
    """`examples`: a body by the name of its message."""
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "WebSocket Connector",
            "version": VERSION,
            "description": POLICY,
            "license": {"name": "MIT"},
        },
        "defaultContentType": "application/json",
        "servers": {
            "rabbitmq": {"host": "localhost:5672", "protocol": "amqp", "description": "`RABBIT_HOST`, `RABBIT_PORT`."},
            "redis": {"host": "localhost:6379", "protocol": "redis", "description": "`REDIS_HOST`, `REDIS_PORT`."},
        },
        "channels": channels(),
        "operations": {
            name: {"action": "receive" if name in COMMANDS else "send", "channel": {"$ref": f"#/channels/{name}"}}
            for name in channels()
        },
        "components": {
            "messages": messages(examples),
            "schemas": {**schemas(ROOT), **command_schemas(), "Headers": headers()},
        },
    }


ACCOUNT_MESSAGES: Final = [event.__name__ for event in ACCOUNT]
SERVICE_MESSAGES: Final = [wrapper(kind) for kind in service_kinds()]
COMMANDS: Final = {
    "accountCommands": ["OpenStream", "CloseStream", "RestartStream"],
    "candleCommands": ["CandleRequest"],
}


def channels() -> dict[str, Schema]:
    """Every address, with what can stand there."""
    redis_service = [one for one in SERVICE_MESSAGES if one != wrapper("streamGap")]
    return {
        "accountEvents": _routed("user.{exchange}.{eventType}.{stream}", ACCOUNT_MESSAGES, "Account events."),
        "accountInfo": _routed(
            "user.{exchange}.info.{stream}", ["Info"], "An account is live; in order with its events."
        ),
        "candles": _routed("candle.{exchange}.{interval}.{symbol}", ["Candle"], "Candles."),
        "tickers": _routed("tickers.{exchange}", ["Tickers"], "Tickers, transient; the newest per symbol wins."),
        "tickersBySymbol": _routed("ticker.{exchange}.{symbol}", ["Ticker"], "With `TICKER_MESSAGES=symbol`."),
        "service": _routed("service.{kind}", SERVICE_MESSAGES, "What concerns the service or one account."),
        "redisAccountEvents": _redis(
            "{stream}",
            ACCOUNT_MESSAGES,
            f"Account events. `{LAST_EVENT_TIME}` (sorted set) and `{ORDERS}` (hash) are written with them.",
        ),
        "redisAccountInfo": _redis("userStreamInfo{stream}", ["InfoText"], "An account is live."),
        "redisTickers": _redis("trade@{symbol}@{exchange}", ["Ticker"], "One ticker."),
        "redisCandles": _redis("{symbol}@{exchange}@{interval}Candle", ["Candle"], "One candle."),
        "redisService": _redis(SERVICE_LOG, redis_service, "Service messages, except `streamGap`."),
        "accountCommands": _queue(
            USER_QUEUE, COMMANDS["accountCommands"], "Commands of account streams, in order per uuid."
        ),
        "candleCommands": _queue(
            CANDLE_QUEUE, COMMANDS["candleCommands"], "Candle requests: a set, there is no way back."
        ),
    }


def _channel(address: str, server: str, names: list[str], text: str) -> Schema:
    channel: Schema = {
        "address": address,
        "description": text,
        "servers": [{"$ref": f"#/servers/{server}"}],
        "messages": {name: {"$ref": f"#/components/messages/{name}"} for name in names},
    }
    parameters = {name: {"description": told} for name, told in _PARAMETERS.items() if f"{{{name}}}" in address}
    return {**channel, "parameters": parameters} if parameters else channel


def _routed(address: str, names: list[str], text: str) -> Schema:
    exchange = {"name": EXCHANGE, "type": "topic", "durable": True, "autoDelete": False, "vhost": "/"}
    binding = {"is": "routingKey", "exchange": exchange, "bindingVersion": BINDING}
    return {**_channel(address, "rabbitmq", names, text), "bindings": {"amqp": binding}}


def _queue(name: str, names: list[str], text: str) -> Schema:
    queue = {"name": name, "durable": True, "exclusive": False, "autoDelete": False, "vhost": "/"}
    binding = {"is": "queue", "queue": queue, "bindingVersion": BINDING}
    return {**_channel(name, "rabbitmq", names, text), "bindings": {"amqp": binding}}


def _redis(address: str, names: list[str], text: str) -> Schema:
    return _channel(address, "redis", names, text)


def messages(examples: dict[str, Any]) -> dict[str, Schema]:
    """Every message once. Raises `KeyError` for one without an example."""
    found: dict[str, Schema] = {}
    events = {event.__name__: type_of(event) for event in ACCOUNT}
    for name in [*ACCOUNT_MESSAGES, "Info", "Ticker", "Tickers", "Candle", *SERVICE_MESSAGES]:
        found[name] = {
            "name": events.get(name, name),
            "contentType": "application/json",
            "headers": {"$ref": f"{ROOT}Headers"},
            "payload": {"$ref": ROOT + name},
            "examples": [{"payload": examples[name]}],
            "bindings": {"amqp": {"messageType": events.get(name, name), "bindingVersion": BINDING}},
        }
    found["InfoText"] = {
        "contentType": "text/plain",
        "payload": {"type": "string", "pattern": "^Subscribed to user "},
        "examples": [{"payload": examples["InfoText"]}],
    }
    for name in [one for names in COMMANDS.values() for one in names]:
        found[name] = {"payload": {"$ref": ROOT + name}, "examples": [{"payload": examples[name]}]}
    return found


def headers() -> Schema:
    return {
        "type": "object",
        "description": f"Of RabbitMQ; further properties: `message_id`, `timestamp` (s), `type`, `app_id` `{APP_ID}`.",
        "properties": {
            "schema": {"type": "integer", "const": SCHEMA, "description": "Version of bodies and headers."},
            "exchange": {"type": "string", "description": "Exchange id; not on service messages."},
            "stream": {"type": "string", "description": "Whole id of the account stream; only on its events."},
            "traceparent": {
                "type": "string",
                "description": "W3C trace context; only with traces on (docs/traces.md).",
            },
        },
        "required": ["schema"],
    }


def command_schemas() -> dict[str, Schema]:
    """What the backend publishes (`tasks/commands.py` reads it); null is the same as absent."""
    text = {"type": "string"}
    api = {
        "type": "object",
        "properties": {
            "provider": {"enum": sorted(KNOWN), "description": "Exchange id."},
            "key": text,
            "secret": text,
            "passphrase": {**text, "description": "OKX, KuCoin, Bitget."},
            "keysType": {"enum": ["legacy", "cloud"], "description": "Coinbase."},
            "okxSource": {**text, "description": "Site of OKX that the key is of."},
            "bybitHost": {**text, "description": "Site of Bybit that the key is of."},
            "environment": {"enum": ["live", "sandbox"], "description": "The exchange's own test network, or not."},
        },
        "required": ["provider"],
    }
    data = {"type": "object", "properties": {"userId": text, "api": api}, "required": ["userId", "api"]}
    candle = {
        "symbol": text,
        "exchange": {"enum": sorted(KNOWN)},
        "interval": {**text, "description": "The exchange's own code."},
    }
    return {
        "OpenStream": _command("One subscriber more.", "open stream", {"uuid": text, "data": data}, ["data"]),
        "CloseStream": _command("One subscriber less.", "close stream", {"uuid": text}, ["uuid"]),
        "RestartStream": _command(
            "Replace the connection; without `uuid` of all streams.", "force restart stream", {"uuid": text}, []
        ),
        "CandleRequest": _payload("Tell these candles.", candle, ["symbol", "exchange", "interval"]),
    }


def _command(text: str, event: str, properties: Schema, required: list[str]) -> Schema:
    return _payload(text, {"event": {"const": event}, **properties}, ["event", *required])


def _payload(text: str, properties: Schema, required: list[str]) -> Schema:
    payload = {"type": "object", "properties": properties, "required": required}
    return {"type": "object", "description": text, "properties": {"payload": payload}, "required": ["payload"]}
