"""The simulated world as one pure object: halves, engine, markets, connections, faults. The server only moves bytes for it.

Inputs are calls (`rest`, `connect`, `received`, `pulse` …) with the time; outputs are entries in the outboxes of links, and a
callback that says which link has something to do. Loop thread only.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Protocol

import msgspec

from exchanges.ids import family_of
from simulator._kept import Kept
from simulator._link import Link
from simulator._odd import HOW, with_odd_rows
from simulator._rest_faults import RestResult, rest_fault
from simulator._values import CandleUpdate, Tick
from simulator._venue import (
    Close,
    Effects,
    Follow,
    Frame,
    Instant,
    Noted,
    Peer,
    Ping,
    Pong,
    Refuse,
    Request,
    Signal,
    Unfollow,
    Unwatch,
    VenueHalf,
    Watch,
    World,
    WorldSettings,
)
from simulator.engine import Engine
from simulator.faults import ACTS, FRAMES, GARBAGE, ODD, SIGNALS, Fault, FaultBook
from simulator.markets import Markets, coins
from simulator.stats import Note, Opened, RestCall, Stats
from simulator.venues import halves

HOLD_S: Final = 2.0
"""A frame held back by `reorder` goes out after this long even if no second one comes."""


class Routine(Protocol):
    """Something that goes on by itself: demo, firehose."""

    covers: frozenset[str]
    """Exchange ids whose prices the routine makes itself."""

    def step(self, now: Instant) -> float:
        """Do what is due; returns when to be called again, monotonic seconds."""


class Hub:
    """Everything that the simulator is, without I/O."""

    def __init__(self, settings: WorldSettings, venues: Sequence[str] = ()) -> None:
        self.settings = settings
        self._venues = tuple(venues)
        self.links: dict[int, Link] = {}
        self._last_link = 0
        self._begin()

    def _begin(self) -> None:
        settings = self.settings
        markets = Markets(seed=settings.seed, move=settings.move, quiet=settings.quiet)
        self.world = World(settings, Engine(markets, match=settings.match), markets)
        self.halves: dict[str, VenueHalf] = {
            name: half(self.world) for name, half in halves().items() if not self._venues or name in self._venues
        }
        for half in self.halves.values():
            markets.load(half.markets(coins(settings.symbols)))
        self.hosts: dict[str, str] = {host: name for name, half in self.halves.items() for host in half.hosts}
        """Host name → venue."""
        self.faults = FaultBook()
        self.stats = Stats()
        self.routines: list[Routine] = []
        self.unreachable_until = 0.0
        """Monotonic time until which the server's port refuses TCP connections."""
        self._followers: dict[str, set[int]] = {}
        self._watchers: dict[Watch, set[int]] = {}
        self._next_step = 0.0

    def reset(self, now: Instant) -> None:
        """A new world of the same settings; every connection is dropped, connection ids go on."""
        for link in list(self.links.values()):
            link.abort()
            self.closed(link, now)
        self._begin()

    def keep(self, kept: Kept) -> None:
        """Remember so much from now on, until `reset`."""
        self.world.engine.keep(kept)
        self.world.markets.keep(kept.candles)
        self.stats.keep(kept.rows)

    def replaces(self, venue: str) -> bool:
        """Whether a modify of this venue makes a new order under the same client id (`replaces` of the half)."""
        return venue in self.halves and self.halves[venue].replaces

    # --- requests ---

    def now_at(self, venue: str, now: Instant) -> Instant:
        """The venue's clock: `now` with the clock-skew faults."""
        return Instant(now.mono, now.wall_ms + self.faults.skew_ms(venue, now.mono))

    def rest(self, venue: str, request: Request, now: Instant) -> RestResult:
        """One HTTP request to a venue."""
        self.world.markets.begin(now.wall_ms)
        result = self._rest(venue, request, now)
        status = result.reply.status if result.reply else 0
        self.stats.call(RestCall(now.wall_ms, venue, request.host, request.method, request.path, status))
        self.deliver(now)
        return result

    def _rest(self, venue: str, request: Request, now: Instant) -> RestResult:
        scope = (venue, request.host, request.path, self._account_of(venue, request), now.mono)
        result = rest_fault(self.faults, scope)
        if result.answered:
            return result
        reply = self.halves[venue].rest(request, self.now_at(venue, now))
        odd = self.faults.for_request("odd_rows", *scope)
        if odd is not None:
            self.stats.faults[odd.kind] += 1
            reply = msgspec.structs.replace(reply, body=_odd(odd, reply.body))
        return result._replace(reply=reply)

    def _account_of(self, venue: str, request: Request) -> str:
        """The account whose key stands in a header, for faults that are meant for one account."""
        for name, value in request.headers.items():
            if "key" in name and (found := self.world.engine.find_key(venue, value)):
                return found[0].account_id
        return ""

    def connect(self, venue: str, request: Request, now: Instant) -> Link | Refuse | None:
        """One WebSocket upgrade: a link, a refusal, or None = reset the TCP connection."""
        self.world.markets.begin(now.wall_ms)
        fault = self.faults.for_request("refuse", venue, request.host, request.path, "", now.mono)
        answer: Peer | Refuse
        if fault and fault.params.get("status") == "reset":
            self._upgraded(venue, request, 0, now)
            return None
        if fault:
            wait = fault.params.get("retry_after", "")
            answer = Refuse(int(fault.number("status", 503)), b"", {"Retry-After": wait} if wait else {})
        else:
            answer = self.halves[venue].connect(request, self.now_at(venue, now))
        if isinstance(answer, Refuse):
            self._upgraded(venue, request, answer.status, now)
            return answer
        self._last_link += 1
        link = Link(self._last_link, venue, request, answer, now)
        self.links[link.link_id] = link
        self._upgraded(venue, request, 101, now)
        return link

    def _upgraded(self, venue: str, request: Request, status: int, now: Instant) -> None:
        self.stats.upgrade(Opened(now.wall_ms, venue, request.host, request.path, status))

    # --- one connection ---

    def opened(self, link: Link, now: Instant) -> None:
        """The upgrade was answered; greetings may go out."""
        self.apply(link, link.peer.opened(self.now_at(link.venue, now)), now)
        self._standing(link, now)

    def received(self, link: Link, data: str | bytes, now: Instant) -> None:
        self.stats.frames_in[link.venue] += 1
        if not link.half_open:
            self.apply(link, link.peer.received(data, self.now_at(link.venue, now)), now)
            self.deliver(now)

    def pinged(self, link: Link, payload: bytes, now: Instant) -> None:
        if not link.half_open:
            self.apply(link, link.peer.pinged(payload, self.now_at(link.venue, now)), now)

    def ponged(self, link: Link, payload: bytes, now: Instant) -> None:
        if not link.half_open:
            self.apply(link, link.peer.ponged(payload, self.now_at(link.venue, now)), now)

    def woken(self, link: Link, now: Instant) -> None:
        """A deadline of the link may have come."""
        for due, fault in [item for item in link.due if item[0] <= now.mono]:
            link.due.remove((due, fault))
            self._act(link, fault, now)
        if link.held is not None and link.held_until <= now.mono:
            self._release(link)
        if link.half_open or link.ending or link.stalled(now.mono):
            return  # a venue that hangs keeps no deadlines either
        deadline = link.peer.deadline()
        if deadline is not None and deadline <= now.mono:
            self.apply(link, link.peer.woken(self.now_at(link.venue, now)), now)

    def closed(self, link: Link, now: Instant) -> None:
        """The connection is gone, whoever ended it."""
        if self.links.pop(link.link_id, None) is None:
            return
        link.ending = True
        self.stats.closed[link.venue] += 1
        for account in link.accounts:
            self._followers.get(account, set()).discard(link.link_id)
        for watch in link.watches:
            self._watchers.get(watch, set()).discard(link.link_id)
        link.peer.closed(self.now_at(link.venue, now))

    # --- effects ---

    def apply(self, link: Link, effects: Effects, now: Instant) -> None:
        """Carry out what a peer wants."""
        for effect in effects:
            if link.ending:
                return
            if isinstance(effect, Frame):
                self._send(link, effect, now)
            elif isinstance(effect, Ping | Pong):
                if not link.half_open:
                    link.push(effect)
            elif isinstance(effect, Close):
                self._close(link, effect)
            elif isinstance(effect, Noted):
                self.stats.note(Note(now.wall_ms, link.venue, link.link_id, effect.what, effect.detail))
            else:
                self._index(link, effect, now)

    def _index(self, link: Link, effect: Follow | Unfollow | Watch | Unwatch, now: Instant) -> None:
        if isinstance(effect, Follow):
            link.accounts.add(effect.account)
            self._followers.setdefault(effect.account, set()).add(link.link_id)
            self._standing(link, now)
        elif isinstance(effect, Unfollow):
            link.accounts.discard(effect.account)
            self._followers.get(effect.account, set()).discard(link.link_id)
        elif isinstance(effect, Watch):
            link.watches.add(effect)
            self._watchers.setdefault(effect, set()).add(link.link_id)
            if effect.symbol:
                wall_ms = self.now_at(link.venue, now).wall_ms
                self.world.markets.track(effect.exchange, effect.symbol, effect.interval, wall_ms)
        else:
            watch = Watch(effect.exchange, effect.symbol, effect.interval)
            link.watches.discard(watch)
            self._watchers.get(watch, set()).discard(link.link_id)

    def _close(self, link: Link, close: Close) -> None:
        if not link.half_open:
            link.push(close)
        link.ending = not link.half_open

    def _send(self, link: Link, frame: Frame, now: Instant) -> None:
        """Put a frame into the outbox, through the frame faults."""
        if link.half_open:
            return
        due = 0.0
        fault = self.faults.for_link(_ACK_FAULTS if frame.ack else _DATA_FAULTS, link, now.mono)
        if fault:
            self.stats.faults[fault.kind] += 1
            if fault.kind == "lose":
                return
            if fault.kind == "reorder" and link.held is None:
                link.held, link.held_until = frame, now.mono + HOLD_S
                link.notify()
                return
            if fault.kind == "duplicate":
                link.push(frame)
            if fault.kind == "delay_acks":
                due = now.mono + fault.number("seconds", 1.0)
            if fault.kind == "odd_rows":
                data = frame.data.encode() if isinstance(frame.data, str) else frame.data
                frame = msgspec.structs.replace(frame, data=_odd(fault, data))
        self.stats.frames_out[link.venue] += 1
        link.push(frame, due)
        if link.held is not None and not frame.ack:
            self._release(link)

    @staticmethod
    def _release(link: Link) -> None:
        if link.held is not None:
            held, link.held = link.held, None
            link.push(held)

    # --- faults ---

    def inject(self, fault: Fault, now: Instant) -> int:
        """Start a fault. Returns how many open connections it hit at once."""
        if fault.kind == "unreachable":
            self.unreachable_until = now.mono + fault.for_s
            return 0
        hit = [link for link in self.links.values() if fault.hits_link(link)]
        waits = fault.kind not in ACTS | SIGNALS
        if waits or fault.standing:
            self.faults.add(fault, now.mono)
        if waits:
            return 0
        if fault.kind in SIGNALS:
            self._tell_halves(fault, now)
        for link in hit:
            self._schedule(link, fault, now)
        return len(hit)

    def _standing(self, link: Link, now: Instant) -> None:
        for fault in self.faults.standing_for(link, now.mono):
            fault.used += 1
            self._schedule(link, fault, now)

    def _schedule(self, link: Link, fault: Fault, now: Instant) -> None:
        link.met.add(fault.fault_id)
        after = fault.number("after_s")
        if after:
            link.due.append((now.mono + after, fault))
            link.notify()
        else:
            self._act(link, fault, now)

    def _act(self, link: Link, fault: Fault, now: Instant) -> None:
        if link.ending:
            return
        self.stats.faults[fault.kind] += 1
        if fault.kind == "drop":
            link.abort()
        elif fault.kind == "close":
            self._close(link, Close(int(fault.number("code", 1001)), fault.params.get("reason", "")))
        elif fault.kind == "stall":
            seconds = fault.number("seconds")
            link.stalled_until = now.mono + seconds if seconds else float("inf")
            link.notify()
        elif fault.kind == "half_open":
            link.half_open = True
        elif fault.kind == "garbage":
            data = fault.params.get("data", GARBAGE)
            link.push(Frame(data, binary=bool(fault.params.get("binary"))))
        else:
            signal = Signal(fault.kind, fault.account, fault.params)
            self.apply(link, link.peer.signal(signal, self.now_at(link.venue, now)), now)
            link.notify()

    def _tell_halves(self, fault: Fault, now: Instant) -> None:
        for name, half in self.halves.items():
            if not fault.venue or fault.venue == name:
                half.signal(Signal(fault.kind, fault.account, fault.params), self.now_at(name, now))

    def key_changed(self, account_id: str, now: Instant) -> None:
        """The account's keys were refused or replaced: tell its half and its connections."""
        account = self.world.engine.account(account_id)
        signal = Signal("key_changed", account_id)
        venue_now = self.now_at(account.venue, now)
        if account.venue in self.halves:
            self.halves[account.venue].signal(signal, venue_now)
        for link_id in list(self._followers.get(account_id, ())):
            link = self.links[link_id]
            self.apply(link, link.peer.signal(signal, venue_now), now)
            link.notify()

    # --- events of the world ---

    def deliver(self, now: Instant) -> None:
        """Hand the engine's changes to the connections that follow their accounts."""
        for change in self.world.engine.drain():
            for link_id in sorted(self._followers.get(change.account, ())):
                link = self.links[link_id]
                self.apply(link, link.peer.changed(change, self.now_at(link.venue, now)), now)

    def tick(self, tick: Tick, updates: Sequence[CandleUpdate], now: Instant) -> None:
        """Hand prices and candles to those who watch them, and fill what the prices cross."""
        self.candles(updates, now)
        for link_id in sorted(self._watchers.get(Watch(tick.exchange), ())):
            link = self.links[link_id]
            self.apply(link, link.peer.ticked(tick, self.now_at(link.venue, now)), now)
        if self.world.engine.match:
            for quote in tick.quotes:
                self.world.engine.crossed(tick.exchange, quote.symbol.wire, quote.price, now.wall_ms)
            self.deliver(now)

    def candles(self, updates: Sequence[CandleUpdate], now: Instant) -> None:
        for update in updates:
            watch = Watch(update.exchange, update.symbol.wire, update.interval)
            for link_id in sorted(self._watchers.get(watch, ())):
                link = self.links[link_id]
                self.apply(link, link.peer.candle(update, self.now_at(link.venue, now)), now)

    def pulse(self, now: Instant) -> float:
        """Move the markets and the routines if it is time. Returns when to call again, monotonic seconds."""
        if now.mono >= self._next_step:
            step = self.settings.tick_s
            self._next_step = max(self._next_step + step, now.mono + step / 2)
            covered = {exchange for routine in self.routines for exchange in routine.covers}
            for exchange in self.world.markets.exchanges():
                if exchange in covered:
                    continue
                if self.world.engine.match or self._watched(exchange):
                    tick, updates = self.world.markets.step(exchange, self.market_now(exchange, now).wall_ms)
                    self.tick(tick, updates, now)
        return min((self._next_step, *[routine.step(now) for routine in self.routines]))

    def market_now(self, exchange: str, now: Instant) -> Instant:
        return self.now_at(family_of(exchange), now)

    def _watched(self, exchange: str) -> bool:
        if self._watchers.get(Watch(exchange)):
            return True
        return any(watch.exchange == exchange and links for watch, links in self._watchers.items())


_ACK_FAULTS: Final = frozenset({"delay_acks"})
_DATA_FAULTS: Final = (FRAMES | ODD) - _ACK_FAULTS


def _odd(fault: Fault, data: bytes) -> bytes:
    how = fault.params.get("how", "nulls")
    return with_odd_rows(data, how if how in HOW else "nulls", first=bool(fault.params.get("first")))
