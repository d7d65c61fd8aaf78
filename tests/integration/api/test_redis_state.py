"""Programs whose state is in Redis: what they know survives a crash, and those of one prefix share their accounts."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any, Self

import pytest
from cryptography.fernet import Fernet

from harness.servers import PrivateRedis
from simulator.simulator import Simulator
from tests.integration.api.desk import ORDER_EVENTS, WAIT_S, account, api_of, booked, place
from tests.integration.streams.rig import until

pytestmark = pytest.mark.integration

ROOT = Path(__file__).parents[3]
TTL_S = 2
EACH = ["binance", "bybitLinear", "okx", "krakenUsdm"]


@pytest.fixture(scope="module")
def redis() -> Iterator[PrivateRedis]:
    server = PrivateRedis()
    yield server
    server.stop()


@pytest.fixture
def exchange() -> Iterator[Simulator]:
    with Simulator(seed=11) as simulator:
        yield simulator


class Program:
    """`program.py` as a process, and what it told."""

    def __init__(
        self, exchange: Simulator, redis: PrivateRedis, prefix: str, providers: Sequence[str], keys: str = ""
    ) -> None:
        settings = {"STATE_PREFIX": prefix, "LEASE_TTL_S": str(TTL_S), "CREDENTIALS_KEYS": keys}
        asked = {
            "gateway": exchange.gateway,
            "state": f"redis://{redis.host}:{redis.port}",
            "settings": settings,
            "apis": [api_of(provider) for provider in providers],
        }
        self.told: list[dict[str, Any]] = []
        self._changed = threading.Condition()
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.integration.api.program", json.dumps(asked)],
            cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            with self._changed:
                self.told.append(json.loads(line))
                self._changed.notify_all()

    def wait_for(self, condition: Callable[[], bool]) -> None:
        with self._changed:
            assert self._changed.wait_for(condition, WAIT_S), [one for one in self.told if one["status"]] + [
                one for one in self.told if one["name"] == "streamGap"
            ]

    def wait_live(self, count: int) -> None:
        self.wait_for(lambda: len(self.streams("subscribed")) >= count)

    def streams(self, name: str) -> set[str]:
        return {event["stream"] for event in self.told if event["name"] == name}

    def orders(self) -> list[dict[str, Any]]:
        return [event for event in self.told if event["name"] in ORDER_EVENTS]

    def kill(self) -> None:
        self._process.kill()
        self._end()

    def stop(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._end()

    def _end(self) -> None:
        self._process.wait(WAIT_S)
        self._reader.join(WAIT_S)
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()


def saved(redis: PrivateRedis, prefix: str) -> bytes:
    """All positions of these programs."""
    with redis.client() as client:
        return b"".join(client.get(key) or b"" for key in client.scan_iter(f"{prefix}position:*"))


def books(*programs: Program) -> dict[str, tuple[str, Decimal]]:
    """Client id → (status, executed) as last told, the programs in the order given."""
    return {one["client"]: (one["status"], Decimal(one["executed"])) for each in programs for one in each.orders()}


@pytest.mark.parametrize("kept", [True, False], ids=["keys in Redis", "opened again"])
def test_what_happens_while_a_program_is_dead_is_told_by_its_next_life(
    kept: bool, exchange: Simulator, redis: PrivateRedis
) -> None:
    accounts = {provider: account(exchange, provider) for provider in EACH}
    prefix = f"crash-{kept}:"
    keys = Fernet.generate_key().decode() if kept else ""
    with Program(exchange, redis, prefix, EACH, keys) as first:
        first.wait_live(len(EACH))
        for provider in EACH:
            place(exchange, accounts[provider], provider, client_id=f"before-{provider}")
        first.wait_for(lambda: len(books(first)) == len(EACH))
        until(lambda: saved(redis, prefix).count(b"before-") == len(EACH), "positions are saved", WAIT_S)
        first.kill()
    for provider in EACH:
        exchange.fill(place(exchange, accounts[provider], provider, client_id=f"meanwhile-{provider}").order_id)
    for entry in exchange.journal():
        if entry.client_id.startswith("before"):
            exchange.fill(entry.order_id)
    with Program(exchange, redis, prefix, [] if kept else EACH, keys) as second:
        second.wait_for(lambda: books(first, second) == booked(exchange.journal()))
        second.wait_for(lambda: len(second.streams("streamGap")) == len(EACH))
        assert {state for state, _ in books(first, second).values()} == {"FILLED"}
        assert second.streams("streamGap") == first.streams("subscribed")
        assert {event["user"] for event in second.orders()} == {event["user"] for event in first.orders()}
        second.stop()
    repeated = [one for one, times in Counter(event["id"] for event in second.orders()).items() if times > 1]
    assert repeated == []
    assert "error" not in {event["name"] for event in [*first.told, *second.told]}


def test_programs_of_one_prefix_share_their_accounts(exchange: Simulator, redis: PrivateRedis) -> None:
    accounts = {provider: account(exchange, provider) for provider in EACH}
    keys = Fernet.generate_key().decode()
    with (
        Program(exchange, redis, "shared:", [], keys) as one,
        Program(exchange, redis, "shared:", EACH, keys) as other,
    ):
        until(lambda: len(one.streams("subscribed") | other.streams("subscribed")) == len(EACH), "live", WAIT_S)
        for provider in EACH:
            exchange.fill(place(exchange, accounts[provider], provider, client_id=f"shared-{provider}").order_id)
        until(lambda: books(one, other) == booked(exchange.journal()), "all told", WAIT_S)
        ids = [event["id"] for event in [*one.orders(), *other.orders()]]
        assert len(set(ids)) == len(ids), "each event is one program's"
        other.stop()
        for provider in EACH:
            exchange.fill(place(exchange, accounts[provider], provider, client_id=f"alone-{provider}").order_id)
        until(lambda: books(other, one) == booked(exchange.journal()), "all told by one", WAIT_S)


def test_programs_of_two_prefixes_do_not_see_each_other(exchange: Simulator, redis: PrivateRedis) -> None:
    at = account(exchange, "bybit")
    with (
        Program(exchange, redis, "mine:", ["bybit"]) as mine,
        Program(exchange, redis, "yours:", ["bybit"]) as yours,
    ):
        for each in (mine, yours):
            each.wait_live(1)
        exchange.fill(place(exchange, at, "bybit").order_id)
        for each in (mine, yours):
            each.wait_for(lambda each=each: books(each) == booked(exchange.journal()))  # type: ignore[misc]
