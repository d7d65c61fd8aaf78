"""Old defects, put back by name: small patches of the product. A campaign that does not find one proves nothing about it.

`python -m bench.worlds --mutants` plays worlds with each until the promise breaks that it should break. A repaired defect of
`known.py` gets its mutant here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Any, Final
from unittest.mock import patch

from msgspec import structs

from connector.core.ports import StreamClosed, WorkerInfo
from connector.sinks._amqp_link import AmqpLink
from connector.sinks._stores import DatabaseStore
from connector.state.memory_state import MemoryState
from connector.state.positions_on_disk import PositionsOnDisk
from connector.streams.accounts import Accounts
from connector.streams.announce import Announced, Announcer
from connector.streams.handover import Handover
from connector.streams.leases import Leases
from connector.streams.lineage import Lineage
from connector.streams.lines import Lines
from connector.streams.market import Markets
from connector.streams.neighbours import Neighbours
from connector.streams.orphans import Orphans
from connector.streams.placement import Placement
from connector.streams.takers import Takers
from connector.streams.tracker import OrderTracker
from exchanges._positions import Positions
from exchanges.events import ExecutionReport, OrderTradeUpdate
from harness.worlds import mutants_at_venues as at_venues
from harness.worlds import mutants_fencing as fencing
from harness.worlds import process
from harness.worlds.plan import Plan, draw
from workers._consumer import PlatformConsumer
from workers._translate import PRICE_QUEUES

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
    first: int = 1
    """Seed from which `make check` looks for it in forty worlds: some defects show in one of hundred."""

    def plan(self, seed: int) -> Plan:
        return draw(seed, kind=self.kind, venues=self.venues, faults=self.faults)


def _changes_of_positions_lost() -> AbstractContextManager[object]:
    return patch.object(Positions, "live", lambda *_: [])


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


def _damage_ends_the_reading() -> AbstractContextManager[object]:
    genuine = DatabaseStore._rows

    def rows(self: DatabaseStore) -> list[tuple[int, bytes | None]]:
        found = genuine(self)
        return [(number, None) for number, _ in found] if any(body is None for _, body in found) else found

    return patch.object(DatabaseStore, "_rows", rows)


def _announcement_suppressed() -> AbstractContextManager[object]:
    return patch.object(Announcer, "look", lambda *_, **__: False)


def _heartbeat_for_a_day() -> AbstractContextManager[object]:
    genuine = MemoryState.heartbeat
    return patch.object(MemoryState, "heartbeat", lambda self, info, ttl_s: genuine(self, info, ttl_s * 10_000))


def _dead_not_buried() -> AbstractContextManager[object]:
    """What a dead process held stays in its name until the leases end by themselves."""
    return patch.object(Neighbours, "bury", lambda *_: None)


def _lapse_unseen() -> AbstractContextManager[object]:
    """Who comes back does not ask what became of its leases: its heartbeat was never gone, it says."""
    genuine = MemoryState.heartbeat

    def heartbeat(self: MemoryState, info: WorkerInfo, ttl_s: float) -> int:
        known = genuine(self, info, ttl_s)
        return info.streams if known is None else known

    return patch.object(MemoryState, "heartbeat", heartbeat)


@contextmanager
def _nobody_waits_after_a_flush() -> Iterator[None]:
    """W6: after Redis forgot everything a process claims what it finds, before the owners wrote their leases again."""
    genuine = MemoryState.claim

    def claim(self: MemoryState, units: Any, owner: str, ttl_s: float, **_: Any) -> dict[str, int]:
        return genuine(self, units, owner, ttl_s)

    with (
        patch.object(MemoryState, "claim", claim),
        patch.object(Neighbours, "settling", property(lambda _: False)),
    ):
        yield


def _answers_lost_for_good() -> AbstractContextManager[object]:
    """A claim whose answer was lost leaves the stream in the name of a process that does not know it."""
    return patch.object(Leases, "_give_back", lambda *_: None)


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
    genuine = Announcer._grace

    def grace(self: Announcer, text: str | None, last: Announced) -> None:
        due_ms = last.epoch + self._grace_s * 1000
        if last.left_s is not None:
            self._left = (last.id, (due_ms - self._clock.wall_ms()) / 1000)
        genuine(self, text, last)

    return patch.object(Announcer, "_grace", grace)


def _announced_once() -> AbstractContextManager[object]:
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
def _heartbeats_of_the_dead() -> Iterator[None]:
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
def _tickers_take_the_queue() -> Iterator[None]:
    """E6: a service for tickers only consumes the candle requests as well, and announces nothing."""
    with patch.object(process, "price_queues", lambda _role: PRICE_QUEUES):
        yield


@contextmanager
def _creation_remembered() -> Iterator[None]:
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


def _last_words_are_the_end() -> AbstractContextManager[object]:
    """W9: what is read after a stall counts as having come just now."""
    return patch.object(Placement, "seen_ms", lambda self, session: self.time.at(session.venue, session.last_byte_mono))


@contextmanager
def _nothing_outlives_redis() -> Iterator[None]:
    """B5: positions are in Redis only, and who starts without one takes the account for one that was never live."""
    with (
        patch.object(PositionsOnDisk, "load", lambda *_: {}),
        patch.object(Accounts, "_asked_again", lambda *_: False),
    ):
        yield


def _rebalance_trips_over_the_state() -> AbstractContextManager[object]:
    """W2: an error of the state while a price feed is given up leaves as an unexpected exception."""
    return patch.object(Markets, "_tell_others", lambda self: self._state.notify("*", "sweep"))


def _handed_to_whoever_has_a_heartbeat() -> AbstractContextManager[object]:
    """E13: a heartbeat that still stands is enough to be given a stream."""
    return patch.object(Takers, "_has_just_beaten", lambda *_: True)


@contextmanager
def _room_not_asked() -> Iterator[None]:
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
def _release_undone_by_a_renewal() -> Iterator[None]:
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


def _event_after_the_close() -> AbstractContextManager[object]:
    """E16: a close does not wait for the event that is on its way through the line."""

    def close(self: Lines, stream_id: str, *, announce: bool) -> None:
        self._lines.pop(stream_id, None)
        self._after_reject.discard(stream_id)
        if announce:
            self._sink.submit([StreamClosed(stream_id=stream_id)])

    return patch.object(Lines, "close", close)


def _absence_is_an_order() -> AbstractContextManager[object]:
    """B2: a stream whose entry is missing counts as closed."""
    return patch.object(MemoryState, "remember", lambda self, wanted: wanted.stream_id in self._entries)


MUTANTS: Final[tuple[Mutant, ...]] = (
    Mutant(
        "position not loaded",
        "the next owner starts without the saved position",
        "master",
        frozenset(
            {"rabbit lost", "redis lost", "rabbit backwards", "redis backwards", "rabbit doubled", "redis doubled"}
        ),
        _position_not_loaded,
        first=7,
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
        first=15,
    ),
    Mutant(
        "announcement suppressed",
        "a start tells nobody",
        "calm",
        frozenset({"not announced"}),
        _announcement_suppressed,
    ),
    Mutant(
        "heartbeat for a day",
        "a process's heartbeat, and all that it keeps, outlives it",
        "process",
        frozenset({"dark"}),
        _heartbeat_for_a_day,
    ),
    Mutant(
        "dead not buried",
        "what a dead process held stays in its name",
        "process",
        frozenset({"dark"}),
        _dead_not_buried,
        faults=("kill",),
    ),
    Mutant(
        "lapse unseen",
        "a process that stood still goes on with streams that others have",
        "freeze",
        frozenset({"rabbit two owners", "redis two owners", "rabbit backwards", "redis backwards", "connections"}),
        _lapse_unseen,
    ),
    Mutant(
        "W6 nobody waits after a flush",
        "after Redis forgot everything another process takes a stream before its owner wrote its lease again: both publish",
        "flush",
        frozenset({"rabbit two owners", "redis two owners", "rabbit backwards", "redis backwards", "rabbit doubled"}),
        _nobody_waits_after_a_flush,
        first=80,
    ),
    Mutant(
        "W3 first nonce by our clock",
        "an account of Kraken stays dark for as long as the host's clock was ahead when it first signed",
        "clock",
        frozenset({"dark", "rabbit lost", "redis lost", "rabbit wrong end", "redis wrong end"}),
        at_venues.first_nonce_by_our_clock,
        venues=("kraken",),
        first=5,
    ),
    Mutant(
        "W4 orders under codes",
        "who takes a stream of Hyperliquid over without its symbol list tells orders once more, as others",
        "process",
        frozenset({"rabbit backwards", "redis backwards", "rabbit doubled", "redis doubled", "redis hash"}),
        at_venues.orders_under_codes,
        venues=("hyperliquid",),
        faults=("venue_rest_slow", "drain"),
        first=20,
    ),
    Mutant(
        "answers lost for good",
        "a claim whose answer was lost leaves the stream to nobody",
        "redis",
        frozenset({"lease of nobody", "dark"}),
        _answers_lost_for_good,
        first=937,
    ),
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
        first=50,
    ),
    Mutant(
        "B2 absence is an order",
        "a stream whose key was evicted ends for good",
        "evict",
        frozenset({"rabbit lost", "rabbit wrong end", "dark", "counts", "connections"}),
        _absence_is_an_order,
        faults=("redis_evict",),
    ),
    Mutant(
        "E11 grace by the wall clock",
        "a step of the clock ends the grace period, and streams that are asked for again a moment later lose their past",
        "clock",
        frozenset({"rabbit lost", "counts"}),
        _grace_by_the_wall_clock,
        first=980,
    ),
    Mutant(
        "B4 gaps by the host's clock",
        "a clock that is off loses the gap of a take-over and reports it as complete",
        "clock",
        frozenset({"rabbit lost", "redis lost", "rabbit wrong end", "redis wrong end"}),
        fencing.gaps_by_the_hosts_clock,
        faults=("clock_step", "restart_step"),
        first=124,
    ),
    Mutant(
        "B5 nothing outlives Redis",
        "a reboot of everything with Redis loses the gap and tells nobody",
        "reboot",
        frozenset({"rabbit lost", "rabbit wrong end"}),
        _nothing_outlives_redis,
    ),
    Mutant(
        "E7c nothing is fenced",
        "a process that stood still publishes what its sockets hold, although others own its streams",
        "freeze",
        frozenset(
            {"rabbit two owners", "redis two owners", "rabbit backwards", "redis backwards", "redis deposit twice"}
        ),
        fencing.nothing_is_fenced,
    ),
    Mutant(
        "E7a nothing is fenced",
        "a process that is cut off from Redis goes on beside the next owner, and its backlog goes out behind newer events",
        "cut",
        frozenset(
            {"rabbit two owners", "redis two owners", "rabbit backwards", "redis backwards", "redis deposit twice"}
        ),
        fencing.nothing_is_fenced,
        faults=("redis_cut",),
    ),
    Mutant(
        "E7b what was written arrives",
        "what a process wrote before its time was up arrives behind the next owner's events when it can be reached again",
        "cut",
        frozenset({"rabbit two owners", "redis two owners", "rabbit backwards", "redis backwards"}),
        fencing.what_was_written_arrives,
        faults=("redis_cut",),
    ),
    Mutant(
        "B6 a missing lease is free",
        "an evicted lease has two owners",
        "evict",
        frozenset(
            {"rabbit two owners", "redis two owners", "rabbit backwards", "redis backwards", "redis deposit twice"}
        ),
        fencing.a_missing_lease_is_free,
        first=210,
    ),
    Mutant(
        "E17 any gate is deleted",
        "the process that gets the commands deletes the gate of a newer rejected key",
        "keys",
        frozenset({"gate deleted"}),
        fencing.any_gate_is_deleted,
        first=122,
    ),
    Mutant(
        "W2 rebalance trips over the state",
        "an error of the state leaves the rebalancing of price feeds as an unexpected exception",
        "price",
        frozenset({"exception"}),
        _rebalance_trips_over_the_state,
        first=58,
    ),
    Mutant(
        "E13 handed to the dead",
        "a process that stops hands its streams to one that is dead already",
        "master",
        frozenset({"handed to the dead"}),
        _handed_to_whoever_has_a_heartbeat,
    ),
    Mutant(
        "E14 room not asked",
        "who takes a stream over is not asked whether it has room",
        "full",
        frozenset({"over capacity"}),
        _room_not_asked,
    ),
    Mutant(
        "E15 release undone by a renewal",
        "a release between a beat's look and its renewal gives the lease back to a process that forgot it",
        "leave",
        frozenset({"lease of nobody"}),
        _release_undone_by_a_renewal,
    ),
    Mutant(
        "E16 event after the close",
        "an event may follow the close of its stream",
        "leave",
        frozenset({"closed but judged"}),
        _event_after_the_close,
        venues=("bybit",),
        first=20,
    ),
    Mutant(
        "B7 damage ends the reading",
        "a damaged record in the outbox takes those behind it along",
        "disk",
        frozenset({"rabbit lost"}),
        _damage_ends_the_reading,
        faults=("rabbit_away", "disk_damaged", "kill_fast"),
        first=50,
    ),
    Mutant(
        "E2 announced once",
        "the registry is forgotten while a process dies: its streams are known to nobody and nobody asks",
        "flush",
        frozenset({"dark", "counts", "not closed", "rabbit lost", "rabbit wrong end"}),
        _announced_once,
        first=60,
    ),
    Mutant(
        "E6 tickers take the queue",
        "PRICEROLE=ticker beside candle: whoever starts first holds the queue, and nobody is told a boot id",
        "price",
        frozenset({"prices not announced", "no candles"}),
        _tickers_take_the_queue,
    ),
    Mutant(
        "E8 heartbeats of the dead",
        "without keys in the state the streams of a process that came back within the life of its heartbeat stay dark",
        "unsealed",
        frozenset({"dark", "counts", "not closed", "rabbit lost"}),
        _heartbeats_of_the_dead,
        faults=("kill_fast",),
    ),
    Mutant(
        "W9 last words are the end",
        "a process that stood still takes the end of a connection for that of the stall, and asks for nothing before it",
        "freeze",
        frozenset({"rabbit lost", "redis lost"}),
        _last_words_are_the_end,
        first=1230,
    ),
    Mutant(
        "changes of positions lost",
        "a position is told whole after a connect, and never again",
        "calm",
        frozenset({"position"}),
        _changes_of_positions_lost,
    ),
    Mutant(
        "W1 creation remembered",
        "a standby that declared the queue counts it as gone when it takes over much later, and announces",
        "master",
        frozenset({"announced too often"}),
        _creation_remembered,
    ),
)


@contextmanager
def put_in(mutant: Mutant) -> Iterator[None]:
    """Within it the product has this defect. Before `staged()`, or within."""
    with mutant.put_in():
        yield
