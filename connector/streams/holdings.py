"""What was told of an account's positions (not of the *position* of its stream), and what waits to be told. Pure."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

from connector.core.messages import AccountMessage
from exchanges.events import PositionKey, PositionUpdate

MAX_KNOWN: Final = 2_000
"""Positions of one account that are remembered, closed ones included; the oldest closed ones are forgotten first."""
MAX_ON_WAY: Final = 64
"""Positions of one account that may be unconfirmed; of those behind them only the newest of each symbol waits."""


class _Told(NamedTuple):
    open: bool
    update_ms: int
    terms: tuple[object, ...]


class Holdings:
    """The newest state of each position, over all connections of a stream. Its owner locks."""

    __slots__ = ("_ids", "_told")

    def __init__(self) -> None:
        self._told: dict[PositionKey, _Told] = {}
        self._ids: deque[str] = deque(maxlen=MAX_ON_WAY)

    def admit(self, event: PositionUpdate) -> bool:
        """Whether it is news: not older than what was told, and not the same again, unless it is part of a snapshot."""
        known = self._told.get(event.key)
        update_ms = event.update_time if isinstance(event.update_time, int) else 0
        if known is not None:
            if 0 < update_ms < known.update_ms:
                return False
            if not event.snapshot and event.terms == known.terms:
                return False
        self._told[event.key] = _Told(event.open, max(update_ms, known.update_ms if known else 0), event.terms)
        if len(self._told) > MAX_KNOWN:
            self._forget()
        return True

    def confirm(self, event: PositionUpdate) -> None:
        """Remember what another one admitted."""
        self._told[event.key] = _Told(event.open, 0, event.terms)
        if len(self._told) > MAX_KNOWN:
            self._forget()

    def note(self, event_id: str) -> None:
        """An update with this id was told."""
        self._ids.append(event_id)

    def newest_ids(self) -> list[str]:
        """Of the newest that were told."""
        return list(self._ids)

    def held(self) -> list[PositionKey]:
        """Those that were told as open last."""
        return [key for key, told in self._told.items() if told.open]

    def load(self, held: Iterable[PositionKey]) -> None:
        """What an earlier owner told as open. What is known here is newer."""
        for key in held:
            self._told.setdefault(key, _Told(open=True, update_ms=0, terms=()))

    def _forget(self) -> None:
        closed = [key for key, told in self._told.items() if not told.open]
        for key in closed[: len(closed) // 2] or [next(iter(self._told))]:
            del self._told[key]


class Outgoing:
    """Positions on their way out: under pressure only the newest of each waits, and is never lost. Its owner locks."""

    __slots__ = ("_on_way", "_waiting")

    def __init__(self) -> None:
        self._waiting: dict[PositionKey, AccountMessage] = {}
        self._on_way = 0

    def __bool__(self) -> bool:
        return bool(self._waiting)

    def put(self, key: PositionKey, message: AccountMessage) -> None:
        self._waiting[key] = message

    def ready(self, *, all_of_them: bool = False) -> Sequence[tuple[PositionKey, AccountMessage]]:
        """Those that may go out now, in their order; each stays until it is `sent`."""
        room = len(self._waiting) if all_of_them else max(0, MAX_ON_WAY - self._on_way)
        return list(self._waiting.items())[:room]

    def leave_out(self, event_ids: Iterable[str]) -> None:
        """Another process has told these."""
        told = frozenset(event_ids)
        self._waiting = {key: message for key, message in self._waiting.items() if message.event_id not in told}

    def sent(self, key: PositionKey) -> None:
        del self._waiting[key]
        self._on_way += 1

    def confirmed(self) -> None:
        self._on_way = max(0, self._on_way - 1)
