"""Counters of what clients did: what tests assert on. Bounded; pure."""

from __future__ import annotations

from collections import Counter, deque

import msgspec

from simulator._kept import TESTS


class Opened(msgspec.Struct, frozen=True):
    """One accepted or refused upgrade."""

    time_ms: int
    venue: str
    host: str
    path: str
    status: int
    """101 = accepted."""


class Note(msgspec.Struct, frozen=True):
    """Something that a peer reported: a login, a subscription, a limit that was hit."""

    time_ms: int
    venue: str
    connection: int
    what: str
    detail: str


class RestCall(msgspec.Struct, frozen=True):
    time_ms: int
    venue: str
    host: str
    method: str
    path: str
    status: int
    """0 = the connection was reset instead of an answer."""


class Stats:
    """Totals, and the newest rows of each kind."""

    def __init__(self) -> None:
        self._kept = TESTS.rows
        self.upgrades: deque[Opened] = deque(maxlen=TESTS.rows)
        self.notes: deque[Note] = deque(maxlen=TESTS.rows)
        self.calls: deque[RestCall] = deque(maxlen=TESTS.rows)
        self.connects: Counter[str] = Counter()
        self.refused: Counter[str] = Counter()
        self.closed: Counter[str] = Counter()
        self.noted: Counter[tuple[str, str]] = Counter()
        self.rest: Counter[tuple[str, str, str, int]] = Counter()
        self.frames_out: Counter[str] = Counter()
        self.frames_in: Counter[str] = Counter()
        self.faults: Counter[str] = Counter()

    def keep(self, rows: int) -> None:
        """So many rows of each kind from now on, the newest."""
        self._kept = rows
        self.upgrades = deque(self.upgrades, maxlen=rows)
        self.notes = deque(self.notes, maxlen=rows)
        self.calls = deque(self.calls, maxlen=rows)

    def upgrade(self, row: Opened) -> None:
        self.upgrades.append(row)
        (self.connects if row.status == 101 else self.refused)[row.venue] += 1

    def note(self, row: Note) -> None:
        self.notes.append(row)
        self.noted[(row.venue, row.what)] += 1

    def call(self, row: RestCall) -> None:
        self.calls.append(row)
        if len(self.rest) < self._kept:
            self.rest[(row.venue, row.method, row.path, row.status)] += 1

    def as_json(self) -> dict[str, object]:
        """Totals for the control API; rows are asked for separately."""
        noted: dict[str, dict[str, int]] = {}
        for (venue, what), count in self.noted.items():
            noted.setdefault(venue, {})[what] = count
        return {
            "connects": dict(self.connects),
            "refused": dict(self.refused),
            "closed": dict(self.closed),
            "noted": noted,
            "rest": [
                {"venue": venue, "method": method, "path": path, "status": status, "count": count}
                for (venue, method, path, status), count in sorted(self.rest.items())
            ],
            "frames_out": dict(self.frames_out),
            "frames_in": dict(self.frames_in),
            "faults": dict(self.faults),
        }
