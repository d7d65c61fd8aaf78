"""Two deployments on one Redis by mistake: the second refuses to start and says why; what belongs together starts."""

from __future__ import annotations

from typing import Any

import pytest

from connector.core.errors import InvalidSetting
from connector.core.places import RabbitPlace
from connector.core.ports import Role, WorkerInfo
from connector.state.memory_state import MemoryState
from tests.unit.connector.streams.fakes import Clock, MoodyState
from workers import _deployment
from workers._broker_name import broker_name
from workers._deployment import refuse_beside_another


class Inner:
    def __init__(self, name: object, vhost: str) -> None:
        self.server_properties = {"cluster_name": name}
        self.params = type("Parameters", (), {"virtual_host": vhost})()


class Opened:
    """A connection, as far as its name goes."""

    def __init__(self, name: object, vhost: str = "/") -> None:
        self._impl = Inner(name, vhost)


@pytest.fixture
def state() -> MoodyState:
    return MoodyState(Clock())


@pytest.fixture(autouse=True)
def _here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_deployment, "_name_here", lambda _: "ours")


def live(state: MemoryState, broker: str, role: Role = "user", owner: str = "a") -> None:
    info = WorkerInfo(owner=owner, role=role, host="host-7", pid=12, started_ms=0, capacity=1, streams=0, broker=broker)
    state.heartbeat(info, 8.0)


def start(state: MemoryState) -> str:
    return refuse_beside_another(state, RabbitPlace(), patience_s=0.0)


@pytest.mark.parametrize("role", ["user", "price"])
def test_a_second_deployment_on_the_same_redis_is_refused_in_words(state: MoodyState, role: Role) -> None:
    live(state, "theirs", role)
    with pytest.raises(InvalidSetting, match=f"STATE_PREFIX.*{role} on host-7, process 12.*RABBIT_VHOST"):
        start(state)


def test_more_processes_on_the_same_broker_start(state: MoodyState) -> None:
    live(state, "ours")
    assert start(state) == "ours"


def test_a_process_of_an_older_version_or_whose_broker_is_not_known_stands_in_nobodys_way(state: MoodyState) -> None:
    live(state, "")
    assert start(state) == "ours"


def test_who_already_runs_beside_a_stranger_can_be_deployed_anew(state: MoodyState) -> None:
    """Both are there, whatever went wrong: keeping ours from restarting would make it worse."""
    live(state, "theirs")
    live(state, "ours", owner="b")
    assert start(state) == "ours"


def test_a_state_or_a_broker_that_is_away_stops_no_start(state: MoodyState, monkeypatch: pytest.MonkeyPatch) -> None:
    live(state, "theirs")
    state.away = True
    assert start(state) == "ours"
    state.away = False
    monkeypatch.setattr(_deployment, "_name_here", lambda _: "")
    assert start(state) == ""


def test_a_broker_is_known_by_its_cluster_and_virtual_host() -> None:
    def name(*what: Any) -> str:
        return broker_name(Opened(*what))

    assert name("rabbit@a") == name(b"rabbit@a") != ""
    assert len({name("rabbit@a"), name("rabbit@b"), name("rabbit@a", "blue")}) == 3
    assert name("") == broker_name(object()) == ""
