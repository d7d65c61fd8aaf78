"""What `bench.soak` looks at: both services with servers and a simulator of their own, and the demo."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

import psutil
import redis

from exchanges import example_of
from exchanges.ids import FAMILIES
from harness.backend import Backend
from harness.servers import ROOT, PrivateRedis, Rabbit, free_port, listens, wait_for
from harness.services import Service

READY_S: Final = 60.0
LIVE_S: Final = 120.0
MIB: Final = 2.0**20
_QUEUE: Final = re.compile(r"^connector_sink_queue\{[^}]*\} (\S+)$", re.MULTILINE)
Look = tuple[str, dict[str, float]]
"""A process and its figures."""


def queued(metrics: str) -> float:
    """Messages that were taken and not confirmed yet, over all sinks, as `/metrics` tells them."""
    return sum(float(count) for count in _QUEUE.findall(metrics))


def held(process: psutil.Process) -> dict[str, float]:
    """Raises `psutil.NoSuchProcess`."""
    with process.oneshot():
        return {
            "rss_mib": round(process.memory_info().rss / MIB, 3),
            "threads": process.num_threads(),
            "files": process.num_fds(),
        }


def kib(folder: Path) -> float:
    """Of all files below a folder, of which some may go meanwhile."""
    total = 0
    for path in folder.rglob("*"):
        try:
            total += path.stat().st_size if path.is_file() else 0
        except FileNotFoundError:
            continue
    return round(total / 1024, 1)


class SoakStack:
    """`start` once, `close` always; `look` in between."""

    def __init__(self) -> None:
        self.redis, self.rabbit = PrivateRedis(), Rabbit()
        port = self._port = free_port()
        kept = {name: value for name, value in os.environ.items() if name in {"PATH", "HOME", "LANG", "TMPDIR"}}
        self._folder = Path(tempfile.mkdtemp(prefix="soak-"))
        self._simulator = self._popen("simulate", "--port", str(port), "--no-limits", env=kept)
        env = {
            **self.rabbit.env(),
            "REDIS_HOST": self.redis.host,
            "REDIS_PORT": str(self.redis.port),
            "VENUE_GATEWAY": f"127.0.0.1:{port}",
            "PAPER_WS": f"ws://127.0.0.1:{port}",
        }
        self.services = {
            role: Service(role, {**env, **more}) for role, more in (("price", {"PRICEROLE": "all"}), ("user", {}))
        }
        self._control = f"http://127.0.0.1:{port}/__control/demo"
        self._demo_port = free_port()
        demo = {**kept, "HEALTH_PORT": str(self._demo_port), "OUTBOX_DIR": str(self._folder)}
        self._demo = self._popen("run", env=demo)
        self.backend: Backend | None = None
        self.processes: dict[str, psutil.Process] = {}

    @staticmethod
    def _popen(*arguments: str, env: Mapping[str, str]) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "cli.main", *arguments]
        return subprocess.Popen(command, cwd=ROOT, env=dict(env), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def start(self) -> None:
        """Until every account is live and the demo answers."""
        for service in self.services.values():
            service.wait_ready(READY_S)
        wait_for(lambda: listens(self._port), READY_S, "the simulator")
        self.backend = Backend(self.rabbit, self.redis, patterns=("nothing",))
        opened = 0
        for account in self._accounts():
            members = FAMILIES.get(account["venue"], ())
            for exchange in members:
                more = {"passphrase": account["passphrase"] or None, "keysType": account["keys_type"] or None}
                self.backend.open(f"soak-{exchange}", exchange, account["key"], account["secret"], **more)
                opened += 1
            example = example_of(members[0]) if members else None
            if example is not None:
                self.backend.candle(example.pair, members[0], example.intervals[0])
        user = self.services["user"]
        wait_for(lambda: user.status().states.get("live", 0) >= opened, LIVE_S, f"{opened} live streams", 0.5)
        wait_for(self._demo_metrics, READY_S, "the demo's page", 0.5)
        self._name()

    def _accounts(self) -> list[dict[str, str]]:
        """One a venue, which trade from now on."""
        request = urllib.request.Request(self._control, b"{}", {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=10.0) as answer:
            found: list[dict[str, str]] = json.loads(answer.read())["accounts"]
            return found

    def _name(self) -> None:
        for role, service in self.services.items():
            master, workers = psutil.Process(service.process.pid), service.worker_pids()
            self.processes[f"{role} master"] = master
            for child in master.children(recursive=True):
                what = "worker" if child.pid in workers else "health" if child.num_threads() > 1 else "helper"
                self.processes[f"{role} {what}"] = child
        self.processes["simulator"] = psutil.Process(self._simulator.pid)
        self.processes["demo"] = psutil.Process(self._demo.pid)

    def look(self) -> Iterator[Look]:
        """What each process holds that still runs."""
        for name, process in self.processes.items():
            try:
                yield name, {**held(process), **self._more(name)}
            except psutil.NoSuchProcess:
                continue

    def _more(self, name: str) -> dict[str, float]:
        if name == "demo":
            return {"queue": queued(self._demo_metrics()), "outbox_kib": kib(self._folder)}
        role, _, what = name.partition(" ")
        if what != "worker":
            return {}
        service = self.services[role]
        found = {"queue": queued(service.get("/metrics")[1].decode()), "outbox_kib": kib(service.outbox)}
        if role == "user":
            # A server that went away is seen in the processes; hours of figures are not lost for it.
            with contextlib.suppress(redis.RedisError), self.redis.client() as client:
                found["keys"] = client.dbsize()
        return found

    def _demo_metrics(self) -> str:
        """Empty while it does not answer."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self._demo_port}/metrics", timeout=5.0) as answer:
                return str(answer.read().decode())
        except OSError:
            return ""

    def close(self) -> None:
        if self.backend is not None:
            self.backend.close()
        for service in self.services.values():
            service.stop()
        for process in (self._demo, self._simulator):
            process.terminate()
            process.wait(20)
        self.redis.stop()
        self.rabbit.stop()
        shutil.rmtree(self._folder, ignore_errors=True)
