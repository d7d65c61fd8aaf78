"""One worker process of either role: its sinks, state, engine and command service, started and stopped in a written order.

Start: sinks, engine, command service, announcement once the consumer is up. Stop (AMQP and Redis still usable): no commands
any more, streams are handed over, events are flushed, connections closed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Final

from connector.core.log import get_logger
from connector.core.ports import State
from connector.core.waits import Ending, Wait
from connector.sinks.fanout import FanoutSink
from connector.streams.alive import stamped
from connector.streams.edges import Edges
from connector.streams.engine import LEAVE_S, Engine
from connector.streams.options import EngineOptions
from tasks.service import set_service
from workers import _shared_metrics
from workers._announcing import Announcing
from workers._copies import Sure, TakenBack
from workers._leftovers import OwnedElsewhere
from workers._limits import raise_file_limit, say_what_runs
from workers._readiness import Watch
from workers._service import Service
from workers._shared_metrics import SharedMetrics

log = get_logger(__name__)

FLUSH_S: Final = 10.0
ANNOUNCING_S: Final = 0.5
"""How long a stop waits for the state to learn that the last process of its role has gone."""


class Process:
    """`start` and `stop` (or `ending`): once each."""

    def __init__(
        self,
        options: EngineOptions,
        state: State,
        sink: FanoutSink,
        wait_ready: Callable[[float], bool],
        watch: Callable[[Watch], None] | None = None,
        edges: Edges | None = None,
        problems: Callable[[], Sequence[str]] = tuple,
        announced: Callable[[], None] | None = None,
        watch_sure: Callable[[Callable[[Sequence[Sure]], None]], None] | None = None,
    ) -> None:
        """`wait_ready` tells, after at most so many seconds, whether commands are consumed; `watch` tells when that begins,
        and whether the queue is new; `announced` is told when its senders were asked. `edges`: time, chance and who turns the
        loops; None = those of a deployment. `problems` tells in words why commands can't reach this process; its heartbeat
        carries them. `watch_sure` tells which commands the broker can't bring again."""
        edges = edges or Edges()
        self.state, self.sink = state, sink
        self.engine = Engine(options, state, sink, edges)
        self.engine.report.watched.append(problems)
        self.service = Service(self.engine)
        ready = partial(wait_ready, 0.0)
        self.announcing = Announcing(self.engine.announcer, ready, edges.loop("announcer"), announced)
        self._marks = TakenBack(state.drop_marks, self.announcing.loop)
        self._watch_sure = watch_sure
        self._metrics = SharedMetrics(state, self.engine.owner, self.engine.clock, self.engine.budget.uses)
        self._watch = watch
        sink.on_confirmed = self.engine.pipeline.confirmed
        sink.on_spoiled = self.engine.supervisor.spoiled
        sink.on_recovered = self._recovered
        sink.permitted = self.engine.leases.permitted_s
        sink.owned_elsewhere = OwnedElsewhere(state, self.engine.owner, self.engine.clock, self.engine.leases.gives)

    def start(self) -> None:
        raise_file_limit(self.engine.options.capacity)
        self.sink.start()
        self.engine.start()
        say_what_runs(self.engine)
        self.engine.every(_shared_metrics.SHARE_S, self._metrics.share)
        if self._watch is not None:
            self._watch(self.announcing.consumer_up)
        if self._watch_sure is not None:
            self._watch_sure(self._marks.sure)
        set_service(self.service)
        self.announcing.start()
        self.engine.alive.watch(stamped([self.announcing.loop]))

    def stop(self, timeout_s: float | None = None) -> bool:
        """Blocks; see `Engine.stop`."""
        self._stop_announcing()
        clean = self.engine.stop(timeout_s)
        self.announcing.stop(ANNOUNCING_S)
        return self._end(self.sink.stop(FLUSH_S)) and clean

    def _stop_announcing(self) -> None:
        set_service(None)
        self.engine.alive.forget(self.announcing.loop.name)
        self.announcing.retire()

    def _end(self, flushed: bool) -> bool:
        self.state.close_connections()
        if not flushed:
            log.error("events were left unconfirmed at the end; the outbox on disk keeps account events")
        return flushed

    # --- without threads (see `Edges`) ---

    def turn(self) -> bool:
        """Give every part one turn; True if any had something to do. Never waits."""
        did = self.engine.turn()
        did |= self.announcing.loop.turn()
        return self.sink.turn() or did

    def next_due(self) -> float | None:
        """The next moment (monotonic) at which `turn` has something to do of itself; None = only if something comes in."""
        times = (self.engine.next_due(), self.announcing.loop.next_due(), self.sink.next_due())
        return min((due for due in times if due is not None), default=None)

    def ending(self, timeout_s: float | None = None) -> Ending:
        """The steps of `stop`."""
        self._stop_announcing()
        drain_s = self.engine.options.drain_timeout_s if timeout_s is None else timeout_s
        left: list[bool] = []
        self.engine.drain(drain_s, left.append)
        yield Wait(lambda: bool(left), self.engine.clock.mono() + drain_s + LEAVE_S)
        clean = self.engine.take_down(handed_over=left == [True])
        self.announcing.stop(ANNOUNCING_S)
        return self._end((yield from self.sink.ending(FLUSH_S))) and clean

    def _recovered(self, stream_ids: Sequence[str]) -> None:
        """Redis is back and account events of these streams were lost on it: their bots must check (contract 4.1)."""
        for stream_id in stream_ids:
            spec = self.engine.supervisor.spec(stream_id)
            if spec is not None:
                self.engine.pipeline.info(stream_id, spec.exchange)
