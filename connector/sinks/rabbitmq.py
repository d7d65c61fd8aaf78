"""The RabbitMQ side: a topic exchange, publisher confirms in flight, an outbox on disk.

Delivery is at least once: after a lost connection everything unconfirmed is sent again, in order and under the same
`message_id`, before anything newer. Consumers drop what they have seen.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import msgspec
import pika

from connector.core.clock import Chance, SystemClock
from connector.core.log import get_logger
from connector.core.messages import Confirmed, Message, Recovered, SinkStatus, Spoiled
from connector.core.metrics import METRICS
from connector.core.places import RabbitPlace
from connector.core.ports import Clock
from connector.core.stamps import Stamped
from connector.core.waits import Ending, Wait, wait_through
from connector.servers.rabbit import parameters
from connector.sinks._amqp_intake import Intake
from connector.sinks._amqp_link import Topology
from connector.sinks._amqp_ports import ByHand, Connect
from connector.sinks._amqp_publisher import Options, Publisher
from connector.sinks._amqp_thread import PublisherThread
from connector.sinks._common import Elsewhere, Permitted, Throttle, left
from connector.sinks._disk import Disk
from connector.sinks.outbox import Outbox

log = get_logger(__name__)


class RabbitOptions(msgspec.Struct, frozen=True, kw_only=True):
    """What a deployment chooses."""

    place: RabbitPlace = RabbitPlace()
    exchange: str = "gainium.events"
    queue: str | None = "gainium.user-events"
    """None = no queue is declared."""
    queue_max_length: int | None = 1_000_000
    queue_overflow: Literal["drop-head", "reject-publish"] = "drop-head"
    """With `reject-publish` a full queue pushes back up to `submit`."""
    queue_type: Literal["classic", "quorum"] = "classic"
    ticker_per_symbol: bool = False
    outbox_dir: str | Path | None = None
    outbox_bytes: int = 512 * 1024 * 1024
    memory_messages: int = 20_000
    """How many durable messages wait before they go to disk."""
    window: int = 4_000
    """Unconfirmed durable messages."""
    ticker_rows: int = 8_000
    heartbeat_s: int = 15
    connect_timeout_s: float = 5.0
    confirm_timeout_s: float = 60.0
    name: str = "rabbitmq"

    def topology(self) -> Topology:
        arguments: dict[str, object] = {"x-queue-type": self.queue_type, "x-overflow": self.queue_overflow}
        if self.queue_max_length is not None:
            arguments["x-max-length"] = self.queue_max_length
        return Topology(exchange=self.exchange, queue=self.queue, binding="user.#", queue_arguments=arguments)

    def intake(self, disk: Disk | None, clock: Clock, chance: Chance) -> Intake:
        outbox = None
        if self.outbox_dir is not None:
            outbox = Outbox(self.outbox_dir, max_bytes=self.outbox_bytes, chance=chance, disk=disk)
        return Intake(
            memory_messages=self.memory_messages,
            ticker_rows=self.ticker_rows,
            outbox=outbox,
            name=self.name,
            clock=clock,
            chance=chance,
        )

    def hosts(self) -> list[pika.ConnectionParameters]:
        return parameters(
            self.place,
            name="websocket-connector events",
            heartbeat_s=self.heartbeat_s,
            socket_timeout_s=self.connect_timeout_s,
            stack_timeout_s=2 * self.connect_timeout_s,
        )


class RabbitSink:
    """Publishes from its own thread. Every method: any thread; none raises, none waits for the network or the disk.

    While the broker is away or slow, account events, infos, service messages and closed candles wait in memory; beyond
    `memory_messages` they go to `outbox_dir`; when that is full (or there is none) and twice `memory_messages` wait,
    `submit` returns False. Tickers are transient, and like running candles the newest wins under pressure.
    """

    def __init__(
        self,
        options: RabbitOptions | None = None,
        *,
        on_confirmed: Confirmed | None = None,
        clock: Clock | None = None,
        chance: Chance | None = None,
        disk: Disk | None = None,
        broker: Connect | None = None,
    ) -> None:
        """With `broker` there is no thread and no server: whoever made the sink calls `turn`."""
        options = options or RabbitOptions()
        self.name = options.name
        self._clock = clock = clock or SystemClock()
        chance = chance or Chance()
        self._intake = options.intake(disk, clock, chance)
        more = Options(
            name=options.name,
            window=options.window,
            ticker_per_symbol=options.ticker_per_symbol,
            confirm_timeout_s=options.confirm_timeout_s,
        )
        self._publisher = Publisher(self._intake, options.topology(), more, clock, chance)
        self.on_confirmed = on_confirmed
        self.on_recovered: Recovered | None = None
        """Not told: what is refused here ends its stream's session, and gap repair fetches it."""
        self._may_log = Throttle(clock)
        self._broker = broker
        self._by_hand: ByHand | None = None
        self._thread = None if broker is not None else PublisherThread(self._publisher, options.hosts(), options.name)

    @property
    def on_confirmed(self) -> Confirmed | None:
        return self._publisher.on_confirmed

    @on_confirmed.setter
    def on_confirmed(self, callback: Confirmed | None) -> None:
        self._publisher.on_confirmed = callback

    def start(self) -> None:
        # There from the start: an alert on its increase would miss a first loss that also makes the series.
        METRICS.count("account_events_lost_total", 0, sink=self.name)
        if self._thread is not None:
            self._thread.start()
        elif self._broker is not None:
            self._by_hand = ByHand(f"publisher-{self.name}", self._clock)
            self._publisher.open()
            self._publisher.begin(self._by_hand, self._broker)

    def turn(self) -> bool:
        """Without a thread: do what is due; True if there was anything. Never waits."""
        return self._by_hand is not None and self._by_hand.turn()

    def next_due(self) -> float | None:
        """Without a thread: when to turn again, by the monotonic clock."""
        return self._by_hand.next_due() if self._by_hand is not None else None

    def submit(self, messages: Sequence[Message]) -> bool:
        refused = self._intake.submit(messages)
        if not refused:
            return True
        METRICS.count("account_events_lost_total", refused, sink=self.name)
        if self._may_log("refused"):
            why = "stopped" if self._intake.ending else "memory and disk are full"
            log.error("account events refused", sink=self.name, events=refused, why=why)
        return False

    def revoke(self, stream_id: str) -> None:
        with self._intake.lock:
            self._intake.lane.revoke(stream_id)

    def mark(self) -> object:
        return None

    def passed(self, mark: object) -> bool:  # noqa: ARG002
        """Always: what waits here goes to disk and is revoked, and confirmations are told one by one (`on_confirmed`)."""
        return True

    @property
    def on_spoiled(self) -> Spoiled | None:
        return self._intake.lane.on_spoiled

    @on_spoiled.setter
    def on_spoiled(self, callback: Spoiled | None) -> None:
        self._intake.lane.on_spoiled = callback

    @property
    def owned_elsewhere(self) -> Elsewhere | None:
        """Asked, on the publisher thread, about streams of which an earlier process left events in the outbox."""
        return self._intake.lane.owned_elsewhere

    @owned_elsewhere.setter
    def owned_elsewhere(self, ask: Elsewhere | None) -> None:
        self._intake.lane.owned_elsewhere = ask

    @property
    def permitted(self) -> Permitted:
        """While this says no, account messages wait where they are."""
        return self._intake.lane.permitted

    @permitted.setter
    def permitted(self, ask: Permitted) -> None:
        self._intake.lane.permitted = ask

    def status(self) -> SinkStatus:
        intake = self._intake
        with intake.lock:
            lost = intake.refused + intake.lane.lost
            return SinkStatus(
                name=self.name,
                connected=intake.usable,
                queued=intake.queued(),
                dropped=intake.market_dropped() + lost,
                lost_account_events=lost,
                detail="; ".join(part for part in (self._publisher.detail, intake.lane.trouble) if part),
            )

    def statuses(self) -> list[SinkStatus]:
        return [self.status()]

    def threads(self) -> Sequence[Stamped]:
        if self._thread is None:
            return []
        return [Stamped(self._thread.thread.name, self._thread.thread, lambda: self._publisher.alive_mono)]

    def flush(self, timeout_s: float) -> bool:
        ending = self._intake.settling(self._clock.mono() + timeout_s, give_up=False)
        return wait_through(ending, self._intake.done, self._clock)

    def stop(self, timeout_s: float) -> bool:
        """Flush, then end. What is not confirmed by then goes to the outbox, for the next process to send.

        With an outbox there is nothing to gain from waiting for a broker that is away, so it doesn't.
        """
        deadline = self._clock.mono() + timeout_s
        ended = wait_through(self.ending(timeout_s), self._intake.done, self._clock)
        if self._thread is not None and self._thread.started:
            self._thread.join(left(deadline, self._clock))
            return ended and not self._thread.running
        return ended

    def ending(self, timeout_s: float) -> Ending:
        """The steps of `stop`."""
        deadline = self._clock.mono() + timeout_s
        reserve_s = min(1.0, 0.3 * timeout_s)
        if self._started:
            yield from self._intake.settling(deadline - reserve_s, give_up=self._intake.lane.on_disk)
        self._publisher.finish(reserve_s / 2)
        if self._started:
            yield Wait(lambda: self._publisher.finished or not self._alive, deadline)
        with self._intake.lock:
            return self._intake.queued() == 0

    @property
    def _started(self) -> bool:
        return self._by_hand is not None or (self._thread is not None and self._thread.started)

    @property
    def _alive(self) -> bool:
        return self._thread.running if self._thread is not None else not self._publisher.finished
