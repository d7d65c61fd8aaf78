"""Old defects of who runs what: leases, heartbeats, hand-over. See `harness.worlds.mutants`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any
from unittest.mock import patch

from msgspec import structs

from connector.core.ports import WorkerInfo
from connector.state.memory_state import MemoryState
from connector.state.positions_on_disk import PositionsOnDisk
from connector.streams.accounts import Accounts
from connector.streams.handover import Handover
from connector.streams.leases import Leases
from connector.streams.market import Markets
from connector.streams.neighbours import Neighbours
from connector.streams.passing import Cue
from connector.streams.supervisor import Supervisor
from connector.streams.takers import Takers


def heartbeat_for_a_day() -> AbstractContextManager[object]:
    genuine = MemoryState.heartbeat
    return patch.object(MemoryState, "heartbeat", lambda self, info, ttl_s: genuine(self, info, ttl_s * 10_000))


def dead_not_buried() -> AbstractContextManager[object]:
    """What a dead process held stays in its name until the leases end by themselves."""
    return patch.object(Neighbours, "bury", lambda *_: None)


def lapse_unseen() -> AbstractContextManager[object]:
    """Who comes back does not ask what became of its leases: its heartbeat was never gone, it says."""
    genuine = MemoryState.heartbeat

    def heartbeat(self: MemoryState, info: WorkerInfo, ttl_s: float) -> int:
        known = genuine(self, info, ttl_s)
        return info.streams if known is None else known

    return patch.object(MemoryState, "heartbeat", heartbeat)


@contextmanager
def nobody_waits_after_a_flush() -> Iterator[None]:
    """W6: after Redis forgot everything a process claims what it finds, before the owners wrote their leases again."""
    genuine = MemoryState.claim

    def claim(self: MemoryState, units: Any, owner: str, ttl_s: float, **_: Any) -> dict[str, int]:
        return genuine(self, units, owner, ttl_s)

    with (
        patch.object(MemoryState, "claim", claim),
        patch.object(Neighbours, "settling", property(lambda _: False)),
    ):
        yield


@contextmanager
def nothing_outlives_redis() -> Iterator[None]:
    """B5: positions are in Redis only, and who starts without one takes the account for one that was never live."""
    with (
        patch.object(PositionsOnDisk, "load", lambda *_: {}),
        patch.object(Accounts, "_asked_again", lambda *_: False),
    ):
        yield


def rebalance_trips_over_the_state() -> AbstractContextManager[object]:
    """W2: an error of the state while a price feed is given up leaves as an unexpected exception."""
    return patch.object(Markets, "_tell_others", lambda self: self._state.notify("*", "sweep"))


def handed_to_whoever_has_a_heartbeat() -> AbstractContextManager[object]:
    """E13: a heartbeat that still stands is enough to be given a stream."""
    return patch.object(Takers, "_has_just_beaten", lambda *_: True)


@contextmanager
def room_not_asked() -> Iterator[None]:
    """E14: neither the giver nor the taker looks at the taker's MAX_STREAMS."""

    def beside_us(self: Takers) -> list[WorkerInfo]:
        leases = self._leases
        return [
            structs.replace(worker, capacity=worker.streams + 1_000)
            for worker in leases.workers
            if worker.owner in leases.candidates() and worker.owner != leases.owner
        ]

    genuine = Handover.__init__

    def made(self: Handover, *arguments: Any, **more: Any) -> None:
        genuine(self, *arguments, **more)
        self._has_room = lambda: True

    with patch.object(Takers, "beside_us", beside_us), patch.object(Handover, "__init__", made):
        yield


@contextmanager
def release_undone_by_a_renewal() -> Iterator[None]:
    """E15: a release leaves no mark, and the renewal that was on its way gives the lease back; each beat renews all, and
    nobody looks for what is in its name unknowingly."""

    def release(self: MemoryState, leases: dict[str, int], owner: str) -> None:
        with self._lock:
            for unit, fence in leases.items():
                if self._leases.get(unit) == (owner, fence):
                    self._leases.drop(unit)
                    self._leave(unit, owner)
                    self._found(unit)

    with (
        patch.object(MemoryState, "release", release),
        patch.object(Leases, "_due", lambda _, leases: dict(leases)),
        patch.object(Leases, "_give_back", lambda *_: None),
    ):
        yield


@contextmanager
def taken_back_unasked() -> Iterator[None]:
    """A taker goes on without its giver and asks nobody whose the stream is; a giver takes any word for its taker's."""
    release, taker_ready = Handover._release, Handover._taker_ready

    def any_release(self: Handover, stream_id: str, cue: Cue, *, clean: bool, seamless: bool, fence: int = 0) -> None:
        passing = self._passing.get(stream_id)
        fence = passing.fence if passing is not None else fence
        release(self, stream_id, cue, clean=clean, seamless=seamless, fence=fence)

    def anybody_ready(self: Handover, stream_id: str, by: str) -> None:
        passing = self._passing.get(stream_id)
        taker_ready(self, stream_id, by if passing is None else passing.other)

    with patch.object(Handover, "_release", any_release), patch.object(Handover, "_taker_ready", anybody_ready):
        yield


def closed_by_the_taker_alone() -> AbstractContextManager[object]:
    """A giver that publishes once more after its taker closed the account does not say that nobody listens."""
    genuine = Supervisor.unwant

    def unwant(self: Supervisor, stream_id: str, *, last_holder: bool = False, announce: bool = False) -> None:
        genuine(self, stream_id, last_holder=last_holder, announce=announce and last_holder)

    return patch.object(Supervisor, "unwant", unwant)
