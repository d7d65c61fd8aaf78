"""Which session carries which stream: makes sessions, fills shared ones, keeps the register of every open socket.

Supervisor thread only, unless a method says otherwise. A session of a *pool* (exchange, feed, group) takes streams until the
venue's limit is reached; venues with one account a connection have pools whose sessions carry one stream.
"""

from __future__ import annotations

import itertools
import zlib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Final

import msgspec

from connector.core.clock import Chance
from connector.core.log import get_logger
from connector.core.ports import Clock
from connector.core.proxies import Ways
from connector.core.slices import Slices
from connector.streams.dial import Dialler
from connector.streams.egress import Egresses
from connector.streams.io import IoThread
from connector.streams.publisher import Publisher
from connector.streams.session import Listener, Session
from connector.streams.spec import StreamSpec
from connector.streams.venue_time import VenueTime
from exchanges import venue_of
from exchanges._adapter import Adapter, Answer, Subscription
from exchanges._venue import Limits, Setup, Venue
from exchanges.ids import Feed
from exchanges.instruments import SymbolTable

log = get_logger(__name__)

SHARED: Final = "shared"
"""Group of the connections that candle topics share when an exchange id has all those of its own that it may have."""
JOINABLE_FOR: Final = 0.8
"""A shared session takes no new streams in the last fifth of its life."""

CLOCK_KEPT_S: Final = 3600.0
"""How long a measured clock serves new connections: meanwhile ours may have been put right."""


class UnknownExchange(LookupError):
    """No venue serves this exchange id; the owner must have refused it before."""


AGED_LOOKS: Final = 10
"""A session's age is looked at with every so-manieth look: cuts are hours away."""


