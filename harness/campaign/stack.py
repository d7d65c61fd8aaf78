"""Everything that a campaign runs on, kept up over many runs: servers, proxies, simulator, services, readers."""

from __future__ import annotations

import json
import shutil
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import pika.exceptions
import psutil
from cryptography.fernet import Fernet

from harness.campaign.accounts import USER_ID, Account, Canaries, make_accounts
from harness.campaign.readers import RabbitReader, RedisReader
from harness.campaign.readers import Service as ServiceNotice
from harness.rabbit_node import RabbitNode, program
from harness.servers import PrivateRedis, Rabbit, wait_for
from harness.services import Service
from harness.tcp_proxy import TcpProxy
from simulator.simulator import Simulator

COMMANDS = "usersStreamAction"
ADDRESSES = 8
"""Egress addresses of the services: the venues count connects and REST weight by address, and a campaign reconnects all the
time. Linux answers on all of 127.0.0.0/8."""


class Worker:
    """One service of the role `user`, restarted like a container: same environment, same outbox directory."""

    def __init__(self, name: str, env: Mapping[str, str], folder: Path, processes: int = 1) -> None:
        self.name, self.processes = name, processes
        self.log = folder / f"{name}.log"
        self._env = {**env, "OUTBOX_DIR": str(folder / f"{name}.outbox")}
        self.service = self._start()

    def _start(self) -> Service:
        self._leaving = False
        return Service("user", self._env, threads=4, processes=self.processes, log=self.log)

    @property
    def running(self) -> bool:
        return self.service.process.poll() is None

    def kill(self) -> None:
        """SIGKILL to everything: the machine vanishes."""
        self.service.kill()

    def kill_one(self) -> None:
        """SIGKILL to one worker process: the master then ends the others."""
        pids = self.service.worker_pids()
        if pids:
            psutil.Process(min(pids)).kill()

    def terminate(self) -> None:
        """SIGTERM, as a deploy does; once only, because Dramatiq takes a second one for impatience and drops everything."""
        self._leaving = True
        self.service.terminate()

    def restart(self) -> None:
        """Start again, once what ran before has ended."""
        if self.running:
            if not self._leaving:
                self.terminate()
            self.service.wait(90.0)
        self.service = self._start()

    def pids(self) -> list[int]:
        return self.service.worker_pids() if self.running else []


class Commander:
    """The backend's side of the command queue: keeps every account open, and opens all again after an announcement."""

    def __init__(self, rabbit: RabbitNode | Rabbit, accounts: Sequence[Account]) -> None:
        self._rabbit, self._accounts = rabbit, accounts
        self._lock = threading.Lock()
        self.announcements = 0

    def send(self, *payloads: object) -> None:
        """Publish commands; tries again while the broker restarts."""
        with self._lock:
            wait_for(lambda: self._try(payloads), 60.0, "commands published", 0.2)

    def _try(self, payloads: Sequence[object]) -> bool:
        try:
            connection = self._rabbit.connect("campaign commands")
        except (pika.exceptions.AMQPError, OSError):
            return False
        try:
            channel = connection.channel()
            channel.exchange_declare("gainium", "direct", durable=True)
            for payload in payloads:
                channel.basic_publish("gainium", COMMANDS, json.dumps({"payload": payload}).encode())
            connection.close()
        except (pika.exceptions.AMQPError, OSError):
            return False
        return True

    def open(self, *accounts: Account) -> None:
        self.send(
            *(
                {
                    "event": "open stream",
                    "uuid": account.stream,
                    "data": {"userId": USER_ID, "api": account.api()},
                }
                for account in accounts
            )
        )

    def close(self, *accounts: Account) -> None:
        self.send(*({"event": "close stream", "uuid": account.stream} for account in accounts))

    def force_restart(self, *accounts: Account) -> None:
        self.send(*({"event": "force restart stream", "uuid": account.stream} for account in accounts))

    def on_service(self, notice: ServiceNotice) -> None:
        """Bots send their opens again when the account-stream service says that it starts (contract 3.1)."""
        if notice.body.get("restart") == "userStream":
            self.announcements += 1
            threading.Thread(target=self.open, args=tuple(self._accounts), name="reopen", daemon=True).start()


