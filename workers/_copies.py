"""What a process knows of messages without an id, so that one that comes again to another process counts once."""

from __future__ import annotations

import threading
from collections import Counter, deque
from collections.abc import Callable, Sequence
from typing import Final

from connector.core.copies import Copy
from connector.core.errors import StateUnavailable
from connector.core.log import get_logger
from connector.core.loop import Loop

MOST_SURE: Final = 10_000
"""Marks to take back that may wait for the state. Those beyond expire there."""
AGAIN_S: Final = 1.0

Sure = tuple[Copy, str]
"""What was carried out and acknowledged, and its nonce."""

_log = get_logger(__name__)


class InHand:
    """How many messages of each body this process has and did not carry out yet. Any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._bodies: Counter[str] = Counter()

    def came(self, body: str) -> None:
        with self._lock:
            self._bodies[body] += 1

    def done(self, body: str) -> None:
        with self._lock:
            self._bodies[body] -= 1
            if self._bodies[body] <= 0:
                del self._bodies[body]

    def besides(self, body: str) -> int:
        """Those beside one of them."""
        with self._lock:
            return max(0, self._bodies[body] - 1) if body in self._bodies else 0


class TakenBack:
    """Takes the marks of commands back whose acknowledgements have arrived, on a loop that may wait for the state."""

    def __init__(self, drop: Callable[[Sequence[Sure]], None], loop: Loop) -> None:
        self._drop, self._loop = drop, loop
        self._sure: deque[Sure] = deque(maxlen=MOST_SURE)

    def sure(self, found: Sequence[Sure]) -> None:
        """Soon. Any thread."""
        self._sure.extend(found)
        self._loop.post_once("marks", self._step)

    def _step(self) -> None:
        taken = [self._sure.popleft() for _ in range(len(self._sure))]
        if not taken:
            return
        try:
            self._drop(taken)
        except StateUnavailable as error:
            _log.debug("marks stay until the state answers", reason=str(error))
            self._sure.extendleft(reversed(taken))
            self._loop.after(AGAIN_S, self._step)
