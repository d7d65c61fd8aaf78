"""A script in a world. Within `staged()`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Final

from harness.agreement.script import Deed, Place
from harness.campaign.check import Seen
from harness.worlds.world import Setup, World, opened

LOOK_S: Final = 0.1
WAIT_S: Final = 120.0
LIVE_S: Final = 10.0
BOOTED_S: Final = 3.0


class SimulatedGround:
    """Two processes and one account for each exchange id of the venues; nobody trades but the script."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.places: Sequence[Place] = [Place(account.stream, account.market) for account in world.accounts]
        world.traffic.end()
        for number in range(2):
            world.boot("user", f"m{1 + number}")
        world.run(BOOTED_S)
        for account in world.accounts:
            world.backend.open(account.stream)
        world.run(LIVE_S)
        self._services, self._events = len(world.record.services), len(world.record.rabbit)

    def act(self, deed: Deed) -> None:
        deed(self.world.hub, self.world.venues.now())

    def wait(self, reached: Callable[[], bool], what: str) -> None:
        until = self.world.kernel.now + WAIT_S
        while not reached():
            if self.world.kernel.now >= until:
                raise TimeoutError(what)
            self.rest(LOOK_S)

    def rest(self, seconds: float) -> None:
        self.world.run(self.world.kernel.now + seconds)

    def followed(self) -> set[str]:
        return {stream for link in self.world.hub.links.values() for stream in link.accounts}

    def events(self) -> Sequence[Seen]:
        return self.world.record.rabbit[self._events :]

    def services(self) -> Sequence[Mapping[str, object]]:
        return [told.body for told in self.world.record.services[self._services :]]


@contextmanager
def simulated(venues: Sequence[str], seed: int = 1) -> Iterator[SimulatedGround]:
    setup = Setup(seed, tuple(venues), processes=2, accounts=0)
    with opened(setup) as bare:
        count = len(bare.exchanges)
    with opened(Setup(seed, tuple(venues), processes=2, accounts=count)) as world:
        yield SimulatedGround(world)
