"""`connector open/close/restart/candle`: what they would publish, and where keys may come from."""

from __future__ import annotations

import argparse
import io
import json
from pathlib import Path
from typing import Any

import pytest

import cli._connections
from cli import candle, close, restart
from cli import open as open_command
from cli.main import main

CANARY = "CANARY-cc81-secret"
OPEN = ["open", "--provider", "okx", "--user-id", "n"]


class Published:
    def __init__(self) -> None:
        self.bodies: list[dict[str, Any]] = []
        self.targets: list[tuple[str, str]] = []
        self.said: list[str] = []

    def __call__(self, args: argparse.Namespace, body: bytes, what: str) -> int:
        self.bodies.append(json.loads(body))
        self.targets.append((args.exchange_name, args.queue))
        self.said.append(what)
        return 0


@pytest.fixture
def published(monkeypatch: pytest.MonkeyPatch) -> Published:
    published = Published()
    for module in (open_command, close, restart, candle):
        monkeypatch.setattr(module, "publish", published)
    return published


def api(published: Published) -> dict[str, Any]:
    found = published.bodies[0]["payload"]["data"]["api"]
    assert isinstance(found, dict)
    return found


def test_keys_from_the_environment(published: Published, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_KEY", "k")
    monkeypatch.setenv("MY_SECRET", "s")
    monkeypatch.setenv("MY_PASS", "p")
    names = ["--key-env", "MY_KEY", "--secret-env", "MY_SECRET", "--passphrase-env", "MY_PASS"]
    assert main([*OPEN, "--uuid", "u", *names, "--okx-source", "my"]) == 0
    assert published.targets == [("gainium", "usersStreamAction")]
    assert published.bodies[0]["payload"]["uuid"] == "u"
    assert (api(published)["key"], api(published)["secret"], api(published)["passphrase"]) == ("k", "s", "p")
    assert api(published)["okxSource"] == "my"
    assert published.said == ["open u (okx)"]


def test_keys_from_standard_input_and_a_secret_from_its_own_file(
    published: Published, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO('{"key":"k","secret":"ignored","passphrase":null,"more":1}'))
    pem = tmp_path / "key.pem"
    pem.write_text("-----BEGIN PRIVATE KEY-----\nabc\n-----END PRIVATE KEY-----\n")
    assert main([*OPEN, "--keys", "-", "--secret-file", str(pem)]) == 0
    assert api(published)["key"] == "k"
    assert api(published)["secret"].startswith("-----BEGIN")
    assert api(published)["passphrase"] is None
    assert "uuid" not in published.bodies[0]["payload"]


def test_keys_from_a_file(published: Published, tmp_path: Path) -> None:
    keys = tmp_path / "keys.json"
    keys.write_text('{"key":"k","secret":"s"}')
    assert main([*OPEN, "--keys", str(keys)]) == 0
    assert (api(published)["key"], api(published)["secret"]) == ("k", "s")


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["--key-env", "NOT_THERE_1"], "NOT_THERE_1"),
        (["--keys", "/no/such/file"], "--keys"),
        (["--secret-file", "/no/such/file"], "--secret-file"),
        (["--keys", "-"], "--keys: not a JSON object"),
        (["--provider", "whitebitCoinm"], "data.api.provider: unknown exchange id whitebitCoinm"),
    ],
)
def test_what_is_wrong_is_said_without_secrets(
    published: Published,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    problem: str,
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO('{"key": ["' + CANARY + '"]}'))
    assert main([*OPEN, *arguments]) == 1
    out, err = capsys.readouterr()
    assert problem in err
    assert CANARY not in out + err
    assert published.bodies == []


def test_close_restart_and_candle(published: Published) -> None:
    assert main(["close", "u"]) == 0
    assert main(["restart", "u"]) == 0
    assert main(["restart", "--all"]) == 0
    assert main(["candle", "paperOkx", "BTC-USDT", "candle1H", "--queue", "q", "--exchange-name", "e"]) == 0
    assert published.bodies == [
        {"payload": {"event": "close stream", "uuid": "u"}},
        {"payload": {"event": "force restart stream", "uuid": "u"}},
        {"payload": {"event": "force restart stream"}},
        {"payload": {"symbol": "BTC-USDT", "exchange": "paperOkx", "interval": "candle1H"}},
    ]
    assert published.targets[-1] == ("e", "q")


def test_an_empty_uuid_restarts_nothing(published: Published, capsys: pytest.CaptureFixture[str]) -> None:
    """An unset shell variable must not restart every stream."""
    assert main(["restart", ""]) == 1
    assert "uuid: is empty" in capsys.readouterr().err
    assert published.bodies == []


def test_a_candle_of_an_unknown_exchange_is_not_sent(published: Published, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["candle", "nowhere", "A", "1m"]) == 1
    assert "exchange: unknown exchange id nowhere" in capsys.readouterr().err
    assert published.bodies == []


def test_hosts_default_to_this_machine() -> None:
    found = cli._connections.settings({})
    assert (str(found.rabbit), str(found.redis)) == ("127.0.0.1:5672", "127.0.0.1:6379")
    assert cli._connections.settings({"RABBIT_HOST": "rabbit"}).rabbit.hosts[0].name == "rabbit"


@pytest.mark.parametrize("arguments", [["close", "u"], ["tail"], ["tail", "--sink", "redis"]])
def test_a_server_that_is_not_there_is_named_with_its_settings(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], arguments: list[str]
) -> None:
    for name in ("RABBIT_HOST", "REDIS_HOST"):
        monkeypatch.setenv(name, "127.0.0.1")
    for name in ("RABBIT_PORT", "REDIS_PORT"):
        monkeypatch.setenv(name, "1")
    assert main(arguments) == 1
    err = capsys.readouterr().err
    assert "can't be reached" in err
    assert "_PORT" in err
