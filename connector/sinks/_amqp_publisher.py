"""The RabbitMQ sink's decisions: what is sent when, what is in flight, and what a confirm or a loss means for it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec
from pika.exceptions import ChannelWrongStateError, ConnectionWrongStateError

from connector.core.clock import Chance
from connector.core.log import get_logger
from connector.core.messages import AccountMessage, CandleMessage, Confirmed, InfoMessage, TickerMessage
from connector.core.metrics import METRICS
from connector.core.ports import Clock
from connector.core.stamps import NOT_NOW
from connector.sinks._amqp_deadline import Deadline
from connector.sinks._amqp_intake import Intake
from connector.sinks._amqp_link import AmqpLink, Topology
from connector.sinks._amqp_messages import Outgoing, joined, kind_of, publishing, short, ticker_properties
from connector.sinks._amqp_ports import Connect, Turning
from connector.sinks._amqp_refusals import Refusals
from connector.sinks._common import HOLD_S, backoff_s, call_back

log = get_logger(__name__)

TURN: Final = 500
"""Durable messages per turn of the loop: heartbeats and confirms get theirs in between."""
TICKERS_PER_MESSAGE: Final = 400
"""At most; fewer where rows are long (`MESSAGE_BYTES`). A message costs this process as much as some 80 rows of it
(`python -m bench.sinks`: 1.6 µs an event with 100 rows a message, 1.0 with 400, 19 with one)."""
TICKER_MESSAGES_PER_TURN: Final = 4
TICKER_MESSAGES_IN_FLIGHT: Final = 16
MAX_BODY: Final = 8 * 1024 * 1024
"""RabbitMQ closes the channel over a message above its limit (16 MiB since 4.0), and would again after each reconnect."""
TICK_S: Final = 1.0


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """The sink's settings that the publisher needs."""

    name: str
    window: int
    ticker_per_symbol: bool
    confirm_timeout_s: float


