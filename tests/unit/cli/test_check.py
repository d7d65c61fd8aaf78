"""`connector check`: exit codes, texts and advice; no socket is opened here."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

import cli._probe
from cli._probe import Verdict
from cli.check import EXIT_CODES
from cli.main import main
from connector.core.errors import ConnectorError
from connector.core.settings import Settings
from connector.streams.advice import GENERAL, REQUEST, advice, names_refusal
from exchanges._adapter import FailKind
from tasks.commands import OpenStream

CANARY = "CANARY-5e1d-secret"


class Asked:
    """Stands in for the probe; answers with what the test wants."""

    def __init__(self) -> None:
        self.commands: list[OpenStream] = []
        self.settings: list[Settings] = []
        self.timeouts: list[float] = []
        self.answer: Callable[[], Verdict] = lambda: Verdict(exchange="okx", result="accepted", reason="fine")

    def __call__(self, command: OpenStream, settings: Settings, timeout_s: float) -> Verdict:
        self.commands.append(command)
        self.settings.append(settings)
        self.timeouts.append(timeout_s)
        return self.answer()


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Asked:
    asked = Asked()
    monkeypatch.setattr(cli._probe, "probe", asked)
    monkeypatch.setenv("MY_KEY", " my-key ")
    monkeypatch.setenv("MY_SECRET", CANARY)
    monkeypatch.setenv("MY_PHRASE", "my-phrase")
    return asked


KEYS = ["--key-env", "MY_KEY", "--secret-env", "MY_SECRET"]


def check(*more: str) -> int:
    return main(["check", "--exchange", "okx", *KEYS, *more])


@pytest.mark.parametrize(("result", "code"), [("accepted", 0), ("rejected", 2), ("unreachable", 3)])
def test_the_exit_code_tells_the_result(
    asked: Asked, result: Any, code: int, capsys: pytest.CaptureFixture[str]
) -> None:
    asked.answer = lambda: Verdict(exchange="okx", result=result, reason="the reason", advice="the advice")
    assert check() == code == EXIT_CODES[result]
    assert capsys.readouterr().out == f"{result:<12}okx: the reason\n            → the advice\n"


def test_a_rate_limit_says_how_long(asked: Asked, capsys: pytest.CaptureFixture[str]) -> None:
    asked.answer = lambda: Verdict(exchange="okx", result="unreachable", reason="HTTP 429", retry_after_s=60.0)
    assert check() == 3
    assert capsys.readouterr().out == "unreachable okx: HTTP 429; wait 60 s\n"


def test_json_is_one_object(asked: Asked, capsys: pytest.CaptureFixture[str]) -> None:
    asked.answer = lambda: Verdict(
        exchange="okx", result="unreachable", reason="r", advice="a", retry_after_s=2.0, seconds=0.5
    )
    assert check("--json") == 3
    assert json.loads(capsys.readouterr().out) == {
        "exchange": "okx", "result": "unreachable", "reason": "r", "advice": "a", "retryAfterS": 2.0, "seconds": 0.5,
    }  # fmt: skip


def test_the_key_goes_the_way_of_an_open_command(asked: Asked, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VENUE_GATEWAY", "127.0.0.1:1")
    options = ["--passphrase-env", "MY_PHRASE", "--okx-source", "my", "--keys-type", "cloud", "--bybit-host", "eu"]
    assert check("--timeout", "7", *options) == 0
    command = asked.commands[0]
    found = command.credentials
    assert command.exchange == "okx"
    assert (found.key.reveal(), found.secret.reveal()) == ("my-key", CANARY)
    assert found.passphrase is not None
    assert found.passphrase.reveal() == "my-phrase"
    assert (found.okx_source, found.keys_type, found.bybit_host) == ("my", "cloud", "eu")
    assert asked.settings[0].venue_gateway == "127.0.0.1:1"
    assert asked.timeouts == [7.0]


def test_keys_from_standard_input(asked: Asked, monkeypatch: pytest.MonkeyPatch) -> None:
    import io

    monkeypatch.setattr("sys.stdin", io.StringIO('{"key":"k1","secret":"s1","passphrase":"p1"}'))
    assert main(["check", "--exchange", "paperOkx", "--keys", "-"]) == 0
    assert asked.commands[0].credentials.key.reveal() == "k1"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--exchange", "nonsense", *KEYS], "unknown exchange id nonsense"),
        (["--exchange", "ftx", *KEYS], "ftx has no account stream"),
        (["--exchange", "okx", "--key-env", "MY_KEY"], "a key and a secret are needed"),
        (["--exchange", "okx", "--key-env", "NO_SUCH"], "there is no environment variable NO_SUCH"),
    ],
)
def test_what_can_not_be_tried_is_an_error_and_no_verdict(
    asked: Asked, arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["check", *arguments]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert said in err
    assert CANARY not in err
    assert asked.commands == []


def test_a_bad_setting_is_named(asked: Asked, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    monkeypatch.setenv("VENUE_ENDPOINTS", "no json")
    assert check() == 1
    assert "VENUE_ENDPOINTS" in capsys.readouterr().err


@pytest.mark.parametrize("seconds", ["0", "-1", "nan", "inf", "soon"])
def test_a_timeout_is_a_positive_number(asked: Asked, seconds: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        check("--timeout", seconds)
    assert "--timeout" in capsys.readouterr().err


def test_an_exchange_without_an_adapter_is_told(monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    monkeypatch.setenv("MY_KEY", "my-key")
    monkeypatch.setenv("MY_SECRET", CANARY)
    monkeypatch.setattr(cli._probe, "venue_of", lambda exchange: None)
    assert main(["check", "--exchange", "okx", *KEYS]) == 1
    assert "no adapter for okx" in capsys.readouterr().err


def test_errors_of_the_command_hold_no_secret() -> None:
    assert issubclass(cli._probe.NoAdapter, ConnectorError)


# --- advice ---


@pytest.mark.parametrize(
    ("venue", "reason", "words"),
    [
        ("binance", "Invalid API-key, IP, or permissions for action., code -2015", "permission"),
        ("binance", "Signature for this request is not valid., code -1022", "secret doesn't belong"),
        ("kucoin", "400004 Invalid KC-API-PASSPHRASE", "passphrase"),
        ("kucoin", "400006 The requested ip address is not in the api whitelist", "allowed addresses"),
        ("bybit", "10003 API key is invalid.", "--bybit-host"),
        ("okx", "60032 API key doesn't exist", "--okx-source"),
        ("okx", "50113 Invalid Sign", "secret doesn't belong"),
        ("bitget", "40012 apikey/password is incorrect", "passphrase"),
        ("bitget", "30011 Invalid ACCESS_KEY", "doesn't know this key"),
        ("coinbase", "HTTP 403 PERMISSION_DENIED Missing required scopes", "permission"),
        ("coinbase", "authentication failure", "copy both again"),
        ("coinbase", "SIWC API with Cloud API keys are not supported", "CDP"),
        ("kraken", "EAPI:Invalid key", "doesn't know this key"),
        ("kraken", "EAPI : Invalid signature", "secret doesn't belong"),
        ("kraken", "EAuth:Account temporary disabled", "support"),
        ("kraken", "Failed to subscribe to authenticated feed", "don't work on futures"),
        ("okx", "the private key is protected by a password; store it without one", "PEM"),
        (
            "hyperliquid",
            "agent: this is the address of an API wallet, which has no orders of its own",
            "the account itself",
        ),
        ("hyperliquid", "missing: the venue has no account of this address", "HYPERLIQUIDENV"),
        ("hyperliquid", "the key is no account address of 42 hexadecimal characters", "there is no secret"),
        ("paper", "the paper server does not know this account", "paper accounts"),
    ],
)
def test_the_venues_code_decides_the_advice(venue: str, reason: str, words: str) -> None:
    assert words in advice(venue, FailKind.CREDENTIAL, reason)


@pytest.mark.parametrize(
    ("venue", "unread"),
    [
        ("kucoin", "orders: 400007 Access denied"),
        ("kraken", "closed-orders: EGeneral:Permission denied"),
        ("coinbase", "orders: HTTP 403 PERMISSION_DENIED Missing required scopes"),
    ],
)
def test_a_key_whose_account_cannot_be_read_over_rest_is_named_refused_at_every_venue(venue: str, unread: str) -> None:
    """Kraken's and Coinbase's texts were in no table, and such a key was called accepted."""
    assert names_refusal(venue, unread)
    assert not names_refusal(venue, "orders: HTTP 503 without a usable body")


def test_numbers_that_are_no_codes_are_no_codes() -> None:
    assert advice("binance", FailKind.CREDENTIAL, "id x2015 of 12015 and 1-20150") == GENERAL


def test_unknown_reasons_get_general_advice() -> None:
    assert advice("okx", FailKind.CREDENTIAL, "99999 something new") == GENERAL
    assert advice("nobody", FailKind.REQUEST, "no") == REQUEST
    assert "CDP" in advice("coinbase", FailKind.KEY_TYPE, "legacy")
    assert "type of key" in advice("kucoin", FailKind.KEY_TYPE, "x")
