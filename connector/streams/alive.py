"""Sees a thread that died or hangs: then this process must not go on saying that its streams are cared for.

The heartbeat and the leases are renewed by jobs, which know nothing of the threads that read and publish: with a dead I/O
thread the streams would stay "live" for ever, and nobody would take over.
"""

from __future__ import annotations

import os
import sys
import threading
import traceback
from collections import Counter
from collections.abc import Callable, Iterable
from functools import partial
from typing import Final, Protocol

from connector.core.log import get_logger
from connector.core.ports import Clock
from connector.core.stamps import Stamped

log = get_logger(__name__)

HANG_S: Final = 30.0
"""A thread that began nothing new for this long hangs. The longest honest work is a few calls to a server that does not
answer, 2 s each; long work says in between that it goes on."""
STALE_LOOKS: Final = 2
"""In a row. After the whole process stood still (a host that sleeps) the first look may come before the threads had their
turn."""
EXIT_STUCK: Final = 70
"""Exit code of a process that ends because a thread of it died or hangs: `EX_SOFTWARE` of sysexits.h."""


def end_process(code: int) -> None:
    """At once, without clean-up: a thread that hangs would hold that up, and others take over from what is saved."""
    os._exit(code)


class Part(Protocol):
    """A part of an engine that runs on a thread of its own, or on nobody's."""

    @property
    def name(self) -> str: ...

    @property
    def thread(self) -> threading.Thread | None: ...

    @property
    def alive_mono(self) -> float:
        """When the thread last began something, monotonic seconds. Read from any thread."""


def stamped(parts: Iterable[Part]) -> list[Stamped]:
    """The threads of these; nobody's has none."""
    return [
        Stamped(part.name, part.thread, partial(getattr, part, "alive_mono"))
        for part in parts
        if part.thread is not None
    ]


class Alive:
    """Threads that must live, and a look at them. Any thread."""

    def __init__(self, clock: Clock, end: Callable[[int], None] = end_process) -> None:
        self._clock, self._end = clock, end
        self._lock = threading.Lock()
        self._watched: dict[str, Stamped] = {}
        self._stale_looks: Counter[str] = Counter()

    def watch(self, threads: Iterable[Stamped]) -> None:
        """Expect these to live until they are forgotten, and to renew their stamps. What was never started is left out."""
        with self._lock:
            self._watched.update((one.name, one) for one in threads if one.thread.ident is not None)

    def forget(self, name: str) -> None:
        """This thread ends in order."""
        with self._lock:
            self._watched.pop(name, None)

    def forget_all(self) -> None:
        """The process ends: its threads may end, too."""
        with self._lock:
            self._watched.clear()

    def names(self) -> list[str]:
        with self._lock:
            return sorted(self._watched)

    def check(self) -> bool:
        """True if everything lives. Else nothing may be renewed; if it is certain, the process is ended."""
        now = self._clock.mono()
        fine, certain = True, False
        with self._lock:
            watched = list(self._watched.items())
        for name, one in watched:
            dead, stale_s = not one.thread.is_alive(), now - one.stamp()
            if not dead and stale_s < HANG_S:
                self._stale_looks.pop(name, None)
                continue
            fine = False
            self._stale_looks[name] += 1
            if dead or self._stale_looks[name] >= STALE_LOOKS:
                certain = True
                self._tell(name, one.thread, "died" if dead else "hangs", stale_s)
        if certain:
            self._end(EXIT_STUCK)
        return fine

    def _tell(self, name: str, thread: threading.Thread, what: str, stale_s: float) -> None:
        frame = sys._current_frames().get(thread.ident or 0)
        stack = "".join(traceback.format_stack(frame)) if frame is not None else "none: it is gone"
        log.error(
            "a thread of this process is stuck: no lease is renewed, the process ends and others take over",
            thread=name,
            what=what,
            silent_s=round(stale_s, 1),
            stack=stack,
        )