class Publisher:
    """Turned by the loop that `begin` hands in. Every method: that loop's thread, except `finish` and `finished`."""

    def __init__(
        self,
        intake: Intake,
        topology: Topology,
        options: Options,
        clock: Clock,
        chance: Chance,
    ) -> None:
        self._clock, self._chance = clock, chance
        self.on_confirmed: Confirmed | None = None
        self._intake, self._lane = intake, intake.lane
        self._topology, self._options = topology, options
        self._name = options.name
        self._loop: Turning | None = None
        self._link: AmqpLink | None = None
        self._flight: dict[int, Outgoing | TickerMessage] = {}
        """By delivery tag, so in the order in which they were sent."""
        self._durable_in_flight = 0
        self._moved_at = 0.0
        """Last confirm, or when the first message flew."""
        self._refusals = Refusals(options.name, clock)
        self._pump_scheduled = False
        self._ticker_timer = False
        self._hold_timer = False
        self._gathering = False
        """A moment is waited for company of what has come."""
        self._deadline = Deadline(self._lane, lambda: self._durable_in_flight > 0)
        self._ticker_ids = f"{chance.new_id()[:12]}-t"
        self._ticker_id = self._reported_drops = 0
        self._finishing = self.finished = False
        """Everything is confirmed or kept on disk, as far as it goes; nothing more will happen."""
        self._alive_mono = NOT_NOW

    @property
    def detail(self) -> str:
        return self._link.detail if self._link is not None else "not started"

    @property
    def alive_mono(self) -> float:
        """When the publisher last began something, monotonic seconds; not judged before `begin`, while it reads the disk."""
        return max(self._alive_mono, self._lane.alive_mono)

    # --- life ---

    def open(self) -> None:
        """Adopt what earlier processes left on disk. Once, before `begin`."""
        self._lane.open()

    def begin(self, loop: Turning, connect: Connect) -> None:
        """Connect and publish on this loop."""
        self._loop = loop
        self._link = AmqpLink(loop, connect, self._topology, self, self._clock, self._chance)
        self._pump_scheduled = self._ticker_timer = self._hold_timer = self._gathering = False
        self._deadline.begin(loop)
        self._alive_mono = self._clock.mono()
        loop.call_later(0, self._link.connect)
        loop.call_later(TICK_S, self._tick)
        self._intake.attach(lambda: loop.add_callback_threadsafe(self._woken))
        if self._intake.ending:
            loop.call_later(0, lambda: self._finish(0.0))

    def detach(self) -> None:
        """This loop will not run any more."""
        self._intake.attach(None)

    def finish(self, close_s: float) -> None:
        """Any thread: close the connection within `close_s`, keep the rest on disk, end the thread."""
        with self._intake.lock:
            # A loop that starts only now sees `ending`.
            self._intake.ending = True
            if self._intake.wake is not None and self._loop is not None:
                self._loop.add_callback_threadsafe(lambda: self._finish(close_s))

    def _finish(self, close_s: float) -> None:
        if self._finishing or self._link is None or self._loop is None:
            return
        self._finishing = True
        self._loop.call_later(close_s, self._finalize)
        self._link.close()

    def _finalize(self) -> None:
        if self.finished:
            return
        self.finished = True
        self._give_back_flight()
        unkept = self._lane.persist()
        if unkept:
            log.error("unconfirmed messages are lost with this process", sink=self._name, messages=unkept)
        METRICS.gauge("sink_connected", 0, sink=self._name)
        with self._intake.lock:
            self._intake.done.notify_all()
        if self._loop is not None:
            self._loop.stop()

    def _tick(self) -> None:
        if self._loop is None or self.finished:
            return
        self._alive_mono = self._clock.mono()
        self._loop.call_later(TICK_S, self._tick)
        with self._intake.lock:
            queued, drops = self._intake.queued(), self._intake.market_dropped()
        METRICS.gauge("sink_queue", queued, sink=self._name)
        if drops > self._reported_drops:
            METRICS.count("events_conflated_total", drops - self._reported_drops, sink=self._name)
            self._reported_drops = drops
        stuck = self._flight and self._clock.mono() - self._moved_at > self._options.confirm_timeout_s
        if stuck and self._link is not None and self._link.usable:
            self._link.drop("no confirms")
        elif self._link is not None and self._link.usable:
            self._link.keep_queue()
        else:
            self._lane.keep_waiting(in_flight=self._durable_in_flight > 0 or bool(self._refusals))
        self._pump()

    # --- the link's side ---

    def ready(self) -> None:
        with self._intake.lock:
            self._intake.usable = True
            self._intake.away = False
            # What waited through an outage is old: the newest price of each symbol is enough.
            self._intake.tickers.conflate()
        METRICS.gauge("sink_connected", 1, sink=self._name)
        self._pump()

    def lost(self, why: str) -> None:  # noqa: ARG002 - the link logs it
        self._give_back_flight()
        with self._intake.lock:
            self._intake.usable = False
            self._intake.away = True
            self._intake.done.notify_all()
        METRICS.gauge("sink_connected", 0, sink=self._name)
        if self._finishing:
            self._finalize()

    def blocked(self, blocked: bool) -> None:
        with self._intake.lock:
            self._intake.usable = not blocked
        self._moved_at = self._clock.mono()
        self._pump()

    def _give_back_flight(self) -> None:
        """Nothing in flight will be confirmed any more: it goes first next time, in the order it was sent in."""
        durable = [item for item in self._flight.values() if isinstance(item, Outgoing)]
        frames = [item for item in self._flight.values() if isinstance(item, TickerMessage)]
        self._flight.clear()
        self._durable_in_flight = 0
        self._lane.give_back(self._refusals.give_back(durable))
        self._refusals.connection_lost()
        with self._intake.lock:
            self._intake.tickers.restore(frames)

    # --- sending ---

    def _woken(self) -> None:
        wait_s = self._intake.gather_s()
        if wait_s and self._loop is not None:
            self._gathering = True
            self._loop.call_later(wait_s, self._gathered)
        else:
            self._gathered()

    def _gathered(self) -> None:
        self._gathering = False
        self._intake.woken()
        self._pump()

    def _schedule_pump(self) -> None:
        if not self._pump_scheduled and self._loop is not None:
            self._pump_scheduled = True
            # Not `add_callback`, which would wake the loop that is running this.
            self._loop.call_later(0, self._scheduled_pump)

    def _scheduled_pump(self) -> None:
        self._pump_scheduled = False
        self._pump()

    def _pump(self) -> None:
        """Send what may be sent now, at most one turn's worth."""
        link = self._link
        if link is not None and link.usable and not self._finishing:
            more = self._pump_durable(link)
            if self._pump_tickers(link) or more:
                self._schedule_pump()
        self._lane.spill()

    def _pump_durable(self, link: AmqpLink) -> bool:
        """Returns whether there may be more for the next turn."""
        for _ in range(TURN):
            window = 1 if self._refusals.cautious else self._options.window
            if self._refusals.holding or self._durable_in_flight >= window:
                return False
            outgoing = self._lane.next()
            if self._lane.held_back:
                self._look_again()
            if outgoing is None and not self._lane.waiting_on_disk:
                outgoing = self._intake.next_running()
            if outgoing is None or not self._send(link, outgoing):
                return False
        return True

    def _look_again(self) -> None:
        """This process may not publish account messages now: ask again in a moment."""
        if not self._hold_timer and self._loop is not None:
            self._hold_timer = True
            self._loop.call_later(HOLD_S, self._hold_due)

    def _hold_due(self) -> None:
        self._hold_timer = False
        self._pump()

    def _send(self, link: AmqpLink, outgoing: Outgoing) -> bool:
        """False if the channel is closing; then the message stays first in line, and `lost` follows."""
        try:
            key, body, properties = publishing(outgoing, self._clock.wall_ms() // 1000)
            if len(body) > MAX_BODY:
                self._lane.give_up([outgoing], f"{len(body)} bytes")
                return True
            # What is not bound to the queue may find none: nobody has to listen to candles.
            kept = self._topology.queue is not None and isinstance(outgoing.message, AccountMessage | InfoMessage)
            tag = link.publish(self._topology.exchange, key, body, properties, mandatory=kept)
        except (ChannelWrongStateError, ConnectionWrongStateError):
            self._lane.give_back([outgoing])
            return False
        except Exception as error:
            log.exception("a message can't be encoded", sink=self._name)
            self._lane.give_up([outgoing], type(error).__name__)
            return True
        outgoing.tag = tag
        self._durable_in_flight += 1
        self._deadline.watch(link)
        self._fly(tag, outgoing)
        return True

    def _fly(self, tag: int, item: Outgoing | TickerMessage) -> None:
        if not self._flight:
            self._moved_at = self._clock.mono()
        self._flight[tag] = item

    def _pump_tickers(self, link: AmqpLink) -> bool:
        """Returns whether there is more for the next turn."""
        single = self._options.ticker_per_symbol
        limit = self._options.window if single else TICKER_MESSAGES_IN_FLIGHT
        room = min(TURN if single else TICKER_MESSAGES_PER_TURN, limit - len(self._flight) + self._durable_in_flight)
        if room <= 0:
            return False
        frames, wait_s = self._intake.take_tickers(room * (1 if single else TICKERS_PER_MESSAGE))
        if 0 < wait_s < float("inf") and not self._ticker_timer and self._loop is not None:
            self._ticker_timer = True
            self._loop.call_later(wait_s, self._ticker_timer_due)
        messages = joined(frames, 1 if single else TICKERS_PER_MESSAGE)
        for index, message in enumerate(messages):
            if not self._send_tickers(link, message):
                with self._intake.lock:
                    self._intake.tickers.restore(messages[index:])
                return False
        return wait_s == 0

    def _ticker_timer_due(self) -> None:
        self._ticker_timer = False
        self._pump()

    def _send_tickers(self, link: AmqpLink, message: TickerMessage) -> bool:
        if self._options.ticker_per_symbol:
            key, kind, body = f"ticker.{message.exchange}.{message.symbols[0]}", "ticker", message.bodies[0]
        else:
            key, kind, body = f"tickers.{message.exchange}", "tickers", b"[" + b",".join(message.bodies) + b"]"
        self._ticker_id += 1
        properties = ticker_properties(
            f"{self._ticker_ids}{self._ticker_id}", kind, message.exchange, self._clock.wall_ms() // 1000
        )
        try:
            tag = link.publish(self._topology.exchange, short(key), body, properties)
        except (ChannelWrongStateError, ConnectionWrongStateError):
            return False
        self._fly(tag, message)
        return True

    # --- confirms ---

    def confirmed(self, tag: int, multiple: bool, ack: bool) -> None:
        self._moved_at = self._clock.mono()
        tags = [tag]
        if multiple:
            tags = []
            for flying in self._flight:
                if flying > tag:
                    break
                tags.append(flying)
        items = [item for item in (self._flight.pop(each, None) for each in tags) if item is not None]
        durable = [item for item in items if isinstance(item, Outgoing)]
        frames = [item for item in items if isinstance(item, TickerMessage)]
        self._durable_in_flight -= len(durable)
        if frames:
            self._tickers_answered(frames, ack)
        if durable and ack:
            landed, back = self._refusals.split(durable)
            if back:
                self._refusals.take_returned(back)
            if landed:
                self._acknowledged(landed)
        elif durable:
            self._refusals.take_refused(durable)
        if self._refusals:
            self._release_when_landed()
        if self._intake.flushing:
            with self._intake.lock:
                self._intake.done.notify_all()
        if not self._gathering and (self._lane.waiting or self._intake.waiting):
            self._schedule_pump()

    def returned(self, message_id: str) -> None:
        self._refusals.returned(message_id)

    def _tickers_answered(self, frames: Sequence[TickerMessage], ack: bool) -> None:
        rows = sum(len(frame.symbols) for frame in frames)
        with self._intake.lock:
            self._intake.tickers.progress.settled += rows
            if not ack:
                self._intake.dropped += rows
        if ack:
            METRICS.count("events_published_total", rows, sink=self._name, kind="ticker")
            self._observe(frames[0].received_mono, "ticker")

    def _acknowledged(self, items: Sequence[Outgoing]) -> None:
        self._lane.settle(items)
        self._refusals.landed(len(items))
        kinds: dict[str, int] = {}
        accounts = []
        for item in items:
            kind = kind_of(item.message)
            kinds[kind] = kinds.get(kind, 0) + 1
            if isinstance(item.message, AccountMessage):
                accounts.append(item.message)
            if isinstance(item.message, AccountMessage | CandleMessage) and item.counted:
                self._observe(item.message.received_mono, kind)
        for kind, count in kinds.items():
            METRICS.count("events_published_total", count, sink=self._name, kind=kind)
        call_back(self.on_confirmed, accounts, self._name)

    def _observe(self, received_mono: float, kind: str) -> None:
        METRICS.observe("publish_lag_seconds", max(0.0, self._clock.mono() - received_mono), sink=self._name, kind=kind)

    def _release_when_landed(self) -> None:
        if self._durable_in_flight or self._link is None:
            return
        self._lane.give_back(self._refusals.release())
        if self._refusals.queue_missing:
            self._refusals.queue_missing = False
            self._link.declare_queue(self._release_later)
        else:
            self._release_later()

    def _release_later(self) -> None:
        if self._loop is not None:
            self._loop.call_later(backoff_s(self._refusals.rounds, self._chance), self._release)

    def _release(self) -> None:
        # More may have been refused meanwhile; their own release follows.
        if not self._refusals:
            self._refusals.holding = False
            self._pump()
