"""One process of `bench.scale`: what an engine has for ownership, over sessions that are live at once and silent."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence, Set
from multiprocessing.connection import Connection
from typing import Final, cast

from cryptography.fernet import Fernet

from connector.core.clock import Chance, SystemClock
from connector.core.loop import Loop
from connector.core.messages import Message, Sink, SinkStatus
from connector.core.places import Host, RedisPlace
from connector.core.ports import WorkerInfo
from connector.state.redis_state import RedisState
from connector.state.vault import Vault
from connector.streams.accounts import Accounts
from connector.streams.engine import POSITIONS_S, REBALANCE_S, SWEEP_S
from connector.streams.leases import BEATS_PER_TTL, Leases
from connector.streams.pipeline import Pipeline
from connector.streams.position_store import PositionStore
from connector.streams.spec import StreamSpec
from connector.streams.supervisor import Supervisor

CAPACITY: Final = 20_000
VAULT_KEY: Final = Fernet.generate_key().decode()
"""The same in all: the processes are forks of one."""


class Nowhere:
    """A sink that has sent everything."""

    name = "nowhere"

    def submit(self, messages: Sequence[Message]) -> bool:
        del messages
        return True

    def mark(self) -> object:
        return None

    def passed(self, mark: object) -> bool:
        del mark
        return True

    def status(self) -> SinkStatus:
        return SinkStatus(name=self.name, connected=True, queued=0)

    def revoke(self, stream_id: str) -> None: ...


class StubSupervisor:
    """Every wanted stream is live at once."""

    def __init__(self, pipeline: Pipeline, clock: SystemClock) -> None:
        self._pipeline, self._clock = pipeline, clock
        self._streams: set[str] = set()
        self.on_live: Callable[[str, str], None] = lambda _stream_id, _exchange: None

    def want(
        self, spec: StreamSpec, *, position: bytes | None = None, hold: bool = False, unknown: bool = False
    ) -> None:
        del position, unknown
        if spec.stream_id not in self._streams:
            self._streams.add(spec.stream_id)
            self._pipeline.lines.open(spec.stream_id, spec.exchange, None, hold=hold)
            self.on_live(spec.stream_id, spec.exchange)

    def unwant(self, stream_id: str, *, last_holder: bool = False, announce: bool = False) -> None:
        del last_holder
        self._streams.discard(stream_id)
        self._pipeline.lines.close(stream_id, announce=announce)

    def has(self, stream_id: str) -> bool:
        return stream_id in self._streams

    def live_ms(self, stream_id: str) -> int | None:
        return self._clock.wall_ms() if stream_id in self._streams else None

    def position_time_ms(self, stream_id: str) -> int:
        return self.live_ms(stream_id) or 0

    def alive_since(self, stream_id: str, since_ms: int) -> bool:
        del since_ms
        return stream_id in self._streams

    def let_through(self, stream_id: str, position: bytes | None, *, clean: bool = True, seamless: bool = True) -> None:
        del position, seamless
        self._pipeline.lines.let_through(stream_id, None, clean=clean)

    def drain(self, stream_id: str) -> None: ...

    def keep(self, stream_id: str) -> None: ...

    def probe(self, stream_id: str) -> None: ...


class Member:
    """The ownership parts of an engine, and its jobs."""

    def __init__(self, owner: str, port: int, ttl_s: float) -> None:
        clock = SystemClock()
        self.state = RedisState(RedisPlace(hosts=(Host("127.0.0.1", port),)), vault=Vault([VAULT_KEY]))
        pipeline = Pipeline(cast(Sink, Nowhere()), Chance(os.getpid()))
        self.leases = Leases(self.state, owner, "user", ttl_s, clock)
        supervisor = StubSupervisor(pipeline, clock)
        self.accounts = Accounts(
            self.state, self.leases, cast(Supervisor, supervisor), pipeline, clock, Loop("accounts", clock),
            capacity=CAPACITY, enabled=lambda _: True, positions=PositionStore(self.state, None),
        )  # fmt: skip
        self.leases.fence_off = self._fence_off
        supervisor.on_live = self.accounts.stream_live
        self._jobs = [
            (ttl_s / BEATS_PER_TTL, self._beat),
            (SWEEP_S, self.accounts.sweep),
            (POSITIONS_S, self.accounts.save_positions),
            (REBALANCE_S, self.accounts.rebalance),
        ]

    def _beat(self) -> None:
        info = WorkerInfo(
            owner=self.leases.owner, role="user", host="h", pid=os.getpid(), started_ms=0, capacity=CAPACITY,
            streams=len(self.leases), ttl_s=self.leases.ttl_s,
            states={"live": len(self.leases)}, exchanges={"bybit": len(self.leases)},
            matrix={"bybit": {"live": len(self.leases)}},
        )  # fmt: skip
        self.leases.beat(info)

    def _fence_off(self, lost: Set[str]) -> None:
        self.accounts.lost(lost)

    def work(self, pipe: Connection) -> None:
        """Do the jobs when they are due, and answer what the parent asks; for ever."""
        self._beat()
        self.state.listen(self.leases.owner, self.accounts.notified)
        self.accounts.start()
        # Not all in step: processes start at different times.
        spread = (os.getpid() % 97) / 97
        due = {number: time.monotonic() + period * spread for number, (period, _) in enumerate(self._jobs)}
        while True:
            now = time.monotonic()
            for number, (period, job) in enumerate(self._jobs):
                if due[number] <= now:
                    due[number] = max(due[number] + period, now)
                    job()
            if pipe.poll(max(0.0, min(due.values()) - time.monotonic())):
                pipe.recv()
                pipe.send({"cpu_ms": time.process_time() * 1000, "held": len(self.leases)})


def run(owner: str, port: int, ttl_s: float, pipe: Connection) -> None:
    Member(owner, port, ttl_s).work(pipe)
