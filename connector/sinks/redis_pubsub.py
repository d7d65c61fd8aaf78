"""The Redis side of the platform, exactly as contract sections 2 and 3 write it.

Account events: `PUBLISH <uuid>`, `ZADD stream:lastEventTime GT`, and the `orders` hash. Market data and service
messages: `PUBLISH`. Nobody stores or acknowledges a pub/sub message: "confirmed" here means that the server answered.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Sequence
from functools import partial
from typing import Final

from connector.core.channels import LAST_EVENT_TIME
from connector.core.clock import Chance, SystemClock
from connector.core.log import get_logger
from connector.core.metrics import METRICS
from connector.core.ports import AccountMessage, Clock, Confirmed, Message, SinkStatus
from connector.sinks._common import Throttle, backoff_s, call_back, left, utf8
from connector.sinks._redis_commands import AccountBatch, ChannelNames, Outcome, Settled, candle_pair, service_pair
from connector.sinks._redis_lanes import AccountItem, RedisLanes
from connector.sinks._redis_link import LinkLost, LinkRefused, PartialReply, RedisLink, command

log = get_logger(__name__)

Recovered = Callable[[Sequence[str]], None]
"""Called from the sink's thread with the streams that lost events, once everything that was kept has gone out."""

ACCOUNT_BATCH: Final = 64
"""Account messages per round trip: what may at most be repeated after a lost connection."""
MARKET_BATCH: Final = 500
"""Pairs per script: keeps the server busy for 1 ms (platform notes, section 6)."""
GATHER_S: Final = 0.02
"""Small ticker frames wait this long for company."""
PING_S: Final = 10.0
STEADY_S: Final = 5.0
"""A connection that held this long starts the reconnect pauses over."""
SWEEP_BATCH: Final = 500

