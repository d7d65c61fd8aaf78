"""Old defects, put back by name: small patches of the product. A campaign that does not find one proves nothing about it.

`python -m bench.worlds --mutants` plays worlds with each until the promise breaks that it should break. A repaired defect of
`known.py` gets its mutant here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, Final
from unittest.mock import patch

from connector.core.clock import SystemClock
from connector.sinks._amqp_link import AmqpLink
from connector.state.memory_state import MemoryState
from connector.state.positions_on_disk import PositionsOnDisk
from connector.streams.accounts import Accounts
from connector.streams.announce import Announcer
from connector.streams.lines import Lines
from connector.streams.routine import Routine
from connector.streams.tracker import OrderTracker
from exchanges.events import ExecutionReport, OrderTradeUpdate
from harness.worlds.plan import Plan, draw

WITHIN: Final = 1000
"""Worlds within which each must be found."""


@dataclass(frozen=True)
class Mutant:
    """`kind`: the worlds in which it is looked for; `breaks`: promises of which one must break."""

    name: str
    what: str
    kind: str
    breaks: frozenset[str]
    put_in: Callable[[], AbstractContextManager[object]]
    venues: tuple[str, ...] = ()
    faults: tuple[str, ...] = ()

    def plan(self, seed: int) -> Plan:
        return draw(seed, kind=self.kind, venues=self.venues, faults=self.faults)


def _position_not_loaded() -> AbstractContextManager[object]:
    genuine = Lines.open

    def open_line(self: Lines, stream_id: str, exchange: str, position: Any, **more: Any) -> None:
        del position
        genuine(self, stream_id, exchange, None, **more)

    return patch.object(Lines, "open", open_line)


def _order_goes_backwards() -> AbstractContextManager[object]:
    genuine = OrderTracker.admit

    def admit(self: OrderTracker, event: Any, **more: Any) -> Any:
        knows = self
        if isinstance(event, ExecutionReport | OrderTradeUpdate):
            knows = OrderTracker(self._exchange)
        return genuine(knows, event, **more)

    return patch.object(OrderTracker, "admit", admit)


def _gap_not_read() -> AbstractContextManager[object]:
    return patch.object(Lines, "resume", lambda *_, **__: None)


def _deltas_forgotten() -> AbstractContextManager[object]:
    """The next owner does not know which changes of balances the former one told."""
    genuine = OrderTracker.load

    def load(self: OrderTracker, position: Any) -> None:
        known = self._seen.copy()
        genuine(self, position)
        self._seen = known

    return patch.object(OrderTracker, "load", load)


def _announcement_suppressed() -> AbstractContextManager[object]:
    return patch.object(Announcer, "user_started", lambda *_, **__: None)


def _lease_for_a_day() -> AbstractContextManager[object]:
    genuine = MemoryState.renew
    return patch.object(
        MemoryState, "renew", lambda self, leases, owner, ttl_s: genuine(self, leases, owner, ttl_s * 10_000)
    )


@contextmanager
def _returns_unseen() -> Iterator[None]:
    """E5: messages are not mandatory and nobody looks after the queue: what no queue takes is confirmed and gone."""
    genuine = AmqpLink.publish

    def publish(self: AmqpLink, *arguments: Any, **_: Any) -> int:
        return genuine(self, *arguments)

    with patch.object(AmqpLink, "publish", publish), patch.object(AmqpLink, "keep_queue", lambda *_: None):
        yield


def _close_not_counted() -> AbstractContextManager[object]:
    """The first close of an account is the last one, whoever else listens."""
    genuine = MemoryState.close
    return patch.object(MemoryState, "close", lambda self, stream_id, **_: genuine(self, stream_id, everybody=True))


def _nonces_forgotten() -> AbstractContextManager[object]:
    """E1: a command that is sent again because its answer was late or lost counts again."""
    return patch.object(MemoryState, "_answered", lambda *_: None)


def _grace_by_the_wall_clock() -> AbstractContextManager[object]:
    """E11: the grace period after an announcement ends at a time of the wall clock, and moves with its steps."""
    genuine = Routine.once_after

    def once_after(self: Routine, seconds: float, job: Callable[[], Any]) -> None:
        clock = SystemClock()
        due_ms = clock.wall_ms() + seconds * 1000

        def look() -> None:
            if clock.wall_ms() >= due_ms:
                job()
            else:
                genuine(self, 1.0, partial(look))

        genuine(self, 1.0, partial(look))

    return patch.object(Routine, "once_after", once_after)


@contextmanager
def _nothing_outlives_redis() -> Iterator[None]:
    """B5: positions are in Redis only, and who starts without one takes the account for one that was never live."""
    with (
        patch.object(PositionsOnDisk, "load", lambda *_: {}),
        patch.object(Accounts, "_asked_again", lambda *_: False),
    ):
        yield


MUTANTS: Final[tuple[Mutant, ...]] = (
    Mutant(
        "position not loaded",
        "the next owner starts without the saved position",
        "process",
        frozenset({"rabbit backwards", "rabbit doubled", "redis backwards", "redis doubled", "redis deposit twice"}),
        _position_not_loaded,
        faults=("kill", "kill_fast", "drain"),
    ),
    Mutant(
        "order goes backwards",
        "what was published of an order is not compared with what comes",
        "venue",
        frozenset({"rabbit backwards", "redis backwards", "rabbit doubled"}),
        _order_goes_backwards,
    ),
    Mutant(
        "gap not read",
        "a reconnect asks nothing about the time before it",
        "venue",
        frozenset({"rabbit lost"}),
        _gap_not_read,
    ),
    Mutant(
        "deltas forgotten",
        "the next owner does not know which changes of balances the former one told",
        "process",
        frozenset({"redis deposit twice", "rabbit deposit twice"}),
        _deltas_forgotten,
        venues=("binance",),
        faults=("drain",),
    ),
    Mutant(
        "announcement suppressed",
        "a start tells nobody",
        "calm",
        frozenset({"not announced"}),
        _announcement_suppressed,
    ),
    Mutant("lease for a day", "a renewed lease outlives its process", "process", frozenset({"dark"}), _lease_for_a_day),
    Mutant(
        "close not counted",
        "one bot's close ends the stream of all others",
        "commands",
        frozenset({"counts", "dark"}),
        _close_not_counted,
    ),
    Mutant(
        "E5 returns unseen",
        "the broker confirms events that no queue keeps",
        "topology",
        frozenset({"rabbit lost", "queue missing"}),
        _returns_unseen,
    ),
    Mutant(
        "E1 nonces forgotten",
        "a command whose answer is late or lost is sent again and counts twice",
        "commands",
        frozenset({"counts", "dark", "not closed"}),
        _nonces_forgotten,
    ),
    Mutant(
        "E11 grace by the wall clock",
        "a step of the clock ends the grace period, and streams that are asked for again a moment later lose their past",
        "clock",
        frozenset({"rabbit lost", "counts"}),
        _grace_by_the_wall_clock,
    ),
    Mutant(
        "B5 nothing outlives Redis",
        "a reboot of everything with Redis loses the gap and tells nobody",
        "reboot",
        frozenset({"rabbit lost", "rabbit wrong end"}),
        _nothing_outlives_redis,
    ),
)


@contextmanager
def put_in(mutant: Mutant) -> Iterator[None]:
    """Within it the product has this defect. Before `staged()`, or within."""
    with mutant.put_in():
        yield
