"""The schemas as TypeScript: examples/types.d.ts."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, Final

from harness.asyncapi.document import command_schemas
from harness.asyncapi.schemas import ACCOUNT, Schema, schemas

ROOT: Final = "#/$defs/"
HEAD: Final = """\
// Made from docs/events.schema.json by `make contract`; change the classes instead.
// Fields may be added: ignore what you don't know. Decimal text stays text: Number() would round it.

"""
UNION: Final = "AccountEvent"
_BASIC: Final = {"string": "string", "integer": "number", "number": "number", "boolean": "boolean", "null": "null"}


def types() -> str:
    """One interface for each schema, and the union of an account's events."""
    found = {**schemas(ROOT), **command_schemas()}
    parts = [_declared(name, schema) for name, schema in found.items()]
    union = " | ".join(sorted(event.__name__ for event in ACCOUNT))
    parts.append(
        f"/** What comes on an account's channel and queue; `eventType` tells which. */\nexport type {UNION} = {union};\n"
    )
    return HEAD + "\n".join(parts)


def _declared(name: str, schema: Schema) -> str:
    told = _comment(str(schema.get("description", "")), "")
    if schema.get("type") == "object":
        return f"{told}export interface {name} {_object(schema, '')}\n"
    return f"{told}export type {name} = {_type(schema, '')};\n"


def _object(schema: Schema, indent: str) -> str:
    required = schema.get("required", [])
    lines: list[str] = []
    for field, part in schema["properties"].items():
        optional = "" if field in required else "?"
        lines.append(_comment(str(part.get("description", "")), indent + "  "))
        lines.append(f"{indent}  {field}{optional}: {_type(part, indent + '  ')};\n")
    return "{\n" + "".join(lines) + indent + "}"


def _type(schema: Schema, indent: str) -> str:
    return " | ".join(dict.fromkeys(_kinds(schema, indent)))


def _kinds(schema: Schema, indent: str) -> Iterator[str]:
    """Raises `KeyError` for what has no counterpart here."""
    if "$ref" in schema:
        yield schema["$ref"].removeprefix(ROOT)
    elif "const" in schema:
        yield json.dumps(schema["const"])
    elif "enum" in schema:
        yield from (json.dumps(one) for one in schema["enum"])
    elif "anyOf" in schema:
        for one in schema["anyOf"]:
            yield from _kinds(one, indent)
    elif schema["type"] == "array":
        yield f"Array<{_type(schema['items'], indent)}>"
    elif schema["type"] == "object":
        yield _object(schema, indent)
    else:
        yield _BASIC[schema["type"]]


def _comment(text: Any, indent: str) -> str:
    if not text:
        return ""
    told = " ".join(str(text).split()).replace("*/", "* /")
    return f"{indent}/** {told} */\n"
