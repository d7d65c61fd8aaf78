"""What the Redis sink sends when: account messages first, one piece of work a turn, and what a lost connection means."""

from __future__ import annotations

import math
import threading
from collections import deque
from collections.abc import Callable, Collection, Sequence
from typing import Final

from connector.core.channels import LAST_EVENT_TIME
from connector.core.clock import Chance
from connector.core.log import get_logger
from connector.core.messages import AccountMessage, Confirmed, Recovered, TickerMessage
from connector.core.metrics import METRICS
from connector.core.pace import Pace
from connector.core.ports import Clock
from connector.core.stamps import NOT_NOW
from connector.core.waits import Ending, Wait
from connector.servers.redis import Wire
from connector.sinks._common import (
    BUSY_PER_S,
    GATHER_S,
    HOLD_S,
    Elsewhere,
    Permitted,
    Throttle,
    always,
    backoff_s,
    call_back,
    utf8,
)
from connector.sinks._redis_chores import Chores
from connector.sinks._redis_commands import AccountBatch, ChannelNames, Outcome, Settled, candle_pair, service_pair
from connector.sinks._redis_lanes import AccountItem, RedisLanes
from connector.sinks._redis_link import LinkLost, LinkRefused, PartialReply, RedisLink, command

log = get_logger(__name__)

ACCOUNT_BATCH: Final = 64
"""Account messages per round trip: what may at most be repeated after a lost connection."""
MARKET_BATCH: Final = 250
MARKET_BATCHES: Final = 4
"""Batches of tickers on their way at a time: the server has the next one before it has answered the last. Together they are
what an account message may have to wait for: some 3 ms of the server's time."""
GATHER_ROWS_S: Final = 0.02
"""Small ticker frames wait this long for company."""
STEADY_S: Final = 5.0
"""A connection that held this long starts the reconnect pauses over."""


