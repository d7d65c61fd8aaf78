"""The contract as a page for readers: every address, every message with its fields and an example (`make contract`)."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any, Final

from harness.asyncapi.schemas import Schema

_HEAD: Final = """# Messages and their fields

Made by `make contract` from the classes that the service encodes. What events mean together is in [Events](events.md); for
programs the same is in [asyncapi.yaml](asyncapi.yaml) and [events.schema.json](events.schema.json). A field without a tick
in the third column may be left out.
"""


def page(document: Schema) -> str:
    """`document`: the AsyncAPI document."""
    return "\n".join(_lines(document)) + "\n"


def _lines(document: Schema) -> Iterator[str]:
    yield _HEAD
    yield "## Addresses\n"
    yield "| Server | Address | Messages | What |"
    yield "|---|---|---|---|"
    for channel in document["channels"].values():
        server = channel["servers"][0]["$ref"].rpartition("/")[2]
        names = ", ".join(f"[{name}](#{name.lower()})" for name in channel["messages"])
        yield f"| {server} | `{channel['address']}` | {names} | {_cell(channel['description'])} |"
    messages = document["components"]["messages"]
    found = document["components"]["schemas"]
    told: set[str] = set()
    for name, message in messages.items():
        yield from _message(name, message, found, told)
    parts = [name for name in found if name not in messages and name not in told and name != "Headers"]
    for name in parts:
        yield f"\n## {name}\n"
        yield from _schema(found[name])


def _message(name: str, message: Mapping[str, Any], found: Mapping[str, Schema], told: set[str]) -> Iterator[str]:
    yield f"\n## {name}\n"
    payload = message["payload"]
    reference = payload.get("$ref", "").rpartition("/")[2]
    told.add(reference)
    yield from _schema(found[reference] if reference else payload)
    for example in message.get("examples", ())[:1]:
        body = example["payload"]
        yield "\n    " + (body if isinstance(body, str) else json.dumps(body, ensure_ascii=False))


def _schema(schema: Schema) -> Iterator[str]:
    if text := schema.get("description", ""):
        yield f"{_cell(text)}\n"
    properties: Mapping[str, Schema] = schema.get("properties", {})
    if not properties:
        yield f"A body of the type {_type(schema)}."
        return
    required = set(schema.get("required", ()))
    yield "| Field | Type | | Meaning |"
    yield "|---|---|---|---|"
    for name, field in properties.items():
        mark = "✓" if name in required else ""
        yield f"| `{name}` | {_type(field)} | {mark} | {_cell(field.get('description', ''))} |"


def _type(field: Schema) -> str:
    if "$ref" in field:
        name = str(field["$ref"]).rpartition("/")[2]
        return f"[{name}](#{name.lower()})"
    if "enum" in field:
        return " or ".join(f"`{value}`" for value in field["enum"])
    if "const" in field:
        return f"`{field['const']}`"
    for word in ("anyOf", "oneOf"):
        if word in field:
            return " or ".join(_type(one) for one in field[word])
    kind = field.get("type", "any")
    if kind == "array":
        return f"list of {_type(field.get('items', {}))}"
    return " or ".join(kind) if isinstance(kind, list) else str(kind)


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")
