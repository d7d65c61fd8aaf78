"""One Redis and prefix, one deployment: a second one with another RabbitMQ would share its accounts between two backends.

What tells deployments apart is the broker itself, as it names itself to whoever connects, with the virtual host: names in
settings may differ between hosts, and all nodes of a cluster are one. It stands in every heartbeat.
"""

from __future__ import annotations

import threading
from typing import Final

import pika.exceptions

from connector.core.clock import SystemClock
from connector.core.errors import InvalidSetting, StateUnavailable
from connector.core.log import get_logger
from connector.core.places import RabbitPlace
from connector.core.ports import Clock, State, WorkerInfo
from connector.servers.rabbit import Blocking, parameters
from workers._broker_name import broker_name

log = get_logger(__name__)

PATIENCE_S: Final = 15.0
"""Heartbeats of a deployment that has just moved to another broker have run out by then, and one whose broker was made
anew has seen the new one."""
LOOK_S: Final = 1.0
CONNECT_S: Final = 3.0
_CONNECT_ERRORS: Final = (pika.exceptions.AMQPError, OSError, AssertionError)


def refuse_beside_another(
    state: State, place: RabbitPlace, *, patience_s: float = PATIENCE_S, clock: Clock | None = None
) -> str:
    """How our broker names itself; empty = not known. Blocks for so long at the most.

    Raises `InvalidSetting` if processes live on this state whose commands come from another broker.

    Where broker or state can't be reached nobody knows, and the start goes on: running streams matter more.
    """
    clock = clock or SystemClock()
    mine = _name_here(place)
    deadline = clock.mono() + patience_s
    pause = threading.Event()
    while mine and (strangers := _strangers(state, mine)):
        if clock.mono() >= deadline:
            raise InvalidSetting(
                "REDIS_HOST, STATE_PREFIX: another deployment lives on this Redis with the same prefix "
                f"({_shown(strangers)}); its commands come from another RabbitMQ or virtual host (RABBIT_HOST, RABBIT_VHOST)."
                " Give one of the two a STATE_PREFIX or a Redis of its own; to move a deployment to another broker, stop the "
                "old processes first"
            )
        pause.wait(LOOK_S)
    return mine


def _name_here(place: RabbitPlace) -> str:
    hosts = parameters(
        place,
        name="connector looks",
        socket_timeout_s=CONNECT_S,
        stack_timeout_s=CONNECT_S * 2,
        blocked_timeout_s=CONNECT_S,
    )
    try:
        connection = Blocking(hosts)()
        name = broker_name(connection)
        connection.close()
    except _CONNECT_ERRORS as error:
        log.info("the broker was not asked who it is: it can't be reached", reason=type(error).__name__)
        return ""
    return name


def _strangers(state: State, mine: str) -> list[WorkerInfo]:
    """Living processes of either role on another broker; none if one of them is on ours."""
    try:
        workers = [*state.workers("user"), *state.workers("price")]
    except StateUnavailable:
        return []
    if any(worker.broker == mine for worker in workers):
        return []
    return [worker for worker in workers if worker.broker]


def _shown(workers: list[WorkerInfo]) -> str:
    places = sorted({f"{worker.role} on {worker.host}, process {worker.pid}" for worker in workers})
    return "; ".join(places[:3])
