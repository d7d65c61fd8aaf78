"""What must hold of announcements (contract 3.1): each one has a cause of its own, and each cause has one after it.

Causes are what the world did, not what its plan says: a role of which nobody was left, a state that forgot what was
announced, a command queue that was made anew, keys that went with a process.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from harness.worlds.failure import Failure
from harness.worlds.monitor import Monitor
from harness.worlds.plan import Plan
from harness.worlds.record import Told
from harness.worlds.world import World

WITHIN_S: Final = 10.0
"""What the state or the broker lost is announced so soon, if nothing else is wrong."""
SETTLED_S: Final = 3.0
"""An announcement is written down as made within this time. If its process is gone or cut off by then, the next one makes
it again: one too many is harmless, one too few is not."""
LOSSES: Final = frozenset(
    {"redis_flush", "redis_restart_empty", "commands_deleted", "events_queue_deleted", "events_exchange_deleted"}
)
"""Faults after which all processes are there, and reach everything."""
BEFORE_S: Final = 30.0
"""How long another fault may be felt."""
KEYLESS: Final = ("kill", "drain", "restart", "master", "freeze", "redis", "reboot")
"""Without keys in the state: faults after which a stream may be with a process that does not know its keys."""


@dataclass(frozen=True, order=True)
class Cause:
    """`must`: somebody has to be told afterwards; otherwise somebody may be."""

    at: float
    what: str
    must: bool = True


def announcements(world: World, plan: Plan, monitor: Monitor) -> Iterator[Failure]:
    told = _told(world)
    causes = _causes(world, plan, monitor, told)
    yield from _without_cause(told, causes)
    yield from _unheard(world, told, causes)
    yield from _late(plan, told, causes)


def owed(world: World) -> bool:
    """Whether somebody has to be told and was not yet."""
    told = _told(world)
    return next(_unheard(world, told, _musts(world)), None) is not None


def _told(world: World) -> list[Told]:
    kind = "priceConnector" if world.setup.price_roles else "userStream"
    return [row for row in world.record.services if row.body.get("restart") == kind]


def _musts(world: World) -> list[Cause]:
    queue = "candlesRequests" if world.setup.price_roles else "usersStreamAction"
    return [
        Cause(0.0, "first start"),
        *[Cause(at, "nobody of the role was left") for at in world.deserted],
        *[Cause(at, "the state forgot") for at in world.redis.forgot],
        *[Cause(at, "the command queue was deleted") for at, name in world.rabbit.deleted if name == queue],
    ]


def _causes(world: World, plan: Plan, monitor: Monitor, told: list[Told]) -> list[Cause]:
    found = [
        *_musts(world),
        *[Cause(at, "only newcomers of the role were left", must=False) for at in world.hardly_met],
        *[Cause(at, "nobody of the role could be seen", must=False) for at in monitor.unseen],
        *[Cause(row.at, "not known to be made", must=False) for row in told if _unsettled(world, row)],
    ]
    if not world.setup.sealed:
        found += [
            Cause(fault.at, f"keys lost by {fault.kind}", must=False)
            for fault in plan.faults
            if fault.kind.startswith(KEYLESS)
        ]
    return sorted(found)


def _unsettled(world: World, row: Told) -> bool:
    """Whether its process was gone, stood still or was cut off soon after it."""
    process = next(process for process in world.processes if process.host.name == row.host)
    troubles = [at for at, name in world.troubles if name == row.host]
    if process.died_at is not None:
        troubles.append(process.died_at)
    return any(abs(row.at - at) <= SETTLED_S for at in troubles)


def _without_cause(told: list[Told], causes: list[Cause]) -> Iterator[Failure]:
    """Each announcement uses up one cause before it."""
    for number, row in enumerate(told, start=1):
        before = [cause for cause in causes if cause.at <= row.at]
        if len(before) < number:
            times = ", ".join(f"{row.at:.1f} s by {row.host}" for row in told)
            known = ", ".join(f"{cause.at:.1f} s {cause.what}" for cause in causes)
            yield Failure("announced too often", f"{len(told)} times: {times}; causes: {known}")
            return


def _unheard(world: World, told: list[Told], causes: list[Cause]) -> Iterator[Failure]:
    if not world.speakers():
        return
    heard = [row.at for row in told]
    if world.rabbit.unbound:  # what was said while nothing was bound reached those who listen to Redis
        heard += world.backend.announced
    for cause in causes:
        if cause.must and not any(at > cause.at for at in heard):
            yield Failure("not announced", f"{cause.what} at {cause.at:.1f} s and nobody was told")
            return


def _late(plan: Plan, told: list[Told], causes: list[Cause]) -> Iterator[Failure]:
    """Only where nothing else went wrong shortly before or meanwhile."""
    for cause in causes:
        others = [
            fault
            for fault in plan.faults
            if fault.kind not in LOSSES and cause.at - BEFORE_S - fault.seconds <= fault.at <= cause.at + WITHIN_S
        ]
        after = [row.at for row in told if row.at > cause.at]
        if cause.must and cause.at and not others and after and after[0] - cause.at > WITHIN_S:
            yield Failure("announced late", f"{cause.what} at {cause.at:.1f} s, told at {after[0]:.1f} s")
