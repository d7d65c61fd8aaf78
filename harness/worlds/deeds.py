"""What carrying out a fault needs, whatever it is: whom it hits, and what happens later."""

from __future__ import annotations

from collections.abc import Callable

from harness.worlds.accounts import Account
from harness.worlds.plan import Fault
from harness.worlds.process import ServiceProcess
from harness.worlds.world import World

Deed = Callable[[World, Fault], None]


def process_of(world: World, fault: Fault) -> ServiceProcess | None:
    """The process that a fault hits; None if nobody lives."""
    living = [process for process in world.living() if not process.host.frozen]
    return living[fault.target % len(living)] if living else None


def account_of(world: World, fault: Fault) -> Account:
    return world.accounts[fault.target % len(world.accounts)]


def later(world: World, seconds: float, work: Callable[[], object]) -> None:
    world.kernel.after(seconds, work)
