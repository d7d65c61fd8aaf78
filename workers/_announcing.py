"""Where announcements are decided: once commands arrive here, and every second from then on (bug A8, contract 3.1).

What is announced, and whether it was already, is decided in `connector.streams.announce`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from connector.core.errors import StateUnavailable
from connector.core.log import get_logger
from connector.core.loop import Loop, Timer
from connector.streams.announce import Announcer
from workers._readiness import ConsumerUp

log = get_logger(__name__)

LOOK_S: Final = 1.0


class Announcing:
    """On a loop of its own, because the state may take seconds to answer. `consumer_up`: any thread."""

    def __init__(
        self, announcer: Announcer, ready: Callable[[], bool], loop: Loop, announced: Callable[[], None] | None = None
    ) -> None:
        """`ready` tells whether this process consumes commands now; `announced` notes with the broker that those who send to
        the queues that exist now have been asked."""
        self._announcer, self._ready, self.loop = announcer, ready, loop
        self._announced = announced
        self._lost = False
        """A queue is consumed here whose senders were not asked since it exists."""
        self._away = False
        self._leaving = False
        self._next: Timer | None = None

    def start(self) -> None:
        self.loop.start()
        self.loop.post(self.step)

    def consumer_up(self, up: ConsumerUp) -> None:
        """A queue that is new: whatever was published before it was there went nowhere (contract 1.1)."""
        if up.created:
            if not up.first:
                log.warning("the command queue was gone: senders are asked again", queue=up.queue)
            self._lost = True
        self.loop.post_once("step", self.step)

    def retire(self) -> None:
        """Announce nothing more. The life of the role goes on until the streams are handed over (`stop`)."""
        self._leaving = True
        self.loop.post_once("step", self.step)

    def stop(self, timeout_s: float) -> bool:
        """After the heartbeat is gone."""
        self._leaving = True
        self.loop.post(self._leave)
        return self.loop.stop(timeout_s)

    def step(self) -> None:
        """Announce if it is due. On the loop; comes again by itself."""
        self.loop.cancel(self._next)
        self._next = self.loop.after(LOOK_S, self.step)
        if not self._announcer.announces:
            return
        try:
            self._announcer.lineage.beat()
            if self._ready() and not self._leaving:
                self._look()
            else:
                self._announcer.settle()
            self._away = False
        except StateUnavailable as error:
            if not self._away:
                log.warning("announcements wait: the state is unavailable", error=str(error))
            self._away = True

    def _look(self) -> None:
        lost, self._lost = self._lost, False
        covered = False
        try:
            covered = self._announcer.look(lost=lost)
        finally:
            self._lost = self._lost or (lost and not covered)
        if covered and self._announced is not None:
            self._announced()

    def _leave(self) -> None:
        if not self._announcer.announces:
            return
        try:
            self._announcer.lineage.conclude()
        except StateUnavailable:
            log.debug("the life of the role runs out by itself: the state is unavailable")
