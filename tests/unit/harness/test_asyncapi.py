"""The contract's documents say what the classes say, and everything that leaves the service keeps to them."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest
import yaml

from harness.asyncapi import schemas
from harness.asyncapi.document import BINDING, COMMANDS, channels
from harness.asyncapi.examples import examples, golden
from harness.asyncapi.files import DOCS, files
from tasks.commands import parse_candle, parse_command

WRITTEN = files()


@cache
def validator(name: str) -> Any:
    """Of one schema in which no unknown field may stand."""
    whole = schemas.strict(schemas.document())
    return jsonschema_rs.validator_for({**whole, "$ref": f"#/$defs/{name}"})


@pytest.mark.parametrize("path", sorted(WRITTEN), ids=lambda path: path.name)
def test_the_checked_in_document_is_the_one_that_the_classes_make(path: Path) -> None:
    assert path.read_text() == WRITTEN[path], "stale: run make contract"


def test_every_event_of_every_recorded_frame_keeps_to_its_schema() -> None:
    count = 0
    for case, name, body in golden():
        wrong = [f"{case}: {error.message}" for error in validator(name).iter_errors(body)]
        assert not wrong
        count += 1
    assert count > 300


@pytest.mark.parametrize(
    ("field", "value"),
    [("totalTradeQuantity", "1e-7"), ("eventTime", "1790000000000"), ("surplus", "x"), ("orderId", None)],
)
def test_an_event_that_is_wrong_is_found(field: str, value: object) -> None:
    body = {**examples()["ExecutionReport"], field: value}
    assert not validator("ExecutionReport").is_valid(body)


def test_every_example_keeps_to_its_schema() -> None:
    known = schemas.document()["$defs"].keys()
    for name, body in examples().items():
        if name in known:
            assert validator(name).is_valid(body), name


def test_the_examples_of_commands_are_read_by_the_service() -> None:
    for name in COMMANDS["accountCommands"]:
        parse_command(examples()[name]["payload"])
    parse_candle(examples()["CandleRequest"]["payload"])


def test_every_address_of_the_prose_is_a_channel_of_the_document() -> None:
    prose = (DOCS / "events.md").read_text()
    for channel in channels().values():
        address = channel["address"].replace("{exchange}", "<exchange id>").replace("{stream}", "<stream id>")
        for name in ("eventType", "interval", "symbol", "kind"):
            address = address.replace(f"{{{name}}}", f"<{name}>")
        if "queue" not in channel.get("bindings", {}).get("amqp", {}):
            assert f"`{address}`" in prose or f"`PUBLISH {address}`" in prose, address


def test_every_schema_is_a_schema() -> None:
    jsonschema_rs.meta.validate(schemas.document())
    document = yaml.safe_load((DOCS / "asyncapi.yaml").read_text())
    assert document["asyncapi"] == "3.0.0"
    assert BINDING in json.dumps(document)
