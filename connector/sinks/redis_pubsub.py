"""The Redis side of the platform, exactly as contract sections 2 and 3 write it.

Account events: `PUBLISH <uuid>`, `ZADD stream:lastEventTime GT`, and the `orders` hash. Market data and service
messages: `PUBLISH`. Nobody stores or acknowledges a pub/sub message: "confirmed" here means that the server answered.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from functools import partial

from connector.core.clock import Chance, SystemClock
from connector.core.messages import AccountMessage, Confirmed, Message, Recovered, SinkStatus, Spoiled
from connector.core.metrics import METRICS
from connector.core.places import RedisPlace
from connector.core.ports import Clock
from connector.core.stamps import Stamped
from connector.core.waits import Ending, Wait, wait_through
from connector.servers.redis import Wire, wire
from connector.sinks._common import Elsewhere, Permitted, left
from connector.sinks._redis_cluster import cluster_wire
from connector.sinks._redis_lanes import RedisLanes
from connector.sinks._redis_link import CLUSTER_EXPIRY_KEY, EXPIRY_KEY, REPLY_S
from connector.sinks._redis_publisher import GATHER_ROWS_S, MARKET_BATCH, RedisPublisher


class RedisSink:
    """Publishes on its own thread, account messages before market data. Every method: any thread; none raises.

    While Redis is away account messages wait in a buffer of `buffer_messages` and go out in order afterwards. When it
    overflows the oldest go; they are counted, and `on_recovered` is told their streams after the reconnect. Tickers
    and running candles keep the newest, closed candles and service messages the newest `candle_messages` and
    `service_messages`.

    A message whose outcome is unknown (the connection broke before the answer) is sent again, except `balanceUpdate`:
    the backend adds those up, so it is dropped and counted in `unknown_outcomes` (contract 2.2).
    """

    def __init__(
        self,
        *,
        place: RedisPlace | None = None,
        on_confirmed: Confirmed | None = None,
        on_recovered: Recovered | None = None,
        buffer_messages: int = 50_000,
        ticker_rows: int = 8_000,
        candle_messages: int = 20_000,
        service_messages: int = 1_000,
        connect_timeout_s: float = 3.0,
        reply_timeout_s: float = REPLY_S,
        sweep_interval_s: float = 30.0,
        name: str = "redis",
        clock: Clock | None = None,
        chance: Chance | None = None,
        server: Callable[[], Wire] | None = None,
    ) -> None:
        """With `server`, which makes connections, there is no thread: whoever made the sink calls `turn`."""
        self.name = name
        self._clock = clock = clock or SystemClock()
        lanes = RedisLanes(
            account_limit=buffer_messages,
            candle_limit=candle_messages,
            service_limit=service_messages,
            ticker_rows=ticker_rows,
        )
        place = place or RedisPlace()
        timeouts = {"connect_timeout_s": connect_timeout_s, "reply_timeout_s": reply_timeout_s}
        real = partial(cluster_wire, place, **timeouts) if place.cluster else partial(wire, place, key="", **timeouts)
        self._publisher = RedisPublisher(
            lanes,
            server or real,
            expiry_key=CLUSTER_EXPIRY_KEY if place.cluster else EXPIRY_KEY,
            name=name,
            sweep_interval_s=sweep_interval_s,
            clock=clock,
            chance=chance or Chance(),
        )
        self.on_confirmed = on_confirmed
        self.on_recovered = on_recovered
        self.on_spoiled: Spoiled | None = None
        """Not told: nothing waits on a disk."""
        self._thread: threading.Thread | None = None
        if server is None:
            self._thread = threading.Thread(target=self._run, name=f"publisher-{name}", daemon=True)

    def _run(self) -> None:
        publisher = self._publisher
        while not publisher.ended:
            if not publisher.turn():
                publisher.rest()

    @property
    def on_confirmed(self) -> Confirmed | None:
        return self._publisher.on_confirmed

    @on_confirmed.setter
    def on_confirmed(self, callback: Confirmed | None) -> None:
        self._publisher.on_confirmed = callback

    @property
    def on_recovered(self) -> Recovered | None:
        """Told, on the publisher's thread, which streams lost events while Redis was away."""
        return self._publisher.on_recovered

    @on_recovered.setter
    def on_recovered(self, callback: Recovered | None) -> None:
        self._publisher.on_recovered = callback

    @property
    def owned_elsewhere(self) -> Elsewhere | None:
        """Asked, on the publisher's thread, after each connect about the streams of what waited through the outage."""
        return self._publisher.owned_elsewhere

    @owned_elsewhere.setter
    def owned_elsewhere(self, ask: Elsewhere | None) -> None:
        self._publisher.owned_elsewhere = ask

    @property
    def permitted(self) -> Permitted:
        """While this says no, account messages wait where they are."""
        return self._publisher.permitted

    @permitted.setter
    def permitted(self, ask: Permitted) -> None:
        self._publisher.permitted = ask

    @property
    def unknown_outcomes(self) -> int:
        return self._publisher.unknown_outcomes

    def turn(self) -> bool:
        """Without a thread: one piece of work that is due; False if there was none."""
        return self._publisher.turn()

    def next_due(self) -> float | None:
        """Without a thread: when to turn again, by the monotonic clock."""
        return self._publisher.next_due()

    # --- any thread ---

    def start(self) -> None:
        # There from the start: an alert on its increase would miss a first loss that also makes the series.
        METRICS.count("account_events_lost_total", 0, sink=self.name)
        if self._thread is not None:
            self._thread.start()

    def submit(self, messages: Sequence[Message]) -> bool:
        """Always True, as a full buffer drops its oldest messages; False only for account messages after `stop`."""
        lost = 0
        with self._publisher.lock:
            if self._publisher.ending:
                return not any(type(message) is AccountMessage for message in messages)
            lanes = self._publisher.lanes
            rows, before = lanes.tickers.rows, lanes.account_progress.added
            for message in messages:
                lost += lanes.add(message)
            if lanes.account_progress.added > before:
                self._publisher.pace.came(lanes.account_progress.added - before, self._clock.mono())
            if not rows and lanes.tickers.rows:
                self._publisher.tickers_due = self._clock.mono() + GATHER_ROWS_S
                self._publisher.work.notify()
            elif rows < MARKET_BATCH <= lanes.tickers.rows or (lanes.urgent() and not self._publisher.gathering):
                self._publisher.work.notify()
        if lost:
            METRICS.count("account_events_lost_total", lost, sink=self.name)
        return True

    def revoke(self, stream_id: str) -> None:
        """Nothing of the stream that waits here goes out, deltas neither: its next owner may have told them, and here
        nobody could tell them apart.

        That owner starts from what RabbitMQ confirmed, so that some of it may be missing here: in its place the bots of the
        stream are told to check, as after any gap (contract 4.1).
        """
        with self._publisher.lock:
            self._publisher.revoke([stream_id])

    def mark(self) -> object:
        with self._publisher.lock:
            return self._publisher.lanes.account_progress.added

    def passed(self, mark: object) -> bool:
        with self._publisher.lock:
            return isinstance(mark, int) and self._publisher.lanes.account_progress.settled >= mark

    def status(self) -> SinkStatus:
        with self._publisher.lock:
            unknown = f"{self.unknown_outcomes} balance updates with unknown outcome" if self.unknown_outcomes else ""
            return SinkStatus(
                name=self.name,
                connected=self._publisher.connected,
                queued=self._publisher.lanes.queued(),
                dropped=self._publisher.lanes.market_dropped() + self._publisher.lanes.lost,
                lost_account_events=self._publisher.lanes.lost,
                detail="; ".join(part for part in (self._publisher.detail, unknown) if part),
            )

    def statuses(self) -> list[SinkStatus]:
        return [self.status()]

    def threads(self) -> Sequence[Stamped]:
        if self._thread is None:
            return []
        return [Stamped(self._thread.name, self._thread, lambda: self._publisher.alive_mono)]

    def flush(self, timeout_s: float) -> bool:
        ending = self._publisher.settling(self._clock.mono() + timeout_s)
        return wait_through(ending, self._publisher.done, self._clock)

    def stop(self, timeout_s: float) -> bool:
        deadline = self._clock.mono() + timeout_s
        ended = wait_through(self.ending(timeout_s), self._publisher.done, self._clock)
        if self._thread is not None and self._thread.is_alive():
            self._thread.join(left(deadline, self._clock))
            return ended and not self._thread.is_alive()
        return ended

    def ending(self, timeout_s: float) -> Ending:
        """The steps of `stop`."""
        publisher = self._publisher
        now = self._clock.mono()
        if self._running:
            yield from publisher.settling(now + timeout_s * 0.8)
        with publisher.lock:
            publisher.ending = True
            publisher.work.notify()
        if self._running:
            yield Wait(lambda: publisher.ended, now + timeout_s)
        with publisher.lock:
            return publisher.lanes.queued() == 0

    @property
    def _running(self) -> bool:
        return self._thread is None or self._thread.is_alive()
