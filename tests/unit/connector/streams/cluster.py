"""Several processes in one: real owners over one memory state, with supervisors that only remember what they were told."""

from __future__ import annotations

import json
from collections.abc import Callable, Set
from typing import Any, cast

import msgspec
import pytest

from connector.core.clock import Chance
from connector.core.loop import Loop
from connector.core.ports import PositionKeeper, Wanted, WorkerInfo
from connector.streams.accounts import Accounts
from connector.streams.leases import Leases
from connector.streams.leaving import CONFIRM_S
from connector.streams.lifecycle import StreamState
from connector.streams.pipeline import Pipeline
from connector.streams.position_store import PositionStore
from connector.streams.spec import StreamSpec
from connector.streams.supervisor import Supervisor
from tests.unit.connector.streams.fakes import Clock, FakeSink, MoodyState, StrictLoop, keys

TTL_S = 8.0


class FakeSupervisor:
    """Remembers orders; every wanted stream is live at once unless `sick` says otherwise."""

    def __init__(self, clock: Clock, pipeline: Pipeline) -> None:
        self.clock, self.pipeline = clock, pipeline
        self.specs: dict[str, StreamSpec] = {}
        self.held: dict[str, bool] = {}
        self.positions: dict[str, bytes | None] = {}
        self.unknown: dict[str, bool] = {}
        self.draining: set[str] = set()
        self.sick: set[str] = set()
        self.calls: list[tuple[Any, ...]] = []
        self.seams: list[tuple[str, bool]] = []
        """Releases, and whether the hand-over was told to be seamless."""
        self.on_live: Callable[[str, str], None] = lambda stream_id, exchange: None

    def want(
        self, spec: StreamSpec, *, position: bytes | None = None, hold: bool = False, unknown: bool = False
    ) -> None:
        self.calls.append(("want", spec.stream_id))
        if spec.stream_id not in self.specs:
            self.held[spec.stream_id], self.positions[spec.stream_id] = hold, position
            self.unknown[spec.stream_id] = unknown
            self.pipeline.lines.open(spec.stream_id, spec.exchange, None, hold=hold)
            if spec.stream_id not in self.sick:
                self.on_live(spec.stream_id, spec.exchange)
        self.specs[spec.stream_id] = spec

    def unwant(self, stream_id: str, *, last_holder: bool = False, announce: bool = False) -> None:
        self.calls.append(("unwant", stream_id, last_holder, announce))
        self.specs.pop(stream_id, None)
        self.draining.discard(stream_id)
        self.pipeline.lines.close(stream_id, announce=announce)

    def drain(self, stream_id: str) -> None:
        self.draining.add(stream_id)

    def keep(self, stream_id: str) -> None:
        self.calls.append(("keep", stream_id))
        self.draining.discard(stream_id)

    def probe(self, stream_id: str) -> None:
        self.calls.append(("probe", stream_id))

    def alive_since(self, stream_id: str, since_ms: int) -> bool:
        return stream_id in self.specs and stream_id not in self.sick

    def let_through(self, stream_id: str, position: bytes | None, *, clean: bool = True, seamless: bool = True) -> None:
        self.calls.append(("release", stream_id, clean))
        self.seams.append((stream_id, seamless))
        self.held[stream_id] = False
        self.pipeline.lines.let_through(stream_id, None, clean=clean)

    def has(self, stream_id: str) -> bool:
        return stream_id in self.specs

    def ids(self) -> set[str]:
        return set(self.specs)

    def states(self) -> dict[str, StreamState]:
        return dict.fromkeys(self.specs, StreamState.LIVE)

    def live_ms(self, stream_id: str) -> int | None:
        return self.clock.wall_ms() if stream_id in self.specs and stream_id not in self.sick else None

    def position_time_ms(self, stream_id: str) -> int:
        return self.live_ms(stream_id) or 0

    def publishing(self) -> set[str]:
        return {stream_id for stream_id in self.specs if not self.held.get(stream_id)}


class Process:
    def __init__(self, cluster: Cluster, name: str, capacity: int, ttl_s: float, *, threaded: bool = False) -> None:
        self.cluster, self.name, self.capacity = cluster, name, capacity
        self.sink = FakeSink()
        self.pipeline = Pipeline(self.sink, Chance(1))
        self.leases = Leases(cluster.state, name, "user", ttl_s, cluster.clock)
        self.supervisor = FakeSupervisor(cluster.clock, self.pipeline)
        self.alive = True
        self.gone: list[bool] = []
        self.loop = (Loop if threaded else StrictLoop)("accounts", cluster.clock, threaded=threaded)
        self.accounts = Accounts(
            cluster.state, self.leases, cast(Supervisor, self.supervisor), self.pipeline, cluster.clock, self.loop,
            capacity=capacity, enabled=lambda exchange: cluster.enabled is None or exchange in cluster.enabled,
            positions=PositionStore(cluster.state, cluster.disk),
        )  # fmt: skip
        self.supervisor.on_live = self.accounts.stream_live
        self.leases.fence_off = self._fence_off

    @property
    def streams(self) -> set[str]:
        return set(self.supervisor.specs)

    def beat(self) -> None:
        info = WorkerInfo(
            owner=self.name, role="user", host="h", pid=1, started_ms=self.cluster.started[self.name],
            capacity=self.capacity, streams=len(self.leases), draining=self.accounts.draining,
            ttl_s=self.leases.ttl_s,
        )  # fmt: skip
        self.leases.beat(info)

    def _fence_off(self, lost: Set[str]) -> None:
        """As the engine does."""
        for unit in lost:
            self.pipeline.lines.fence(unit)
        self.accounts.lost(lost)

    def drain(self, timeout_s: float = 1_000.0) -> None:
        """Begin to leave, as the engine does; `gone` tells when that is over."""
        self.accounts.drain(timeout_s, self.gone.append)

    def close_rest(self) -> None:
        """The end of a drain: what nobody took is closed."""
        self.accounts._leaving._close(self.gone.append, in_time=False)
        self.cluster.settle()
        if not self.gone:
            self.cluster.clock.seconds += CONFIRM_S
            self.cluster.settle()
        assert self.gone

    def die(self) -> None:
        """Power cut: nothing is released or told."""
        self.alive = False

    def leave(self) -> None:
        """End of an orderly stop."""
        self.alive = False
        self.cluster.state.retire(self.name)


