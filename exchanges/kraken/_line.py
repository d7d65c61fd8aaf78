"""Signed spot calls of one key, one at a time: a nonce must arrive after every smaller one (venues/kraken.md 2)."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable

from exchanges._adapter import Call, Instant, Output


class RestLine:
    """Calls wait here until the one before is answered, and are signed only then. I/O thread of the session only.

    The rest of the adapter sees its own unsigned calls: `send` takes them out of outputs, `answered` gives them back.
    """

    def __init__(self, sign: Callable[[Call, Instant], Call]) -> None:
        self._sign = sign
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
        if self._asked is None and self._waiting:
            call = self._waiting.popleft()
            self._asked = (call, self._sign(call, now))
            told.append(self._asked[1])
        return told

    def answered(self, call: Call) -> Call | None:
        """The call that this answer belongs to; None for one that this line did not send."""
        if self._asked is None or self._asked[1] is not call:
            return None
        meant, self._asked = self._asked[0], None
        return meant

    def forget(self) -> None:
        """Nobody wants the answers any more."""
        self._waiting.clear()
        self._asked = None