class Stack:
    """Start with the constructor, take down with `stop`. `accounts` may be given; else one per exchange id."""

    def __init__(
        self,
        *,
        venues: Sequence[str] = (),
        copies: int = 1,
        services: Sequence[int] = (1, 1),
        env: Mapping[str, str] | None = None,
        folder: Path | None = None,
        own_broker: bool = True,
    ) -> None:
        """`services`: worker processes of each service. `own_broker`: a RabbitMQ node that can be restarted, where it is
        installed; otherwise a virtual host of the running one."""
        self.venues = tuple(venues)
        self.folder = folder or Path(tempfile.mkdtemp(prefix="chaos-"))
        self.canaries = Canaries()
        self.redis = PrivateRedis()
        self.rabbit: RabbitNode | Rabbit = RabbitNode() if own_broker and program() else Rabbit()
        self.redis_proxy = TcpProxy(self.redis.host, self.redis.port)
        self.rabbit_proxy = TcpProxy(self.rabbit.host, self.rabbit.port)
        self.sim = Simulator(seed=11, venues=_halves(venues), symbols=8, quiet=0.9).start()
        self.accounts = make_accounts(self.sim, venues, copies)
        vault = Fernet.generate_key().decode()
        self.canaries.add([vault, *(text for account in self.accounts for text in account.secrets())])
        self.rabbit_reader = RabbitReader(self.rabbit, self.canaries)
        self.redis_reader = RedisReader(self.redis, self.canaries)
        self.commander = Commander(self.rabbit, self.accounts)
        self.redis_reader.on_service = self.commander.on_service
        self.env = {
            **self.rabbit.env(),
            "RABBIT_PORT": str(self.rabbit_proxy.port),
            "REDIS_HOST": self.redis.host,
            "REDIS_PORT": str(self.redis_proxy.port),
            "VENUE_GATEWAY": self.sim.gateway,
            "PAPER_WS": "paper-trading",
            "CREDENTIALS_KEYS": vault,
            "HEALTH_HOST": "127.0.0.1",
            "EGRESS_IPS": ",".join(f"127.0.0.{number}" for number in range(1, ADDRESSES + 1)),
            **(env or {}),
        }
        self.redis_reader.start()
        self.workers = [
            Worker(f"user-{number + 1}", self.env, self.folder, processes) for number, processes in enumerate(services)
        ]
        self.rabbit_reader.start(60.0)

    def wait_ready(self) -> None:
        for worker in self.workers:
            worker.service.wait_ready(60.0)

    def open_all(self, timeout_s: float = 120.0) -> None:
        """Open what no announcement opened yet, and wait until every account is followed by a connection."""
        if not self.commander.announcements:
            self.commander.open(*self.accounts)
        self.wait_live(self.accounts, timeout_s)

    def followed(self) -> set[str]:
        """Accounts with a logged-in connection at the simulator."""
        return {account for row in self.sim.connections() for account in row["accounts"]}

    def wait_live(self, accounts: Sequence[Account], timeout_s: float = 60.0) -> None:
        wanted = {account.stream for account in accounts}
        try:
            wait_for(lambda: wanted <= self.followed(), timeout_s, "every stream live", 0.05)
        except TimeoutError:
            missing = sorted(wanted - self.followed())
            raise TimeoutError(f"not live after {timeout_s} s: {', '.join(missing)}") from None

    def wait_readers(self) -> None:
        """Until both consumers are connected."""
        self.redis_reader.wait_connected()
        self.rabbit_reader.wait_connected()

    def heal(self) -> None:
        """Every fault off, every service running."""
        self.sim.clear_faults()
        self.redis_proxy.heal()
        self.rabbit_proxy.heal()
        for worker in self.workers:
            if not worker.running:
                worker.restart()

    def real_restarts(self) -> bool:
        """Whether the broker is ours to restart."""
        return isinstance(self.rabbit, RabbitNode)

    def stop(self, *, keep: bool = False) -> None:
        for worker in self.workers:
            worker.service.stop(20.0)
        self.redis_reader.stop()
        self.rabbit_reader.stop()
        self.sim.stop()
        self.redis_proxy.close()
        self.rabbit_proxy.close()
        self.redis.stop()
        self.rabbit.stop()
        if not keep:
            shutil.rmtree(self.folder, ignore_errors=True)

    def wait_clock(self, seconds: float) -> None:
        """Let time pass."""
        time.sleep(seconds)


def _halves(venues: Sequence[str]) -> Sequence[str]:
    """Paper accounts trade on the markets of Binance."""
    if not venues:
        return ()
    return sorted({*venues, "binance"} if "paper" in venues else set(venues))
