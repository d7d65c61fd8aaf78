"""Spans of OpenTelemetry at the seams of the engine (docs/traces.md). Off unless `begin` was called.

A caller on the way of every event asks `TRACES.on` first: that is all that is paid while traces are off. Everything else is
rare enough to be called always. Methods are called by any thread, and never raise for what a stream does.
"""

from __future__ import annotations

import sys
import threading
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final, TypeVar

from connector.core.clock import SystemClock
from connector.core.messages import AccountMessage
from connector.core.version import VERSION

if TYPE_CHECKING:
    from opentelemetry.context import Context
    from opentelemetry.trace import Span, TracerProvider

NAME: Final = "websocket-connector"
HEADER: Final = "traceparent"
MAX_KEPT: Final = 10_000
"""Spans and contexts of each kind that are remembered; beyond that the oldest are forgotten."""
_TO_NS: Final = 1_000_000
_OPENING: Final = {"opening", "joining"}
_ENDED: Final = {"waiting", "cooling", "stopped"}

SETTLED: Final = "settled"
"""The phase of a stream that is on no hand-over (`connector.streams.passing`)."""

V = TypeVar("V")


class _Kept(OrderedDict[Any, V]):
    """Bounded; the caller holds the lock."""

    def keep(self, key: object, value: V) -> V | None:
        """What had to go."""
        self[key] = value
        return self.popitem(last=False)[1] if len(self) > MAX_KEPT else None


