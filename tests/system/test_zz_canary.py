"""Last: nothing that the whole run has put out contains a secret in any form (bugs C9, C10)."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest
from cryptography.fernet import Fernet

from exchanges.ids import LIVE
from harness.backend import CANDLE_QUEUE, USER_QUEUE
from harness.evidence import Canaries, Evidence
from harness.servers import wait_for
from harness.stack import Stack
from tests.system.support import PEM, USER_ID, WAIT_S, Accounts, Keys, Startup

pytestmark = pytest.mark.system

BEACON_S = 60.0


# --- the search itself ---


@pytest.mark.parametrize("offset", range(4))
def test_the_search_finds_a_secret_in_any_form(offset: int) -> None:
    canaries = Canaries()
    secret = canaries.secret("K")
    pem = canaries.register(PEM)
    before = b"x" * offset
    for found in (secret, pem):
        raw = found.encode()
        for text in (
            before + raw + b"y",
            before + quote(found, safe="").encode(),
            base64.b64encode(before + raw + b"yy"),
            base64.urlsafe_b64encode(before + raw),
            before + raw.hex().encode(),
        ):
            assert list(canaries.leaks("here", b"text " + text + b" text")), text
    assert list(canaries.leaks("here", json.dumps({"pem": pem}).encode()))
    assert not list(canaries.leaks("here", b"nothing of the kind"))


# --- a deployment that talks a lot ---


@pytest.fixture(scope="module")
def talkative(evidence: Evidence) -> Iterator[Stack]:
    """Everything logged that can be logged, and secrets sent to where they don't belong."""
    env = {"LOG_LEVEL": "DEBUG", "PRICEROLE": "all", "PRICE_CONNECTOR_EXCHANGES": "okx"}
    with Stack(evidence, venues=("okx", "binance", "kucoin", "coinbase", "hyperliquid", "paper"), env=env) as running:
        running.service("user", CREDENTIALS_KEYS=evidence.canaries.register(Fernet.generate_key().decode()))
        running.service("price", LOG_FORMAT="console")
        running.ready()
        yield running


def test_failing_streams_and_misplaced_secrets_tell_nothing(talkative: Stack) -> None:
    stack, accounts = talkative, Accounts(talkative)
    secret = stack.evidence.canaries.secret
    for exchange in ("okx", "binance", "binanceUsdm", "kucoin", "coinbase", "hyperliquid", "paperOkx"):
        good = accounts.live(exchange)
        good.prove_live()
        wrong = accounts(exchange)
        wrong.open(Keys(wrong.keys.key, secret("W") if exchange != "coinbase" else secret("pem"), secret("P")))
        unknown = accounts(exchange)
        unknown.open(Keys(secret("unknown"), secret("W"), secret("P")))
    for fault in ("rest_error", "rest_garbage", "rest_slow"):
        stack.simulator.fault(fault, times=3)
    stack.simulator.fault("garbage", feed="user", data=json.dumps({"op": "login", "args": [{"apiKey": secret()}]}))
    stack.simulator.fault("drop", feed="user")
    for name in (USER_QUEUE, CANDLE_QUEUE):
        stack.backend.raw(name, f"not json {secret()}".encode())
        stack.backend.publish(name, {"event": "open stream", "uuid": "u", "data": {"api": {"provider": secret()}}})
        stack.backend.publish(name, {"symbol": secret(), "exchange": secret(), "interval": secret()})
    data = {"userId": USER_ID, "api": {"provider": "okx", "key": {"k": secret()}, "secret": secret()}}
    stack.backend.publish(USER_QUEUE, {"event": "open stream", "uuid": "u", "data": data})
    last = accounts.live("paperKucoin")
    last.prove_live()
    wait_for(lambda: stack.queue_depth(USER_QUEUE) == 0, WAIT_S, "all commands taken")
    accounts.close()


def test_order_fields_are_gone_after_their_time(stack: Stack, startup: Startup) -> None:
    """Here, because an earlier test made one due, and the sweep of servers without HEXPIRE comes every half minute."""
    with stack.redis.client() as client:
        wait_for(lambda: not any(client.hexists("orders", name) for name in startup.due_fields), 60.0, "empty fields")


def test_the_beacon_repeats_with_the_same_boot_id(stack: Stack) -> None:
    """Here, because a minute has passed by now (contract 3.1)."""

    def beacons() -> list[dict[str, str]]:
        messages = [json.loads(text) for text in stack.backend.on("serviceLog")]
        return [message["priceConnectorAlive"] for message in messages if "priceConnectorAlive" in message]

    wait_for(lambda: len(beacons()) >= 2, BEACON_S + WAIT_S, "another beacon")
    assert {(one["role"], one["bootId"]) for one in beacons()} == {("all", beacons()[0]["bootId"])}
    restarts = [text for text in stack.backend.on("serviceLog") if '"restart"' in text]
    assert len(restarts) == 2


def test_every_channel_has_a_name_of_the_contract(stack: Stack) -> None:
    ids = set(stack.accounts)
    names = ids | {f"userStreamInfo{uuid}" for uuid in ids} | {"serviceLog", "gainium:admin:config"}
    exchanges = "|".join(sorted(LIVE, key=len, reverse=True))
    prices = re.compile(rf"trade@[^@]+@({exchanges})|[^@]+@({exchanges})@[A-Za-z0-9]+Candle")
    seen = {channel for channel, _ in stack.backend.messages if not channel.startswith("wsc:")}
    assert [channel for channel in seen if channel not in names and not prices.fullmatch(channel)] == []
    keys = re.compile(
        r"user\.\w+\.\w+\.[\w-]+|candle\.\w+\.\w+\.[\w-]+|tickers\.\w+|service\.\w+",
    )
    assert [one.key for one in stack.events.messages if not keys.fullmatch(one.key)] == []


def test_nothing_that_was_put_out_contains_a_secret(evidence: Evidence, talkative: Stack, stack: Stack) -> None:
    for one in (talkative, stack):
        one.collect()
    sources = evidence.sources()
    for kind in ("page", "redis-value", "redis-messages", "amqp-messages"):
        assert sources.get(kind), (kind, sources)
    assert any("log-user" in kind and size for kind, size in sources.items())
    assert any("redis-commands" in kind and size for kind, size in sources.items())
    assert evidence.canaries.made > 50
    assert evidence.leaks() == []


def test_nothing_that_stays_in_the_broker_contains_a_secret(evidence: Evidence, talkative: Stack, stack: Stack) -> None:
    for one in (talkative, stack):
        for message in one.take_user_events():
            assert not list(evidence.canaries.leaks(message.key, message.body + repr(message.headers).encode()))


def test_the_logs_hold_no_unexpected_errors(stack: Stack, evidence: Evidence) -> None:
    """Everything that the tests provoked is a warning at most: an error line means a defect."""
    lines = [json.loads(line) for service in stack.services for line in _json_lines(service.log)]
    errors = [line for line in lines if line["level"] in {"error", "critical"}]
    assert [(line["logger"], line["message"]) for line in errors] == []
    assert lines


def _json_lines(log: Path) -> Iterator[str]:
    return (line for line in log.read_text(errors="replace").splitlines() if line.startswith("{"))
