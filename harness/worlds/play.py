"""Plays a plan: one world from its first process to rest, and what is to be said about it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Final

from connector.streams.lifecycle import StreamState
from harness.campaign.check import covers
from harness.worlds.backend import REJOIN_S
from harness.worlds.failure import Failure
from harness.worlds.faults import carry_out
from harness.worlds.judge import verdicts
from harness.worlds.judge_announcements import owed
from harness.worlds.judge_positions import untold
from harness.worlds.kernel import Spinning
from harness.worlds.monitor import Monitor
from harness.worlds.plan import Plan
from harness.worlds.stage import swept
from harness.worlds.world import TRAFFIC_AT_S, World, opened

SETTLE_S: Final = 100.0
"""The longest that anything documented takes to heal: a cooldown step of the venues' connect budgets, a hand-over that fails,
a lost connection that only heartbeats tell."""
LOOK_S: Final = 2.0
QUIET_S: Final = 4.0
OPENED_WITHIN_S: Final = 1.0


@dataclass
class Outcome:
    """What came of a plan."""

    plan: Plan
    failures: list[Failure] = field(default_factory=list)
    digest: str = ""
    virtual_s: float = 0.0
    story: list[str] = field(default_factory=list)
    """Who, when, what; filled when something failed."""

    @property
    def good(self) -> bool:
        return not self.failures


def play(plan: Plan, look: Callable[[World], None] | None = None) -> Outcome:
    """Within `staged()`. `look` sees the world at rest."""
    outcome = Outcome(plan)
    with opened(plan.setup) as world:
        monitor = Monitor(world)
        try:
            _run(world, plan, monitor)
            outcome.failures = verdicts(world, plan, monitor)
        except Spinning as error:
            outcome.failures = [Failure("spinning", str(error))]
        outcome.digest, outcome.virtual_s = world.record.digest, world.kernel.now
        if outcome.failures:
            outcome.story = tell(world)
        if look is not None:
            look(world)
    swept()
    return outcome


def _run(world: World, plan: Plan, monitor: Monitor) -> None:
    if plan.setup.price_roles:
        _boot_prices(world, plan)
    else:
        for number in range(plan.setup.processes):
            world.boot("user", f"m{1 + number % 2}")
    monitor.begin()
    source = world.fault_chance
    for account in world.accounts:
        for _ in range(1 + source.randrange(plan.setup.bots)):
            world.kernel.at(3.0 + source.uniform(0, OPENED_WITHIN_S), partial(world.backend.open, account.stream))
    for fault in plan.faults:
        world.kernel.at(fault.at, partial(carry_out, world, fault))
    if world.accounts and plan.kind in {"commands", "flush", "mixed", "redis", "unsealed"}:
        _bots_come_and_go(world, plan.until_s)
    if plan.kind == "leave":
        _everybody_leaves(world, plan.until_s)
    world.run(plan.until_s)
    world.traffic.end()
    end = world.kernel.now + SETTLE_S
    world.run(world.kernel.now + QUIET_S)
    while True:
        while world.kernel.now < end and not at_rest(world):
            world.run(world.kernel.now + LOOK_S)
        world.run(world.kernel.now + QUIET_S)
        if world.kernel.now >= end or at_rest(world):
            return


def _boot_prices(world: World, plan: Plan) -> None:
    """Price services one after the other, in the order of their roles."""
    exchanges = ",".join(plan.setup.venues)
    for number, role in enumerate(plan.setup.price_roles):
        start = partial(world.boot, "price", f"m{1 + number}", PRICEROLE=role, PRICE_CONNECTOR_EXCHANGES=exchanges)
        world.kernel.at(number * world.fault_chance.uniform(0.5, 4.0), start)
    world.kernel.at(6.0, world.backend.ask_for_candles)


def _bots_come_and_go(world: World, until_s: float) -> None:
    """Commands between the faults; the last bot of an account stays or leaves, as it comes."""
    source = world.fault_chance

    def deed() -> None:
        if world.kernel.now >= until_s:
            return
        stream, dice = source.choice(sorted(world.streams)), source.random()
        if dice < 0.45:
            world.backend.open(stream)
        elif dice < 0.85:
            if world.backend.bots[stream] > 1 or source.random() < 0.2:
                world.backend.close(stream)
        else:
            world.backend.restart(stream)
        world.kernel.after(source.uniform(0.5, 6.0), deed)

    world.kernel.at(TRAFFIC_AT_S, deed)


def _everybody_leaves(world: World, until_s: float) -> None:
    """The bots of an account all leave, and one comes back a moment later, again and again."""
    source = world.fault_chance

    def deed(stream: str) -> None:
        if world.kernel.now >= until_s:
            return
        if not world.backend.bots[stream]:
            world.backend.open(stream)
        while world.backend.bots[stream] and world.traffic.busy(stream) and source.random() < 0.9:
            world.backend.close(stream)
        world.kernel.after(source.uniform(0.3, 4.0), partial(deed, stream))

    for stream in sorted(world.streams):
        world.kernel.after(TRAFFIC_AT_S + source.random(), partial(deed, stream))


def at_rest(world: World) -> bool:
    """Everybody wanted is live, nothing waits, every bot has asked again, and every order is told to its end."""
    if owed(world):
        return False
    if world.backend.restarts and world.kernel.now - world.backend.restarts[-1] <= REJOIN_S:
        return False
    living = [process for process in world.living() if process.process is not None]
    states = [process.process.engine.supervisor.states() for process in living if process.process is not None]
    for stream, bots in world.backend.bots.items():
        live = sum(each.get(stream) is StreamState.LIVE for each in states)
        held = sum(stream in each for each in states)
        if (bots and (live, held) != (1, 1)) or (not bots and held):
            return False
    if any(process.process.sink.status().queued for process in living if process.process is not None):
        return False
    if untold(world):
        return False
    last = {step.order: step for step in world.traffic.transitions}
    seen = {event.order: event for event in world.record.rabbit}
    left = world.backend.left
    return all(step.stream in left or (order in seen and covers(seen[order], step)) for order, step in last.items())


def tell(world: World) -> list[str]:
    """The story of a world: deeds, faults and what the processes warned of, in order of time."""
    rows = [(at, 0, f"{at:9.3f} s  {text}") for at, text in world.story]
    rows += [(line.at, 1, str(line)) for line in world.record.lines]
    rows += [
        (row.at, 2, f"{row.at:9.3f} s  {row.host:<12} tells    {row.body}")
        for row in world.record.services
        if row.kind in {"restart", "streamGap", "userStreamAuth"}
    ]
    rows += [
        (at, 3, f"{at:9.3f} s  backend      sends    {event} {stream}") for at, event, stream in world.backend.sent
    ]
    return [text for _, _, text in sorted(rows, key=lambda row: row[:2])]