class Cluster:
    """Time, notifications and beats of all processes. `lose` decides which notifications get lost."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.state = MoodyState(self.clock)
        self.disk: PositionKeeper | None = None
        self.processes: list[Process] = []
        self.started: dict[str, int] = {}
        self.enabled: set[str] | None = None
        self.lose: Callable[[str, str], bool] = lambda owner, text: False
        self.notified: list[tuple[str, str]] = []
        self.state.notify = self._notify  # type: ignore[method-assign]
        self.state.listening = self._listening  # type: ignore[method-assign]

    def _notify(self, owner: str, text: str) -> None:
        self.notified.append((owner, text))
        if self.lose(owner, text):
            return
        for process in self.processes:
            if process.alive and owner in ("*", process.name):
                process.accounts.notified(text)

    def _listening(self) -> set[str]:
        return {process.name for process in self.processes if process.alive}

    def process(self, name: str, capacity: int = 1000, ttl_s: float = TTL_S) -> Process:
        self.started[name] = self.clock.wall_ms()
        process = Process(self, name, capacity, ttl_s)
        self.processes.append(process)
        for one in self.processes * 2:  # twice, so that each knows of each
            if one.alive:
                one.beat()
        return process

    def open(self, stream_id: str, *, key: str = "1", exchange: str = "bybit", count: int = 1) -> None:
        for _ in range(count):
            self.state.open(stream_id, exchange, "owner", keys(key), self.clock.wall_ms())

    def tell(self, stream_id: str) -> None:
        self._notify("*", json.dumps({"t": "reconcile", "id": stream_id}))

    def settle(self) -> None:
        for _ in range(1_000):
            busy = [process.loop.turn() for process in self.processes if process.alive]
            if not any(busy):
                return
        raise AssertionError("the processes never come to rest")

    def tick(self, seconds: float = 1.0, step_s: float = 1.0) -> None:
        """Let time pass with a beat and a sweep of every live process each second."""
        self.settle()
        passed = 0.0
        while passed < seconds:
            self.clock.seconds += step_s
            passed += step_s
            for process in self.processes:
                if process.alive:
                    process.beat()
                    process.accounts.sweep()
            self.settle()

    def owners(self, stream_id: str) -> list[str]:
        return [process.name for process in self.processes if process.alive and stream_id in process.streams]

    def publishers(self, stream_id: str) -> list[str]:
        alive = [process for process in self.processes if process.alive]
        return [process.name for process in alive if stream_id in process.supervisor.publishing()]


def names(count: int) -> list[str]:
    return [f"stream-{number}" for number in range(count)]


def kind(text: str) -> str:
    return str(json.loads(text).get("t"))


def hide_keys(cluster: Cluster, monkeypatch: pytest.MonkeyPatch, *processes: Process, digest: str = "") -> None:
    """Without CREDENTIALS_KEYS a process knows only the keys of the commands that came to it."""
    real = cluster.state.wanted

    def wanted(stream_ids: Any) -> dict[str, Wanted]:
        found = real(stream_ids)
        if running["process"] not in processes:
            return found
        return {
            name: msgspec.structs.replace(entry, credentials=None) if not digest or entry.digest == digest else entry
            for name, entry in found.items()
        }

    running: dict[str, Process | None] = {"process": None}
    for process in cluster.processes:
        watch(process, running)
    started = cluster.process

    def start(*args: Any, **more: Any) -> Process:
        process = started(*args, **more)
        watch(process, running)
        return process

    monkeypatch.setattr(cluster, "process", start)
    monkeypatch.setattr(cluster.state, "wanted", wanted)


def watch(process: Process, running: dict[str, Process | None]) -> None:
    turn = process.loop.turn

    def watched() -> bool:
        running["process"] = process
        try:
            return turn()
        finally:
            running["process"] = None

    process.loop.turn = watched  # type: ignore[method-assign]


def drained(cluster: Cluster, giver: Process, seconds: float = 30) -> bool:
    """Drain a process as the engine does, with time passing meanwhile."""
    giver.drain(seconds)
    giver.beat()
    for _ in range(int(seconds)):
        cluster.tick(1)
        if giver.gone:
            return giver.gone == [True]
    return False


__all__ = ["TTL_S", "Cluster", "FakeSupervisor", "Process", "drained", "hide_keys", "kind", "names", "watch"]
