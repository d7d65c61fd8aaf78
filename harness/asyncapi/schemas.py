"""JSON Schemas (2020-12) of everything that leaves the service, from the classes that are encoded."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from connector.api._events import NOTICES
from exchanges.events import AccountEvent, Candle, Ticker
from harness.asyncapi.notes import DECIMAL, NOTES, TIME

Schema = dict[str, Any]
DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"
DECIMAL_PATTERN: Final = r"^-?[0-9]+(\.[0-9]+)?$"
ACCOUNT: Final = tuple(AccountEvent.__args__)
"""Classes of the account events."""


class Alive(msgspec.Struct, frozen=True):
    """The price service is there: after each start, then every 60 s."""

    boot_id: str = msgspec.field(name="bootId")
    role: str


def type_of(event: type[msgspec.Struct]) -> str:
    """The `eventType` of an account event's class."""
    return str(event.__struct_config__.tag)


def schemas(root: str) -> dict[str, Schema]:
    """By name; references are below `root` (`#/$defs/`)."""
    classes = [*ACCOUNT, Ticker, Candle, Alive, *(kind for _, kind in NOTICES.values())]
    _, found = msgspec.json.schema_components(classes, ref_template=root + "{name}")
    made: dict[str, Schema] = {name: _described(name, schema) for name, schema in found.items()}
    made["Info"] = _object({"info": {"type": "string", "pattern": "^Subscribed to user "}}, "The account is live.")
    made["Restart"] = _object(
        {"restart": {"enum": ["userStream", "priceConnector"]}, "bootId": {"type": "string"}},
        "The service started from nothing, or lost commands or keys: everybody asks again.",
        required=["restart"],
    )
    made["Tickers"] = {
        "title": "Tickers",
        "description": "Up to 100 tickers of one exchange id.",
        "type": "array",
        "items": {"$ref": f"{root}Ticker"},
        "maxItems": 100,
    }
    for kind, name in service_kinds().items():
        if name != "Restart":
            made[wrapper(kind)] = _object({kind: {"$ref": root + name}}, str(found[name].get("description", "")))
    return dict(sorted(made.items()))


def service_kinds() -> dict[str, str]:
    """Kind of a service message → name of the schema of what stands in it."""
    return {
        "restart": "Restart",
        "priceConnectorAlive": "Alive",
        **{kind: cls.__name__ for kind, (_, cls) in NOTICES.items()},
    }


def wrapper(kind: str) -> str:
    """Name of the schema of a whole service message."""
    return "Restart" if kind == "restart" else kind[0].upper() + kind[1:] + "Message"


def _object(properties: Mapping[str, Schema], description: str, required: list[str] | None = None) -> Schema:
    return {
        "type": "object",
        "description": description,
        "properties": dict(properties),
        "required": required if required is not None else list(properties),
    }


def _described(name: str, schema: Schema) -> Schema:
    """With meaning and unit of each field. Raises `KeyError` for a field without a note."""
    for field, part in schema.get("properties", {}).items():
        if field == "eventType":
            part["description"] = "Tells the events of an account apart."
            continue
        unit, text = NOTES.get(f"{name}.{field}") or NOTES[field]
        part["description"] = f"{text} ({unit})" if unit else text
        if unit == DECIMAL and part.get("type") == "string":
            part["pattern"] = DECIMAL_PATTERN
        if unit == TIME:
            part["minimum"] = 0
        if field == "orderStatus":
            part["examples"] = ["NEW", "PARTIALLY_FILLED", "FILLED"]
    return schema


def document() -> Schema:
    """All schemas as one JSON Schema, for validators; a message's own is `#/$defs/<name>`."""
    return {
        "$schema": DIALECT,
        "title": "Events of the WebSocket Connector",
        "description": "Made from the event classes by `make contract`. Fields may be added: ignore what you don't know.",
        "$defs": schemas("#/$defs/"),
    }


def strict(schema: Any) -> Any:
    """A copy in which no other fields than the known ones may stand: for tests that the schemas are complete."""
    if isinstance(schema, list):
        return [strict(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    copy = {key: strict(value) for key, value in schema.items()}
    return (
        {**copy, "additionalProperties": False} if "properties" in schema and schema.get("type") == "object" else copy
    )
