"""Many accounts on one user service: simulator, servers, service and backend, for measurements of openings and idleness."""

from __future__ import annotations

import json
import subprocess
import sys
import urllib.request
from collections.abc import Sequence
from types import TracebackType
from typing import Final, NamedTuple, Self

import psutil

from harness.backend import Backend
from harness.servers import ROOT, PrivateRedis, Rabbit, free_port, listens, wait_for
from harness.services import Service

PER_EGRESS: Final = 25
"""Accounts per address of ours, so that what the venues allow an address (OKX: three connects a second) is not what is
measured."""
LIVE_S: Final = 600.0
PASSPHRASE: Final = frozenset({"okx", "kucoin", "bitget"})
"""Venues whose keys have a third part."""


class Account(NamedTuple):
    """One account at a venue of the simulator."""

    name: str
    venue: str
    exchange: str

    @property
    def key(self) -> str:
        return f"key-{self.name}"

    @property
    def secret(self) -> str:
        return f"secret-{self.name}"

    @property
    def passphrase(self) -> str:
        return f"phrase-{self.name}" if self.venue in PASSPHRASE else ""


def accounts(places: Sequence[tuple[str, str]], count: int) -> list[Account]:
    """So many accounts, in turn at these places (venue, exchange id)."""
    return [Account(f"account-{number}", *places[number % len(places)]) for number in range(count)]


class Crowd:
    """Started on entry, with these accounts known to the simulator and none open; stopped on exit."""

    def __init__(self, crowd: Sequence[Account]) -> None:
        self.crowd = crowd
        self.redis, self.rabbit = PrivateRedis(), Rabbit()
        port = self._port = free_port()
        venues = ",".join(sorted({account.venue for account in crowd}))
        self._simulator = subprocess.Popen(
            [sys.executable, "-m", "cli.main", "simulate", "--port", str(port), "--venues", venues, "--no-limits"],
            cwd=ROOT, stdout=subprocess.DEVNULL,
        )  # fmt: skip
        self._control = f"http://127.0.0.1:{port}/__control"
        env = {
            **self.rabbit.env(),
            "REDIS_HOST": self.redis.host,
            "REDIS_PORT": str(self.redis.port),
            "VENUE_GATEWAY": f"127.0.0.1:{port}",
            "EGRESS_IPS": ",".join(f"127.0.0.{number}" for number in range(2, 4 + len(crowd) // PER_EGRESS)),
        }
        self.service = Service("user", env)
        self.backend = Backend(self.rabbit, self.redis, patterns=("nothing",))

    def __enter__(self) -> Self:
        try:
            self.service.wait_ready()
            wait_for(lambda: listens(self._port), 60.0, "the simulator")
            for account in self.crowd:
                self._tell(account)
            pids = wait_for(self.service.worker_pids, 20.0, "a worker process")
            assert isinstance(pids, list)
            self.worker = psutil.Process(pids[0])
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _tell(self, account: Account) -> None:
        body = {"venue": account.venue, "key": account.key, "secret": account.secret, "passphrase": account.passphrase}
        request = urllib.request.Request(
            f"{self._control}/accounts", json.dumps(body).encode(), {"Content-Type": "application/json"}
        )
        urllib.request.urlopen(request, timeout=10.0).read()

    def open(self, account: Account) -> None:
        passphrase = account.passphrase or None
        self.backend.open(account.name, account.exchange, account.key, account.secret, passphrase=passphrase)

    def wait_live(self, count: int) -> None:
        wait_for(lambda: self.service.status().states.get("live", 0) >= count, LIVE_S, f"{count} live streams", 0.2)

    def cpu_s(self) -> float:
        """CPU time of the worker process up to now."""
        return float(sum(self.worker.cpu_times()[:2]))

    def rss(self) -> int:
        """Bytes."""
        return int(self.worker.memory_info().rss)

    def stop(self) -> None:
        self.backend.close()
        self.service.stop()
        self._simulator.terminate()
        self._simulator.wait(10)
        self.redis.stop()
        self.rabbit.stop()
