"""Options that can't be used are refused with what they take; until now they were accepted and did something odd."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from typing import get_args

import pytest

from cli._events import TYPES
from cli.main import main
from connector.core.log import configure
from exchanges.events import AccountEvent
from harness.asyncapi.schemas import service_kinds


@pytest.fixture(autouse=True)
def _own_log() -> Iterator[None]:
    """`run` sets the log of its process up for good."""
    undo = configure()
    yield
    undo()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["tail", "--count", "-1"], "whole number"),
        (["tail", "--seconds", "-1"], "seconds above 0"),
        (["tail", "--seconds", "nan"], "seconds above 0"),
        (["tail", "--type", "bogus"], "executionReport"),
        (["simulate", "--port", "99999"], "0 to 65535"),
        (["simulate", "--symbols", "-5"], "whole number"),
        (["simulate", "--venues", "bogus"], "binance"),
    ],
)
def test_an_option_that_can_not_be_used_is_refused_with_what_it_takes(
    arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    try:
        code = main(arguments)
    except SystemExit as ended:
        code = int(ended.code or 0)
    assert code == 2
    assert words in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "value"),
    [("LIVE", "maybe"), ("SIMULATOR_PORT", "x"), ("SIMULATOR_PORT", "99999"), ("VENUE_CA_FILE", "/nope")],
)
def test_a_setting_of_run_that_can_not_be_used_is_one_line_with_its_name(
    name: str, value: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """They were tracebacks, or taken for something else."""
    monkeypatch.setenv(name, value)
    monkeypatch.setenv("HEALTH_PORT", "0")
    assert main(["run"]) == 1
    told = capsys.readouterr().err.strip()
    assert told.startswith(f"connector: {name}: ")
    assert "\n" not in told


def test_a_port_that_somebody_has_is_one_line_of_run(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        monkeypatch.setenv("SIMULATOR_PORT", str(taken.getsockname()[1]))
        monkeypatch.setenv("HEALTH_PORT", "0")
        assert main(["run"]) == 1
    told = capsys.readouterr().err.strip()
    assert told.startswith("connector: SIMULATOR_PORT: the simulator can't listen there")
    assert "\n" not in told


def test_tail_knows_every_type_that_there_is() -> None:
    events = {kind.__struct_config__.tag for kind in get_args(AccountEvent)}
    assert events | service_kinds().keys() | {"info", "ticker", "candle"} <= set(TYPES)
