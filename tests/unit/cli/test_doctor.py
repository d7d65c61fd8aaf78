"""The doctor's verdicts, without a network."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from cryptography.fernet import Fernet

from cli import doctor
from cli.main import main
from connector.core.clock import SystemClock
from connector.core.setting_names import known, mistyped
from connector.core.settings import Settings
from connector.streams.egress import Egresses
from exchanges import venues

ROOT = Path(__file__).parents[3]


class FakeAnswer:
    def __init__(self, body: object) -> None:
        self._body = body

    def json(self) -> object:
        return self._body


@pytest.fixture
def fetched(monkeypatch):
    """Answers by URL; whatever is not in here can't be reached."""
    answers: dict[str, object] = {}

    def get(url: str, verify: str | bool, ask: object, reach: object) -> FakeAnswer:
        if ask is not None:
            url = f"{url} {json.dumps(ask)}"
        if url not in answers:
            raise OSError("no route")
        return FakeAnswer(answers[url])

    monkeypatch.setattr(doctor, "_get", get)
    monkeypatch.setattr(doctor.time, "time", lambda: 1_790_000_000.0)
    return answers


def asked_venue(venue: str, environ: dict[str, str], offsets: list[float]) -> doctor.Check:
    settings = Settings.from_env(environ)
    egresses = Egresses(settings.ways, SystemClock())
    return doctor.check_venue(venue, settings, offsets, egresses, egresses.names(venue)[0])


@pytest.fixture
def bare_environment(monkeypatch):
    for name in ("RABBIT_HOST", "REDIS_HOST", "EXCHANGE_SERVICE_API_URL", "CREDENTIALS_KEYS", "VENUE_GATEWAY"):
        monkeypatch.delenv(name, raising=False)


def test_every_venue_of_the_project_can_be_checked():
    assert set(venues()) - {"paper"} == set(doctor.clocks())


def test_a_venue_that_answers_gives_its_clock(fetched):
    fetched["https://openapi.okx.com/api/v5/public/time"] = {"data": [{"ts": "1790000000250"}]}
    offsets: list[float] = []
    check = asked_venue("okx", {}, offsets)
    assert check.ok
    assert offsets == [pytest.approx(250, abs=200)]


def test_a_venue_with_one_path_is_asked_its_question(fetched):
    fetched['https://api.hyperliquid.xyz/info {"type": "exchangeStatus"}'] = {
        "specialStatuses": None,
        "time": 1790000000250,
    }
    offsets: list[float] = []
    assert asked_venue("hyperliquid", {}, offsets).ok
    assert offsets == [pytest.approx(250, abs=200)]


def test_the_gateway_setting_is_followed(fetched):
    fetched["http://sim:8800/openapi.okx.com/api/v5/public/time"] = {"data": [{"ts": "1790000000000"}]}
    assert asked_venue("okx", {"VENUE_GATEWAY": "sim:8800"}, []).ok


def test_unreachable_and_odd_answers_fail_with_advice(fetched):
    check = asked_venue("okx", {}, [])
    assert not check.ok
    assert "no route" in check.text
    assert check.advice
    fetched["https://openapi.okx.com/api/v5/public/time"] = ["odd"]
    assert not asked_venue("okx", {}, []).ok


def test_the_clock_is_judged_by_the_middle_of_the_venues():
    assert doctor.check_clock([10, -20, 90_000]).ok
    assert not doctor.check_clock([5_000, 5_100, 10]).ok


def test_credential_keys_are_tried():
    good = Fernet.generate_key().decode()
    assert doctor.check_credentials_keys(Settings.from_env({})).ok
    assert doctor.check_credentials_keys(Settings.from_env({"CREDENTIALS_KEYS": f"{good},{good}"})).ok
    assert "RABBIT_PASSWORD" in doctor.check_credentials_keys(Settings.from_env({"RABBIT_PASSWORD": "guest"})).text
    made = doctor.check_credentials_keys(Settings.from_env({"RABBIT_PASSWORD": "a password that is good"}))
    assert "made from RABBIT_PASSWORD" in made.text
    assert "none" in doctor.check_credentials_keys(Settings.from_env({"CREDENTIALS_KEYS": "none"})).text
    check = doctor.check_credentials_keys(Settings.from_env({"CREDENTIALS_KEYS": f"{good},not-a-key"}))
    assert not check.ok
    assert "key 2" in check.text
    assert "not-a-key" not in check.text


@pytest.mark.usefixtures("bare_environment")
def test_the_exit_code_tells_whether_everything_is_well(fetched, capsys):
    fetched["https://openapi.okx.com/api/v5/public/time"] = {"data": [{"ts": "1790000000000"}]}
    assert main(["doctor", "--venue", "okx"]) == 0
    assert main(["doctor", "--venue", "bybit"]) == 1
    assert main(["doctor", "--no-venues"]) == 0
    assert "FAILED  bybit" in capsys.readouterr().out


