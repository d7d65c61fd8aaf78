"""`concurrent.futures` over the tasks of a kernel: a pool runs so many jobs at a time, the others in line."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final

from harness.worlds.blocking import Event, host, kernel


class Future:
    """`concurrent.futures.Future`."""

    def __init__(self) -> None:
        self._done = Event()
        self._value: Any = None
        self._error: BaseException | None = None

    def done(self) -> bool:
        return self._done.is_set()

    def result(self, timeout: float | None = None) -> Any:
        if not self._done.wait(timeout):
            raise TimeoutError
        if self._error is not None:
            raise self._error
        return self._value

    def settle(self, work: Callable[[], Any]) -> None:
        try:
            self._value = work()
        except Exception as error:  # noqa: BLE001 - whoever asks for the result gets it
            self._error = error
        self._done.set()


class ThreadPoolExecutor:
    """`concurrent.futures.ThreadPoolExecutor`: so many jobs at a time, the others in line."""

    def __init__(self, max_workers: int | None = None, thread_name_prefix: str = "pool", **_: object) -> None:
        self._room: Final = max_workers or 8
        self._name = thread_name_prefix
        self._running = 0
        self._line: deque[tuple[Future, Callable[[], Any]]] = deque()
        self._closed = False

    def submit(self, work: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future:
        if self._closed:
            raise RuntimeError("cannot schedule new futures after shutdown")
        future = Future()
        self._line.append((future, lambda: work(*args, **kwargs)))
        if self._running < self._room:
            self._running += 1
            kernel().spawn(self._serve, host(), self._name)
        return future

    def map(self, work: Callable[..., Any], *rows: Iterable[Any]) -> Iterator[Any]:
        futures = [self.submit(work, *row) for row in zip(*rows, strict=False)]
        return iter([future.result() for future in futures])

    def _serve(self) -> None:
        try:
            while self._line:
                future, work = self._line.popleft()
                future.settle(work)
        finally:
            self._running -= 1

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        self._closed = True
        if cancel_futures:
            self._line.clear()
        while wait and self._running:
            kernel().wait(0.01)

    def __enter__(self) -> ThreadPoolExecutor:
        return self

    def __exit__(self, *_: object) -> None:
        self.shutdown()
