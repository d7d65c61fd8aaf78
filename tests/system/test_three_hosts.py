"""Three hosts with addresses of their own, as docs/three-hosts.md has them: one dies, one is deployed anew, one loses Redis.

After each step screen and alarm say the truth within 15 s.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any, Final

import pytest
import yaml

from harness import hosts, prometheus
from harness.evidence import Evidence
from harness.hosts import SERVERS, Lan
from harness.prometheus import Prometheus
from harness.servers import ROOT, wait_for
from harness.services import Service
from harness.stack import Stack
from harness.tcp_proxy import TcpProxy
from tests.system.support import Accounts

pytestmark = [
    pytest.mark.system,
    pytest.mark.skipif(not hosts.permitted(), reason="network namespaces need root and ip (Debian: iproute2)"),
    pytest.mark.skipif(not prometheus.available(), reason="prometheus is not installed (Debian: package prometheus)"),
]

TRUTH_S: Final = 15.0
ACCOUNTS: Final = 9
PORT: Final = 3000
RULES: Final[dict[str, Any]] = yaml.safe_load((ROOT / "deploy" / "alerts.yml").read_text())


@dataclass
class Site:
    stack: Stack
    lan: Lan
    env: dict[str, str]
    watched: Prometheus
    services: dict[str, Service] = field(default_factory=dict)
    seen: list[tuple[str, str, float]] = field(default_factory=list)
    """Step, what was seen, after how many seconds."""

    def start(self, host: str, port: int = PORT) -> Service:
        """As the unit on each host does it; in a rolling deploy on another port than the former one."""
        where = self.lan.hosts[host]
        log = self.stack.evidence.file(f"log-user-{host}")
        env = {**self.env, "HEALTH_PORT": str(port)}
        service = Service("user", env, log=log, serve=True, within=where.within, address=where.address)
        service.health_port = port
        self.stack.evidence.watch(service.outbox)
        self.stack.services.append(service)
        return service

    def sees(self, step: str, what: str, condition: Callable[[], object], within_s: float = TRUTH_S) -> None:
        began = time.monotonic()
        try:
            wait_for(condition, within_s, f"{step}: {what}", 0.1)
        finally:
            self.seen.append((step, what, time.monotonic() - began))

    def page(self, host: str) -> str:
        return self.services[host].get("/")[1].decode()

    def ready(self, host: str) -> tuple[int, str]:
        code, body = self.services[host].get("/ready")
        return code, " ".join(json.loads(body)["reasons"]) if body else ""

    def fires(self, name: str, host: str) -> bool:
        where = f"{self.lan.hosts[host].address}:{PORT}"
        return any(one.get("instance") == where for one in self.watched.firing().get(name, ()))

    def all_live(self, host: str, processes: int) -> bool:
        status = self.services[host].status()
        whole = f"Ready: all {ACCOUNTS} streams are live"
        return len(status.workers) == processes and whole in self.page(host)


@pytest.fixture
def site(evidence: Evidence) -> Iterator[Site]:
    with ExitStack() as made:
        stack = made.enter_context(Stack(evidence, venues=("binance", "bybit")))
        lan = made.enter_context(Lan("a", "b", "c"))
        gateway_host, gateway_port = stack.simulator.gateway.split(":")
        relays = {
            "redis": TcpProxy(stack.redis.host, stack.redis.port, SERVERS["redis"]),
            "rabbit": TcpProxy(stack.rabbit.host, stack.rabbit.port, SERVERS["rabbit"]),
            "venues": TcpProxy(gateway_host, int(gateway_port), SERVERS["venues"]),
        }
        for relay in relays.values():
            made.callback(relay.close)
        env = {
            **stack.env(),
            "RABBIT_HOST": SERVERS["rabbit"],
            "RABBIT_PORT": str(relays["rabbit"].port),
            "REDIS_HOST": SERVERS["redis"],
            "REDIS_PORT": str(relays["redis"].port),
            "VENUE_GATEWAY": f"{SERVERS['venues']}:{relays['venues'].port}",
            "CREDENTIALS_KEYS": "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=",
        }
        targets = {"connector-user": [f"{host.address}:{PORT}" for host in lan.hosts.values()]}
        watched = made.enter_context(Prometheus(RULES, targets, evidence.file("log-prometheus")))
        site = Site(stack, lan, env, watched)
        made.callback(stack.stop_services)
        yield site
        print("\n".join(f"{step:<28} {what:<62} {seconds:5.1f} s" for step, what, seconds in site.seen))


def test_screen_and_alarm_say_the_truth(site: Site) -> None:
    for host in "abc":
        site.services[host] = site.start(host)
    for host in "abc":
        site.services[host].wait_ready(60.0)
    accounts = Accounts(site.stack)
    streams = [accounts(("bybit", "binance")[number % 2]) for number in range(ACCOUNTS)]
    for stream in streams:
        stream.open()
    for stream in streams:
        stream.wait_live()
    step = "all is well"
    for host in "abc":
        site.sees(step, f"{host}: all {ACCOUNTS} live, three processes", lambda host=host: site.all_live(host, 3))
    site.sees(step, "no alarm", lambda: not site.watched.firing(), 60.0)

    step = "host c is switched off"
    site.services["c"].kill()
    site.sees(step, "alarm ConnectorGone for c", lambda: site.fires("ConnectorGone", "c"))
    for host in "ab":
        site.sees(step, f"{host}: all {ACCOUNTS} live, two processes", lambda host=host: site.all_live(host, 2))
    site.sees(step, "/ready of a and b is 200", lambda: [site.ready(host)[0] for host in "ab"] == [200, 200])

    step = "host c comes back"
    site.services["c"] = site.start("c")
    site.sees(step, "end of ConnectorGone", lambda: not site.fires("ConnectorGone", "c"), 30.0)
    site.sees(step, f"c: all {ACCOUNTS} live, three processes", lambda: site.all_live("c", 3))

    step = "a is deployed anew"
    former = site.services["a"]
    opened = sum(stream.infos for stream in streams)
    trial = site.start("a", PORT + 1)
    trial.wait_ready(60.0)
    former.terminate()
    site.sees(step, "the former service has handed over and ended", lambda: former.process.poll() is not None, 40.0)
    site.services["a"] = trial
    site.sees(step, f"a: all {ACCOUNTS} live, three processes", lambda: site.all_live("a", 3))
    site.sees(
        step, "no alarm but for the port of the former", lambda: site.watched.firing().keys() <= {"ConnectorGone"}
    )
    assert sum(stream.infos for stream in streams) == opened, "nothing was announced"

    step = "b is cut off from Redis"
    site.lan.hosts["b"].cut_from("redis")
    site.sees(step, "/ready of b is 503 and names Redis", lambda: _names_redis(*site.ready("b")))
    site.sees(step, "page of b is red and names Redis", lambda: "Not ready: redis" in site.page("b"))
    site.sees(step, "alarm ConnectorRedisAway for b", lambda: site.fires("ConnectorRedisAway", "b"))
    for host in "ac":
        site.sees(step, f"{host}: all {ACCOUNTS} live, two processes", lambda host=host: site.all_live(host, 2))

    step = "b reaches Redis again"
    site.lan.hosts["b"].mend("redis")
    site.sees(step, "/ready of b is 200", lambda: site.ready("b")[0] == 200)
    site.sees(step, "end of ConnectorRedisAway", lambda: not site.fires("ConnectorRedisAway", "b"))
    site.sees(step, f"b: all {ACCOUNTS} live, three processes", lambda: site.all_live("b", 3))
    for stream in streams:
        stream.prove_live()


def _names_redis(code: int, reasons: str) -> bool:
    return code == 503 and "redis" in reasons
