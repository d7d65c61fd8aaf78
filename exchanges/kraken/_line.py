"""Signed spot calls of one key, one at a time: a nonce must arrive after every smaller one (venues/kraken.md 2)."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from typing import Final

from exchanges._adapter import Call, Instant, Output
from exchanges._venue import Setup

LIST_WAIT_S: Final = 5.0
"""The first call of a process waits this long for the symbol list."""
LIST_LOOK_S: Final = 0.25


class RestLine:
    """Calls wait here until the one before is answered, and are signed only then. I/O thread of the session only.

    The rest of the adapter sees its own unsigned calls: `send` takes them out of outputs, `answered` gives them back.

    The first call waits for the symbol list. Orders are named by it, and the answer that brought it told the venue's time:
    a nonce of a host whose clock is ahead would close the account, and every other user of its key, out for as long.
    """

    def __init__(self, setup: Setup, sign: Callable[[Call, Instant], Call]) -> None:
        self._sign = sign
        self._table = setup.table
        self._listed_by: float | None = None
        """Until when the list is waited for; None before the first call."""
        self._look: float | None = None
        self._waiting: deque[Call] = deque()
        self._asked: tuple[Call, Call] | None = None
        """The call as it was meant, and as it went out."""

    def send(self, outputs: Iterable[Output], now: Instant) -> list[Output]:
        """The outputs, of whose calls at most one goes out."""
        told: list[Output] = []
        for output in outputs:
            if isinstance(output, Call):
                self._waiting.append(output)
            else:
                told.append(output)
        if self._asked is None and self._waiting and self._listed(now):
            call = self._waiting.popleft()
            self._asked = (call, self._sign(call, now))
            told.append(self._asked[1])
        return told

    def _listed(self, now: Instant) -> bool:
        if self._listed_by is None:
            self._listed_by = now.mono + LIST_WAIT_S
        waits = now.mono < self._listed_by and not len(self._table())
        self._look = now.mono + LIST_LOOK_S if waits else None
        return not waits

    def due(self, now: Instant) -> list[Output]:
        """The call that waited for the symbol list, once it is there."""
        return self.send([], now) if self._look is not None and self._look <= now.mono else []

    def deadline(self) -> float | None:
        """When `due` must be called, monotonic seconds."""
        return self._look

    def answered(self, call: Call) -> Call | None:
        """The call that this answer belongs to; None for one that this line did not send."""
        if self._asked is None or self._asked[1] is not call:
            return None
        meant, self._asked = self._asked[0], None
        return meant
