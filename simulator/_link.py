"""One open connection as the hub sees it: outbox, who it follows, which faults hold it. Pure."""

from __future__ import annotations

import heapq
from collections.abc import Callable
from typing import Final

from simulator._venue import Close, Frame, Instant, Peer, Ping, Pong, Request, Watch
from simulator.faults import Fault

MAX_OUTBOX: Final = 20_000
"""Frames that may wait for one client; a slower reader is cut off, as at the venues."""
MAX_OUTBOX_BYTES: Final = 64 * 1024 * 1024
"""The same bound for big frames (an all-market frame may have some hundred kilobytes)."""

Action = Frame | Ping | Pong | Close


class Link:
    """One open WebSocket connection."""

    def __init__(self, link_id: int, venue: str, request: Request, peer: Peer, now: Instant) -> None:
        self.link_id = link_id
        self.venue = venue
        self.host = request.host
        self.path = request.path
        self.remote = request.remote
        self.peer = peer
        self.opened_ms = now.wall_ms
        self.accounts: set[str] = set()
        self.watches: set[Watch] = set()
        self.met: set[int] = set()
        """Ids of standing faults that were applied already."""
        self.due: list[tuple[float, Fault]] = []
        """Faults that act later (`after_s`)."""
        self.held: Frame | None = None
        self.held_until = 0.0
        self.stalled_until = 0.0
        self.half_open = False
        self.ending = False
        self.notify: Callable[[], None] = lambda: None
        """Set by the server: the outbox or a deadline changed."""
        self.cut: Callable[[], None] = lambda: None
        """Set by the server: reset the TCP connection now, whatever is being sent."""
        self.aborted = False
        self._outbox: list[tuple[float, int, Action]] = []
        self._number = 0
        self._bytes = 0

    def push(self, action: Action, due: float = 0.0) -> None:
        self._number += 1
        heapq.heappush(self._outbox, (due, self._number, action))
        self._bytes += _size(action)
        if (len(self._outbox) > MAX_OUTBOX or self._bytes > MAX_OUTBOX_BYTES) and not self.ending:
            self.abort()
        self.notify()

    def abort(self) -> None:
        """Forget what waits and reset the connection."""
        self.ending = self.aborted = True
        self._outbox.clear()
        self._bytes = 0
        self.stalled_until = 0.0
        self.cut()
        self.notify()

    def take(self, mono: float) -> list[Action]:
        """Everything that is due now; nothing while the link is stalled."""
        actions: list[Action] = []
        if mono < self.stalled_until:
            return actions
        while self._outbox and self._outbox[0][0] <= mono:
            actions.append(heapq.heappop(self._outbox)[2])
            self._bytes -= _size(actions[-1])
        return actions

    def stalled(self, mono: float) -> bool:
        return mono < self.stalled_until

    def deadline(self) -> float | None:
        """When the server has to look at this link again."""
        times: list[float | None] = [time for time, _ in self.due]
        own = None if self.half_open or self.ending else self.peer.deadline()
        if own is not None:
            times.append(max(own, self.stalled_until))
        if self._outbox:
            times.append(max(self._outbox[0][0], self.stalled_until))
        if self.held is not None:
            times.append(self.held_until)
        return min((time for time in times if time is not None), default=None)


def _size(action: Action) -> int:
    return len(action.data) if isinstance(action, Frame) else 0
