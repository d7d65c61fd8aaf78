"""What the consumers of the platform's queues share within one process, whatever carries their messages."""

from __future__ import annotations

import threading
from collections import defaultdict, deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, Protocol

from connector.core.clock import Chance, SystemClock
from connector.core.ports import Clock
from tasks.delivery import Delivery
from tasks.envelope import MAX_BODY_BYTES, ReplyAddress
from tasks.lanes import Lanes
from workers._broker_name import broker_name
from workers._copies import InHand, Sure
from workers._readiness import Readiness
from workers._translate import PlatformQueue, Translator

MAX_REPLIES: Final = 1_000
"""Replies kept per queue while the connection is away; the oldest are dropped. The backend itself asks for none."""


class Waking(Protocol):
    """A consumer, as far as others of its process know it."""

    def wake(self) -> None:
        """End its wait, so that it sends replies or releases its queue. Any thread."""

    def mark(self) -> None:
        """Note with the broker that the senders were asked since its queue exists. Any thread."""


class Unfinished:
    """Commands whose connection was lost before their acknowledgement is known to have arrived.

    The broker delivers them again. They still run here, or have run, so a copy that comes back takes the place of the lost
    delivery instead of counting twice. What the broker has lost (it keeps these messages in memory only) is not lost here.
    """

    def __init__(self) -> None:
        self._by_body: defaultdict[str, deque[Delivery]] = defaultdict(deque)

    def add(self, body_digest: str, delivery: Delivery) -> None:
        self._by_body[body_digest].append(delivery)

    def take(self, body_digest: str) -> Delivery | None:
        """The oldest delivery of an equal body."""
        waiting = self._by_body.get(body_digest)
        while waiting:
            delivery = waiting.popleft()
            if not delivery.given_up:
                return delivery
        return None

    def clear(self) -> None:
        """A message that was never delivered before has come: everything that comes again was before it."""
        self._by_body.clear()


class Commands:
    """Readiness, replies and unfinished commands of the platform's queues, and their end. Any thread."""

    def __init__(
        self,
        queues: Mapping[str, PlatformQueue],
        connect: Callable[[], Any],
        *,
        exchange: str,
        exclusive: bool = True,
        standby_poll_s: float = 1.0,
        lanes: Lanes | None = None,
        max_body_bytes: int = MAX_BODY_BYTES,
        clock: Clock | None = None,
        chance: Chance | None = None,
    ) -> None:
        """`connect` makes a blocking connection as pika's, or raises pika's errors; each consumer has one of its own."""
        self._connect = connect
        self.broker = ""
        """The broker of the newest connection, as it names itself; empty = not known."""
        self.exchange = exchange
        self.exclusive = exclusive
        self.standby_poll_s = standby_poll_s
        """How often a process that stands by looks whether the queue is free."""
        self.clock: Clock = clock or SystemClock()
        self.chance = chance or Chance()
        self.readiness = Readiness()
        self.translator = Translator(
            queues, self._respond, lanes=lanes, max_body_bytes=max_body_bytes, chance=self.chance
        )
        self.released = False
        self._lock = threading.Lock()
        self._consumers: dict[str, Waking] = {}
        self._outboxes: dict[str, deque[tuple[ReplyAddress, bytes]]] = {
            name: deque(maxlen=MAX_REPLIES) for name in self.translator.queues
        }
        self.holder = self.chance.new_id()
        """Names this process to the others' copies."""
        self.in_hand = InHand()
        self._on_sure: Callable[[Sequence[Sure]], None] | None = None
        self._unfinished = {name: Unfinished() for name in self.translator.queues}

    def connect(self) -> Any:
        """A connection of a consumer's own; raises pika's errors."""
        connection = self._connect()
        self.broker = broker_name(connection)
        return connection

    def wait_until_ready(self, timeout_s: float) -> bool:
        """Wait until this process consumes all platform queues."""
        return self.readiness.wait(self.translator.queues, timeout_s)

    def problems(self) -> list[str]:
        """The queues whose commands would not reach this process, in words; none while it ends."""
        if self.released:
            return []
        return [
            f"commands: {queue} is neither consumed nor stood by for: no connection to the broker"
            for queue in self.readiness.out_of_reach(self.translator.queues)
        ]

    def release(self, timeout_s: float) -> bool:
        """Stop taking commands, for good. False if the commands in hand were not settled, or a queue not free, in time."""
        self.released = True
        with self._lock:
            consumers = list(self._consumers.values())
        for consumer in consumers:
            consumer.wake()
        return self.readiness.wait_down(self.translator.queues, timeout_s)

    def announced(self) -> None:
        """Those who send to the queues that exist now were asked to do so again. Any thread."""
        with self._lock:
            consumers = list(self._consumers.values())
        for consumer in consumers:
            consumer.mark()

    def watch_sure(self, callback: Callable[[Sequence[Sure]], None]) -> None:
        """Call back, from a consumer's thread, with commands that can't come again: their acknowledgements have arrived."""
        self._on_sure = callback

    # --- for the consumers ---

    def sure(self, found: Sequence[Sure]) -> None:
        """The broker has the acknowledgements of these."""
        if self._on_sure is not None and found:
            self._on_sure(found)

    def consumed_by(self, queue_name: str, consumer: Waking) -> None:
        """The newest consumer of a queue."""
        with self._lock:
            self._consumers[queue_name] = consumer

    def outbox(self, queue_name: str) -> deque[tuple[ReplyAddress, bytes]]:
        """Replies to send over the queue's connection."""
        return self._outboxes[queue_name]

    def unfinished(self, queue_name: str) -> Unfinished:
        """Commands of the queue whose connection was lost."""
        return self._unfinished[queue_name]

    def _respond(self, queue_name: str, address: ReplyAddress, body: bytes) -> None:
        self._outboxes[queue_name].append((address, body))
        with self._lock:
            consumer = self._consumers.get(queue_name)
        if consumer is not None:
            consumer.wake()
