"""Which command queues are being consumed by this process, and who wants to know (bug A8: announce only after that)."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from typing import Final, NamedTuple

from connector.core.log import get_logger

_log = get_logger(__name__)


class ConsumerUp(NamedTuple):
    """A consumer of a command queue is in place: from here on no command is lost."""

    queue: str
    created: bool
    """Nobody was asked since the queue exists: what was published before went nowhere, so senders have to be asked again."""
    first: bool
    """The first time in this process; otherwise a reconnect or a takeover after an interruption."""


Watch = Callable[[ConsumerUp], None]


class Readiness:
    """Written by consumer threads, read by any."""

    def __init__(self) -> None:
        self._changed: Final = threading.Condition()
        self._up: dict[str, ConsumerUp] = {}
        self._seen: set[str] = set()
        self._standing_by: set[str] = set()
        self._watches: list[Watch] = []

    def up(self, queue: str, *, created: bool) -> None:
        with self._changed:
            event = ConsumerUp(queue, created, queue not in self._seen)
            self._seen.add(queue)
            self._up[queue] = event
            self._standing_by.discard(queue)
            watches = list(self._watches)
            self._changed.notify_all()
        for watch in watches:
            _tell(watch, event)

    def down(self, queue: str) -> None:
        with self._changed:
            self._up.pop(queue, None)
            self._standing_by.discard(queue)
            self._changed.notify_all()

    def stand_by(self, queue: str) -> None:
        """Another process consumes the queue; this one is connected, and takes over when that one is gone."""
        with self._changed:
            self._up.pop(queue, None)
            self._standing_by.add(queue)

    def out_of_reach(self, queues: Iterable[str]) -> list[str]:
        """Those that this process neither consumes nor stands by for."""
        with self._changed:
            return [queue for queue in queues if queue not in self._up and queue not in self._standing_by]

    def ready(self, queue: str) -> bool:
        with self._changed:
            return queue in self._up

    def wait(self, queues: Iterable[str], timeout_s: float) -> bool:
        """Whether all of these are consumed by this process within the time."""
        wanted = set(queues)
        with self._changed:
            return self._changed.wait_for(lambda: wanted <= self._up.keys(), timeout_s)

    def wait_down(self, queues: Iterable[str], timeout_s: float) -> bool:
        """Whether none of these is consumed by this process within the time."""
        wanted = set(queues)
        with self._changed:
            return self._changed.wait_for(lambda: not wanted & self._up.keys(), timeout_s)

    def watch(self, callback: Watch) -> None:
        """Call back each time a consumer gets in place, also after a reconnect; at once for those in place now.

        The callback runs in a consumer's thread and must be quick.
        """
        with self._changed:
            self._watches.append(callback)
            present = list(self._up.values())
        for event in present:
            _tell(callback, event)


def _tell(watch: Watch, event: ConsumerUp) -> None:
    try:
        watch(event)
    except Exception:  # noqa: BLE001 - whoever watches must not end the consumer
        _log.exception("telling that a consumer is up failed", queue=event.queue)
