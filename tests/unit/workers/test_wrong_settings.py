"""A wrong value of any setting ends the process with one line that names the setting and not the value (E4).

Some came up only after the start: Dramatiq logged the error and went on without an engine, holding the command queue.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from connector.core.errors import InvalidSetting
from connector.core.log import configure
from connector.core.settings import VENUE_OPTIONS, Settings
from workers._build import make_state
from workers._check import check
from workers._refusal import REFUSED, refuse, settings_or_end

WRONG: Final[dict[str, tuple[str, ...]]] = {
    "RABBIT_URL": ("http://rabbit", "amqp://u:pass@", "amqp://h:many", "amqp://h?heartbeat=1", "amqp://u:pa%ff@h"),
    "RABBIT_HOST": ("amqp://user:pass@rabbit", "rabbit:5672", "a,b:5672"),
    "RABBIT_PORT": ("0", "70000", "amqp"),
    "RABBIT_TLS": ("maybe",),
    "REDIS_URL": ("http://:pass@h", "redis://h/first", "redis://:pass@a,b", "redis://h:0", "unix:///redis.sock"),
    "REDIS_HOST": ("redis://h:6380", "h:6380", "redis://h/2", "redis://:pass@h", "a,b"),
    "REDIS_PORT": ("0", "redis"),
    "REDIS_DB": ("-1", "first"),
    "REDIS_TLS": ("maybe",),
    "REDIS_SENTINELS": ("a:many", "a,redis://b", "a:0"),
    "REDIS_CLUSTER": ("maybe", "true"),
    "TLS_CA_FILE": ("/nowhere/ca.pem", "a folder", "no certificate"),
    "EXCHANGE_SERVICE_API_URL": ("service:3000", "ftp://service"),
    "PAPER_WS": ("ftp://paper:7506", "paper:many", "a b:1"),
    "PRICEROLE": ("tickers",),
    "PRICE_CONNECTOR_EXCHANGES": ("bybitLinear", "all", "binance,mexc"),
    "PRICE_SYMBOLS": ("binance", "nowhere=*"),
    "SYMBOLS_FROM": ("service", "file"),
    "TRADESTIMEOUT": ("999", "long"),
    "ADMIN_CONFIG_ENABLED": ("maybe",),
    "ADMIN_CONFIG_REFRESH_MS": ("1", "often"),
    "USER_STREAM_AUTH_COOLDOWN_MS": ("long",),
    "USER_STREAM_AUTH_COOLDOWN_MAX_MS": ("long",),
    "USER_STREAM_AUTH_FAIL_THRESHOLD": ("0", "few"),
    "USER_STREAM_AUTH_WINDOW_MS": ("long",),
    "USER_STREAM_FLAP_THRESHOLD": ("0", "few"),
    "USER_STREAM_FLAP_WINDOW_MS": ("1", "long"),
    "USER_STREAM_LIVENESS_ENABLED": ("maybe",),
    "USER_STREAM_LIVENESS_SCAN_MS": ("often",),
    "USER_STREAM_LIVENESS_STALE_MS": ("long",),
    "USER_STREAM_LIVENESS_COOLDOWN_MS": ("long",),
    "USER_STREAM_LIVENESS_MAX_PER_SCAN": ("few",),
    "USER_STREAM_LIVENESS_PAPER_ONLY": ("maybe",),
    "VENUE_GATEWAY": ("gateway:many", "a gateway"),
    "VENUE_ENDPOINTS": ("not json", "[]", '{"wss://a": 1}', '{"wss://a": "nowhere"}'),
    "VENUE_CA_FILE": ("/nowhere/ca.pem", "a folder", "no certificate"),
    "EGRESS_IPS": ("eth0", "10.0.0.1,here", "203.0.113.77"),
    "EGRESS_PROXIES": ("ftp://u:p4ss@proxy:1", "https://proxy", "http://u:p4ss@proxy:many"),
    "HTTPS_PROXY": ("socks4://u:p4ss@proxy:1",),
    "ALL_PROXY": ("ftp://u:p4ss@proxy",),
    "IO_THREADS": ("0", "17", "many"),
    "CONNECT_THREADS": ("0", "257", "many"),
    "MAX_STREAMS": ("0", "many"),
    "LEASE_TTL_S": ("0.5", "long"),
    "DRAIN_TIMEOUT_S": ("-1", "long"),
    "REJOIN_GRACE_S": ("0", "long"),
    "CREDENTIALS_KEYS": ("not a key", "bm8ga2V5"),
    "HEALTH_PORT": ("-1", "70000", "http"),
    "READ_TOKEN": ("short", "with a space in the middle"),
    "CONTROL_TOKEN": ("short", "with a space in the middle"),
    "HEALTH_HOST": ("203.0.113.77", "no host"),
    "SINKS": ("kafka", "rabbitmq,kafka", ","),
    "EVENTS_EXCHANGE": ("x" * 256,),
    "USER_EVENTS_QUEUE": ("x" * 256,),
    "USER_EVENTS_QUEUE_TYPE": ("stream",),
    "USER_EVENTS_MAX": ("0", "many"),
    "TICKER_MESSAGES": ("each",),
    "POSITION_EVENTS": ("redis",),
    "OUTBOX_DIR": ("no certificate", "no certificate/below"),
    "OUTBOX_MAX_MB": ("0", "large"),
    "LOG_LEVEL": ("LOUD",),
    "LOG_FORMAT": ("xml",),
    "SENTRY_DSN": ("sentry",),
    "ENVOKX": ("demo", "test"),
    "OKX_EU_ONLY": ("maybe",),
    "OKX_EU_SPOT_QUOTES": (",", "EUR;USDC"),
    "BITGETENV": ("sandbox",),
    "KUCOIN_UNIFIED": ("maybe",),
    "KUCOIN_ALTER_PARK_MS": ("-1", "long"),
    "HYPERLIQUIDENV": ("testnet",),
    "KRAKEN_ENV": ("demo", "sandbox"),
    "KRAKEN_FUTURES_ROUTE": ("new",),
    "KRAKEN_XSTOCKS_ENABLED": ("maybe",),
    "HYPERLIQUID_MAX_WS_CONNECTIONS": ("0", "many"),
    "WHITEBIT_SITE": ("us",),
    "WHITEBIT_CANDLE_CONNECTIONS": ("0", "many"),
    "HL_FILL_PARK_GRACE_MS": ("-1", "long"),
    "HL_FILL_PARK_MAX_SIZE": ("0", "many"),
    "HL_FILL_REST_RETRIES": ("-1", "few"),
    "HL_FILL_REST_RETRY_DELAY_MS": ("-1", "long"),
}
"""Values that can't be used. `a folder` and `no certificate` are a folder and a text file of that name."""
ANY_TEXT: Final = {
    "RABBIT_USER", "RABBIT_PASSWORD", "RABBIT_VHOST", "REDIS_USER", "REDIS_PASSWORD", "REDIS_MASTER_NAME",
    "REDIS_SENTINEL_USER", "REDIS_SENTINEL_PASSWORD", "STATE_PREFIX", "ENVIRONMENT", "COINBASE_API_KEY",
    "COINBASE_API_SECRET", "NO_PROXY",
}  # fmt: skip
"""Whether these are right only the server that they are for can tell; it is asked again and again."""
SECRET: Final = {
    "RABBIT_URL", "RABBIT_HOST", "REDIS_URL", "REDIS_HOST", "CREDENTIALS_KEYS", "SENTRY_DSN", "EXCHANGE_SERVICE_API_URL",
    "EGRESS_PROXIES", "HTTPS_PROXY", "ALL_PROXY",
}  # fmt: skip
"""Settings whose value may hold a secret where it is wrong."""


