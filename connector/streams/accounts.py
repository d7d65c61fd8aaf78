"""Account streams of one process: reconciles the wanted state with leases and the supervisor.

Everything here runs on one thread of its own, because it talks to the state; scheduler jobs, notifications and the supervisor
only post. What a command changed arrives as `reconcile`; what was missed is found by the sweep.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterable, Sequence, Set
from functools import partial
from typing import Final

import msgspec

from connector.core.errors import StateUnavailable
from connector.core.log import get_logger
from connector.core.loop import Loop
from connector.core.ports import Clock, Glance, State, Wanted
from connector.core.traces import TRACES
from connector.streams.coverage import Coverage
from connector.streams.free import Free
from connector.streams.full_scan import FullScan
from connector.streams.handover import Handover
from connector.streams.leases import Leases
from connector.streams.leaving import Leaving
from connector.streams.notifications import RECONCILE, TRY_NOW, read_notification
from connector.streams.pipeline import Pipeline
from connector.streams.position_saves import PositionSaves
from connector.streams.position_store import PositionStore
from connector.streams.shares import surplus
from connector.streams.spec import account_spec
from connector.streams.supervisor import Supervisor
from exchanges.ids import real_id

log = get_logger(__name__)

CLAIM_BATCH: Final = 500
LOOK_AGAIN_SWEEPS: Final = 60
"""Every held stream is compared with what is wanted once in this many sweeps: notifications may get lost."""
TAKEN_AT_ONCE: Final = 2_000
"""Free streams that one sweep takes; the others wait for the next."""


class Accounts:
    """Owner of the account streams of this process. Public methods: any thread."""

    def __init__(
        self,
        state: State,
        leases: Leases,
        supervisor: Supervisor,
        pipeline: Pipeline,
        clock: Clock,
        loop: Loop,
        *,
        capacity: int,
        enabled: Callable[[str], bool],
        positions: PositionStore,
        asked_again_s: float = 600.0,
        announced: bool = True,
    ) -> None:
        """`asked_again_s`: for so long after an announcement opens are those of accounts that may have had streams before.
        `announced`: the deployment makes announcements; opens that come before the first one may be such, too."""
        self._state, self._leases, self._supervisor, self._pipeline = state, leases, supervisor, pipeline
        self._clock, self._capacity, self._enabled, self._announced = clock, capacity, enabled, announced
        self._positions, self._asked_again_ms = positions, asked_again_s * 1000
        self._wanted: dict[str, Wanted] = {}
        self._free = Free(leases, clock)
        self._told: set[str] = set()
        self.coverage = Coverage(capacity)
        self._to_check: list[str] = []
        # One entry per command of which a stream was told, taken all together: bounded by what the loop takes.
        self._asked: deque[str] = deque()
        self._live: list[str] = []
        """Streams that went live and whose positions are to be saved."""
        self._lapses = 0
        self._scan = FullScan(state, leases, clock)
        self.draining = False
        self.loop = loop
        self.handover = Handover(
            state, leases, supervisor, pipeline, clock, loop,
            self._start_taken, positions, lambda: self._room() > 0, self._fenced,
        )  # fmt: skip
        self._leaving = Leaving(positions, leases, supervisor, pipeline, clock, loop, self.handover)
        self._saves = PositionSaves(positions, leases, pipeline, clock, loop, supervisor.live_ms)

    # --- any thread ---

    def start(self) -> None:
        self.loop.start()

    def reconcile(self, stream_id: str) -> None:
        """Make the actual state of one stream equal to the wanted one, soon: together with the others that wait for it."""
        self._asked.append(stream_id)
        self.loop.post_once("asked", self._reconcile_asked)

    def sweep(self) -> None:
        """Find what notifications missed: free streams, forgotten streams, overloaded processes."""
        self.loop.post_once("sweep", self._sweep)

    def lost(self, units: Iterable[str]) -> None:
        """Leases that others hold by now: this process is fenced and ends these streams at once."""
        self.loop.post(partial(self._fenced, sorted(units)))

    def save_positions(self) -> None:
        self.loop.post_once("positions", self._save_positions)

    def rebalance(self) -> None:
        self.loop.post_once("rebalance", self._rebalance)

    def notified(self, text: str) -> None:
        """A notification for this process (from its listener thread)."""
        if text in {"resync", "sweep"}:
            if text == "resync":
                self._lapses = -1  # what was told meanwhile is not known
            self.sweep()
        elif text == "admin-config":
            self.loop.post_once("admin", self._apply_admin)
        elif text.startswith("{"):
            self.loop.post(partial(self._message, text))

    def stream_live(self, stream_id: str, exchange: str) -> None:
        del exchange
        self.loop.post(partial(self.handover.live, stream_id))
        # At once: without a position the next owner takes the stream for one that was never live, and repairs nothing.
        self._live.append(stream_id)
        self.loop.post_once("live positions", self._save_live)

    def stream_closed(self, stream_id: str) -> None:
        del stream_id

    def drain(self, timeout_s: float, done: Callable[[bool], None]) -> None:
        """Hand every stream over, make before break, then close what is left. `done` is called on the loop at the end,
        with whether all went over in time."""
        self.draining = True
        self.loop.post(partial(self._leaving.begin, timeout_s, done))

    def stop(self, timeout_s: float) -> bool:
        return self.loop.stop(timeout_s)

    # --- own thread ---

    def _message(self, text: str) -> None:
        read = read_notification(text)
        if read is None:
            log.warning("a notification can't be read", size=len(text))
            return
        kind, stream_id, message = read
        TRACES.continues(stream_id, message)
        if kind == RECONCILE:
            self.reconcile(stream_id)
            return
        if kind == TRY_NOW:
            self._supervisor.try_now(stream_id)
            return
        try:
            self.handover.message(kind, stream_id, message)
        except StateUnavailable as error:
            log.warning("a hand-over waits: the state is unavailable", stream=stream_id, error=str(error))

    def _reconcile_asked(self) -> None:
        # What comes from here on is posted anew.
        names = list(dict.fromkeys(self._asked.popleft() for _ in range(len(self._asked))))
        for start in range(0, len(names), CLAIM_BATCH):
            self.loop.still_alive()
            self._reconcile(names[start : start + CLAIM_BATCH])

    def _reconcile(self, stream_ids: Sequence[str], *, asked: bool = True) -> None:
        try:
            wanted = self._state.wanted(stream_ids)
            if asked:
                self._free.asked(stream_ids)
            free: list[Wanted] = []
            missing: list[Wanted] = []
            absent: list[str] = []
            reopened: list[str] = []
            room = self._room()
            for stream_id in stream_ids:
                entry = wanted.get(stream_id)
                if entry is None:
                    if self._leases.holds(stream_id) and stream_id in self._wanted:
                        absent.append(stream_id)
                    elif asked:
                        self._end(stream_id, closed=True)
                elif not self._enabled(real_id(entry.exchange)):
                    self._disabled(stream_id)
                    self._free.postpone(stream_id)
                elif self._leases.holds(stream_id):
                    if self._made_anew(entry):
                        reopened.append(stream_id)
                    elif self._supervisor.has(stream_id):
                        self._update(entry)
                    elif not self.handover.taking(stream_id):
                        missing.append(entry)
                elif not self.draining and len(free) < room and self._may_claim(entry):
                    free.append(entry)
            self._remember(absent)
            self._count_again(reopened)
            self._run_all(missing)
            if asked and free:
                # Also not what is in our own name already: it is being handed to us, and its giver still publishes.
                owned = self._state.owners([entry.stream_id for entry in free])
                free = [entry for entry in free if entry.stream_id not in owned]
            self._claim(free)
        except StateUnavailable as error:
            log.warning("reconcile waits: the state is unavailable", streams=len(stream_ids), error=str(error))

    def _made_anew(self, entry: Wanted) -> bool:
        """The state forgot a stream that runs here, and an open came before anybody noticed."""
        known = self._wanted.get(entry.stream_id)
        return known is not None and 0 < known.born < entry.born and self._supervisor.has(entry.stream_id)

    def _count_again(self, stream_ids: Sequence[str]) -> None:
        """The subscribers known here count beside the one that made the entry anew. Raises `StateUnavailable`."""
        for stream_id in stream_ids:
            # It looks by itself whether the stream was closed in between: then they are gone.
            self._state.remember(self._wanted[stream_id])
        for entry in self._state.wanted(stream_ids).values() if stream_ids else ():
            self._update(entry)

    def _room(self) -> int:
        """How many streams this process may take more: what it gives away may come back."""
        return self._capacity - len(self._leases) - self.handover.given

    def _update(self, entry: Wanted) -> None:
        """Tell the supervisor what is wanted of a stream that it runs."""
        if entry.credentials is None:
            before = self._wanted.get(entry.stream_id)
            if before is None or before.digest != entry.digest or before.credentials is None:
                log.warning("given up: another process knows the new key of this stream", stream=entry.stream_id)
                self._end(entry.stream_id, closed=False)
                return
            entry = msgspec.structs.replace(entry, credentials=before.credentials)
        self._run(entry)

    def _may_claim(self, entry: Wanted) -> bool:
        if self.handover.giving(entry.stream_id) or self._leases.settling:
            return False
        if entry.credentials is None:
            self._free.postpone(entry.stream_id)
            if entry.stream_id not in self._told:
                self._told.add(entry.stream_id)
                log.info("another process must open this stream: its key is not known here", stream=entry.stream_id)
            return False
        return self._free.may_claim(entry.stream_id)

    def _claim(self, entries: Sequence[Wanted]) -> None:
        for start in range(0, len(entries), CLAIM_BATCH):
            self.loop.still_alive()
            batch = entries[start : start + CLAIM_BATCH]
            ids = [entry.stream_id for entry in batch]
            taken = set(self._leases.claim(ids))
            for stream_id in ids:
                self._free.owned(stream_id)
            self._run_all([entry for entry in batch if entry.stream_id in taken])

    def _run_all(self, entries: Sequence[Wanted]) -> None:
        """Start streams whose leases this process holds, each from where it stood."""
        if not entries:
            return
        positions = self._positions.load([entry.stream_id for entry in entries])
        for entry in entries:
            position = positions.get(entry.stream_id)
            self._run(entry, position, unknown=position is None and self._asked_again(entry))

    def _asked_again(self, entry: Wanted) -> bool:
        """Whether an announcement asked for it, or none was made yet because the state begins anew: then it may have had a
        stream that nothing is known of any more. After a clock was set back the announcement may lie in the future."""
        if not self._announced or not entry.epoch:
            return self._announced
        return self._clock.wall_ms() - entry.epoch < self._asked_again_ms

    def _run(self, entry: Wanted, position: bytes | None = None, *, hold: bool = False, unknown: bool = False) -> None:
        self._wanted[entry.stream_id] = entry
        self._supervisor.want(account_spec(entry), position=position, hold=hold, unknown=unknown)

    def _start_taken(self, stream_id: str) -> bool:
        """A stream that another process hands to this one: start it beside the old session, holding its events back."""
        entry = self._state.wanted([stream_id]).get(stream_id)
        if entry is None or entry.credentials is None:
            return False
        position = self._positions.load([stream_id]).get(stream_id)
        # Its giver had one: that the state has none means that it forgot, and the giver may not be there to tell the rest.
        self._run(entry, position, hold=True, unknown=position is None)
        return True

    def _end(self, stream_id: str, *, closed: bool) -> None:
        """Stop running a stream. `closed`: its last subscriber left."""
        self._wanted.pop(stream_id, None)
        self._free.owned(stream_id)
        self._told.discard(stream_id)
        self.handover.end(stream_id, over=closed)
        if self._leases.holds(stream_id):
            over = closed and not self._pipeline.lines.ends_unconfirmed(stream_id)
            self._supervisor.unwant(stream_id, last_holder=closed, announce=closed)
            self._leases.release([stream_id])
            if over:
                self._positions.drop_position(stream_id)

    def _disabled(self, stream_id: str) -> None:
        """The exchange was switched off: its subscribers are forgotten too, so that enabling reopens nothing (contract 3.2).

        Only the process that runs the stream does this: another one may have read an older switch.
        """
        if self._leases.holds(stream_id):
            self._state.close(stream_id, everybody=True)
            self._end(stream_id, closed=True)

    def _fenced(self, units: Sequence[str]) -> None:
        for stream_id in units:
            again = self.handover.giving(stream_id) or self._leases.holds(stream_id)
            if again and not self._pipeline.lines.fenced(stream_id):
                continue  # handed over or taken back while the renewal was on its way
            log.warning("fenced: another process owns this stream", stream=stream_id)
            self._pipeline.lines.fence(stream_id)
            self._wanted.pop(stream_id, None)
            self.handover.end(stream_id)
            self._supervisor.unwant(stream_id)
            # If it came back meanwhile: what runs here does not know what another process published. The next sweep begins
            # it anew, from where it stands by then.
            self._leases.release([stream_id])

    def _sweep(self) -> None:
        try:
            lapses = self._leases.lapses
            if lapses != self._lapses:
                self._look_at_all()
                self._lapses = lapses
            self._look_again()
            self._scan.turn(self.coverage.wanted)
            wanted, unowned = self._state.unowned()
            free = {stream_id for stream_id in unowned if not self._leases.holds(stream_id)}
            self._free.only(free)
            self.coverage.seen(wanted=wanted, without=free, room=self._room())
            if free and not self.draining:
                self._leases.look_around()
                self._take_some(free)
            self.handover.check()
        except StateUnavailable as error:
            log.debug("the sweep waits: the state is unavailable", error=str(error))

    def _take_some(self, free: Set[str]) -> None:
        due = self._free.due(free)
        for start in range(0, min(len(due), self._room(), TAKEN_AT_ONCE), CLAIM_BATCH):
            self._reconcile(due[start : start + CLAIM_BATCH], asked=False)

    def _look_at_all(self) -> None:
        """The state forgot this process, or what it told us got lost: compare all that it holds. Who does so first finds all
        that is free."""
        self._compare(sorted(self._leases.held()))
        self._scan.whole(self.coverage.wanted, self.loop.still_alive)

    def _look_again(self) -> None:
        """Compare a part of the held streams with what is wanted, so that a lost notification heals."""
        held = self._leases.held()
        if not self._to_check:
            self._to_check = sorted(held)
        count = max(50, math.ceil(len(held) / LOOK_AGAIN_SWEEPS))
        part, self._to_check = self._to_check[:count], self._to_check[count:]
        self._compare([stream_id for stream_id in part if self._leases.holds(stream_id)])

    def _compare(self, held: Sequence[str]) -> None:
        for start in range(0, len(held), CLAIM_BATCH):
            self.loop.still_alive()
            batch = held[start : start + CLAIM_BATCH]
            seen = self._state.glance(batch)
            changed = [stream_id for stream_id in batch if self._changed(stream_id, seen.get(stream_id))]
            if changed:
                self._reconcile(changed, asked=False)

    def _changed(self, stream_id: str, seen: Glance | None) -> bool:
        """Whether a held stream may have to be looked at more closely."""
        known = self._wanted.get(stream_id)
        if seen is None or known is None or not self._supervisor.has(stream_id):
            return True
        return seen != (known.count, known.generation, known.digest, known.epoch) or not self._enabled(
            real_id(known.exchange)
        )

    def _remember(self, forgotten: Sequence[str]) -> None:
        """Streams that run here and that the state does not know: it forgot them, or their close was not noticed."""
        if not forgotten:
            return
        # The lease first: an entry without one is free for everybody who finds it.
        lost = self._leases.retake(forgotten)
        self._fenced(sorted(lost))
        forgotten = [stream_id for stream_id in forgotten if stream_id not in lost]
        closed = []
        for stream_id in forgotten:
            self.loop.still_alive()
            # That a key is missing proves nothing: Redis may have evicted it. Only a close leaves a tombstone.
            if not self._state.remember(self._wanted[stream_id]):
                closed.append(stream_id)
        for stream_id in closed:
            log.info("stream ends: its last subscriber left", stream=stream_id)
            self._end(stream_id, closed=True)
        written = len(forgotten) - len(closed)
        if written:
            # The positions are gone as well; until they are there again, whoever takes a stream knows nothing of its past.
            self._pipeline.lines.mark_dirty(self._leases.held())
            self._save_positions()
            log.warning("the state forgot running streams; they were written again", streams=written)

    def _apply_admin(self) -> None:
        self._free.asked(None)
        held = list(self._leases.held())
        for start in range(0, len(held), CLAIM_BATCH):
            self._reconcile(held[start : start + CLAIM_BATCH], asked=False)

    def _save_positions(self) -> None:
        self._pipeline.lines.send_waiting()
        self._saves.turn()

    def _save_live(self) -> None:
        names, self._live = self._live, []
        self._saves.turn(names)

    def _rebalance(self) -> None:
        """Give a few streams to the processes that should have them, until every one holds its fair share."""
        if self.draining or self.handover.busy or not self._pipeline.confirming or self._pipeline.behind:
            return
        for stream_id in surplus(self._leases, self.handover.givable):
            self.handover.give(stream_id)
