"""What the promises of a `State` are tried with: the places behind it, a few commands, and patience."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Protocol

import pytest

from connector.core.ports import Applied, State, Wanted, WorkerInfo
from exchanges.credentials import credentials

KEY = credentials("key-1", "secret-1", "pass-1", bybit_host="eu")
OTHER_KEY = credentials("key-2", "secret-2")
NOW = 1_790_000_000_000
PATIENCE_S = 10.0
SHORT_S = 0.05
LONG_S = 60.0


def eventually(condition: Callable[[], bool]) -> None:
    """Wait until a condition holds."""
    tick, waited = threading.Event(), 0.0
    while not condition():
        assert waited < PATIENCE_S, "the condition never came true"
        tick.wait(0.01)
        waited += 0.01


class Heard:
    """A callback that collects texts."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self.texts: list[str] = []

    def __call__(self, text: str) -> None:
        with self._changed:
            self.texts.append(text)
            self._changed.notify_all()

    def wait_for(self, text: str) -> None:
        with self._changed:
            assert self._changed.wait_for(lambda: text in self.texts, PATIENCE_S), f"{text} not in {self.texts}"


class Backing(Protocol):
    """Where the states of a test keep their things."""

    def state(self) -> State:
        """A state as another process would build it."""

    def flush(self) -> None:
        """Lose everything."""

    def evict(self, key: str) -> None:
        """Lose one key, named as in Redis without its prefix."""

    def enable_exchanges(self, text: str | None) -> None:
        """Write the admin page's key, and tell."""


def opened(state: State, stream_id: str = "s1", keys: int = 1, nonce: str = "") -> Applied:
    return state.open(stream_id, "bybitLinear", "user-1", KEY if keys == 1 else OTHER_KEY, NOW, nonce=nonce)


def want(state: State, stream_id: str = "s1") -> Wanted:
    return state.wanted([stream_id])[stream_id]


def want_after_open(state: State) -> Wanted:
    opened(state)
    return want(state)


def worker(owner: str = "w1", **changes: object) -> WorkerInfo:
    basics = {"role": "user", "host": "h", "pid": 1, "started_ms": NOW, "capacity": 10, "streams": 2}
    return WorkerInfo(owner=owner, **(basics | changes))  # type: ignore[arg-type]


class WithBacking:
    """Subclasses give the `backing` fixture."""

    @pytest.fixture
    def state(self, backing: Backing) -> State:
        return backing.state()

    @pytest.fixture
    def other(self, backing: Backing) -> State:
        """The state of a second process."""
        return backing.state()
