"""Two instances of each service: one vanishes, one is deployed anew; nothing is lost, doubled or announced."""

from __future__ import annotations

import json
import threading
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from decimal import Decimal
from typing import NamedTuple

import msgspec
import pytest
from cryptography.fernet import Fernet

from connector.core.channels import candle_channel
from harness.backend import CANDLE_QUEUE, USER_QUEUE
from harness.evidence import Evidence
from harness.servers import wait_for
from harness.services import Service
from harness.stack import Stack
from simulator._values import CandleUpdate, Order
from simulator._venue import Instant
from simulator.hub import Hub
from tests.system.support import WAIT_S, Accounts, Stream, client_id_of

pytestmark = pytest.mark.system

EXCHANGES = ("okx", "binance", "kucoin", "bybit", "okxLinear", "binanceUsdm", "bybitLinear", "kucoinLinear")
HOUR_MS = 3_600_000
CRASH, DEPLOY = "BTC", "ETH"
"""Each gap has candles of its own: of those, exactly the one that closes in the gap can be missed."""


class Series(NamedTuple):
    """One hour of one symbol, in the venue's and in the platform's words."""

    exchange: str
    wire: str
    pair: str
    interval: str

    @property
    def channel(self) -> str:
        return candle_channel(self.pair, self.exchange, self.interval)

    @property
    def key(self) -> str:
        return f"candle.{self.exchange}.{self.interval}.{self.pair}"


def candles(base: str) -> list[Series]:
    return [
        Series("okx", f"{base}-USDT", f"{base}-USDT", "candle1H"),
        Series("okxLinear", f"{base}-USDT-SWAP", f"{base}-USDT", "candle1H"),
        Series("okxInverse", f"{base}-USD-SWAP", f"{base}-USD", "candle1H"),
    ]


ALL = candles(CRASH) + candles(DEPLOY)


@dataclass
class Pair:
    """Two account services, two price services, and streams on both."""

    stack: Stack
    accounts: Accounts
    streams: list[Stream] = field(default_factory=list)
    closed: dict[str, list[int]] = field(default_factory=dict)
    """Candles closed so far, by channel."""

    def services(self, role: str) -> list[Service]:
        return [one for one in self.stack.services if one.role == role and one.process.poll() is None]

    def start(self, role: str) -> None:
        # So few feeds that none is moved to a process that joins: these candles have one gap each, the one of the test.
        options = {"PRICEROLE": "candle", "PRICE_CONNECTOR_EXCHANGES": "okx"} if role == "price" else {}
        self.stack.service(role, **options)

    def holders(self, role: str) -> dict[str, int]:
        """Units held by each worker, by owner."""
        status = self.services(role)[0].status()
        return {worker.owner: worker.streams for worker in status.workers}

    def busiest(self, role: str) -> Service:
        """The instance that has most to lose."""
        held = {worker.pid: worker.streams for worker in self.services(role)[0].status().workers}
        return max(self.services(role), key=lambda service: sum(held.get(pid, 0) for pid in service.worker_pids()))

    def announcements(self) -> list[str]:
        return [text for text in self.stack.backend.on("serviceLog") if '"restart"' in text]

    def boot_ids(self) -> set[str]:
        messages = [json.loads(text) for text in self.stack.backend.on("serviceLog")]
        return {one["priceConnectorAlive"]["bootId"] for one in messages if "priceConnectorAlive" in one}

    def prepare_candles(self) -> None:
        """Let the candles begin two hours ago, and stop the walk: they close when the test says so, after their real end.

        What is repaired over REST is held against the clock, so a candle that is closed before its time is none.
        """

        def prepare(hub: Hub, now: Instant) -> None:
            hub._next_step = float("inf")
            for one in ALL:
                hub.world.markets.track(one.exchange, one.wire, "1h", now.wall_ms)
                series = hub.world.markets._series[one.exchange, one.wire]["1h"]
                start = series.running.start_ms - 2 * HOUR_MS
                series.running = msgspec.structs.replace(series.running, start_ms=start)

        self.stack.simulator.call(prepare)

    def close_candles(self, base: str) -> None:
        def close(hub: Hub, now: Instant) -> None:
            for one in candles(base):
                series = hub.world.markets._series[one.exchange, one.wire]["1h"]
                done = series.close()
                hub.candles([CandleUpdate(one.exchange, series.symbol, "1h", done, True, now.wall_ms)], now)
                self.closed.setdefault(one.channel, []).append(done.start_ms)

        self.stack.simulator.call(close)

    def check_candles(self, base: str) -> None:
        """Every candle closed so far was published exactly once, in order, on both sinks."""
        for one in candles(base):
            starts = self.closed[one.channel]
            try:
                wait_for(lambda one=one, starts=starts: len(self._published(one)) >= len(starts), WAIT_S, one.channel)
            except TimeoutError:
                self.stack.collect()
            assert self._published(one) == starts
            wait_for(lambda one=one, s=starts: [e["start"] for e in self.amqp(one.key)] == s, WAIT_S, one.key)

    def candles_saved(self, base: str) -> bool:
        with self.stack.redis.client() as client:
            return all(
                f'"{one.pair}|{one.interval}":{self.closed[one.channel][-1]}'.encode()
                in (client.get(f"wsc:position:candles:{one.exchange}") or b"")
                for one in candles(base)
            )

    def _published(self, one: Series) -> list[int]:
        return [event["start"] for event in self.stack.backend.events(one.channel)]

    def amqp(self, key: str) -> list[dict[str, int]]:
        """Messages of a routing key, each message id once."""
        return list(
            {
                message.message_id: message.json() for message in list(self.stack.events.messages) if message.key == key
            }.values()
        )


