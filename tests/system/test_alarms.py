"""Each alarm is raised by what it is for, and ends with it: faults against real services, watched by a real Prometheus.

The rules of deploy/alerts.yml, with minutes played as seconds. `ConnectorDefect` tells of defects, so one is planted.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from connector.streams.pacing import BACKOFF_CAP_S
from harness import prometheus
from harness.evidence import Evidence
from harness.prometheus import Prometheus
from harness.servers import ROOT, wait_for
from harness.services import Service
from harness.stack import Stack
from harness.taps import USER_EVENTS_QUEUE
from harness.tcp_proxy import TcpProxy
from tests.system.support import Accounts, Stream

pytestmark = [
    pytest.mark.system,
    pytest.mark.skipif(not prometheus.available(), reason="prometheus is not installed (Debian: package prometheus)"),
]

WAIT_S: Final = 60.0
TRIED_AGAIN_S: Final = BACKOFF_CAP_S + WAIT_S
"""For the end of what was refused for a minute: it is tried again after the longest pause at the latest."""
ROOM: Final = 9
"""Accounts that the service takes."""
RULES: Final[dict[str, Any]] = yaml.safe_load((ROOT / "deploy" / "alerts.yml").read_text())


@dataclass
class Site:
    stack: Stack
    user: Service
    price: Service
    broker: TcpProxy
    redis: TcpProxy
    watched: Prometheus
    accounts: Accounts

    def env(self, service: Service | None = None) -> dict[str, str]:
        """For a service on the address of this one."""
        port = {} if service is None else {"HEALTH_PORT": str(service.health_port)}
        return {
            "RABBIT_PORT": str(self.broker.port),
            "REDIS_PORT": str(self.redis.port),
            "MAX_STREAMS": str(ROOM),
            **port,
        }

    def fires(self, *names: str, while_: Callable[[], object] = lambda: None, **labels: str) -> None:
        def all_fire() -> bool:
            while_()
            found = self.watched.firing()
            return all(any(labels.items() <= one.items() for one in found.get(name, ())) for name in names)

        wait_for(all_fire, WAIT_S, f"{', '.join(names)} firing, only {sorted(self.watched.firing())} at the start", 0.2)

    def clears(self, *names: str, within_s: float = WAIT_S) -> None:
        wait_for(lambda: not set(names) & self.watched.firing().keys(), within_s, f"end of {', '.join(names)}", 0.2)

    def live(self, exchange: str, number: int) -> list[Stream]:
        made = [self.accounts(exchange) for _ in range(number)]
        for stream in made:
            stream.open()
        for stream in made:
            stream.wait_live()
        return made


@pytest.fixture(scope="module")
def running(evidence: Evidence) -> Iterator[Site]:
    env = {
        "LEASE_TTL_S": "4",
        "PRICEROLE": "all",
        "USER_STREAM_AUTH_FAIL_THRESHOLD": "1",
        "PRICE_CONNECTOR_EXCHANGES": "binance,bybit",
    }
    with Stack(evidence, venues=("binance", "bybit"), env=env, tick_s=0.2) as stack:
        broker, redis = TcpProxy(stack.rabbit.host, stack.rabbit.port), TcpProxy(stack.redis.host, stack.redis.port)
        ports = {"RABBIT_PORT": str(broker.port), "REDIS_PORT": str(redis.port), "MAX_STREAMS": str(ROOM)}
        user, price = stack.service("user", **ports), stack.service("price", **ports)
        stack.ready()
        targets = {f"connector-{one.role}": f"127.0.0.1:{one.health_port}" for one in (user, price)}
        with Prometheus(RULES, targets, evidence.file("log-prometheus")) as watched:
            yield Site(stack, user, price, broker, redis, watched, Accounts(stack))
        broker.heal()
        redis.heal()
        stack.stop_services()
        broker.close()
        redis.close()


@pytest.fixture
def site(running: Site) -> Iterator[Site]:
    yield running
    running.stack.simulator.clear_faults()
    running.broker.heal()
    running.redis.heal()
    running.accounts.close()


def test_redis_away(site: Site) -> None:
    site.redis.refuse()
    site.fires("ConnectorRedisAway", "ConnectorNotReady")
    site.redis.accept()
    site.clears("ConnectorRedisAway", "ConnectorNotReady")


def test_redis_hangs(site: Site) -> None:
    site.redis.stall()
    site.fires("ConnectorNotReady")
    site.redis.heal()
    site.clears("ConnectorNotReady", "ConnectorRedisAway")


def test_broker_away_and_events_that_pile_up(site: Site) -> None:
    (stream,) = site.live("bybit", 1)
    site.broker.refuse()
    site.fires("ConnectorBrokerAway", "ConnectorNotReady")
    site.fires(
        "ConnectorSinkBacklog", sink="rabbitmq", while_=lambda: [placed_and_taken_back(stream) for _ in range(40)]
    )
    site.broker.accept()
    site.clears("ConnectorBrokerAway", "ConnectorNotReady", "ConnectorSinkBacklog")


def placed_and_taken_back(stream: Stream) -> None:
    stream.stack.simulator.cancel(stream.place().order_id)


def test_a_service_is_gone(site: Site) -> None:
    site.price.kill()
    site.fires("ConnectorGone", job="connector-price")
    site.price = following(site)
    site.clears("ConnectorGone")


def test_an_exchange_is_down(site: Site) -> None:
    site.live("binance", 5)
    site.live("bybit", 1)
    site.stack.simulator.fault("refuse", venue="binance", standing=True, status=503)
    site.stack.simulator.fault("drop", venue="binance")
    site.fires("ConnectorExchangeDown", "ConnectorAccountsNotLive", exchange="binance")
    assert not any(one["exchange"] == "bybit" for one in site.watched.firing()["ConnectorExchangeDown"])
    site.stack.simulator.clear_faults()
    site.clears("ConnectorExchangeDown", "ConnectorAccountsNotLive")


def test_keys_are_refused(site: Site) -> None:
    for stream in site.live("binance", 7):
        site.stack.simulator.reject_key(stream.account)
    site.stack.simulator.fault("drop", venue="binance")
    site.fires("ConnectorKeysRefused", exchange="binance")
    site.clears("ConnectorKeysRefused")


def test_every_process_is_full(site: Site) -> None:
    site.live("bybit", ROOM)
    more = [site.accounts("bybit") for _ in range(2)]
    for stream in more:
        stream.open()
    site.fires("ConnectorStreamsUnowned", "ConnectorNotReady")
    for stream in more:
        stream.close()
    site.clears("ConnectorStreamsUnowned", "ConnectorNotReady")


def test_redis_refuses_to_publish(site: Site) -> None:
    (stream,) = site.live("bybit", 1)
    with site.stack.redis.client() as client:
        client.execute_command("ACL", "SETUSER", "default", "-publish")
        stream.place()
        site.fires("ConnectorEventsLost", sink="redis")
        client.execute_command("ACL", "SETUSER", "default", "+publish")
    site.clears("ConnectorEventsLost")


def test_nobody_knows_whether_a_deposit_was_told(site: Site) -> None:
    (stream,) = site.live("binance", 1)
    site.redis.stall()
    site.stack.simulator.transfer(stream.account, "binance", "USDT", 5)
    site.fires("ConnectorNotReady")
    site.redis.cut()
    site.redis.heal()
    site.fires("ConnectorUnknownOutcome", sink="redis")
    site.clears("ConnectorUnknownOutcome")


def test_gaps_that_cannot_be_read(site: Site) -> None:
    site.live("binance", 5)
    site.stack.simulator.fault("rest_error", venue="binance", path="allOrders", standing=True, status=500)
    site.stack.simulator.fault("rest_error", venue="binance", path="openOrders", standing=True, status=500)
    site.stack.simulator.fault("drop", venue="binance")
    site.fires("ConnectorGapsPartial", venue="binance")
    site.stack.simulator.clear_faults()
    site.clears("ConnectorGapsPartial")


def test_frames_that_nobody_understands(site: Site) -> None:
    site.live("bybit", 1)
    sent = site.stack.simulator.fault
    site.fires(
        "ConnectorFramesNotUnderstood", venue="bybit", while_=lambda: sent("garbage", venue="bybit", feed="user")
    )
    site.clears("ConnectorFramesNotUnderstood")


def test_an_exchange_refuses_prices(site: Site) -> None:
    site.stack.simulator.fault("refuse", venue="bybit", path="/v5/public", standing=True, status=503)
    site.stack.simulator.fault("drop", venue="bybit", feed="market")
    site.fires("ConnectorSymbolsWithoutPrices", exchange="bybit")
    site.stack.simulator.clear_faults()
    site.clears("ConnectorSymbolsWithoutPrices", within_s=TRIED_AGAIN_S)


def test_the_host_s_clock_is_behind(site: Site) -> None:
    site.live("bybit", 1)
    site.stack.simulator.fault("clock_skew", venue="bybit", standing=True, ms=120_000)
    site.fires("ConnectorClockOff", exchange="bybit")
    site.stack.simulator.clear_faults()
    site.clears("ConnectorClockOff")


@pytest.mark.parametrize("ahead_ms", [120_000, -120_000])
def test_the_clocks_of_host_and_exchange_differ(site: Site, ahead_ms: int) -> None:
    """They are compared with each REST answer; a connection that was lost asks for what it missed."""
    site.live("bybit", 1)
    site.stack.simulator.fault("clock_skew", venue="bybit", standing=True, ms=ahead_ms)
    site.stack.simulator.fault("drop", venue="bybit", feed="user")
    site.fires("ConnectorHostClockOff", job="connector-user", venue="bybit")
    site.stack.simulator.clear_faults()
    site.stack.simulator.fault("drop", venue="bybit", feed="user")
    site.clears("ConnectorHostClockOff", "ConnectorClockOff")


DEFECT: Final = """
from pathlib import Path
from connector.streams.report import Report