class Traces:
    def __init__(self) -> None:
        self.on = False
        self._clock = SystemClock()
        self._lock = threading.Lock()
        self._tracer: Any = None
        self._commands: _Kept[Context] = _Kept()
        """Nonce → context that came with the command."""
        self._causes: _Kept[Context] = _Kept()
        """Stream → what it is opened for, or handed over by."""
        self._openings: _Kept[Span] = _Kept()
        self._joined: _Kept[tuple[Span, int]] = _Kept()
        """Stream → its newest opening, and when it was connected, ms."""
        self._passings: _Kept[Span] = _Kept()
        self._events: _Kept[Span] = _Kept()
        """Stream and event id → from its frame on, until it is confirmed."""

    def begin(self, provider: TracerProvider | None = None) -> None:
        """Make spans from now on, with this provider or the process's."""
        from opentelemetry import trace

        self._tracer = trace.get_tracer(NAME, VERSION, tracer_provider=provider)
        self.on = True

    def begin_if_provided(self) -> None:
        """In a program that has set a provider for its process."""
        if "opentelemetry.trace" not in sys.modules:
            return  # whoever sets a provider has imported it
        from opentelemetry import trace

        if not isinstance(trace.get_tracer_provider(), trace.ProxyTracerProvider | trace.NoOpTracerProvider):
            self.begin()

    def end(self) -> None:
        """No spans any more; those that have not ended are not told."""
        self.on = False
        with self._lock:
            for kept in (self._commands, self._causes, self._openings, self._joined, self._passings, self._events):
                kept.clear()

    # --- command, applied ---

    def came_with(self, nonce: str, headers: Mapping[str, Any] | None) -> None:
        """A command arrived, perhaps with its sender's context."""
        if self.on and headers and HEADER in headers:
            with self._lock:
                self._commands.keep(nonce, self._read({HEADER: str(headers[HEADER])}))

    @contextmanager
    def command(self, name: str, stream_id: str | None, nonce: str = "") -> Iterator[None]:
        """Around what carries it out. What becomes of the stream goes on in the same trace."""
        if not self.on:
            yield
            return
        with self._lock:
            parent = self._commands.pop(nonce, None)
        with self._tracer.start_as_current_span(f"command {name}", context=parent, attributes=_of(stream_id)) as span:
            if stream_id:
                with self._lock:
                    self._causes.keep(stream_id, self._under(span))
            yield

    def carried(self, stream_id: str, owner: str = "") -> dict[str, str]:
        """For a notification (of `owner`) about the stream: the field by which its receiver goes on in the same trace."""
        carrier: dict[str, str] = {}
        if self.on:
            from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

            with self._lock:
                passing, cause = self._passings.get((owner, stream_id)), self._causes.get(stream_id)
            context = self._under(passing) if passing is not None else cause
            if context is not None:
                TraceContextTextMapPropagator().inject(carrier, context)
        return {HEADER: carrier[HEADER]} if HEADER in carrier else {}

    def continues(self, stream_id: str, notification: Mapping[str, Any]) -> None:
        """The other end of `carried`."""
        if self.on and isinstance(notification.get(HEADER), str):
            with self._lock:
                self._causes.keep(stream_id, self._read({HEADER: notification[HEADER]}))

    # --- live ---

    def moved(self, engine: int, stream_id: str, exchange: str, state: str, reason: str) -> None:
        """A stream is in this state of its life now, in one engine of the process. A span for each attempt."""
        if not self.on:
            return
        with self._lock:
            span = self._openings.get((engine, stream_id))
            if state in _OPENING:
                if span is None:
                    span = self._start(
                        "stream open", self._causes.get(stream_id), {"exchange": exchange, **_of(stream_id)}
                    )
                    self._openings.keep((engine, stream_id), span)
                if state == "joining":
                    span.add_event("connected")
                    self._joined.keep(stream_id, (span, self._clock.wall_ms()))
                return
            self._openings.pop((engine, stream_id), None)
            if state == "live":
                self._causes.pop(stream_id, None)
        if span is not None:
            self._finish(span, reason if state in _ENDED else "")

    def gap(self, stream_id: str, exchange: str, orders: int, missing: Sequence[str]) -> None:
        """What happened while a stream was away was asked for and told: from its connection until now."""
        if not self.on:
            return
        with self._lock:
            span, since_ms = self._joined.get(stream_id, (None, 0))
        attributes = {"exchange": exchange, "orders": orders, "missing": list(missing), **_of(stream_id)}
        under = self._under(span) if span is not None else None
        self._start("gap repair", under, attributes, since_ms=since_ms).end()

    # --- hand-over ---

    def passing(self, owner: str, stream_id: str, before: str, now: str, cue: str) -> None:
        """A hand-over moved on; its span begins with the first phase and ends when it is settled."""
        if not self.on:
            return
        settled = now == SETTLED
        with self._lock:
            span = self._passings.get((owner, stream_id))
            if span is None and not settled:
                span = self._start("hand-over", self._causes.get(stream_id), {"phase": now, **_of(stream_id)})
                self._passings.keep((owner, stream_id), span)
            if settled:
                self._passings.pop((owner, stream_id), None)
        if span is not None:
            span.add_event(cue, {"from": before, "to": now})
            if settled:
                span.end()

    # --- frame, event, confirm ---

    def event(self, message: AccountMessage, *, repaired: bool) -> None:
        """An event is on its way to the sinks."""
        attributes = {"exchange": message.exchange, "event.type": message.event_type, "event.id": message.event_id}
        age_ms = (self._clock.mono() - message.received_mono) * 1000 if message.received_mono else 0.0
        span = self._start(
            "account event",
            None,
            {**attributes, "repaired": repaired, **_of(message.stream_id)},
            since_ms=self._clock.wall_ms() - int(age_ms),
        )
        with self._lock:
            gone = self._events.keep((message.stream_id, message.event_id), span)
        if gone is not None:
            self._finish(gone, "not confirmed, and forgotten")

    def headers(self, message: AccountMessage) -> dict[str, str]:
        """The context of an event, for its receiver."""
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        with self._lock:
            span = self._events.get((message.stream_id, message.event_id))
        carrier: dict[str, str] = {}
        if span is not None:
            TraceContextTextMapPropagator().inject(carrier, self._under(span))
        return {HEADER: carrier[HEADER]} if HEADER in carrier else {}

    def confirmed(self, messages: Sequence[AccountMessage], reason: str = "") -> None:
        """These are safe at the receiver; with a `reason`, they are not and will not be."""
        with self._lock:
            spans = [self._events.pop((message.stream_id, message.event_id), None) for message in messages]
        for span in spans:
            if span is not None:
                self._finish(span, reason)

    # --- OpenTelemetry ---

    def _start(self, name: str, context: Context | None, attributes: dict[str, Any], since_ms: int = 0) -> Span:
        from opentelemetry.context import Context as Nothing

        span: Span = self._tracer.start_span(
            name,
            context=Nothing() if context is None else context,
            attributes=attributes,
            start_time=since_ms * _TO_NS if since_ms else None,
        )
        return span

    @staticmethod
    def _finish(span: Span, reason: str) -> None:
        from opentelemetry.trace import Status, StatusCode

        if reason:
            span.set_status(Status(StatusCode.ERROR, reason))
        span.end()

    @staticmethod
    def _under(span: Span) -> Context:
        from opentelemetry import trace

        return trace.set_span_in_context(span)

    @staticmethod
    def _read(carrier: dict[str, str]) -> Context:
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        return TraceContextTextMapPropagator().extract(carrier)


def _of(stream_id: str | None) -> dict[str, Any]:
    return {"stream": stream_id} if stream_id else {}


TRACES: Final = Traces()