Work = Callable[[RedisLink], None]


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
        host: str = "127.0.0.1",
        port: int = 6379,
        db: int = 0,
        username: str | None = None,
        password: str | None = None,
        tls: bool = False,
        tls_ca_file: str | None = None,
        on_confirmed: Confirmed | None = None,
        on_recovered: Recovered | None = None,
        buffer_messages: int = 50_000,
        ticker_rows: int = 8_000,
        candle_messages: int = 20_000,
        service_messages: int = 1_000,
        connect_timeout_s: float = 3.0,
        reply_timeout_s: float = 5.0,
        sweep_interval_s: float = 30.0,
        name: str = "redis",
        clock: Clock | None = None,
        chance: Chance | None = None,
    ) -> None:
        self.name = name
        self._clock = clock = clock or SystemClock()
        self._chance = chance or Chance()
        self.on_confirmed = on_confirmed
        self.on_recovered = on_recovered
        self.unknown_outcomes = 0
        self._connect: Callable[[], RedisLink] = partial(
            RedisLink,
            host=host,
            port=port,
            db=db,
            username=username,
            password=password,
            tls=tls,
            tls_ca_file=tls_ca_file,
            connect_timeout_s=connect_timeout_s,
            reply_timeout_s=reply_timeout_s,
        )
        self._sweep_interval_s = sweep_interval_s
        self._lock = threading.Lock()
        self._work = threading.Condition(self._lock)
        self._done = threading.Condition(self._lock)
        # Under the lock:
        self._lanes = RedisLanes(
            account_limit=buffer_messages,
            candle_limit=candle_messages,
            service_limit=service_messages,
            ticker_rows=ticker_rows,
        )
        self._tickers_due = 0.0
        self._flushing = 0
        self._ending = False
        self._connected = False
        self._detail = "not started"
        # Publisher thread only:
        self._names = ChannelNames()
        self._next_ping = self._next_gauge = 0.0
        self._next_sweep = self._clock.mono() + sweep_interval_s
        self._reported_drops = 0
        self._may_log = Throttle(clock)
        self._thread = threading.Thread(target=self._run, name=f"publisher-{name}", daemon=True)

    # --- any thread ---

    def start(self) -> None:
        # There from the start: an alert on its increase would miss a first loss that also makes the series.
        METRICS.count("account_events_lost_total", 0, sink=self.name)
        self._thread.start()

    def submit(self, messages: Sequence[Message]) -> bool:
        """Always True, as a full buffer drops its oldest messages; False only for account messages after `stop`."""
        lost = 0
        with self._lock:
            if self._ending:
                return not any(type(message) is AccountMessage for message in messages)
            lanes = self._lanes
            rows = lanes.tickers.rows
            for message in messages:
                lost += lanes.add(message)
            if not rows and lanes.tickers.rows:
                self._tickers_due = self._clock.mono() + GATHER_S
                self._work.notify()
            elif rows < MARKET_BATCH <= lanes.tickers.rows or lanes.urgent():
                self._work.notify()
        if lost:
            METRICS.count("account_events_lost_total", lost, sink=self.name)
        return True

    def revoke(self, stream_id: str) -> None:
        """Nothing: the next process starts from what RabbitMQ confirmed, so what waits here would be missing."""

    def mark(self) -> object:
        with self._lock:
            return self._lanes.account_progress.added

    def passed(self, mark: object) -> bool:
        with self._lock:
            return isinstance(mark, int) and self._lanes.account_progress.settled >= mark

    def status(self) -> SinkStatus:
        with self._lock:
            unknown = f"{self.unknown_outcomes} balance updates with unknown outcome" if self.unknown_outcomes else ""
            return SinkStatus(
                name=self.name,
                connected=self._connected,
                queued=self._lanes.queued(),
                dropped=self._lanes.market_dropped() + self._lanes.lost,
                lost_account_events=self._lanes.lost,
                detail="; ".join(part for part in (self._detail, unknown) if part),
            )

    def flush(self, timeout_s: float) -> bool:
        with self._lock:
            targets = [(lane, lane.added) for lane in self._lanes.progress]
            self._flushing += 1
            self._work.notify()
            try:
                return self._done.wait_for(lambda: all(lane.settled >= added for lane, added in targets), timeout_s)
            finally:
                self._flushing -= 1

    def stop(self, timeout_s: float) -> bool:
        deadline = self._clock.mono() + timeout_s
        if self._thread.is_alive():
            self.flush(timeout_s * 0.8)
        with self._lock:
            self._ending = True
            self._work.notify()
        if self._thread.is_alive():
            self._thread.join(left(deadline, self._clock))
        with self._lock:
            return self._lanes.queued() == 0 and not self._thread.is_alive()

    # --- publisher thread ---

    def _run(self) -> None:
        failures = 0
        while not self._ending:
            link = None
            connected_at = math.inf
            try:
                link = self._connect()
                connected_at = self._clock.mono()
                self._connection_is(True, "")
                self._serve(link)
            except (LinkLost, LinkRefused) as error:
                self._connection_is(False, str(error))
            except Exception as error:
                # A defect must not end all publishing.
                log.exception("publisher failed", sink=self.name)
                self._connection_is(False, type(error).__name__)
            finally:
                if link is not None:
                    link.close()
            # A server that accepts connections and then refuses the first command must not be asked in a hot loop.
            failures = 1 if self._clock.mono() - connected_at > STEADY_S else failures + 1
            with self._lock:
                self._work.wait_for(lambda: self._ending, backoff_s(failures, self._chance))
        self._connection_is(False, "stopped")

    def _connection_is(self, connected: bool, detail: str) -> None:
        with self._lock:
            changed = connected != self._connected
            self._connected = connected
            self._detail = detail
            queued = self._lanes.queued()
            if connected:
                # What waited through an outage is old: the newest price of each symbol is enough.
                self._lanes.tickers.conflate()
        METRICS.gauge("sink_connected", float(connected), sink=self.name)
        if connected:
            log.info("connected", sink=self.name, queued=queued)
        elif detail != "stopped" and (changed or self._may_log("away")):
            log.warning("not connected", sink=self.name, why=detail, queued=queued)

    def _serve(self, link: RedisLink) -> None:
        self._next_ping = self._clock.mono() + PING_S
        while True:
            work = self._next_work()
            if work is None:
                return
            try:
                work(link)
            finally:
                if self._flushing:
                    with self._lock:
                        self._done.notify_all()
            self._next_ping = self._clock.mono() + PING_S
            self._tell_recovered()

    def _next_work(self) -> Work | None:
        """Wait for something to do: account messages first, then the small lanes, then one batch of tickers."""
        with self._lock:
            while not self._ending:
                now = self._clock.mono()
                work = self._ready_work(now)
                if work is not None:
                    return work
                wake = min(self._next_ping, self._next_sweep, self._next_gauge)
                if self._lanes.tickers.rows:
                    wake = min(wake, self._tickers_due)
                self._work.wait(max(0.0, wake - now))
            return None

    def _ready_work(self, now: float) -> Work | None:
        lanes = self._lanes
        if lanes.missed_closes:
            return self._send_closes
        if lanes.account:
            return self._send_account
        if lanes.service:
            return self._send_service
        if now >= min(self._next_gauge, self._next_sweep, self._next_ping):
            return self._housekeeping
        if lanes.candles or lanes.running:
            return self._send_candles
        rows = lanes.tickers.rows
        if rows and (rows >= MARKET_BATCH or self._flushing or now >= self._tickers_due):
            return self._send_tickers
        return None

    def _housekeeping(self, link: RedisLink) -> None:
        now = self._clock.mono()
        if now >= self._next_ping:
            link.ask(command(b"PING"))
        if now >= self._next_sweep:
            # Also where HEXPIRE exists: deadlines may be left from before the server was upgraded.
            more = link.sweep(self._clock.wall_ms(), SWEEP_BATCH) >= SWEEP_BATCH
            self._next_sweep = now if more else now + self._sweep_interval_s
        if now >= self._next_gauge:
            self._next_gauge = now + 1.0
            with self._lock:
                queued, drops = self._lanes.queued(), self._lanes.market_dropped()
            METRICS.gauge("sink_queue", queued, sink=self.name)
            if drops > self._reported_drops:
                METRICS.count("events_conflated_total", drops - self._reported_drops, sink=self.name)
                self._reported_drops = drops

    def _send_closes(self, link: RedisLink) -> None:
        with self._lock:
            closed = list(self._lanes.missed_closes)[:MARKET_BATCH]
        link.ask(command(b"ZREM", LAST_EVENT_TIME.encode(), *(utf8(stream) for stream in closed)))
        with self._lock:
            for stream in closed:
                self._lanes.missed_closes.pop(stream, None)

    def _send_account(self, link: RedisLink) -> None:
        with self._lock:
            items = self._lanes.take_account(ACCOUNT_BATCH)
        lost: LinkLost | None = None
        outcomes = [Outcome.FORBIDDEN] * len(items)
        try:
            batch = AccountBatch(items, self._clock.wall_ms(), link.has_hexpire)
            try:
                replies = link.ask(batch.packed, batch.count)
            except PartialReply as error:
                lost, replies = error, error.replies
            outcomes = batch.outcomes(replies)
        finally:
            # Also after a defect above: then the batch is lost, counted, and not tried for ever.
            self._settle_account(items, outcomes)
        if batch.side_errors and self._may_log("side"):
            log.error("lastEventTime or orders not written", sink=self.name, why=batch.side_errors[0])
        if lost is not None:
            raise lost
        if batch.reconnect or Outcome.REFUSED in outcomes:
            raise LinkRefused(next((str(reply) for reply in replies if isinstance(reply, Exception)), "refused"))

    def _settle_account(self, items: Sequence[AccountItem], outcomes: Sequence[Outcome]) -> None:
        """Report what arrived, put back what must be sent (again), and drop what must not be repeated."""
        settled = Settled(items, outcomes)
        with self._lock:
            self._lanes.return_account(settled.again)
            self._lanes.account_progress.settled += len(items) - len(settled.again)
            self._lanes.lost += settled.forbidden
            self.unknown_outcomes += settled.unknown
        if settled.done:
            self._report(settled.done)
        if settled.infos:
            METRICS.count("events_published_total", settled.infos, sink=self.name, kind="info")
        if settled.unknown:
            METRICS.count("unknown_outcomes_total", settled.unknown, sink=self.name)
            log.error("balance updates dropped, outcome unknown", sink=self.name, events=settled.unknown)
        if settled.forbidden:
            METRICS.count("account_events_lost_total", settled.forbidden, sink=self.name)
            if self._may_log("forbidden"):
                log.error("the server refuses to publish account events", sink=self.name, events=settled.forbidden)

    def _report(self, done: Sequence[AccountMessage]) -> None:
        now = self._clock.mono()
        METRICS.count("events_published_total", len(done), sink=self.name, kind="user")
        for message in done:
            METRICS.observe("publish_lag_seconds", max(0.0, now - message.received_mono), sink=self.name, kind="user")
        call_back(self.on_confirmed, done, self.name)

    def _tell_recovered(self) -> None:
        with self._lock:
            if not self._lanes.lost_streams or self._lanes.account:
                return
            streams = tuple(self._lanes.lost_streams)
            self._lanes.lost_streams.clear()
        log.warning("account events were lost while Redis was away", sink=self.name, streams=len(streams))
        call_back(self.on_recovered, streams, self.name)

    def _send_service(self, link: RedisLink) -> None:
        with self._lock:
            messages = self._lanes.take_service(ACCOUNT_BATCH)
        try:
            self._publish(link, [service_pair(message) for message in messages], "service")
        except (LinkLost, LinkRefused):
            with self._lock:
                self._lanes.service.extendleft(reversed(messages))
            raise
        with self._lock:
            self._lanes.service_progress.settled += len(messages)

    def _send_candles(self, link: RedisLink) -> None:
        with self._lock:
            messages = self._lanes.take_candles(MARKET_BATCH)
        try:
            self._publish(link, [candle_pair(message) for message in messages], "candle")
        except (LinkLost, LinkRefused):
            with self._lock:
                # A running one among them is older than any that came since, so it goes in front like the final ones.
                self._lanes.candles.extendleft(reversed(messages))
            raise
        with self._lock:
            self._lanes.candle_progress.settled += len(messages)
        self._observe(messages[0].received_mono, "candle")

    def _send_tickers(self, link: RedisLink) -> None:
        with self._lock:
            frames = self._lanes.tickers.take(MARKET_BATCH)
        pairs: list[bytes] = []
        for frame in frames:
            pairs += self._names.pairs(frame)
        try:
            self._publish(link, pairs, "ticker")
        except (LinkLost, LinkRefused):
            with self._lock:
                self._lanes.tickers.restore(frames)
            raise
        with self._lock:
            self._lanes.tickers.progress.settled += len(pairs)
        self._observe(frames[0].received_mono, "ticker")

    def _publish(self, link: RedisLink, pairs: Sequence[bytes], kind: str) -> None:
        refusal = link.publish_pairs(pairs)
        if refusal is None:
            METRICS.count("events_published_total", len(pairs), sink=self.name, kind=kind)
            return
        with self._lock:
            self._lanes.dropped += len(pairs)
        if self._may_log(f"forbidden {kind}"):
            log.error("the server refuses to publish", sink=self.name, kind=kind, why=refusal)

    def _observe(self, received_mono: float, kind: str) -> None:
        METRICS.observe("publish_lag_seconds", max(0.0, self._clock.mono() - received_mono), sink=self.name, kind=kind)