@pytest.fixture(scope="module")
def pair(evidence: Evidence) -> Iterator[Pair]:
    key = evidence.canaries.register(Fernet.generate_key().decode())
    env = {"CREDENTIALS_KEYS": key, "LEASE_TTL_S": "2", "DRAIN_TIMEOUT_S": "15"}
    with Stack(evidence, venues=("okx", "binance", "kucoin", "bybit", "paper"), env=env) as running:
        made = Pair(running, Accounts(running))
        for role in ("user", "price"):
            made.start(role)
        running.ready()
        for role in ("user", "price"):
            made.start(role)
        running.ready()
        wait_for(lambda: all(len(made.holders(role)) == 2 for role in ("user", "price")), WAIT_S, "two instances")
        made.prepare_candles()
        made.streams = [made.accounts(exchange) for exchange in EXCHANGES]
        for stream in made.streams:
            stream.open()
        for one in ALL:
            running.backend.candle(one.pair, one.exchange, one.interval)
        for stream in made.streams:
            stream.wait_live()
        yield made


def test_the_work_is_shared_and_announced_once(pair: Pair) -> None:
    wait_for(lambda: min(pair.holders("user").values()) >= 1, WAIT_S, "streams on both instances")
    assert sum(pair.holders("user").values()) == len(EXCHANGES)
    assert Counter(json.loads(text)["restart"] for text in pair.announcements()) == {
        "userStream": 1,
        "priceConnector": 1,
    }
    assert len(pair.boot_ids()) == 1
    wait_for(lambda: pair.stack.simulator.call(_watched) == len(ALL), WAIT_S, "candle subscriptions")
    pair.close_candles(CRASH)
    pair.check_candles(CRASH)


def _watched(hub: Hub, _: Instant) -> int:
    return len({watch for link in hub.links.values() for watch in link.watches if watch.interval == "1h"})


