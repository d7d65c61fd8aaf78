"""Marks of what was carried out and may be brought again; see `_mark.lua`, which does the same on Redis."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from connector.core.copies import Copy
from connector.core.ports import Clock
from connector.state import _scripts as lua
from connector.state._memory import Expiring
from connector.state._values import chunks

NO_COPY: Final = ("", "", "", 0)


def field_of(copy: Copy, nonce: str) -> str:
    """The mark that a command leaves among those of equal bodies."""
    return f"{copy.holder}.{nonce}"


def coming_of(copy: Copy) -> int:
    """0 = new, 1 = brought again, 2 = still here after its connection was lost."""
    return 2 if copy.late else int(copy.again)


def arguments_of(copy: Copy | None, nonce: str) -> tuple[object, ...]:
    """What the scripts are told of a copy, in their order."""
    return NO_COPY if copy is None else (field_of(copy, nonce), f"{copy.holder}.", coming_of(copy), copy.behind)


class MarksOnRedis:
    """The part of `RedisState` that keeps marks."""

    _redis: Any
    _prefix: str

    def _mark(self, copy: Copy | None) -> str:
        return f"{self._prefix}mark:{copy.body if copy is not None else ''}"

    def drop_marks(self, marks: Sequence[tuple[Copy, str]]) -> None:
        batches = [
            (
                [self._mark(copy) for copy, _ in chunk],
                [part for copy, nonce in chunk for part in (field_of(copy, nonce), coming_of(copy))],
            )
            for chunk in chunks(marks)
        ]
        self._redis.run_all(lua.DROP_MARKS, batches)


@dataclass
class _Equal:
    """Marks of commands with one body."""

    answers: dict[str, bool] = field(default_factory=dict)
    behind: int = 0
    taken: int = 0
    """Carried out by whom the broker brought them to, while their first process may still have them."""


class Marks:
    """In memory. Not thread-safe."""

    def __init__(self, clock: Clock, keep_s: float) -> None:
        self._keep_s = keep_s
        self._equal: Expiring[_Equal] = Expiring(clock)

    def carried_out_elsewhere(self, copy: Copy | None) -> bool | None:
        """What another process was answered to a message that came again, if it carried it out."""
        equal = self._equal.get(copy.body) if copy is not None and coming_of(copy) else None
        if copy is None or equal is None:
            return None
        if copy.late and equal.taken:
            equal.taken -= 1
            return False
        if equal.behind:
            equal.behind -= 1
            return None
        found = next((one for one in equal.answers if _others(one, copy)), None)
        return None if found is None else equal.answers.pop(found)

    def leave(self, copy: Copy | None, nonce: str, *, changed: bool) -> None:
        if copy is None:
            return
        equal = self._equal.get(copy.body) or _Equal()
        if not coming_of(copy):  # the first new one: what was brought again came before it
            equal.answers = {one: answer for one, answer in equal.answers.items() if not _others(one, copy)}
            equal.behind = copy.behind
        equal.answers[field_of(copy, nonce)] = changed
        self._equal.set(copy.body, equal, self._keep_s)

    def drop(self, marks: Sequence[tuple[Copy, str]]) -> None:
        for copy, nonce in marks:
            equal = self._equal.get(copy.body)
            if equal is None or equal.answers.pop(field_of(copy, nonce), None) is None:
                continue
            equal.taken += copy.again
            if not equal.answers and not equal.taken:
                self._equal.drop(copy.body)


def _others(mark: str, copy: Copy) -> bool:
    return not mark.startswith(f"{copy.holder}.")
