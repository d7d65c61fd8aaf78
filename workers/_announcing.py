"""When a process announces: once commands arrive here, and whenever some may have been lost (bug A8, contract 3.1).

What is announced, and whether somebody else has, is decided in `connector.streams.announce`.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Final

from connector.core.errors import StateUnavailable
from connector.core.log import get_logger
from connector.core.loop import Loop, Timer
from connector.streams.engine import Engine
from workers._readiness import ConsumerUp

log = get_logger(__name__)

LOOK_S: Final = 1.0
"""How often to look whether commands are consumed, beside being told."""
RETRY_S: Final = 2.0


class Announcing:
    """Decides on a loop of its own, because the state may take seconds to answer. `consumer_up` and `ask`: any thread."""

    def __init__(self, engine: Engine, ready: Callable[[], bool], loop: Loop) -> None:
        """`ready` tells whether this process consumes commands now."""
        self._engine, self._ready, self.loop = engine, ready, loop
        self._announced = False
        self._lost = False
        """Commands may have been lost since the last announcement."""
        self._stopping = False
        self._next: Timer | None = None

    def start(self) -> None:
        self.loop.start()
        self.loop.post(self.step)

    def stop(self, timeout_s: float) -> bool:
        self._stopping = True
        return self.loop.stop(timeout_s)

    def consumer_up(self, up: ConsumerUp) -> None:
        """A queue that did not exist: whatever was published meanwhile went nowhere (contract 1.1)."""
        if up.created:
            if not up.first:
                log.warning("the command queue was gone: senders are asked again", queue=up.queue)
            self._lost = True
        self.loop.post_once("step", self.step)

    def ask(self) -> None:
        """Everybody has to ask again, whoever else is live."""
        self._lost = True
        self.loop.post_once("step", self.step)

    def step(self) -> None:
        """Announce if it is due. On the loop; comes again by itself."""
        self.loop.cancel(self._next)
        if self._stopping:
            return
        self._next = self.loop.after(LOOK_S, self.step)
        if not self._ready() or (self._announced and not self._lost):
            return
        lost, self._lost = self._lost, False
        try:
            self._announce(lost)
            self._announced, lost = True, False
        except StateUnavailable as error:
            log.warning("the announcement waits: the state is unavailable", error=str(error))
            self.loop.cancel(self._next)
            self._next = self.loop.after(RETRY_S, self.step)
        finally:
            self._lost = self._lost or lost

    def _announce(self, lost: bool) -> None:
        announcer = self._engine.announcer
        if self._engine.options.role == "price":
            announcer.price_started(lost=lost)
            return
        epoch = announcer.user_started(lost=lost)
        if epoch is not None:
            self._engine.once_after(announcer.grace_s, partial(announcer.close_stale, epoch))