def start(environ: dict[str, str]) -> int:
    """As far as the entry points come before anything connects; the exit code."""
    try:
        settings = settings_or_end(environ)
    except SystemExit as ended:
        return int(str(ended.code))
    try:
        check(settings)
        make_state(settings)
    except InvalidSetting as error:
        return refuse(str(error))
    return 0


@pytest.fixture(autouse=True)
def _own_log() -> Iterator[None]:
    """The start sets the log of its process up for good."""
    undo = configure()
    yield
    undo()


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a folder").mkdir()
    (tmp_path / "no certificate").write_text("a text")
    return tmp_path


def test_every_setting_has_values_that_are_refused_or_is_any_text() -> None:
    every = {str(field.alias) for field in Settings.model_fields.values() if field.alias} | set(VENUE_OPTIONS)
    assert set(WRONG) | ANY_TEXT == every
    assert not set(WRONG) & ANY_TEXT


@pytest.mark.parametrize(("name", "value"), [(name, value) for name, values in WRONG.items() for value in values])
def test_a_wrong_value_ends_the_process_with_one_line_that_names_the_setting(
    name: str, value: str, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    broker = {} if name == "RABBIT_URL" else {"RABBIT_HOST": "rabbit"}
    environ = {"OUTBOX_DIR": str(folder / "outbox"), "REDIS_TLS": "1", **broker, name: value}
    assert start(environ) == REFUSED
    lines = [record.getMessage() for record in caplog.records if record.levelno >= logging.ERROR]
    assert len(lines) == 1
    assert lines[0].startswith("can't start: ")
    assert name in lines[0]
    if name in SECRET:
        assert value not in lines[0]
        assert "pass@" not in lines[0]


@pytest.mark.parametrize(
    ("environ", "named"),
    [
        ({"RABBIT_URL": "amqp://h", "RABBIT_HOST": "h"}, "RABBIT_URL: says what RABBIT_HOST"),
        ({"RABBIT_URL": "amqp://h/v", "RABBIT_VHOST": "v", "RABBIT_TLS": "1"}, "RABBIT_TLS, RABBIT_VHOST"),
        ({"REDIS_URL": "redis://:secret@h", "REDIS_PASSWORD": "secret"}, "REDIS_URL: says what REDIS_PASSWORD"),
        ({"REDIS_SENTINELS": "s", "REDIS_HOST": "h"}, "REDIS_SENTINELS, REDIS_HOST"),
        ({"REDIS_SENTINELS": "s", "REDIS_URL": "redis://h"}, "REDIS_SENTINELS, REDIS_URL"),
        ({"REDIS_SENTINELS": "s", "REDIS_CLUSTER": "1"}, "REDIS_SENTINELS, REDIS_CLUSTER"),
        ({"REDIS_CLUSTER": "1", "REDIS_HOST": "a,b", "REDIS_DB": "1"}, "REDIS_CLUSTER: a cluster has database 0"),
        (
            {"REDIS_PASSWORD": "secret", "REDIS_PASSWORD_FILE": "/run/secrets/redis"},
            "REDIS_PASSWORD, REDIS_PASSWORD_FILE",
        ),
    ],
)
def test_settings_that_contradict_each_other_are_named_together(
    environ: dict[str, str], named: str, caplog: pytest.LogCaptureFixture
) -> None:
    assert start(environ) == REFUSED
    (line,) = [record.getMessage() for record in caplog.records if record.levelno >= logging.ERROR]
    assert line.startswith("can't start: ")
    assert named in line
    assert "secret;" not in line
    assert "secret@" not in line


def test_an_environment_without_anything_wrong_starts(folder: Path) -> None:
    well = {"OUTBOX_DIR": str(folder / "outbox"), "HEALTH_HOST": "127.0.0.1", "EGRESS_IPS": "127.0.0.1"}
    assert start({**well, "RABBIT_HOST": "rabbit"}) == 0
    assert start({**well, "RABBIT_URL": "amqp://rabbit"}) == 0


@pytest.mark.parametrize("environ", [{}, {"RABBIT_HOST": ""}, {"RABBIT_HOST": " ", "RABBIT_USER": "me"}])
def test_a_service_without_a_broker_s_name_does_not_take_the_one_on_this_machine(
    environ: dict[str, str], caplog: pytest.LogCaptureFixture
) -> None:
    """The docs said "required", and the service consumed the commands of whatever ran on localhost."""
    assert start(environ) == REFUSED
    (line,) = [record.getMessage() for record in caplog.records if record.levelno >= logging.ERROR]
    assert line == "can't start: RABBIT_HOST: is not set: say where the broker is (or RABBIT_URL)"
