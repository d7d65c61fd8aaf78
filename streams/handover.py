"""Passing a running stream to another process without a gap and without repeating an event (design section 2, Drain).

::

    giver                                  taker
      lease → taker (atomic, new fence)
      "take" ------------------------------> opens its own session beside ours, holds its events back
                                             live (subscribed, gap repaired)
      stops publishing, waits for confirms <------------------------------ "ready"
      saves the position, closes
      "released" --------------------------> drops what the position covers, publishes the rest

If the taker does not become ready in time, the giver closes anyway and the taker repairs the gap from the saved position.
If the giver dies, the taker stops waiting for it.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Final

from core.errors import StateUnavailable
from core.log import get_logger
from core.ports import Clock, State
from streams.leases import Leases
from streams.loop import Loop
from streams.pipeline import Pipeline
from streams.supervisor import Supervisor

log = get_logger(__name__)

READY_TIMEOUT_S: Final = 45.0
"""The giver keeps its session this long for a taker that does not get live."""
RELEASE_TIMEOUT_S: Final = 6.0
"""A taker that is ready waits this long for the giver."""
CONFIRM_POLL_S: Final = 0.01
CONFIRM_TIMEOUT_S: Final = 3.0
POSITION_KEEP_S: Final = 7 * 86_400


@dataclass(slots=True)
class _Taking:
    giver: str
    ready_at: float | None = None
    live: bool = False


class Handover:
    """Both sides of the hand-over protocol. The loop's thread only, except `drained` and `busy`."""

    def __init__(
        self,
        state: State,
        leases: Leases,
        supervisor: Supervisor,
        pipeline: Pipeline,
        clock: Clock,
        loop: Loop,
        start_taken: Callable[[str], None],
    ) -> None:
        self._state, self._leases, self._supervisor = state, leases, supervisor
        self._pipeline, self._clock, self._loop, self._start_taken = pipeline, clock, loop, start_taken
        self._giving: dict[str, tuple[str, float]] = {}
        self._closing: set[str] = set()
        self._taking: dict[str, _Taking] = {}
        self._draining = False
        self.drained = threading.Event()

    @property
    def busy(self) -> bool:
        return bool(self._giving or self._taking)

    # --- giver ---

    def drain(self) -> None:
        """Give every stream away."""
        self._draining = True
        for stream_id in self._leases.held():
            self.give(stream_id)
        self._check_drained()

    def give(self, stream_id: str) -> None:
        target = self._leases.another(stream_id)
        fence = self._leases.fence(stream_id)
        if target is None or fence is None or stream_id in self._giving:
            return
        try:
            new_fence = self._state.hand_over(stream_id, fence, self._leases.owner, target, self._leases.ttl_s * 2)
            if new_fence is None:
                return
            self._tell(target, "take", stream_id, giver=self._leases.owner, fence=new_fence)
        except StateUnavailable:
            return
        self._leases.drop(stream_id)
        self._giving[stream_id] = (target, self._clock.mono())
        self._supervisor.drain(stream_id)

    def _let_go(self, stream_id: str) -> None:
        """Stop publishing, and once everything submitted is confirmed tell the taker."""
        if stream_id in self._closing or stream_id not in self._giving:
            return
        self._closing.add(stream_id)
        position = self._pipeline.take_line(stream_id, self._supervisor.position_time_ms(stream_id))
        self._finish_when_confirmed(stream_id, position, self._clock.mono() + CONFIRM_TIMEOUT_S)

    def _finish_when_confirmed(self, stream_id: str, position: bytes | None, give_up_at: float) -> None:
        if self._pipeline.pending(stream_id) and self._clock.mono() < give_up_at:
            again = partial(self._finish_when_confirmed, stream_id, position, give_up_at)
            self._loop.later(CONFIRM_POLL_S, again)
            return
        target, _ = self._giving.pop(stream_id)
        self._closing.discard(stream_id)
        try:
            if position is not None:
                self._state.save_positions({stream_id: position}, POSITION_KEEP_S)
            self._tell(target, "released", stream_id)
        except StateUnavailable:
            log.warning("the taker is not told: the state is unavailable", stream=stream_id)
        self._supervisor.unwant(stream_id)
        self._check_drained()

    def _check_drained(self) -> None:
        if self._draining and not self._giving and (not len(self._leases) or not self._leases.candidates_beside_us()):
            self.drained.set()

    # --- taker ---

    def _take(self, stream_id: str, giver: str, fence: int) -> None:
        self._leases.accept(stream_id, fence)
        self._taking[stream_id] = _Taking(giver)
        self._start_taken(stream_id)

    def live(self, stream_id: str) -> None:
        """A stream of this process is live: if it is being taken, its giver may close now."""
        taking = self._taking.get(stream_id)
        if taking is not None and taking.ready_at is None:
            taking.ready_at = self._clock.mono()
            try:
                self._tell(taking.giver, "ready", stream_id)
            except StateUnavailable:
                self._release(stream_id)

    def _release(self, stream_id: str) -> None:
        if self._taking.pop(stream_id, None) is None:
            return
        try:
            position = self._state.positions([stream_id]).get(stream_id)
        except StateUnavailable:
            position = None
        self._supervisor.release(stream_id, position)

    # --- both ---

    def message(self, kind: str, stream_id: str, message: Mapping[str, object]) -> None:
        match kind:
            case "take":
                self._take(stream_id, str(message.get("giver", "")), int(str(message.get("fence", 0))))
            case "ready":
                self._let_go(stream_id)
            case "released":
                self._release(stream_id)
            case _:
                log.warning("unknown notification", kind=kind)

    def check(self) -> None:
        """Time-outs of both sides."""
        now = self._clock.mono()
        for stream_id, (_, since) in list(self._giving.items()):
            if now - since >= READY_TIMEOUT_S:
                self._let_go(stream_id)
        alive = {worker.owner for worker in self._leases.workers}
        for stream_id, taking in list(self._taking.items()):
            waited = taking.ready_at is not None and now - taking.ready_at >= RELEASE_TIMEOUT_S
            if waited or taking.giver not in alive:
                self._release(stream_id)

    def abandon(self) -> None:
        """The drain deadline has come: let everything go that is still being given."""
        for stream_id in list(self._giving):
            self._let_go(stream_id)

    def _tell(self, owner: str, kind: str, stream_id: str, **fields: object) -> None:
        self._state.notify(owner, json.dumps({"t": kind, "id": stream_id, **fields}))