class Placement:
    """The register of sessions."""

    listener: Listener

    def __init__(
        self,
        io_threads: list[IoThread],
        dialler: Dialler,
        publisher: Publisher,
        clock: Clock,
        chance: Chance,
        table: Callable[[str], SymbolTable],
        options: Mapping[str, str],
        egresses: Egresses | None = None,
    ) -> None:
        """`egresses`: the ways out, which the sessions of a venue take in turn; None = there is one."""
        self._io, self._dialler, self._publisher, self._clock = io_threads, dialler, publisher, clock
        self._chance = chance
        self._table, self._options = table, options
        self._egresses = egresses or Egresses(Ways(), clock)
        self._turns: dict[tuple[str, ...], Iterator[str]] = {}
        self._pools: dict[tuple[str, Feed, str], dict[Session, None]] = {}
        self._used: Counter[tuple[str, str]] = Counter()
        """Sessions by venue and way out."""
        self._aging: Slices[str] = Slices(AGED_LOOKS)
        self._by_name: dict[str, tuple[Session, IoThread, tuple[str, Feed, str]]] = {}
        self._sealed: set[Session] = set()
        self._numbers = itertools.count(1)
        self.time = VenueTime(clock)
        self._clocks: dict[str, tuple[int, float]] = {}
        """By venue: its time minus ours in ms, and when it was measured. Written and read by I/O threads."""

    # --- any thread ---

    def clock_read(self, venue: str, offset_ms: int) -> None:
        """A connection had to measure its venue's clock: the others start with what it found."""
        log.warning("a venue refused our clock; its own is used", venue=venue, offset_ms=offset_ms)
        self._clocks[venue] = (offset_ms, self._clock.mono())
        self.time.offset(venue, offset_ms)

    def answered(self, exchange: str, answer: Answer) -> None:
        """A REST answer of an exchange id that belongs to no session."""
        venue = venue_of(exchange)
        if venue is not None:
            self.time.answered(venue.name, answer.headers)

    def now_ms(self, exchange: str) -> int:
        """Time at the venue of an exchange id."""
        venue = venue_of(exchange)
        return self.time.now_ms(venue.name if venue is not None else exchange)

    def seen_ms(self, session: Session) -> int:
        """When the last byte came over a session, by its venue's clock."""
        return self.time.at(session.venue, session.heard_mono)

    def clock_offset_ms(self, venue: str) -> int:
        """What was measured last, unless that is long ago."""
        offset_ms, measured = self._clocks.get(venue, (0, -CLOCK_KEPT_S))
        if self._clock.mono() - measured < CLOCK_KEPT_S:
            return offset_ms
        return self.time.now_ms(venue) - self._clock.wall_ms()

    def sessions(self) -> list[Session]:
        return [session for session, _, _ in list(self._by_name.values())]

    def dialling(self) -> int:
        return self._dialler.waiting()

    # --- supervisor thread ---

    def session(self, name: str) -> Session | None:
        entry = self._by_name.get(name)
        return entry[0] if entry is not None else None

    def join(self, spec: StreamSpec, subscription: Subscription, beside: Session | None = None) -> Session:
        """Put a stream on a session with room, or on a new one. `beside`: a replacement for this session."""
        venue = venue_of(spec.exchange)
        if venue is None:
            raise UnknownExchange(spec.exchange)
        feed: Feed = spec.feed
        # Accounts of a test network and live ones never share a socket.
        group = (spec.credentials.environment or "") if spec.credentials is not None else ""
        if feed == "candle":
            group = venue.candle_group(spec.exchange, spec.symbol, spec.interval, self._table(spec.exchange))
        key = (spec.exchange, feed, group)
        limits = venue.limits(spec.exchange, feed)
        session = self._with_room(key, limits.subscriptions_per_connection, beside)
        if session is None and feed == "candle" and self._crowded(spec.exchange, limits):
            key = (spec.exchange, feed, SHARED)
            session = self._with_room(key, limits.shared_topics, beside)
        if session is not None:
            io = self._by_name[session.name][1]
            session.streams.add(spec.stream_id)
            io.post(partial(session.add, subscription))
            return session
        session, io = self._create(venue, spec, key, beside)
        session.streams.add(spec.stream_id)
        io.post(partial(session.start, (subscription,)))
        return session

    def _crowded(self, exchange: str, limits: Limits) -> bool:
        """Whether no further connection is to be had for one candle topic alone."""
        text = self._options.get(limits.candle_connections_option, "").strip()
        most = int(text) if text.isdecimal() else limits.candle_connections
        if most is None:
            return False
        owned = [pool for (owner, feed, group), pool in self._pools.items()
                 if (owner, feed) == (exchange, "candle") and group != SHARED]  # fmt: skip
        return sum(map(len, owned)) >= most

    def _with_room(self, key: tuple[str, Feed, str], room: int, beside: Session | None) -> Session | None:
        if room <= 1:
            return None  # each session has its stream already: thousands of accounts are not looked at for the next one
        now = self._clock.mono()
        for session in self._pools.get(key, ()):
            lifetime_s = session.limits.lifetime_s
            young = (
                lifetime_s is None or not session.opened_mono or now - session.opened_mono < lifetime_s * JOINABLE_FOR
            )
            if (
                session is not beside
                and not session.closed
                and session not in self._sealed
                and len(session.streams) < room
                and young
            ):
                return session
        return None

    def _create(
        self, venue: Venue, spec: StreamSpec, key: tuple[str, Feed, str], beside: Session | None
    ) -> tuple[Session, IoThread]:
        feed = spec.feed
        setup = Setup(
            exchange=spec.exchange,
            new_id=self._new_id,
            table=partial(self._table, spec.exchange),
            options=self._options,
            clock_offset_ms=partial(self.clock_offset_ms, venue.name),
        )
        make: dict[Feed, Callable[[Setup], Adapter]] = {
            "user": venue.user, "ticker": venue.ticker, "candle": venue.candle,
        }  # fmt: skip
        # A replacement stays on its predecessor's I/O thread, so that one thread sees the stream's events in order.
        if beside is not None and beside.name in self._by_name:
            io = self._by_name[beside.name][1]
        else:
            io = self._io[zlib.crc32(spec.stream_id.encode()) % len(self._io)]
        limits = self._limits(venue, spec)
        session = Session(
            f"{spec.exchange}:{feed}:{next(self._numbers)}",
            venue.name,
            spec.exchange,
            feed,
            make[feed](setup),
            limits,
            io,
            self.listener,
            self._publisher,
            self._egress(venue, limits),
        )
        self._pools.setdefault(key, {})[session] = None
        self._used[venue.name, session.egress] += 1
        self._by_name[session.name] = (session, io, key)
        return session, io

    def _limits(self, venue: Venue, spec: StreamSpec) -> Limits:
        """The venue's limits, as far as a deployment may know better."""
        limits = venue.limits(spec.exchange, spec.feed)
        text = self._options.get(limits.open_connections_option, "").strip()
        if not text.isdecimal() or int(text) < 1:
            return limits
        return msgspec.structs.replace(limits, open_connections=int(text))

    def _egress(self, venue: Venue, limits: Limits) -> str:
        """The next way out in turn that works; where the venue limits how many connections one has, the one with the
        fewest."""
        names = self._egresses.names(venue.name)
        if len(names) == 1:
            return names[0]
        at = names.index(next(self._turns.setdefault(names, itertools.cycle(names))))
        working = self._egresses.working(venue.name)
        in_turn = [name for name in (*names[at:], *names[:at]) if name in working]
        if limits.open_connections is None:
            return in_turn[0]
        return min(in_turn, key=lambda name: self._used[venue.name, name])

    def leave(self, session: Session, stream_id: str, *, polite: bool, last_holder: bool = False) -> None:
        """Take a stream off a session; the last one closes it."""
        entry = self._by_name.get(session.name)
        session.streams.discard(stream_id)
        if entry is None:
            return
        io = entry[1]
        if session.streams:
            io.post(partial(session.remove, stream_id))
            return
        self.ended(session)
        io.post(partial(session.close, polite=polite, last_holder=last_holder))

    def probe(self, session: Session) -> None:
        """Ask the other end for a sign of life, where it answers pings."""
        entry = self._by_name.get(session.name)
        if entry is not None:
            entry[1].post(session.probe)

    def seal(self, session: Session) -> None:
        """No further stream joins this session."""
        if session.name in self._by_name:
            self._sealed.add(session)

    def sealed(self, session: Session) -> bool:
        return session in self._sealed

    def cut(self, session: Session) -> None:
        entry = self._by_name.get(session.name)
        if entry is not None:
            entry[1].post(partial(session.close, polite=False))
            self.ended(session)

    def ended(self, session: Session) -> None:
        """Forget a session that is closed or closing."""
        entry = self._by_name.pop(session.name, None)
        self._sealed.discard(session)
        if entry is not None:
            self._used[session.venue, session.egress] -= 1
            pool = self._pools.get(entry[2], {})
            pool.pop(session, None)
            if not pool:
                self._pools.pop(entry[2], None)

    def aged(self) -> list[Session]:
        """Of the sessions whose turn it is, those that are due for rotation: near the venue's cut, spread by a few per
        cent."""
        now = self._clock.mono()
        due = []
        for name in self._aging.next(self._by_name):
            session = self.session(name)
            if session is None:
                continue
            lifetime_s = session.limits.lifetime_s
            if lifetime_s is None or not session.opened_mono or session.closed or session in self._sealed:
                continue
            spread = 1.0 - 0.05 * (zlib.crc32(session.name.encode()) % 100) / 100
            if now - session.opened_mono >= lifetime_s * spread:
                due.append(session)
        return due

    def _new_id(self) -> str:
        return self._chance.new_id()[:24]
