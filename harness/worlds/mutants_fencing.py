"""Old defects of who may publish, save and lift, and of when a gap began. See `harness.worlds.mutants`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from unittest.mock import patch

from connector.sinks._amqp_deadline import Deadline
from connector.sinks._amqp_link import AmqpLink
from connector.state.memory_state import MemoryState
from connector.streams.attempts import Stream
from connector.streams.breaker import AuthBreaker
from connector.streams.gaps import Gaps
from connector.streams.leases import Leases
from connector.streams.lines import Lines
from connector.streams.tracker import Position
from connector.streams.venue_time import VenueTime
from harness.worlds.redis_clients import Connection


@contextmanager
def gaps_by_the_hosts_clock() -> Iterator[None]:
    """B4: a gap begins and ends by the clocks of the hosts, however far they are off."""

    def begun(self: Gaps, stream: Stream, known: Position | None, *, unknown: bool) -> None:
        del self
        stream.gap_from_ms = known.live_until_ms if known is not None and known.live_until_ms else None
        stream.past_unknown = unknown and stream.gap_from_ms is None

    with (
        patch.object(VenueTime, "answered", lambda *_: None),
        patch.object(VenueTime, "offset", lambda *_: None),
        patch.object(Gaps, "begun", begun),
    ):
        yield


@contextmanager
def nothing_is_fenced() -> Iterator[None]:
    """E7c: whoever held a lease once publishes, however long ago its last beat was, and ends what it lost some time later."""
    with (
        patch.object(Leases, "permitted", lambda _: True),
        patch.object(Lines, "fence", lambda *_: None),
    ):
        yield


@contextmanager
def what_was_written_arrives() -> Iterator[None]:
    """E7ab: connections end without taking back what did not arrive, and nobody ends them when the process's time is up."""

    def due(self: Deadline, link: AmqpLink) -> None:
        del self, link

    def nothing_given_up(self: Connection, *_: object) -> None:
        self._losses = -1

    with patch.object(Deadline, "_due", due), patch.object(Connection, "disconnect", nothing_given_up):
        yield


def a_missing_lease_is_free() -> AbstractContextManager[object]:
    """B6: whoever finds a stream without a lease takes it, although its owner has beaten a moment ago."""
    return patch.object(MemoryState, "_held_by_another", lambda *_: False)


@contextmanager
def any_gate_is_deleted() -> Iterator[None]:
    """E17: the process that gets the commands remembers gates of others, and deletes whichever gate stands there."""
    genuine = AuthBreaker._gate

    def clear_gate(self: MemoryState, stream_id: str, digest: str) -> None:
        del digest
        with self._lock:
            self._gates.drop(stream_id)

    with (
        patch.object(AuthBreaker, "_gate", lambda self, stream_id, **_: genuine(self, stream_id, owned=True)),
        patch.object(MemoryState, "clear_gate", clear_gate),
    ):
        yield