def test_a_killed_instance_is_replaced_by_the_other_one(pair: Pair) -> None:
    resting = {stream.uuid: stream.place() for stream in pair.streams}
    for stream in pair.streams:
        stream.wait(
            lambda stream=stream: stream.order_events(resting[stream.uuid].client_id), "the order before the crash"
        )
    # Where a stream stands is written down once a second; an order that is younger is not known to the survivor.
    for stream in pair.streams:
        stream.wait(lambda stream=stream: _stands_at(stream, resting[stream.uuid]), "the saved position")
    announced, boot_ids = pair.announcements(), pair.boot_ids()
    infos = {stream.uuid: stream.infos for stream in pair.streams}
    links = {stream.uuid: stream.links() for stream in pair.streams}
    wait_for(lambda: pair.candles_saved(CRASH), WAIT_S, "the saved positions of the candles")
    pair.busiest("user").kill()
    pair.busiest("price").kill()
    # While nobody watches: an order is filled, one is placed and filled, one is canceled; candles close.
    during = {stream.uuid: _trade(stream, resting[stream.uuid]) for stream in pair.streams}
    pair.close_candles(CRASH)
    for stream in pair.streams:
        stream.wait(lambda stream=stream: len(stream.links()) == 1, "a connection of the survivor")
        for order, status in during[stream.uuid]:
            stream.wait(
                lambda stream=stream, order=order, status=status: _last(stream, order) == status, f"{status} repaired"
            )
    wait_for(lambda: sum(pair.holders("user").values()) == len(EXCHANGES), WAIT_S, "all streams in the survivor")
    moved = [stream for stream in pair.streams if stream.links() != links[stream.uuid]]
    assert moved
    for stream in pair.streams:
        # Those that were repaired tell their bots to check, once; the others were never gone.
        expected = infos[stream.uuid] + (1 if stream in moved else 0)
        stream.wait(lambda stream=stream, expected=expected: stream.infos >= expected, "the word to the bots")
        stream.prove_live()
        assert stream.infos == expected
        _check_orders(stream, during[stream.uuid])
    gaps = [message.json()["streamGap"] for message in pair.stack.events.service("streamGap")]
    for stream in moved:
        first, gap = [one for one in gaps if one["stream"] == stream.uuid]
        assert first["from"] == 0, "at the first start nothing is known of an earlier life"
        assert gap["exchange"] == stream.exchange
        assert gap["from"] < gap["to"]
        assert gap["orders"] >= 2
    pair.check_candles(CRASH)
    pair.close_candles(CRASH)
    pair.check_candles(CRASH)
    assert pair.announcements() == announced
    assert pair.boot_ids() == boot_ids


def _stands_at(stream: Stream, order: Order) -> bool:
    with stream.stack.redis.client() as client:
        return order.client_id.encode() in (client.get(f"wsc:position:{stream.uuid}") or b"")


def _trade(stream: Stream, resting: Order) -> list[tuple[Order, str]]:
    simulator = stream.stack.simulator
    simulator.fill(resting.order_id)
    fresh = stream.place()
    simulator.fill(fresh.order_id, quantity=fresh.quantity / 4)
    simulator.fill(fresh.order_id)
    gone = stream.place()
    simulator.cancel(gone.order_id)
    return [(resting, "FILLED"), (fresh, "FILLED"), (gone, "CANCELED")]


def _last(stream: Stream, order: Order) -> str | None:
    events = stream.order_events(order.client_id)
    return events[-1]["orderStatus"] if events else None


def _check_orders(stream: Stream, orders: list[tuple[Order, str]]) -> None:
    """One terminal event each, complete, on both sinks (RabbitMQ after dropping repeated message ids)."""
    for order, status in orders:
        by_id = {message.message_id: message.json() for message in stream.amqp_events()}
        for events in (
            stream.order_events(order.client_id),
            [event for event in by_id.values() if client_id_of(event) == order.client_id],
        ):
            terminal = [event for event in events if event["orderStatus"] in {"FILLED", "CANCELED"}]
            assert [event["orderStatus"] for event in terminal] == [status], (stream.exchange, events)
            assert events[-1] == terminal[0]
            executed = [Decimal(event["totalTradeQuantity"]) for event in events]
            assert executed == sorted(executed)


def test_commands_go_on_with_the_survivor(pair: Pair) -> None:
    stream = pair.accounts.live("paperOkx")
    stream.prove_live()
    stream.close()
    stream.wait_closed()


