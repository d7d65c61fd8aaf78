"""Everything that runs streams in one process, built and taken down in a written order.

Start: dialler, I/O threads, supervisor, owner loop, notifications, scheduler. Stop: hand-over, scheduler, notifications,
supervisor, I/O threads, dialler, REST. The sinks and the state are handed in and outlive the engine.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Set
from functools import partial
from typing import Final, Protocol

from connector.core.errors import StateUnavailable
from connector.core.log import get_logger
from connector.core.loop import Loop
from connector.core.messages import Sink
from connector.core.ports import State, WorkerInfo
from connector.core.symbol_patterns import read_patterns
from connector.streams.accounts import Accounts
from connector.streams.admin import AdminSwitches
from connector.streams.alive import Alive, Part, stamped
from connector.streams.announce import Announcer
from connector.streams.breaker import AuthBreaker
from connector.streams.budget import Budget
from connector.streams.clock import ClockWatch
from connector.streams.dial import Dialler
from connector.streams.edges import Edges
from connector.streams.egress import Egresses
from connector.streams.endpoints import Endpoints
from connector.streams.instruments import Instruments
from connector.streams.io import IoThread
from connector.streams.leases import BEATS_PER_TTL, Leases
from connector.streams.liveness import LivenessGuard
from connector.streams.market import Markets, wanted_exchanges
from connector.streams.options import EngineOptions
from connector.streams.pacing import Ladder
from connector.streams.pipeline import Pipeline
from connector.streams.placement import Placement
from connector.streams.position_store import PositionStore
from connector.streams.price_symbols import PriceSymbols
from connector.streams.report import Report
from connector.streams.rest import RestQueue
from connector.streams.routine import Routine
from connector.streams.supervisor import Supervisor
from connector.streams.websocket_client import SocketOpener, tls_context

log = get_logger(__name__)

WATCH_S: Final = 10.0
SYMBOL_SWEEP_S: Final = 15.0
REBALANCE_S: Final = 10.0
POSITIONS_S: Final = 1.0
SWEEP_S: Final = 1.0
CLOCK_WATCH_S: Final = 1.0
LEAVE_S: Final = 9.0
"""Beyond the time of the hand-over: what is given is let go, what is left is closed."""


class Turned(Part, Protocol):
    """A part that somebody turns: its own thread, or whoever made an engine without threads."""

    def turn(self) -> bool: ...

    def next_due(self) -> float | None: ...


class Engine:
    """`start`, `stop` and the read-only properties: any thread, once each.

    Without threads (`Edges.threaded` False) everything that the engine decides runs in `turn`, on the caller's thread. A
    world steps it like this::

        engine = Engine(options, state, sink, Edges(threaded=False, clock=…, chance=…, opener=…, poller=…, perform=…, …))
        engine.start()
        while engine.turn():                  # at one moment, until nothing is left to do
            pass
        clock.now = min(engine.next_due(), …) # then time jumps to what is due next, here or elsewhere in the world
        …
        engine.drain(20.0, left)              # and after `left` was called: engine.take_down()

    A process that is killed or frozen is one that nobody turns any more.
    """

    def __init__(self, options: EngineOptions, state: State, sink: Sink, edges: Edges) -> None:
        clock, chance = edges.clock, edges.chance
        self.options, self.state, self.sink, self.edges, self.clock = options, state, sink, edges, clock
        self.owner = edges.owner_name()
        self._admin = AdminSwitches(state, used=options.admin_config)
        self.enabled = self._admin.enabled
        self._loops: list[Loop] = []
        self.pipeline = Pipeline(sink, chance, clock.wall_ms, options.position_events)
        endpoints = Endpoints(options.gateway, options.endpoints)
        self.budget = Budget(state, clock)
        self.egresses = Egresses(options.ways, clock)
        opener = edges.opener or SocketOpener(
            endpoints, tls_context(options.ca_file), options.connect_threads, self.egresses
        )
        self.dialler = Dialler(self.budget, clock, opener, threaded=edges.threaded)
        queue = RestQueue(self.budget, clock)
        self.rest = edges.make_rest(queue, endpoints, options.ca_file, self.egresses, self._loop)
        self.io = [self._io(number) for number in range(options.io_threads)]
        self.instruments = Instruments(
            self.rest, clock, options.venue_options, options.service_url, egress=self.egresses.working
        )
        self.price_symbols = PriceSymbols(
            self.rest, clock, read_patterns(options.price_symbols), options.service_url, listed=options.symbols_listed
        )
        self.pipeline.market.allows = self.price_symbols.allows
        self.placement = self._placement()
        ladder = Ladder(options.cooldown_base_ms, options.cooldown_cap_ms)
        self.instruments.on_answer = self.placement.answered
        self.breaker = AuthBreaker(
            state, self.pipeline, clock, ladder, options.auth_threshold, options.auth_window_ms, self.owner
        )
        self.pipeline.lines.on_genuine_event = self._recovered
        self.supervisor = self._supervisor()
        self.leases = Leases(state, self.owner, options.role, options.lease_ttl_s, clock)
        self.leases.fence_off = self._fence_off
        self.units: Accounts | Markets = self._units()
        """What this process owns and runs: `Accounts` in role user, `Markets` in role price."""
        self.announcer = self._announcer()
        self.liveness = LivenessGuard(options.liveness, self.supervisor, self.pipeline, clock)
        self.jobs = edges.make_jobs(self._loop)
        routine = Routine(self.jobs)
        self.every = routine.every
        self.report = self._report()
        if isinstance(self.units, Accounts):
            self.report.coverage = self.units.coverage
            self.report.watched.append(self.units.coverage.problems)
        self._clock_watch = ClockWatch(clock)
        self.alive = Alive(clock, edges.end_process)
        self._stop_listening: Callable[[], None] | None = None
        self._ended: bool | None = None
        """Once taken down: whether all of it ended within its deadline."""

    def _loop(self, name: str) -> Loop:
        loop = self.edges.loop(name)
        self._loops.append(loop)
        return loop

    def _io(self, number: int) -> IoThread:
        poller, threaded = self.edges.poller(), self.edges.threaded
        return IoThread(f"io-{number}", self.clock, self.dialler, self.rest, poller, threaded=threaded)

    def _placement(self) -> Placement:
        return Placement(
            self.io,
            self.dialler,
            self.pipeline,
            self.clock,
            self.edges.chance,
            self.instruments.table,
            self.options.venue_options,
            self.egresses,
        )

    def _supervisor(self) -> Supervisor:
        return Supervisor(
            self.placement,
            self.pipeline,
            self.breaker,
            self.clock,
            self.edges.chance,
            self._loop("supervisor"),
            flap_threshold=self.options.flap_threshold,
            flap_window_ms=self.options.flap_window_ms,
            stale_s=self.options.lease_ttl_s,
        )

    def _units(self) -> Accounts | Markets:
        options = self.options
        if options.role == "user":
            return Accounts(
                self.state,
                self.leases,
                self.supervisor,
                self.pipeline,
                self.clock,
                self._loop("accounts"),
                capacity=options.capacity,
                enabled=self.enabled,
                positions=PositionStore(self.state, self.edges.positions),
                asked_again_s=options.rejoin_grace_s,
                announced=options.announced,
            )
        markets = Markets(
            self.state,
            self.leases,
            self.supervisor,
            self.placement,
            self.pipeline,
            self.instruments,
            self.clock,
            self._loop("markets"),
            role=options.price_role,
            exchanges=self._price_exchanges,
            enabled=self.enabled,
            candle_stall_s=options.candle_stall_s,
            price_symbols=self.price_symbols,
        )
        self.instruments.on_table = markets.table_changed
        self.price_symbols.on_change = markets.table_changed
        return markets

    def _announcer(self) -> Announcer:
        return Announcer(
            self.state,
            self.leases,
            self.pipeline,
            self.clock,
            self.edges.chance,
            price_role=self.options.price_role,
            rejoin_grace_s=self.options.rejoin_grace_s,
            sweep=self.units.sweep,
            enabled=self.enabled,
        )

    def _report(self) -> Report:
        return Report(
            self.leases,
            self.supervisor,
            self.placement,
            self.sink,
            host=self.edges.host,
            pid=self.edges.pid,
            service=self.edges.service,
            started_ms=self.clock.wall_ms(),
            capacity=self.options.capacity,
            feeds=self.units.feeds if isinstance(self.units, Markets) else (),
        )

    def _price_exchanges(self) -> list[str]:
        """While an admin config is loaded it alone decides (contract 3.2)."""
        return wanted_exchanges(() if self._admin.loaded else self.options.price_exchanges)

    # --- without threads ---

    def _parts(self) -> tuple[Turned, ...]:
        return (*self._loops, self.dialler, *self.io)

    def turn(self) -> bool:
        """Give every part one turn; True if any had something to do, and may have given others something. Never waits."""
        did = False
        for part in self._parts():
            did |= part.turn()
        return did

    def next_due(self) -> float | None:
        """The next moment (monotonic) at which `turn` has something to do of itself; None = only if something comes in."""
        times = [part.next_due() for part in self._parts()]
        return min((due for due in times if due is not None), default=None)

    # --- start and stop ---

    def start(self) -> None:
        self._refresh_admin()
        if self.edges.positions is not None:
            self.edges.positions.open()
        self.dialler.start()
        self.rest.start()
        for io in self.io:
            io.start()
        self.supervisor.start(self.units)
        self._beat()
        self._stop_listening = self.state.listen(self.owner, self._notified)
        self.units.start()
        self.alive.watch([*stamped(self._parts()), *self.sink.threads(), *self.state.threads()])
        self._schedule()
        self.jobs.start()
        log.info("engine started", owner=self.owner, role=self.options.role)

    def _schedule(self) -> None:
        options = self.options
        self.every(options.lease_ttl_s / BEATS_PER_TTL, self._beat)
        self.every(SWEEP_S, self.units.sweep)
        self.every(SWEEP_S, self.supervisor.sweep)
        self.every(SWEEP_S, self._refresh_deadlines)
        self.every(SWEEP_S, self._tell_stories)
        self.every(POSITIONS_S, self.units.save_positions)
        self.every(SYMBOL_SWEEP_S, self.instruments.sweep)
        self.every(WATCH_S, self.report.gauges)
        self.every(SYMBOL_SWEEP_S, self.price_symbols.sweep)
        self.every(REBALANCE_S, self.units.rebalance)
        self.every(CLOCK_WATCH_S, self._watch_clock)
        if isinstance(self.units, Markets):
            self.every(WATCH_S, self.units.watch)
            self.every(self.announcer.beacon_s, self.announcer.beacon)
        if options.admin_config:
            self.every(options.admin_refresh_s, self._refresh_admin)
        if options.liveness is not None:
            self.every(options.liveness.scan_s, self.liveness.scan)

    def stop(self, timeout_s: float | None = None) -> bool:
        """Hand over what runs, then take everything down; True if all of it ended within its deadline. Blocks: for the edge
        of a process with threads. Who turns the engine itself calls `drain`, and `take_down` when that is done. A second
        call tells the same again."""
        if self._ended is not None:
            return self._ended
        drain_s = self.options.drain_timeout_s if timeout_s is None else timeout_s
        left = threading.Event()
        handed_over: list[bool] = []

        def done(all_of_it: bool) -> None:
            handed_over.append(all_of_it)
            left.set()

        self.drain(drain_s, done)
        left.wait(drain_s + LEAVE_S)
        return self.take_down(handed_over=handed_over == [True])

    def drain(self, timeout_s: float, done: Callable[[bool], None]) -> None:
        """Hand over what runs and close the rest; `done` is called on the owner's loop, with whether all went over."""
        self.units.draining = True
        self._beat()
        self.units.drain(timeout_s, done)

    def take_down(self, *, handed_over: bool = True) -> bool:
        """End jobs, loops and connections; True if all of it ended within its deadline."""
        self.alive.forget_all()
        self.jobs.stop()
        if self._stop_listening is not None:
            self._stop_listening()
        ended = [self.supervisor.stop(5.0), self.units.stop(5.0)]
        ended += [io.stop(5.0) for io in self.io]
        ended.append(self.dialler.stop(5.0))
        self.rest.stop()
        if self.edges.positions is not None:
            self.edges.positions.close()
        try:
            self.state.retire(self.owner)
        except StateUnavailable:
            log.debug("the heartbeat runs out by itself: the state is unavailable")
        self._ended = all(ended)
        log.info("engine stopped", owner=self.owner, handed_over=handed_over, clean=self._ended)
        return self._ended

    # --- jobs ---

    def _tell_stories(self) -> None:
        self.units.loop.post_once("stories", self._stories_told)

    def _stories_told(self) -> None:
        alone = self.units.coverage.alone if isinstance(self.units, Accounts) else ()
        self.supervisor.stories.tell(self.state, self.owner, alone)

    def _watch_clock(self) -> None:
        self.placement.time.look()
        jump_ms = self._clock_watch.jumped_ms()
        if jump_ms:
            log.error(
                "the host's clock jumped; signed requests fail until it is right: check NTP",
                by_s=round(jump_ms / 1000, 1),
            )

    def _notified(self, text: str) -> None:
        if text == "admin-config" and not self._refresh_admin():
            return
        self.units.notified(text)

    def _recovered(self, stream_id: str) -> None:
        """From an I/O thread, which must not wait for the state."""
        self.units.loop.post(partial(self.breaker.recovered, stream_id))

    def _beat(self) -> None:
        if not self.alive.check():
            return  # who can't care for its streams doesn't hold them
        self.leases.beat(self.info())

    def _fence_off(self, lost: Set[str]) -> None:
        """What waits of these units is dropped here and now: the very next moment the sinks may go on."""
        for unit in sorted(lost):
            self.pipeline.lines.fence(unit)
        self.units.lost(lost)

    def info(self) -> WorkerInfo:
        return self.report.info(draining=self.units.draining)

    def _refresh_admin(self) -> bool:
        """Read the admin config again; True if the set changed."""
        changed = self._admin.refresh()
        if changed:
            self.units.notified("admin-config")
        return changed

    def _refresh_deadlines(self) -> None:
        """Listen-key and token refreshes are adapter deadlines; this sweep finds any that its I/O thread missed."""
        for io in self.io:
            io.post(io.overdue)