class RedisPublisher:
    """`turn` does one piece and returns; a thread repeats it, or a world does.

    `lock` guards `lanes` and the public fields. `turn` and all that it calls: one thread, the publisher's."""

    def __init__(
        self,
        lanes: RedisLanes,
        wire: Callable[[], Wire],
        *,
        expiry_key: str,
        name: str,
        sweep_interval_s: float,
        clock: Clock,
        chance: Chance,
    ) -> None:
        self.name = name
        self.on_confirmed: Confirmed | None = None
        self.on_recovered: Recovered | None = None
        self.owned_elsewhere: Elsewhere | None = None
        self.permitted: Permitted = always
        self.lock = threading.Lock()
        self.work = threading.Condition(self.lock)
        """Notified when there may be something to do before it is due."""
        self.done = threading.Condition(self.lock)
        """Notified while somebody flushes, and at the end."""
        self.lanes = lanes
        self.tickers_due = 0.0
        """When the waiting rows go out although they are few; set when the first of them comes."""
        self.pace = Pace(BUSY_PER_S)
        """Of account messages."""
        self.gathering = False
        """The thread rests for a moment that is not worth a wake-up."""
        self.flushing = 0
        self.ending = False
        self.ended = False
        """After `ending`: the connection is closed, nothing more will happen."""
        self.connected = False
        self.detail = "not started"
        self.unknown_outcomes = 0
        self.alive_mono = NOT_NOW
        """When the last piece of work began; not judged while it connects, because a name server may take its time."""
        # Publisher's thread only:
        self._wire, self._expiry_key, self._clock, self._chance = wire, expiry_key, clock, chance
        self._link: RedisLink | None = None
        self._connect_at = 0.0
        self._connected_at = math.inf
        self._failures = 0
        self._names = ChannelNames()
        self._chores = Chores(name, clock, sweep_interval_s)
        self._held_until = 0.0
        self._unchecked = False
        """What waits is from before the connection, and other processes may run its streams by now."""
        self._may_log = Throttle(clock)

    def settling(self, until: float) -> Ending:
        """Until all that was taken in before is settled."""
        with self.lock:
            targets = [(lane, lane.added) for lane in self.lanes.progress]
            self.flushing += 1
            self.work.notify()

        def settled() -> bool:
            return all(lane.settled >= added for lane, added in targets)

        try:
            yield Wait(settled, until)
        finally:
            with self.lock:
                self.flushing -= 1
        return settled()

    # --- one turn ---

    def turn(self) -> bool:
        """Do one piece of work that is due, connecting included; False if there was none. Waits for the server only."""
        link = self._link
        self.alive_mono = self._clock.mono() if link is not None else NOT_NOW
        with self.lock:
            work = self._due_work()
            ending = self.ending
        if ending:
            self._end()
            return False
        if link is None:
            return self._connect()
        if work is None:
            return False
        try:
            work(link)
        except (LinkLost, LinkRefused) as error:
            self._lost(str(error))
        except Exception as error:
            # A defect must not end all publishing.
            log.exception("publisher failed", sink=self.name)
            self._lost(type(error).__name__)
        else:
            if work not in (self._housekeeping, self._check_backlog):
                self._chores.answered()
            self._tell_recovered()
        finally:
            if self.flushing:
                with self.lock:
                    self.done.notify_all()
        return True

    def rest(self) -> None:
        """Wait until there may be something to do. The thread of a deployment calls this when a turn did nothing."""
        with self.lock:
            while (wait_s := self._due_at() - self._clock.mono()) > 0:
                self.gathering = self.pace.busy(self._clock.mono()) and not self.flushing
                self.work.wait(min(wait_s, GATHER_S) if self.gathering else wait_s)
                self.gathering = False

    def next_due(self) -> float | None:
        """When to turn again, by the monotonic clock; None = never, it has ended."""
        with self.lock:
            return None if self.ended else self._due_at()

    def _due_at(self) -> float:
        """Under the lock."""
        if self.ending:
            return self._clock.mono()
        if self._link is None:
            return self._connect_at
        if self._due_work() is not None:
            return self._clock.mono()
        due = self._chores.next_due
        if self.lanes.account:
            due = min(due, self._held_until)
        return min(due, self.tickers_due) if self.lanes.tickers.rows else due

    def _connect(self) -> bool:
        if self._clock.mono() < self._connect_at:
            return False
        self._connected_at = math.inf
        try:
            self._link = RedisLink(self._wire(), self._expiry_key)
        except (LinkLost, LinkRefused) as error:
            self._lost(str(error))
        except Exception as error:
            log.exception("publisher failed", sink=self.name)
            self._lost(type(error).__name__)
        else:
            with self.lock:
                self._unchecked = bool(self.lanes.account)
            self._connected_at = self._clock.mono()
            self._chores.answered()
            self._connection_is(True, "")
        return True

    def _lost(self, why: str) -> None:
        self._connection_is(False, why)
        self._close_link()
        now = self._clock.mono()
        # A server that accepts connections and then refuses the first command must not be asked in a hot loop.
        self._failures = 1 if now - self._connected_at > STEADY_S else self._failures + 1
        self._connect_at = now + backoff_s(self._failures, self._chance)

    def _end(self) -> None:
        if self.ended:
            return
        self._close_link()
        self._connection_is(False, "stopped")
        with self.lock:
            self.ended = True
            self.done.notify_all()

    def _close_link(self) -> None:
        if self._link is not None:
            self._link.close()
            self._link = None

    def _connection_is(self, connected: bool, detail: str) -> None:
        with self.lock:
            changed = connected != self.connected
            self.connected = connected
            self.detail = detail
            queued = self.lanes.queued()
            if connected:
                # What waited through an outage is old: the newest price of each symbol is enough.
                self.lanes.tickers.conflate()
        METRICS.gauge("sink_connected", float(connected), sink=self.name)
        if connected:
            log.info("connected", sink=self.name, queued=queued)
        elif detail != "stopped" and (changed or self._may_log("away")):
            log.warning("not connected", sink=self.name, why=detail, queued=queued)

    def _due_work(self) -> Callable[[RedisLink], None] | None:
        """Account messages first, then the small lanes, then one batch of tickers. Under the lock."""
        lanes, now = self.lanes, self._clock.mono()
        if lanes.missed_closes:
            return self._send_closes
        if lanes.account and now >= self._held_until:
            if self.permitted() > 0:
                return self._check_backlog if self._unchecked else self._send_account
            self._held_until = now + HOLD_S
        if lanes.service:
            return self._send_service
        if now >= self._chores.next_due:
            return self._housekeeping
        if lanes.candles or lanes.running:
            return self._send_candles
        rows = lanes.tickers.rows
        if rows and (rows >= MARKET_BATCH or self.flushing or now >= self.tickers_due):
            return self._send_tickers
        return None

    def _housekeeping(self, link: RedisLink) -> None:
        self._chores.do(link, self.lock, self.lanes)

    def _send_closes(self, link: RedisLink) -> None:
        with self.lock:
            closed = list(self.lanes.missed_closes)[:MARKET_BATCH]
        link.ask(command(b"ZREM", LAST_EVENT_TIME.encode(), *(utf8(stream) for stream in closed)))
        with self.lock:
            for stream in closed:
                self.lanes.missed_closes.pop(stream, None)

    def revoke(self, stream_ids: Collection[str]) -> None:
        """Under the lock, any thread."""
        self._count_revoked(self.lanes.revoke(stream_ids))

    def _count_revoked(self, events: int) -> None:
        if events:
            METRICS.count("events_revoked_total", events, sink=self.name)

    def _check_backlog(self, _link: RedisLink) -> None:
        """Drop what waited through an outage of streams that other processes run by now."""
        with self.lock:
            streams = self.lanes.account_streams()
        elsewhere = self.owned_elsewhere(streams) if streams and self.owned_elsewhere is not None else ()
        with self.lock:
            if elsewhere is None:
                # Orders could go backwards and deltas count twice: they wait until the state answers.
                self._held_until = self._clock.mono() + HOLD_S
                return
            self._unchecked = False
            self.revoke(elsewhere)

    def _send_account(self, link: RedisLink) -> None:
        with self.lock:
            # Asked again: this process may have stood still just now.
            items = self.lanes.take_account(ACCOUNT_BATCH if self.permitted() > 0 else 0)
        lost: LinkLost | None = None
        outcomes = [Outcome.FORBIDDEN] * len(items)
        try:
            batch = AccountBatch(items, self._clock.wall_ms(), link.has_hexpire, link.expiry_key)
            try:
                replies = link.write(batch.packed, batch.count, self.permitted)
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
        with self.lock:
            self._count_revoked(self.lanes.return_account(len(items), settled.again))
            self.lanes.lost += settled.forbidden
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
        with self.lock:
            if not self.lanes.lost_streams or self.lanes.account:
                return
            streams = tuple(self.lanes.lost_streams)
            self.lanes.lost_streams.clear()
        log.warning("account events were lost while Redis was away", sink=self.name, streams=len(streams))
        call_back(self.on_recovered, streams, self.name)

    def _send_service(self, link: RedisLink) -> None:
        with self.lock:
            messages = self.lanes.take_service(ACCOUNT_BATCH)
        try:
            self._publish(link, [service_pair(message) for message in messages], "service")
        except (LinkLost, LinkRefused):
            with self.lock:
                self.lanes.service.extendleft(reversed(messages))
            raise
        with self.lock:
            self.lanes.service_progress.settled += len(messages)

    def _send_candles(self, link: RedisLink) -> None:
        with self.lock:
            messages = self.lanes.take_candles(MARKET_BATCH)
        try:
            self._publish(link, [candle_pair(message) for message in messages], "candle")
        except (LinkLost, LinkRefused):
            with self.lock:
                # A running one among them is older than any that came since, so it goes in front like the final ones.
                self.lanes.candles.extendleft(reversed(messages))
            raise
        with self.lock:
            self.lanes.candle_progress.settled += len(messages)
        self._observe(messages[0].received_mono, "candle")

    def _send_tickers(self, link: RedisLink) -> None:
        """While nothing else is due, the next batch goes out before the last one is answered."""
        sent: deque[tuple[list[TickerMessage], int]] = deque()
        try:
            while True:
                self.alive_mono = self._clock.mono()
                frames = self._next_tickers(len(sent))
                if frames:
                    pairs = [pair for frame in frames for pair in self._names.pairs(frame)]
                    sent.append((frames, len(pairs)))
                    link.publish(pairs)
                elif sent:
                    frames, count = sent[0]
                    self._published(link.published(count), count, "ticker")
                    sent.popleft()
                    with self.lock:
                        self.lanes.tickers.progress.settled += count
                    self._observe(frames[0].received_mono, "ticker")
                else:
                    return
        except (LinkLost, LinkRefused):
            with self.lock:
                for frames, _ in reversed(sent):
                    self.lanes.tickers.restore(frames)
            raise

    def _next_tickers(self, on_way: int) -> list[TickerMessage]:
        """The next batch, or nothing if what is on its way comes first."""
        with self.lock:
            if on_way >= MARKET_BATCHES or self._due_work() != self._send_tickers:
                return []
            return self.lanes.tickers.take(MARKET_BATCH)

    def _publish(self, link: RedisLink, pairs: Sequence[bytes], kind: str) -> None:
        link.publish(pairs)
        self._published(link.published(len(pairs)), len(pairs), kind)

    def _published(self, refusals: Sequence[Exception], count: int, kind: str) -> None:
        METRICS.count("events_published_total", count - len(refusals), sink=self.name, kind=kind)
        if not refusals:
            return
        with self.lock:
            self.lanes.dropped += len(refusals)
        if self._may_log(f"forbidden {kind}"):
            log.error(
                "the server refuses to publish", sink=self.name, kind=kind, messages=len(refusals), why=str(refusals[0])
            )

    def _observe(self, received_mono: float, kind: str) -> None:
        METRICS.observe("publish_lag_seconds", max(0.0, self._clock.mono() - received_mono), sink=self.name, kind=kind)
