"""Passing a running stream to another process without a gap and without repeating an event (docs/architecture.md, Hand-over).

Notifications may get lost, so both sides repeat theirs. Until the giver has stopped its heartbeat keeps the lease that is in
the taker's name, so that no third process claims a stream that is still being published, whatever becomes of the taker. If
the taker dies, drains too or can't open the stream, the giver takes the lease back and goes on. If the taker does not become
ready in time, the giver closes anyway and the taker repairs the gap from the saved position. If the giver dies, the taker
stops waiting for it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Final

from connector.core.errors import StateUnavailable
from connector.core.log import get_logger
from connector.core.loop import Loop
from connector.core.ports import Clock, State
from connector.core.traces import TRACES
from connector.streams.leases import Leases
from connector.streams.notifications import Teller
from connector.streams.pacing import LINGER_S
from connector.streams.passing import GIVING, READY_TIMEOUT_S, RELEASE_TIMEOUT_S, TAKING, Cue, Passing, Phase, follow
from connector.streams.pipeline import Pipeline
from connector.streams.position_store import PositionStore
from connector.streams.supervisor import Supervisor
from connector.streams.takers import Takers

log = get_logger(__name__)

TELL_AGAIN_S: Final = 2.0
PAUSE_S: Final = 3.0
"""More than this between two checks (one a second): the state was away."""
CONFIRM_POLL_S: Final = 0.01
CONFIRM_TIMEOUT_S: Final = 3.0


class Handover:
    """Both sides of the hand-over protocol. The loop's thread only, except `busy`.

    `start_taken` opens a stream beside the giver's session; it returns False if this process can't, and raises
    `StateUnavailable`. `has_room` tells whether this process may hold one stream more. `fenced` ends streams that
    are no longer ours.
    """

    def __init__(
        self,
        state: State,
        leases: Leases,
        supervisor: Supervisor,
        pipeline: Pipeline,
        clock: Clock,
        loop: Loop,
        start_taken: Callable[[str], bool],
        positions: PositionStore,
        has_room: Callable[[], bool],
        fenced: Callable[[Sequence[str]], None],
    ) -> None:
        self._state, self._leases, self._supervisor = state, leases, supervisor
        self._positions = positions
        self._pipeline, self._clock, self._loop, self._start_taken = pipeline, clock, loop, start_taken
        self._tell = Teller(state, leases.owner).tell
        self._has_room, self._fenced, self._takers = has_room, fenced, Takers(state, leases, clock)
        self._passing: dict[str, Passing] = {}
        self._draining = False
        self._checked_at: float | None = None
        self._drained: Callable[[], None] | None = None

    @property
    def busy(self) -> bool:
        return bool(self._passing)

    @property
    def given(self) -> int:
        """Streams that are on their way to others, and may come back."""
        return sum(passing.phase in GIVING for passing in self._passing.values())

    def giving(self, stream_id: str) -> bool:
        """It is on its way to another process."""
        return self._phase(stream_id) in GIVING

    def taking(self, stream_id: str) -> bool:
        """It comes from another process, which still publishes it: its events are held back here."""
        return self._phase(stream_id) in TAKING

    def _phase(self, stream_id: str) -> Phase:
        passing = self._passing.get(stream_id)
        return passing.phase if passing is not None else Phase.OURS

    def _move(self, stream_id: str, passing: Passing, cue: Cue) -> bool:
        """Follow the table; True if the phase changed. What is settled again is forgotten."""
        before, passing.phase = passing.phase, follow(passing.phase, cue)
        TRACES.passing(self._leases.owner, stream_id, before.value, passing.phase.value, cue.value)
        if passing.phase is Phase.OURS:
            self._passing.pop(stream_id, None)
            if before in GIVING:
                self._leases.passed_on(stream_id)
            else:
                self._leases.own(stream_id)
        else:
            self._passing[stream_id] = passing
        return passing.phase is not before

    # --- giver ---

    def drain(self, drained: Callable[[], None]) -> None:
        """Give every stream away; `drained` is called once nothing is left that could be given."""
        self._draining, self._drained = True, drained
        self._give_rest()

    def _give_rest(self) -> None:
        for stream_id in self._leases.held():
            self.give(stream_id)
        self._check_drained()

    def givable(self, stream_id: str) -> bool:
        return stream_id not in self._passing and not self._takers.could_not_open(stream_id)

    def give(self, stream_id: str) -> None:
        fence = self._leases.fence(stream_id)
        if fence is None or not self.givable(stream_id):
            return
        try:
            on_their_way = Counter(passing.other for passing in self._passing.values() if passing.phase in GIVING)
            target = self._takers.choose(stream_id, on_their_way)
            if target is None:
                return
            new_fence = self._state.hand_over(stream_id, fence, self._leases.owner, target, self._leases.keep_s)
        except StateUnavailable:
            return
        if new_fence is None:
            return
        now = self._clock.mono()
        self._leases.pass_on(stream_id)
        passing = Passing(target, new_fence, now, now)
        self._move(stream_id, passing, Cue.GIVE)
        self._offer(stream_id, passing)
        if self._supervisor.live_ms(stream_id) is None:
            self._let_go(stream_id, passing, Cue.NO_SESSION)
        else:
            self._supervisor.drain(stream_id)

    def _offer(self, stream_id: str, passing: Passing) -> None:
        passing.told_at = self._clock.mono()
        self._tell(passing.other, "take", stream_id, giver=self._leases.owner, fence=passing.fence)

    def _taker_ready(self, stream_id: str, by: str) -> None:
        passing = self._passing.get(stream_id)
        if passing is None:
            if not self._leases.holds(stream_id):
                # It was let go already and the taker does not know.
                self._tell(by, "released", stream_id, seamless=False)
        elif by == passing.other and self._move(stream_id, passing, Cue.TAKER_READY):
            passing.ready_ms = self._clock.wall_ms()
            self._supervisor.probe(stream_id)
            self._loop.after(LINGER_S, partial(self._lingered, stream_id, passing))

    def _lingered(self, stream_id: str, passing: Passing) -> None:
        if passing.phase is Phase.LINGERING:
            self._let_go(stream_id, passing, Cue.LINGERED)

    def _let_go(self, stream_id: str, passing: Passing, cue: Cue) -> None:
        """Stop publishing, and once everything submitted is confirmed tell the taker."""
        if not self._move(stream_id, passing, cue):
            return
        ready = passing.ready_ms > 0
        passing.seamless = ready and self._supervisor.alive_since(stream_id, passing.ready_ms)
        position = self._pipeline.lines.take(stream_id, self._supervisor.position_time_ms(stream_id))
        passing.mark = self._pipeline.mark()
        self._finish_when_confirmed(stream_id, passing, position, self._clock.mono() + CONFIRM_TIMEOUT_S)

    def _finish_when_confirmed(
        self, stream_id: str, passing: Passing, position: bytes | None, give_up_at: float
    ) -> None:
        # The other sink, too: what waits there, if only for a moment, must not arrive after what the taker publishes.
        out = self._pipeline.passed(passing.mark)
        waiting = self._pipeline.lines.pending(stream_id) or not out or self._pipeline.behind
        if waiting and self._clock.mono() < give_up_at:
            again = partial(self._finish_when_confirmed, stream_id, passing, position, give_up_at)
            self._loop.after(CONFIRM_POLL_S, again)
            return
        self._move(stream_id, passing, Cue.CONFIRMED)
        position = self._pipeline.lines.last_word(stream_id, position, out=out, revoke=True)
        try:
            # A giver that stood still is too late: the taker went on without it.
            if position is not None and self._leases.permitted():
                self._positions.save({stream_id: position}, passing.other)
        except StateUnavailable:
            log.warning("the position of a stream could not be handed over", stream=stream_id)
        if passing.refused:
            self._free(stream_id, passing.other, passing.fence)
        else:
            said = {"seamless": passing.seamless and out, "clean": out, "fence": passing.fence}
            self._tell(passing.other, "released", stream_id, **said)
        self._supervisor.unwant(stream_id, announce=passing.over)
        self._check_drained()

    def _take_back(self, stream_id: str, passing: Passing) -> None:
        """The other process can't have it: go on here, with the session that never closed. Raises `StateUnavailable`."""
        owner, ttl_s = self._leases.owner, self._leases.keep_s
        fence = self._state.hand_over(stream_id, passing.fence, passing.other, owner, ttl_s)
        if fence is None:
            fence = self._state.claim([stream_id], owner, ttl_s).get(stream_id)
        if fence is None:
            self._let_go(stream_id, passing, Cue.LOST)
            return
        self._leases.accept(stream_id, fence)
        self._move(stream_id, passing, Cue.TAKEN_BACK)
        self._supervisor.keep(stream_id)
        log.warning("took a stream back: the other process did not", stream=stream_id, other=passing.other)

    def _check_drained(self) -> None:
        if not self._draining or any(passing.phase in GIVING for passing in self._passing.values()):
            return
        if not self._takers.beside_us() or not any(self.givable(unit) for unit in self._leases.held()):
            drained, self._drained = self._drained, None
            if drained is not None:
                self._loop.post(drained)

    # --- taker ---

    def _take(self, stream_id: str, giver: str, fence: int) -> None:
        if self._draining:
            return  # the giver sees that this process drains, and takes it back
        passing = self._passing.get(stream_id)
        if passing is not None and passing.phase in GIVING:
            if fence > passing.fence:
                self._let_go(stream_id, passing, Cue.TAKE)
            return  # it is offered again when this side has ended
        if passing is not None or self._leases.fence(stream_id) == fence:
            if passing is None or passing.phase is Phase.READY:
                self._tell(giver, "ready", stream_id, by=self._leases.owner)
            return
        if not self._has_room():
            self._refuse(stream_id, giver, fence, full=True)
            return
        self._leases.accept(stream_id, fence, guest=True)
        now = self._clock.mono()
        passing = Passing(giver, fence, now, now)
        self._move(stream_id, passing, Cue.TAKE)
        try:
            started = self._start_taken(stream_id)
        except StateUnavailable:
            self._cant_open(stream_id, passing)  # the giver offers it again
            return
        if not started:
            self._cant_open(stream_id, passing)
            self._refuse(stream_id, giver, fence, full=False)

    def decline(self) -> list[str]:
        """This process ends: what is coming to it stays with its givers, who publish it still. Returns the streams; their
        leases stand in our name, so that nobody else takes them before the givers take them back. A giver that died meanwhile
        takes nothing back: what came from it is free for anybody."""
        coming = [stream_id for stream_id, passing in self._passing.items() if passing.phase in TAKING]
        dead = self._takers.deaf({self._passing[stream_id].other for stream_id in coming})
        for stream_id in coming:
            passing = self._passing.pop(stream_id)
            self._leases.forget(stream_id)
            if passing.other in dead:
                self._free(stream_id, self._leases.owner, passing.fence)
            else:
                self._refuse(stream_id, passing.other, passing.fence, full=True)
        return coming

    def _refuse(self, stream_id: str, giver: str, fence: int, *, full: bool) -> None:
        self._tell(giver, "refused", stream_id, full=full, by=self._leases.owner, fence=fence)

    def _refused_by(self, stream_id: str, message: Mapping[str, object]) -> None:
        """The taker does not take a stream. Raises `StateUnavailable`."""
        passing = self._passing.get(stream_id)
        if passing is not None and passing.phase in {Phase.OFFERED, Phase.LINGERING}:
            if message.get("full"):
                self._takers.said_full(passing.other)
            else:
                self._takers.said_cant_open(stream_id)
            self._take_back(stream_id, passing)
            self._check_drained()
        elif passing is not None and passing.phase is Phase.LEAVING:
            passing.refused = True
        elif passing is None and not self._leases.holds(stream_id):
            # It was told "released" too late to read it: nobody runs the stream in its name.
            self._free(stream_id, str(message.get("by", "")), int(str(message.get("fence", 0))))

    def _free(self, stream_id: str, taker: str, fence: int) -> None:
        try:
            self._state.release({stream_id: fence}, taker)
        except StateUnavailable:
            log.warning("a stream waits for the next scan: the state is unavailable", stream=stream_id)

    def _cant_open(self, stream_id: str, passing: Passing) -> None:
        self._move(stream_id, passing, Cue.CANT_OPEN)
        self._leases.forget(stream_id)

    def live(self, stream_id: str) -> None:
        """A stream of this process is live: if it is being taken, its giver may close now."""
        passing = self._passing.get(stream_id)
        if passing is not None and self._move(stream_id, passing, Cue.LIVE):
            passing.since = self._clock.mono()
            self._tell(passing.other, "ready", stream_id, by=self._leases.owner)

    def _release(self, stream_id: str, cue: Cue, *, clean: bool, seamless: bool, fence: int = 0) -> None:
        """The giver is done. `fence`: of the offer that it speaks of. Raises `StateUnavailable`."""
        passing = self._passing.get(stream_id)
        if passing is None:
            return
        if passing.phase in TAKING and fence != passing.fence and self._leases.retake([stream_id]):
            # The giver took it back while this process was slow, and may have given it to a third one since.
            self._fenced([stream_id])
            return
        if not self._move(stream_id, passing, cue):
            return
        try:
            position = self._positions.load([stream_id]).get(stream_id)
        except StateUnavailable:
            position, clean = None, False
        self._supervisor.let_through(stream_id, position, clean=clean, seamless=seamless)

    # --- both ---

    def end(self, stream_id: str, *, over: bool = False) -> None:
        """The stream was closed (`over`) or fenced: nothing is passed on any more."""
        self._takers.pardon(stream_id)
        passing = self._passing.get(stream_id)
        if passing is not None:
            self._end(stream_id, passing, over=over)

    def _ended_by(self, stream_id: str, message: Mapping[str, object]) -> None:
        """The taker says so (an older version does not say who it is)."""
        passing, over = self._passing.get(stream_id), bool(message.get("over"))
        if passing is None:
            if over and not self._leases.holds(stream_id):
                # What this process published last came after the taker's word that nobody listens any more.
                self._supervisor.unwant(stream_id, announce=True)
        elif passing.phase in GIVING and message.get("by", "") in {"", passing.other}:
            self._end(stream_id, passing, over=over)

    def _end(self, stream_id: str, passing: Passing, *, over: bool) -> None:
        """Where the last event is published already, it is too late to end anything."""
        passing.over = passing.over or over
        taking = passing.phase in TAKING
        if not self._move(stream_id, passing, Cue.ENDED):
            return
        if taking:
            self._tell(passing.other, "closed", stream_id, by=self._leases.owner, over=over)
        else:
            self._supervisor.unwant(stream_id, announce=over)
            self._check_drained()

    def message(self, kind: str, stream_id: str, message: Mapping[str, object]) -> None:
        """A notification of another process. Raises `StateUnavailable`."""
        fence = int(str(message.get("fence", 0)))
        match kind:
            case "take":
                self._take(stream_id, str(message.get("giver", "")), fence)
            case "ready":
                self._taker_ready(stream_id, str(message.get("by", "")))
            case "released" if stream_id not in self._passing and not self._leases.holds(stream_id):
                # It was refused here, too late for the giver to take it back: nobody runs it in our name.
                self._state.release({stream_id: fence}, self._leases.owner)
            case "released":
                clean, seamless = bool(message.get("clean", True)), bool(message.get("seamless", True))
                self._release(stream_id, Cue.RELEASED, clean=clean, seamless=seamless, fence=fence)
            case "refused":
                self._refused_by(stream_id, message)
            case "closed":
                self._ended_by(stream_id, message)
            case _:
                log.warning("unknown notification", kind=kind)

    def check(self) -> None:
        """Repeat what may have got lost, and look at the time-outs of both sides. Raises `StateUnavailable`."""
        now = self._clock.mono()
        paused_s = now - self._checked_at if self._checked_at is not None else 0.0
        self._checked_at = now
        if paused_s > PAUSE_S:
            # While the state was away nobody could answer: that time does not count.
            for passing in self._passing.values():
                passing.since += paused_s
        if self._leases.settling:
            return  # who lives is not known yet
        self._check_giving()
        self._check_taking()
        if self._draining:
            self._give_rest()

    def _check_giving(self) -> None:
        now = self._clock.mono()
        candidates = set(self._leases.candidates())
        kept: dict[str, dict[str, int]] = {}
        for stream_id, passing in list(self._passing.items()):
            if passing.phase not in {Phase.OFFERED, Phase.LINGERING}:
                continue
            if passing.other not in candidates:
                self._take_back(stream_id, passing)
            elif now - passing.since >= READY_TIMEOUT_S:
                self._let_go(stream_id, passing, Cue.TAKER_LATE)
            else:
                kept.setdefault(passing.other, {})[stream_id] = passing.fence
                if now - passing.told_at >= TELL_AGAIN_S:
                    self._offer(stream_id, passing)
        for target, leases in kept.items():
            for stream_id in sorted(self._state.renew(leases, target, self._leases.keep_s, kept=False)):
                log.warning("a stream that was being handed over went to a third process", stream=stream_id)
                self._let_go(stream_id, self._passing[stream_id], Cue.LOST)

    def _check_taking(self) -> None:
        now = self._clock.mono()
        alive = {worker.owner for worker in self._leases.workers}
        for stream_id, passing in list(self._passing.items()):
            if passing.phase not in TAKING:
                continue
            ready_s = now - passing.since if passing.phase is Phase.READY else 0.0
            if ready_s >= RELEASE_TIMEOUT_S or passing.other not in alive:
                log.warning("the former owner of a stream is silent: going on without it", stream=stream_id)
                self._release(stream_id, Cue.GIVER_SILENT, clean=False, seamless=False)
            elif ready_s >= 1.0:
                self._tell(passing.other, "ready", stream_id, by=self._leases.owner)

    def abandon(self) -> None:
        """The drain deadline has come: let everything go that is still being given."""
        for stream_id, passing in list(self._passing.items()):
            if passing.phase in GIVING:
                self._let_go(stream_id, passing, Cue.DEADLINE)
