"""Order without waiting: commands of one key take effect in the order of their arrival, however many threads there are.

A ticket is drawn for each command in the one thread that receives them, so the order of tickets is the order of arrival.
Worker threads bring the jobs in any order. A thread whose ticket is not the first of its lane parks its job and is free
again; the thread that finishes the predecessor goes on with it. No thread ever waits for another one, so nothing can
dead-lock, and a lane is forgotten when its last ticket is done.
"""

from __future__ import annotations

import enum
import itertools
import threading
from collections import deque
from collections.abc import Callable
from typing import Final

Job = Callable[[], bool]
"""Returns True when the job is done, False when it gives up: then everything behind it in its lane is dropped, so that
the order still holds when all of it comes again."""


class _Stage(enum.Enum):
    WAITING = enum.auto()
    """Drawn; the job has not been brought yet."""
    PARKED = enum.auto()
    """The job is here, a predecessor is not done."""
    RUNNING = enum.auto()
    DONE = enum.auto()
    DROPPED = enum.auto()


class Ticket:
    """A place in a lane. Made by `Lanes.ticket`; methods may be called from any thread."""

    __slots__ = ("_job", "_lanes", "_stage", "key", "sequence")

    def __init__(self, lanes: Lanes, key: str | None, sequence: int) -> None:
        self._lanes = lanes
        self._stage = _Stage.WAITING
        self._job: Job | None = None
        self.key = key
        self.sequence = sequence

    def run(self, job: Job) -> None:
        """Run the job now, with every parked job behind it, or park it; a dropped ticket's job is not run."""
        self._lanes._run(self, job)

    def skip(self) -> None:
        """No job will be brought: the lane goes on without this ticket. Without effect once a job was brought."""
        self._lanes._skip(self)

    def drop(self) -> None:
        """Give this place up together with all places behind it, unless its job runs already."""
        self._lanes._drop(self)

    @property
    def dropped(self) -> bool:
        return self._stage is _Stage.DROPPED

    @property
    def brought(self) -> bool:
        """Whether its job was brought, or it is over."""
        return self._stage is not _Stage.WAITING

    def __repr__(self) -> str:
        return f"Ticket({self.sequence}, {self._stage.name.lower()})"


class Lanes:
    """All lanes of a process. `ticket` belongs to the receiving thread of each queue; the rest to any thread."""

    def __init__(self) -> None:
        self._lock: Final = threading.Lock()
        self._lanes: Final[dict[str, deque[Ticket]]] = {}
        self._sequence: Final = itertools.count(1)

    def ticket(self, key: str | None) -> Ticket:
        """The next place in the lane `key`; None = no order asked for, the job runs when it is brought."""
        with self._lock:
            ticket = Ticket(self, key, next(self._sequence))
            if key is not None:
                self._lanes.setdefault(key, deque()).append(ticket)
            return ticket

    def __len__(self) -> int:
        """Lanes in use."""
        return len(self._lanes)

    def _run(self, ticket: Ticket, job: Job) -> None:
        with self._lock:
            if ticket._stage is not _Stage.WAITING:
                return
            ticket._job = job
            if ticket.key is not None and self._lanes[ticket.key][0] is not ticket:
                ticket._stage = _Stage.PARKED
                return
            ticket._stage = _Stage.RUNNING
        self._drain(ticket)

    def _drain(self, first: Ticket) -> None:
        """Run this job and the parked ones behind it. An error of a job does not stop the lane; the first is raised then."""
        failure: BaseException | None = None
        ticket: Ticket | None = first
        while ticket is not None:
            done = True
            try:
                done = ticket._job is None or ticket._job()
            except BaseException as error:  # noqa: BLE001 - also dramatiq's interrupts: the lane must go on
                failure = failure or error
            ticket = self._after(ticket, done)
        if failure is not None:
            raise failure

    def _after(self, ticket: Ticket, done: bool) -> Ticket | None:
        """Take a finished ticket out; returns the next one if its job is here."""
        with self._lock:
            ticket._job = None
            ticket._stage = _Stage.DONE if done else _Stage.DROPPED
            if ticket.key is None:
                return None
            lane = self._lanes[ticket.key]
            lane.popleft()
            if not done:
                self._drop_all(lane)
            return self._next(ticket.key, lane)

    def _skip(self, ticket: Ticket) -> None:
        with self._lock:
            if ticket._stage is not _Stage.WAITING:
                return
            ticket._stage = _Stage.DONE
            if ticket.key is None:
                return
            lane = self._lanes[ticket.key]
            was_first = lane[0] is ticket
            lane.remove(ticket)
            following = self._next(ticket.key, lane) if was_first else None
        if following is not None:
            self._drain(following)

    def _drop(self, ticket: Ticket) -> None:
        with self._lock:
            if ticket._stage not in {_Stage.WAITING, _Stage.PARKED}:
                return
            ticket._stage = _Stage.DROPPED
            ticket._job = None
            if ticket.key is None:
                return
            lane = self._lanes[ticket.key]
            place = lane.index(ticket)
            behind = [lane.pop() for _ in range(len(lane) - place)]
            self._drop_all(deque(behind))
            if not lane:
                del self._lanes[ticket.key]

    @staticmethod
    def _drop_all(tickets: deque[Ticket]) -> None:
        for ticket in tickets:
            ticket._stage = _Stage.DROPPED
            ticket._job = None
        tickets.clear()

    def _next(self, key: str, lane: deque[Ticket]) -> Ticket | None:
        """The first of the lane, marked as running, if it is parked; an empty lane is forgotten."""
        if not lane:
            del self._lanes[key]
            return None
        if lane[0]._stage is not _Stage.PARKED:
            return None
        lane[0]._stage = _Stage.RUNNING
        return lane[0]
