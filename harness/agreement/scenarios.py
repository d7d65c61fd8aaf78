"""The scenarios, each for both grounds. What the venues do is the same code on both; the rest is what corresponds to it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Final

from harness.agreement.real import RealGround
from harness.agreement.script import Ground
from harness.agreement.simulated import SimulatedGround
from harness.backend import USER_QUEUE
from harness.campaign.stack import Worker
from harness.worlds.process import ServiceProcess
from simulator import controls
from simulator.faults import Fault as VenueFault

Do = Callable[[], object]


def _nothing() -> None:
    """What needs no end."""


@dataclass(frozen=True)
class Begun:
    """A scenario on its ground."""

    seconds: float
    begin: Do
    end: Do = _nothing
    one_process: bool = False


Scenario = Callable[[Ground], Begun]


def _venues(seconds: float, *faults: VenueFault) -> Scenario:
    """The venues do this to every account."""

    def begin(ground: Ground) -> None:
        for fault in faults:
            ground.act(lambda hub, now, fault=fault: controls.inject(hub, fault, now))  # type: ignore[misc]

    return lambda ground: Begun(seconds, partial(begin, ground))


def _servers(
    seconds: float,
    simulated: Callable[[SimulatedGround], tuple[Do, Do]],
    real: Callable[[RealGround], tuple[Do, Do]],
    *,
    one_process: bool = False,
) -> Scenario:
    def on(ground: Ground) -> Begun:
        if isinstance(ground, SimulatedGround):
            return Begun(seconds, *simulated(ground), one_process)
        assert isinstance(ground, RealGround)
        return Begun(seconds, *real(ground), one_process)

    return on


def _busiest(ground: SimulatedGround) -> ServiceProcess:
    return max(ground.world.living(), key=lambda one: len(one.process.engine.leases.held()) if one.process else 0)


def _really_busiest(ground: RealGround) -> Worker:
    def held(worker: Worker) -> int:
        pids = set(worker.service.worker_pids())
        return sum(one.streams for one in worker.service.status().workers if one.pid in pids)

    return max(ground.stack.workers, key=held)


def _killed(ground: SimulatedGround) -> tuple[Do, Do]:
    process = _busiest(ground)
    return partial(ground.world.kill, process), partial(ground.world.again, process)


def _really_killed(ground: RealGround) -> tuple[Do, Do]:
    worker = _really_busiest(ground)
    return worker.kill, worker.restart


def _stopped(ground: SimulatedGround) -> tuple[Do, Do]:
    process = _busiest(ground)
    return process.terminate, partial(ground.world.again, process)


def _really_stopped(ground: RealGround) -> tuple[Do, Do]:
    worker = _really_busiest(ground)
    return worker.terminate, worker.restart


def _redis_empty(ground: SimulatedGround) -> tuple[Do, Do]:
    return ground.world.redis.stop, partial(ground.world.redis.start, empty=True)


def _redis_really_empty(ground: RealGround) -> tuple[Do, Do]:
    return ground.stack.redis.kill, ground.stack.redis.start


def _redis_away(ground: SimulatedGround) -> tuple[Do, Do]:
    return ground.world.redis.stop, partial(ground.world.redis.start, empty=False)


def _redis_really_away(ground: RealGround) -> tuple[Do, Do]:
    return ground.stack.redis_proxy.refuse, ground.stack.redis_proxy.accept


def _rabbit_away(ground: SimulatedGround) -> tuple[Do, Do]:
    return ground.world.rabbit.stop, ground.world.rabbit.start


def _rabbit_really_away(ground: RealGround) -> tuple[Do, Do]:
    return ground.stack.rabbit_proxy.refuse, ground.stack.rabbit_proxy.accept


def _commands_deleted(ground: SimulatedGround) -> tuple[Do, Do]:
    return partial(ground.world.rabbit.delete_queue, USER_QUEUE), _nothing


def _commands_really_deleted(ground: RealGround) -> tuple[Do, Do]:
    def delete() -> None:
        with ground.stack.rabbit.connect("agreement") as connection:
            connection.channel().queue_delete(USER_QUEUE)

    return delete, _nothing


DROP: Final = VenueFault(kind="drop", feed="user")

SCENARIOS: Final[Mapping[str, Scenario]] = {
    "venues drop their connections": _venues(1.0, DROP),
    "venues close with 1001": _venues(1.0, VenueFault(kind="close", feed="user", params={"code": "1001"})),
    "upgrades are refused after a drop": _venues(
        2.0, VenueFault(kind="refuse", standing=True, times=0, for_s=2.0, params={"status": "503"}), DROP
    ),
    "REST fails after a drop": _venues(
        2.0, VenueFault(kind="rest_error", standing=True, times=0, for_s=2.0, params={"status": "502"}), DROP
    ),
    "venues stall": _venues(2.0, VenueFault(kind="stall", feed="user", params={"seconds": "1.5"})),
    "frames come twice": _venues(1.0, VenueFault(kind="duplicate", feed="user", standing=True, times=0, for_s=1.0)),
    "a process is killed": _servers(1.0, _killed, _really_killed, one_process=True),
    "a process is stopped": _servers(1.0, _stopped, _really_stopped, one_process=True),
    "Redis is away": _servers(2.0, _redis_away, _redis_really_away),
    "Redis comes back empty": _servers(1.0, _redis_empty, _redis_really_empty),
    "RabbitMQ is away": _servers(2.0, _rabbit_away, _rabbit_really_away),
    "the queue of commands is deleted": _servers(1.0, _commands_deleted, _commands_really_deleted),
}
"""By name."""