whole = Report.gauges

def gauges(report):
    if Path({there!r}).exists():
        raise RuntimeError("planted")
    whole(report)

Report.gauges = gauges
"""


def test_the_connector_has_a_defect(site: Site, tmp_path: Path) -> None:
    there = tmp_path / "there"
    (tmp_path / "sitecustomize.py").write_text(DEFECT.format(there=str(there)))
    site.price.stop()
    site.price = following(site, PYTHONPATH=str(tmp_path))
    site.clears("ConnectorGone", "ConnectorNotReady")
    there.touch()
    site.fires("ConnectorDefect", job="connector-price")
    assert "WSC-" in line_of(site.price, "a scheduler job failed")
    there.unlink()
    site.clears("ConnectorDefect")


def following(site: Site, **env: str) -> Service:
    """A price service in the place of the one that ended."""
    service = site.stack.service("price", **env, **site.env(site.price))
    service.health_port = site.price.health_port
    return service


def line_of(service: Service, text: str) -> str:
    """The first line of its log with these words."""
    return next((line for line in service.log.read_text().splitlines() if text in line), "")


def test_a_process_has_too_much_to_do(site: Site) -> None:
    pids = site.price.worker_pids()
    assert pids
    with stuttering(pids):
        site.fires("ConnectorLate")
    site.clears("ConnectorLate")


def test_a_file_of_the_outbox_is_damaged(site: Site) -> None:
    site.user.stop()
    folder = site.user.outbox / "of-an-earlier-process"
    folder.mkdir()
    (folder / f"{1:020d}.segment").write_bytes(b"nothing that we know")
    site.user = restarted(site, site.user.outbox)
    site.fires("ConnectorOutboxDamaged")
    site.user.stop()
    site.user = restarted(site, site.user.outbox)
    site.clears("ConnectorOutboxDamaged", "ConnectorGone")


def test_somebody_deletes_the_queue(site: Site) -> None:
    """At the end of the file: as long as another queue takes account events, none of them comes back."""
    (stream,) = site.live("bybit", 1)
    site.stack.events.stop()
    with site.stack.rabbit.connect("somebody") as connection:
        connection.channel().queue_delete(USER_EVENTS_QUEUE)
    stream.place()
    site.fires("ConnectorEventsReturned", sink="rabbitmq")
    site.clears("ConnectorEventsReturned")


def restarted(site: Site, outbox: Path) -> Service:
    service = site.stack.service("user", OUTBOX_DIR=str(outbox), **site.env(site.user))
    service.health_port = site.user.health_port
    return service


@contextmanager
def stuttering(pids: list[int]) -> Iterator[None]:
    """Processes that run for a moment, then stand still for longer: as on a host that has too much to do."""
    done = threading.Event()

    def stutter() -> None:
        while not done.wait(0.1):
            for pid in pids:
                os.kill(pid, signal.SIGSTOP)
            done.wait(0.6)
            for pid in pids:
                os.kill(pid, signal.SIGCONT)

    thread = threading.Thread(target=stutter, name="stutter")
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join(10.0)


def test_an_exchange_bars_an_address(site: Site) -> None:
    """The last one: the ban outlives it in the ledger."""
    site.live("binance", 1)
    site.stack.simulator.fault("rest_error", venue="binance", standing=True, status=429, retry_after="25")
    site.stack.simulator.fault("drop", venue="binance")
    site.fires("ConnectorAddressBarred", venue="binance")
    assert "binance takes no requests" in site.user.get("/")[1].decode()
    site.stack.simulator.clear_faults()
    site.clears("ConnectorAddressBarred")