def test_a_deployed_instance_hands_over_without_a_gap(pair: Pair) -> None:
    stack = pair.stack
    old = {role: pair.services(role)[0] for role in ("user", "price")}
    for role in ("user", "price"):
        pair.start(role)
    stack.ready()
    wait_for(lambda: all(len(pair.holders(role)) == 2 for role in ("user", "price")), WAIT_S, "the new instances")
    announced, boot_ids = pair.announcements(), pair.boot_ids()
    infos = {stream.uuid: stream.infos for stream in pair.streams}
    traffic = _Traffic(pair.streams)
    traffic.start()
    pair.close_candles(DEPLOY)
    pair.check_candles(DEPLOY)
    for service in old.values():
        service.terminate()
    wait_for(lambda: pair.stack.simulator.call(_watched) < len(ALL), WAIT_S, "a gap in the candles", 0.005)
    pair.close_candles(DEPLOY)
    codes = {role: service.wait(60.0) for role, service in old.items()}
    orders = traffic.stop()
    assert codes == {"user": 0, "price": 0}
    assert sum(len(mine) for mine in orders.values()) >= 2 * len(EXCHANGES)
    for stream in pair.streams:
        stream.wait(lambda stream=stream: len(stream.links()) == 1, "one connection")
        last = stream.prove_live()
        for order in orders[stream.uuid]:
            stream.wait(lambda stream=stream, order=order: _last(stream, order) == "FILLED", "FILLED")
        _check_every_step(stream, orders[stream.uuid])
        assert last
        assert stream.infos == infos[stream.uuid]
    for base in (DEPLOY, CRASH):
        pair.check_candles(base)
        pair.close_candles(base)
        pair.check_candles(base)
    assert pair.announcements() == announced
    assert pair.boot_ids() == boot_ids


class _Traffic:
    """Orders that are placed and filled in two steps, on all accounts in turn, until told to stop."""

    def __init__(self, streams: list[Stream]) -> None:
        self._streams = streams
        self._orders: dict[str, list[Order]] = {stream.uuid: [] for stream in streams}
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="traffic", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def _run(self) -> None:
        while not self._stop.wait(0.02):
            for stream in self._streams:
                order = stream.place()
                simulator = stream.stack.simulator
                simulator.fill(order.order_id, quantity=order.quantity / 4)
                simulator.fill(order.order_id)
                self._orders[stream.uuid].append(order)

    def stop(self) -> dict[str, list[Order]]:
        self._stop.set()
        self._thread.join(WAIT_S)
        return self._orders


def _check_every_step(stream: Stream, orders: list[Order]) -> None:
    """Every step of every order is there exactly once, on both sinks: nothing was lost and nothing doubled."""
    by_id = {message.message_id: message.json() for message in stream.amqp_events()}
    assert len(by_id) == len(stream.amqp_events())
    for sink in (stream.events(), list(by_id.values())):
        steps: dict[str, list[tuple[str, Decimal]]] = {}
        for event in sink:
            if "orderStatus" in event:
                step = (event["orderStatus"], Decimal(event["totalTradeQuantity"]))
                steps.setdefault(client_id_of(event) or "", []).append(step)
        for order in orders:
            mine = steps[order.client_id]
            assert len(mine) == len(set(mine)), (stream.exchange, mine)
            assert [status for status, _ in mine][-1] == "FILLED", (stream.exchange, mine)
            assert {"NEW", "PARTIALLY_FILLED", "FILLED"} <= {status for status, _ in mine}, (stream.exchange, mine)
            assert [quantity for _, quantity in mine] == sorted(quantity for _, quantity in mine)


def test_nothing_is_left_unacknowledged(pair: Pair) -> None:
    """After everybody has gone, a message that was never acknowledged would be back in its queue."""
    for body in (b"no json", b"{}", json.dumps({"payload": {"event": "close stream", "uuid": "x"}}).encode()):
        pair.stack.backend.raw(USER_QUEUE, body)
        pair.stack.backend.raw(CANDLE_QUEUE, body)
    pair.accounts.close()
    pair.stack.collect()
    pair.stack.stop_services()
    assert {service.process.returncode for service in pair.stack.services} <= {0, -9}
    assert pair.stack.queue_depth(USER_QUEUE) == 0
    assert pair.stack.queue_depth(CANDLE_QUEUE) == 0
