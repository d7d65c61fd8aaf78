"""What the health process says of its own service: never green because another one is well."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import closing

import pytest

from connector.core.errors import StateUnavailable
from connector.core.metrics import PREFIX, Metrics
from connector.core.ports import Role, WorkerInfo
from connector.core.settings import Settings
from connector.state.memory_state import MemoryState
from tests.clocks import Standing
from workers.exposition import exposition
from workers.health import METRICS_KEY, StateReader
from workers.health_port import Figures

MINE, OTHER = "host-a:100", "host-b:7"


@pytest.fixture
def port() -> Iterator[int]:
    """Where something listens, as a broker would."""
    with closing(socket.create_server(("127.0.0.1", 0))) as server:
        yield server.getsockname()[1]


@pytest.fixture
def state() -> MemoryState:
    return MemoryState()


@pytest.fixture
def reader(state: MemoryState, port: int) -> StateReader:
    return StateReader(state, Settings.from_env({"RABBIT_PORT": str(port)}), "user", MINE, Standing())


def worker(service: str, *problems: str, draining: bool = False) -> WorkerInfo:
    return WorkerInfo(
        owner=f"{service}-w", role="user", host="h", pid=1, started_ms=0, capacity=5, streams=0, service=service,
        problems=problems, draining=draining,
    )  # fmt: skip


class Leaving(MemoryState):
    """A Redis that can be away."""

    away = False

    def workers(self, role: Role | None = None) -> list[WorkerInfo]:
        if self.away:
            raise StateUnavailable("connection refused")
        return super().workers(role)


def test_a_service_that_cannot_log_in_is_not_ready_although_another_one_is_well(
    state: MemoryState, reader: StateReader
) -> None:
    """The port of the broker was open, so a deploy handed all accounts to a process with a wrong password."""
    state.heartbeat(worker(OTHER), 60)
    state.heartbeat(worker(MINE, "rabbitmq: ACCESS_REFUSED"), 60)
    assert reader.ready() == ["rabbitmq: ACCESS_REFUSED"]
    assert reader.status().problems == ("rabbitmq: ACCESS_REFUSED",)


def test_a_service_whose_worker_froze_is_not_ready_although_another_one_beats(
    state: MemoryState, reader: StateReader
) -> None:
    state.heartbeat(worker(OTHER), 60)
    assert reader.ready() == ["streams: no worker process of this service has a heartbeat"]
    state.heartbeat(worker(MINE), 60)
    assert reader.ready() == []


def test_a_service_that_is_ending_is_not_ready(state: MemoryState, reader: StateReader) -> None:
    state.heartbeat(worker(MINE, draining=True), 60)
    assert reader.ready() == ["streams: this service is ending and takes no streams"]


def samples(figures: Figures) -> dict[str, float]:
    text = exposition(figures.dumps)[1].decode()
    rows = [line.rsplit(" ", 1) for line in text.splitlines() if line and not line.startswith("#")]
    return {name.removeprefix(PREFIX): float(value) for name, value in rows}


def test_metrics_are_there_without_redis(port: int) -> None:
    """They were empty, so no alert could fire."""
    state = Leaving()
    state.away = True
    reader = StateReader(state, Settings.from_env({"RABBIT_PORT": str(port)}), "user", MINE, Standing())
    found = samples(reader.metrics())
    assert (found["ready"], found["redis_up"], found["broker_up"]) == (0, 0, 1)
    assert reader.ready() == ["redis: connection refused"]


def test_the_last_figures_of_the_workers_stay_with_their_age_while_redis_is_away(port: int) -> None:
    clock = Standing()
    state = Leaving()
    state.heartbeat(worker(MINE), 60)
    theirs = Metrics(strict=True)
    theirs.gauge("leases", 7)
    state.put(METRICS_KEY + f"{MINE}-w", theirs.dump().decode(), 60)
    reader = StateReader(state, Settings.from_env({"RABBIT_PORT": str(port)}), "user", MINE, clock)
    known = reader.metrics()
    assert samples(known)["worker_figures_age_seconds"] == 0
    state.away = True
    clock.now += 30
    found = samples(reader.metrics())
    assert (found["worker_figures_age_seconds"], found["leases"]) == (30, samples(known)["leases"])
    assert found.keys() == samples(known).keys()


def test_the_page_keeps_what_was_known_last_while_redis_is_away(port: int) -> None:
    """It said "Processes none, Streams none" although all streams went on."""
    clock = Standing()
    state = Leaving()
    state.heartbeat(worker(MINE), 60)
    reader = StateReader(state, Settings.from_env({"RABBIT_PORT": str(port)}), "user", MINE, clock)
    assert [one.owner for one in reader.status().workers] == [f"{MINE}-w"]
    state.away = True
    clock.now += 30
    for status in (reader.status(), reader.known_status()):
        assert [one.owner for one in status.workers] == [f"{MINE}-w"]
        assert status.problems[0].startswith("redis: ")
        assert status.problems[0].endswith("; what stands below is 30 s old")
