"""A script on real servers and services, with the simulator for the venues."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from harness.agreement.script import Deed, Place
from harness.campaign.check import Seen
from harness.campaign.stack import Stack
from harness.servers import wait_for

WAIT_S: Final = 90.0
SETTLED_S: Final = 3.0
"""An announcement of the script before is written down as made by then: else whoever takes its queue over makes it again."""


class RealGround:
    """Accounts of the common kind of key, one for each exchange id. The stack goes on to the next script."""

    def __init__(self, stack: Stack) -> None:
        self.stack = stack
        self.places: Sequence[Place] = [
            Place(account.stream, account.market) for account in stack.accounts if not account.variant
        ]
        stack.wait_readers()
        self.rest(SETTLED_S)
        self._services, self._events = len(stack.rabbit_reader.services), len(stack.rabbit_reader.events)

    def act(self, deed: Deed) -> None:
        self.stack.sim.call(deed)

    def wait(self, reached: Callable[[], bool], what: str) -> None:
        wait_for(reached, WAIT_S, what, 0.05)

    def rest(self, seconds: float) -> None:
        time.sleep(seconds)

    def followed(self) -> set[str]:
        return self.stack.followed()

    def events(self) -> Sequence[Seen]:
        return self.stack.rabbit_reader.events[self._events :]

    def services(self) -> Sequence[Mapping[str, object]]:
        return [notice.body for notice in self.stack.rabbit_reader.services[self._services :]]
