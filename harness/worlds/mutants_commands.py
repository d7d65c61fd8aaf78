"""Old defects of commands, counts and announcements. See `harness.worlds.mutants`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from unittest.mock import patch

from connector.state._marks import Marks
from connector.state.memory_state import MemoryState
from connector.streams import announce
from connector.streams.announce import Announced, Announcer
from connector.streams.leases import Leases
from connector.streams.lineage import Lineage
from connector.streams.orphans import Orphans
from harness.worlds import process
from tasks.delivery import Delivery
from workers._consumer import PlatformConsumer
from workers._translate import PRICE_QUEUES


def announcement_suppressed() -> AbstractContextManager[object]:
    return patch.object(Announcer, "look", lambda *_, **__: False)


def answers_lost_for_good() -> AbstractContextManager[object]:
    """A claim whose answer was lost leaves the stream in the name of a process that does not know it."""
    return patch.object(Leases, "_give_back", lambda *_: None)


def close_not_counted() -> AbstractContextManager[object]:
    """The first close of an account is the last one, whoever else listens."""
    genuine = MemoryState.close
    return patch.object(MemoryState, "close", lambda self, stream_id, **_: genuine(self, stream_id, everybody=True))


def nonces_forgotten() -> AbstractContextManager[object]:
    """E1: a command that is sent again because its answer was late or lost counts again."""
    return patch.object(MemoryState, "_answered", lambda *_: None)


def copies_unknown() -> AbstractContextManager[object]:
    """W8: whether another process carried a command out before its message came again is not asked."""
    return patch.object(Marks, "carried_out_elsewhere", lambda *_: None)


def kept_without_queue() -> AbstractContextManager[object]:
    """W5: a command goes on although its queue is gone and its sender is asked to say it again."""
    return patch.object(Delivery, "leave", lambda _: None)


def grace_by_the_wall_clock() -> AbstractContextManager[object]:
    """E11: the grace period after an announcement ends at a time of the wall clock, and moves with its steps."""
    genuine = Announcer._grace

    def grace(self: Announcer, text: str | None, last: Announced) -> None:
        due_ms = last.epoch + self._grace_s * 1000
        if last.left_s is not None:
            self._left = (last.id, (due_ms - self._clock.wall_ms()) / 1000)
        genuine(self, text, last)

    return patch.object(Announcer, "_grace", grace)


def announced_once() -> AbstractContextManager[object]:
    """E2: who has announced once does so again only if the queue was gone, whatever became of the state."""
    genuine = Announcer.look

    def look(self: Announcer, *, lost: bool) -> bool:
        if self.__dict__.get("announced_once") and not lost:
            return False
        made = self._made
        covered = genuine(self, lost=lost)
        if made is not None and self._made is None:
            self.__dict__["announced_once"] = True
        return covered

    return patch.object(Announcer, "look", look)


@contextmanager
def heartbeats_of_the_dead() -> Iterator[None]:
    """E8: a heartbeat counts as a process that lives, also that of one's own predecessor; keys that are gone are asked for
    once in a grace period, if at all."""
    genuine = Lineage.beat

    def beat(self: Lineage) -> None:
        text = self._state.get(self._key)
        if self.life is None and text is not None and "|" in text:
            self.life = text.partition("|")[0]
        genuine(self)

    with patch.object(Lineage, "beat", beat), patch.object(Orphans, "lasting", lambda *_: set()):
        yield


@contextmanager
def tickers_take_the_queue() -> Iterator[None]:
    """E6: a service for tickers only consumes the candle requests as well, and announces nothing."""
    with patch.object(process, "price_queues", lambda _role: PRICE_QUEUES):
        yield


@contextmanager
def creation_remembered() -> Iterator[None]:
    """W1: a consumer that made the queue counts it as new when it gets it, be it much later."""
    declare = PlatformConsumer._declare

    def _declare(self: PlatformConsumer) -> None:
        if self._consumers() is None:
            self.__dict__["made_it"] = True
        declare(self)

    with (
        patch.object(PlatformConsumer, "_declare", _declare),
        patch.object(PlatformConsumer, "_marked", lambda self: not self.__dict__.pop("made_it", False)),
    ):
        yield


def made_by_anybody() -> AbstractContextManager[object]:
    """W7: who takes the commands over makes at once what the former consumer has said and not yet written down as made."""
    return patch.object(announce, "MAKER_S", 0.0)


def absence_is_an_order() -> AbstractContextManager[object]:
    """B2: a stream whose entry is missing counts as closed."""
    return patch.object(MemoryState, "remember", lambda self, wanted: wanted.stream_id in self._entries)
