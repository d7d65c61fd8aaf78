"""What the RabbitMQ publisher needs of its surroundings: something that turns it, and something that connects.

A deployment gives it pika's loop in a thread (`_amqp_thread`); a world turns it by hand over a broker of its own.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from connector.core.loop import Loop
from connector.core.ports import Clock

Callback = Callable[..., None]

Connect = Callable[[Callback, Callback, Callback], Any]
"""Begin to connect; returns the connection (pika's, with an `abort`, or what behaves like it). Called back with the
connection once it is open; with it and an error if it could not be opened; with it and the reason when it is closed."""


class Turning(Protocol):
    """Runs callbacks on the publisher's thread. As pika's loop, whose names these are."""

    def call_later(self, delay: float, callback: Callable[[], None], /) -> object: ...

    def add_callback_threadsafe(self, callback: Callable[[], None], /) -> None:
        """From any thread."""

    def stop(self) -> None:
        """The publisher is done with it."""


class ByHand:
    """A `Turning` that somebody turns: runs what is due when asked to, on the thread that asks."""

    def __init__(self, name: str, clock: Clock) -> None:
        self.loop = Loop(name, clock)
        self.stopped = False

    def call_later(self, delay: float, callback: Callable[[], None], /) -> object:
        return self.loop.after(delay, callback)

    def add_callback_threadsafe(self, callback: Callable[[], None], /) -> None:
        self.loop.post(callback)

    def stop(self) -> None:
        self.stopped = True

    def turn(self) -> bool:
        """Whether there was anything to do."""
        return not self.stopped and self.loop.turn()

    def next_due(self) -> float | None:
        return None if self.stopped else self.loop.next_due()