def test_each_way_to_an_exchange_is_checked_and_named(fetched, monkeypatch):
    fetched["https://openapi.okx.com/api/v5/public/time"] = {"data": [{"ts": "1790000000000"}]}
    environ = {
        "EGRESS_PROXIES": "socks5://u:hidden-word@a:1,direct",
        "PROXY_OKX": "http://u:hidden-word@b:2,http://c:3",
    }
    told = [(check.name, check.text) for check in doctor.checks(Settings.from_env(environ), ["okx"])]
    assert ("proxies", "EGRESS_PROXIES: socks5://a:1, direct; PROXY_OKX: http://b:2, http://c:3") in told
    assert [text.split("through ")[1].split(",")[0] for name, text in told if name == "okx"] == [
        "http://b:2",
        "http://c:3",
    ]
    assert "hidden-word" not in str(told)


def test_a_proxy_that_is_not_there_is_told_as_that(monkeypatch):
    check = asked_venue("okx", {"PROXY_OKX": "http://u:hidden-word@127.0.0.1:9"}, [])
    assert not check.ok
    assert "http://127.0.0.1:9 can't be reached" in check.text
    assert "PROXY_OKX" in check.advice
    assert "hidden-word" not in check.text


@pytest.mark.usefixtures("bare_environment")
def test_a_bad_setting_is_named(monkeypatch, capsys):
    monkeypatch.setenv("RABBIT_PORT", "many")
    assert main(["doctor", "--no-venues"]) == 1
    assert "RABBIT_PORT" in capsys.readouterr().out


def test_every_exchange_with_an_adapter_is_asked():
    assert set(doctor.served()) == set(venues()) - {"paper"}


def test_a_reader_that_goes_away_is_no_error():
    """`connector doctor | head`."""
    reader, writer = os.pipe()
    os.close(reader)
    command = [sys.executable, "-m", "cli.main", "doctor", "--no-venues"]
    done = subprocess.run(
        command, stdout=writer, stderr=subprocess.PIPE, cwd=ROOT, env={"PYTHONPATH": str(ROOT)}, timeout=60, check=False
    )
    os.close(writer)
    assert (done.returncode, done.stderr) == (0, b"")


def test_a_choice_of_symbols_is_told():
    told = list(doctor.checks(Settings.from_env({"PRICE_SYMBOLS": "okx=BTC-*"}), []))
    assert "PRICE_SYMBOLS=okx=BTC-*" in next(check.text for check in told if check.name == "price symbols")
    assert not [check for check in doctor.checks(Settings.from_env({}), []) if check.name == "price symbols"]


@pytest.mark.usefixtures("bare_environment")
@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("RABIT_HOST", "x", "RABIT_HOST is no setting and has no effect"),
        ("OUTBOX_DIR", "/proc/x/outbox", "OUTBOX_DIR: "),
        ("LOG_LEVEL", "verbose", "LOG_LEVEL: "),
        ("SENTRY_DSN", "notadsn", "SENTRY_DSN: "),
        ("PAPER_WS", "::bad::", "PAPER_WS: "),
        ("PRICE_CONNECTOR_EXCHANGES", "bybitt", "PRICE_CONNECTOR_EXCHANGES: "),
        ("HEALTH_HOST", "203.0.113.77", "HEALTH_HOST: "),
    ],
)
def test_what_the_service_would_refuse_or_ignore_is_found(monkeypatch, capsys, name: str, value: str, said: str):
    """It said "ok settings" to each of these, and the service ended with a traceback, or went on without."""
    monkeypatch.setenv(name, value)
    assert main(["doctor", "--no-venues"]) == 1
    assert said in capsys.readouterr().out


def test_looking_makes_no_folder(monkeypatch, tmp_path, capsys):
    monkeypatch.setenv("OUTBOX_DIR", str(tmp_path / "a" / "b"))
    assert main(["doctor", "--no-venues"]) == 0, capsys.readouterr().out
    assert list(tmp_path.iterdir()) == []


def test_names_of_others_are_not_taken_for_ours():
    others = (
        "PATH",
        "HOME",
        "REDIS_SERVICE_HOST",
        "RABBITMQ_NODENAME",
        "LOGNAME",
        "HOSTNAME",
        "SENTRY_ENVIRONMENT",
        "HTTP_PROXY",
    )
    assert mistyped([*others, *known()]) == {}
    assert mistyped(["MAX_STREAM", "LOG_LEVL", "CREDENTIAL_KEYS", "REDIS_PASSWORT"]) == {
        "MAX_STREAM": "MAX_STREAMS",
        "LOG_LEVL": "LOG_LEVEL",
        "CREDENTIAL_KEYS": "CREDENTIALS_KEYS",
        "REDIS_PASSWORT": "REDIS_PASSWORD",
    }
