"""Who hears of an event: callbacks, and programs that loop over `events()`."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from types import TracebackType
from typing import Any, Self

from connector.api._events import Event, Failure
from connector.core.log import get_logger

log = get_logger(__name__)

Callback = Callable[[Event[Any]], object]


class Listeners:
    """`add` and `loop`: any thread. `tell` is called from one thread at a time, and never raises."""

    def __init__(self, known: Iterable[str]) -> None:
        self._known = frozenset(known)
        self._lock = threading.Lock()
        self._callbacks: dict[str, tuple[Callback, ...]] = {}
        self._loops: tuple[Handoff, ...] = ()

    def add(self, name: str, callback: Callback) -> Callable[[], None]:
        """Returns what takes the callback away again. Raises `ValueError` for a name that no event has."""
        if name not in self._known:
            raise ValueError(f"no event is called {name!r}; there are {', '.join(sorted(self._known))}")
        with self._lock:
            self._callbacks[name] = (*self._callbacks.get(name, ()), callback)

        def remove() -> None:
            with self._lock:
                left = [one for one in self._callbacks.get(name, ()) if one is not callback]
                self._callbacks[name] = tuple(left)

        return remove

    def loop(self) -> Events:
        """A new loop over everything that happens from here on."""
        handoff = Handoff(self._leave)
        with self._lock:
            self._loops = (*self._loops, handoff)
        return Events(handoff)

    def _leave(self, left: Handoff) -> None:
        with self._lock:
            self._loops = tuple(one for one in self._loops if one is not left)

    def wanted(self, name: str) -> bool:
        """Whether anybody would hear of it."""
        return bool(self._loops or self._callbacks.get(name) or self._callbacks.get("*"))

    def tell(self, event: Event[Any]) -> None:
        for callback in (*self._callbacks.get(event.name, ()), *self._callbacks.get("*", ())):
            try:
                callback(event)
            except Exception as error:
                log.exception("a callback raised", on=event.name, callback=getattr(callback, "__name__", "?"))
                if event.name != "error":
                    text = f"a callback on {event.name} raised {type(error).__name__}"
                    self.tell(Event(name="error", data=Failure(text=text, error=error)))
        for handoff in self._loops:
            handoff.put(event)

    def end_loops(self, *, mine: bool = False) -> None:
        """End all loops, or only those that the calling thread runs."""
        for handoff in self._loops:
            if not mine or handoff.reader == threading.get_ident():
                handoff.close()


class Handoff:
    """One event at a time, from the thread of the callbacks to the one that loops."""

    def __init__(self, leave: Callable[[Handoff], None]) -> None:
        self._leave = leave
        self._changed = threading.Condition()
        self._slot: Event[Any] | None = None
        self._taken = False
        self._closed = False
        self.reader: int | None = None
        """Thread that asked last."""

    def put(self, event: Event[Any]) -> None:
        """Hand one over; returns when the reader is done with it. Ends with `close`, which `stop` calls at the latest."""
        with self._changed:
            if self._closed:
                return
            self._slot = event
            self._changed.notify_all()
            self._changed.wait_for(lambda: self._slot is None or self._closed)

    def next(self, timeout_s: float | None) -> Event[Any] | None:
        self.reader = threading.get_ident()
        with self._changed:
            if self._taken:
                self._slot, self._taken = None, False
                self._changed.notify_all()
            self._changed.wait_for(lambda: self._slot is not None or self._closed, timeout_s)
            self._taken = self._slot is not None and not self._closed
            return self._slot if self._taken else None

    def close(self) -> None:
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        self._leave(self)


class Events:
    """An iterator of events, for one thread.

    An event counts as done when the next one is asked for (or at `close`), so what a program died over is told again where
    positions are kept. A loop that stands still holds up everything behind it; leaving it (`break`) closes it, unless the
    program keeps the iterator.
    """

    def __init__(self, handoff: Handoff) -> None:
        self._handoff = handoff

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Event[Any]:
        event = self._handoff.next(None)
        if event is None:
            raise StopIteration
        return event

    def next(self, timeout_s: float) -> Event[Any] | None:
        """The next event; None at the end, or if none came in time."""
        return self._handoff.next(timeout_s)

    def close(self) -> None:
        """No more events. Any thread."""
        self._handoff.close()

    def __del__(self) -> None:
        self._handoff.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
