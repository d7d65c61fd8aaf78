"""One sink over several."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Protocol

from connector.core.clock import SystemClock
from connector.core.log import get_logger
from connector.core.messages import AccountMessage, Confirmed, Message, Recovered, Sink, SinkStatus, Spoiled
from connector.core.ports import Clock
from connector.core.stamps import Stamped
from connector.core.waits import Ending, together
from connector.sinks._common import Elsewhere, Permitted, Throttle, left

log = get_logger(__name__)

_DURABLE_FIRST = ("rabbitmq", "redis")


class ConfirmingSink(Sink, Protocol):
    """A sink that can tell when account messages are safe, and what else a process is told by its sinks."""

    on_confirmed: Confirmed | None
    on_spoiled: Spoiled | None
    """Told, on the sink's thread, of which streams something that waited is lost and will not be confirmed."""
    on_recovered: Recovered | None
    """Told, on the sink's thread, which streams lost events while its server was away, once the rest has gone out."""
    owned_elsewhere: Elsewhere | None
    """Asked, on the sink's thread, which streams other processes run, of those of which something is left from before."""
    permitted: Permitted
    """Asked on the sink's thread: while it says no, no account message leaves; each stays in its place."""

    def turn(self) -> bool:
        """Without a thread: do what is due; True if there was anything. Never waits."""

    def next_due(self) -> float | None:
        """Without a thread: when to turn again, by the monotonic clock; None = when something was submitted."""

    def ending(self, timeout_s: float) -> Ending:
        """The steps of `stop`, for whoever turns the sink."""


class FanoutSink:
    """Hands every message to every sink; each works on its own thread and queue, so none waits for another.

    The *primary* sink decides: `submit` is False only if the primary refused an account message, and `on_confirmed`
    reports its confirmations. Primary is the sink named `rabbitmq`, else `redis`, else the first.
    A refused message still goes to the other sinks: an event that one of them can deliver now is worth more than
    equal sinks, and gap repair publishes it again under the same event id.
    """

    def __init__(
        self,
        sinks: Sequence[ConfirmingSink],
        *,
        on_confirmed: Confirmed | None = None,
        name: str = "fanout",
        clock: Clock | None = None,
    ) -> None:
        if not sinks:
            raise ValueError("a fanout needs at least one sink")
        self.name = name
        self.sinks = tuple(sinks)
        by_name = {sink.name: sink for sink in reversed(self.sinks)}
        self.primary = next((by_name[known] for known in _DURABLE_FIRST if known in by_name), self.sinks[0])
        self._clock = clock or SystemClock()
        self._may_log = Throttle(self._clock)
        if on_confirmed is not None:
            self.on_confirmed = on_confirmed

    @property
    def on_confirmed(self) -> Confirmed | None:
        return self.primary.on_confirmed

    @on_confirmed.setter
    def on_confirmed(self, callback: Confirmed | None) -> None:
        self.primary.on_confirmed = callback

    @property
    def on_spoiled(self) -> Spoiled | None:
        return self.primary.on_spoiled

    @on_spoiled.setter
    def on_spoiled(self, callback: Spoiled | None) -> None:
        self.primary.on_spoiled = callback

    @property
    def on_recovered(self) -> Recovered | None:
        return self.primary.on_recovered

    @on_recovered.setter
    def on_recovered(self, callback: Recovered | None) -> None:
        for sink in self.sinks:
            sink.on_recovered = callback

    @property
    def owned_elsewhere(self) -> Elsewhere | None:
        return self.primary.owned_elsewhere

    @owned_elsewhere.setter
    def owned_elsewhere(self, ask: Elsewhere | None) -> None:
        for sink in self.sinks:
            sink.owned_elsewhere = ask

    @property
    def permitted(self) -> Permitted:
        return self.primary.permitted

    @permitted.setter
    def permitted(self, ask: Permitted) -> None:
        for sink in self.sinks:
            sink.permitted = ask

    def start(self) -> None:
        for sink in self.sinks:
            sink.start()

    def submit(self, messages: Sequence[Message]) -> bool:
        taken = True
        for sink in self.sinks:
            try:
                result = sink.submit(messages)
            except Exception:
                # A defect of one sink costs that sink its messages, never the session or the other sinks.
                result = not any(type(message) is AccountMessage for message in messages)
                if self._may_log(sink.name):
                    log.exception("sink failed to take messages", sink=sink.name)
            if sink is self.primary:
                taken = result
        return taken

    def revoke(self, stream_id: str) -> None:
        for sink in self.sinks:
            sink.revoke(stream_id)

    def mark(self) -> object:
        return tuple(sink.mark() for sink in self.sinks)

    def passed(self, mark: object) -> bool:
        return isinstance(mark, tuple) and all(sink.passed(its) for sink, its in zip(self.sinks, mark, strict=True))

    def statuses(self) -> list[SinkStatus]:
        """One status per sink, in order."""
        return [sink.status() for sink in self.sinks]

    def threads(self) -> Sequence[Stamped]:
        return [one for sink in self.sinks for one in sink.threads()]

    def status(self) -> SinkStatus:
        """Sums over all sinks; `connected` tells about the primary."""
        parts = self.statuses()
        primary = parts[self.sinks.index(self.primary)]
        return SinkStatus(
            name=self.name,
            connected=primary.connected,
            queued=sum(part.queued for part in parts),
            dropped=sum(part.dropped for part in parts),
            lost_account_events=sum(part.lost_account_events for part in parts),
            detail="; ".join(f"{part.name}: {part.detail}" for part in parts if part.detail),
        )

    def turn(self) -> bool:
        """Without threads: one turn of each sink."""
        did = False
        for sink in self.sinks:
            did |= sink.turn()
        return did

    def next_due(self) -> float | None:
        return min((due for sink in self.sinks if (due := sink.next_due()) is not None), default=None)

    def ending(self, timeout_s: float) -> Ending:
        return together([sink.ending(timeout_s) for sink in self.sinks], self._clock)

    def flush(self, timeout_s: float) -> bool:
        return self._all(lambda sink, timeout: sink.flush(timeout), timeout_s)

    def stop(self, timeout_s: float) -> bool:
        return self._all(lambda sink, timeout: sink.stop(timeout), timeout_s)

    def _all(self, action: Callable[[Sink, float], bool], timeout_s: float) -> bool:
        """Side by side, so that a sink whose server is away doesn't use up the others' time."""
        deadline = self._clock.mono() + timeout_s
        results: dict[int, bool] = {}

        def act(index: int, sink: Sink) -> None:
            try:
                results[index] = action(sink, left(deadline, self._clock))
            except Exception:
                log.exception("sink failed to flush or stop", sink=sink.name)

        threads = [
            threading.Thread(target=act, args=(index, sink), name=f"{self.name}-{sink.name}", daemon=True)
            for index, sink in enumerate(self.sinks)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(left(deadline, self._clock) + 0.1)
        return len(results) == len(self.sinks) and all(results.values())
