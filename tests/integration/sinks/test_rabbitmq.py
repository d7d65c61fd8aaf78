"""The RabbitMQ sink against a real broker: keys and properties, lost connections, the outbox, refusals."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from connector.core.messages import AccountMessage, Confirmed, InfoMessage, ServiceMessage
from connector.sinks.rabbitmq import RabbitOptions, RabbitSink
from tests.integration.sinks.receivers import (
    RABBIT_PORT,
    RabbitReceiver,
    account,
    candle,
    first_seen,
    rabbit_connection,
    rabbit_place,
    tickers,
    wait_for,
)
from tests.integration.tcp_proxy import TcpProxy

pytestmark = pytest.mark.integration


class Running:
    """Starts sinks of one exchange and stops them at the end of the test."""

    def __init__(self, mark: str) -> None:
        self.mark = mark
        self.sinks: list[RabbitSink] = []

    def __call__(
        self,
        *,
        start: bool = True,
        port: int = RABBIT_PORT,
        on_confirmed: Confirmed | None = None,
        **options: Any,
    ) -> RabbitSink:
        settings: dict[str, Any] = {
            "place": rabbit_place(port),
            "exchange": f"{self.mark}.events",
            "queue": None,
            "connect_timeout_s": 2.0,
        }
        sink = RabbitSink(RabbitOptions(**settings | options), on_confirmed=on_confirmed)
        self.sinks.append(sink)
        if start:
            sink.start()
        return sink


@pytest.fixture
def run(mark: str) -> Iterator[Running]:
    running = Running(mark)
    yield running
    for sink in running.sinks:
        sink.stop(2)


@pytest.fixture
def queue(mark: str) -> Iterator[str]:
    yield f"{mark}.user-events"
    connection = rabbit_connection()
    connection.channel().queue_delete(f"{mark}.user-events")
    connection.channel().exchange_delete(f"{mark}.events")
    connection.close()


def bodies(receiver: RabbitReceiver, stream: str) -> list[bytes]:
    return [message.body for message in receiver.messages if message.channel.endswith(f".{stream}")]


def unique_ids(receiver: RabbitReceiver, stream: str) -> list[str]:
    """Message ids of a stream as a consumer that drops known ones sees them."""
    return first_seen([message.message_id for message in receiver.messages if message.channel.endswith(f".{stream}")])


def ids(stream: str, count: int) -> list[str]:
    return [f"{stream}:{number}" for number in range(count)]


def drained(queue: str, count: int) -> list[str]:
    """Message ids of a queue, taken out one by one until `count` different ones have come."""
    connection = rabbit_connection()
    channel = connection.channel()
    found: list[str] = []

    def enough() -> bool:
        method, properties, _ = channel.basic_get(queue, auto_ack=True)
        if method is not None:
            found.append(properties.message_id)
        return len(set(found)) == count

    wait_for(enough, "queue")
    connection.close()
    return found


def test_keys_and_properties_are_those_of_the_design(run: Running, rabbit_receiver: RabbitReceiver, mark: str) -> None:
    sink = run()
    event = account("stream-1", 1)
    sink.submit(
        [
            event,
            InfoMessage(stream_id="stream-1", exchange="okx"),
            candle("BTC-USDT", 60_000, "c"),
            ServiceMessage(kind="restart", body=b'{"restart":"userStream"}'),
            tickers("okx", {"A": 1, "B": 2}),
        ]
    )
    assert sink.flush(10)
    wait_for(lambda: len(rabbit_receiver.messages) == 5)
    by_key = {message.channel: message for message in rabbit_receiver.messages}
    assert set(by_key) == {
        "user.okx.executionReport.stream-1",
        "user.okx.info.stream-1",
        "candle.okx.candle1m.BTC-USDT",
        "service.restart",
        "tickers.okx",
    }
    user = by_key["user.okx.executionReport.stream-1"]
    assert user.body == event.body
    properties = user.properties
    assert properties is not None
    assert (properties.content_type, properties.message_id, properties.timestamp, properties.type) == (
        "application/json",
        "stream-1:1",
        1_790_000_001,
        "executionReport",
    )
    assert (properties.app_id, properties.delivery_mode) == ("websocket-connector", 2)
    assert properties.headers == {"stream": "stream-1", "exchange": "okx", "schema": 1}
    assert json.loads(by_key["user.okx.info.stream-1"].body) == {"info": "Subscribed to user stream-1"}
    assert by_key["tickers.okx"].body == b"[1,2]"
    modes = {key: message.properties.delivery_mode for key, message in by_key.items() if message.properties}
    assert modes["tickers.okx"] == 1
    assert modes["candle.okx.candle1m.BTC-USDT"] == 2


def test_tickers_come_in_messages_of_at_most_four_hundred(run: Running, rabbit_receiver: RabbitReceiver) -> None:
    sink = run()
    sink.submit([tickers("okx", {f"S{index}": index for index in range(1_000)}), tickers("bybit", {"X": 1})])
    assert sink.flush(10)
    wait_for(lambda: len(rabbit_receiver.messages) == 4)
    sizes = [len(json.loads(message.body)) for message in rabbit_receiver.messages]
    assert sizes == [400, 400, 200, 1]


def test_tickers_by_symbol_on_request(run: Running, rabbit_receiver: RabbitReceiver) -> None:
    sink = run(ticker_per_symbol=True)
    sink.submit([tickers("okx", {"A": 1, "B": 2})])
    assert sink.flush(10)
    wait_for(lambda: len(rabbit_receiver.messages) == 2)
    assert [(message.channel, message.body) for message in rabbit_receiver.messages] == [
        ("ticker.okx.A", b"1"),
        ("ticker.okx.B", b"2"),
    ]


def test_user_events_wait_in_the_durable_queue_when_nobody_listens(queue: str, run: Running) -> None:
    sink = run(queue=queue, queue_max_length=100)
    sink.submit([account("u", number) for number in range(5)])
    sink.submit([candle("BTC", 1, "not for this queue")])
    assert sink.flush(10)
    assert drained(queue, 5) == ids("u", 5)


def test_a_queue_with_other_arguments_is_used_as_it_is(queue: str, run: Running) -> None:
    connection = rabbit_connection()
    connection.channel().queue_declare(queue, durable=True, arguments={"x-max-length": 7})
    connection.close()
    sink = run(queue=queue, queue_max_length=100)
    sink.submit([account("u", 0)])
    assert sink.flush(20)
    assert drained(queue, 1) == ids("u", 1)


def test_cuts_in_the_middle_of_the_flow_lose_nothing_and_keep_the_order(
    run: Running, rabbit_receiver: RabbitReceiver, rabbit_proxy: TcpProxy, mark: str
) -> None:
    confirmed: list[AccountMessage] = []
    sink = run(port=rabbit_proxy.port, on_confirmed=confirmed.extend, window=200)
    streams = [f"{mark}-{index}" for index in range(3)]
    cuts = 0
    for number in range(1_500):
        assert sink.submit([account(stream, number) for stream in streams])
        if number % 400 == 300:
            wait_for(lambda cuts=cuts: rabbit_proxy.connections > cuts and sink.status().connected)  # type: ignore[misc]
            rabbit_proxy.cut()
            cuts += 1
    assert sink.flush(30)
    assert rabbit_proxy.connections > cuts
    for stream in streams:
        wait_for(lambda stream=stream: len(set(unique_ids(rabbit_receiver, stream))) == 1_500)  # type: ignore[misc]
        assert unique_ids(rabbit_receiver, stream) == ids(stream, 1_500)
        assert [message.event_id for message in confirmed if message.stream_id == stream] == ids(stream, 1_500)


def test_a_connection_without_answers_is_given_up_when_the_time_of_the_process_is_up(
    run: Running, rabbit_receiver: RabbitReceiver, rabbit_proxy: TcpProxy, mark: str
) -> None:
    """Cut off from Redis and the broker: what is on its way must not arrive behind the next owner's events."""
    until = [time.monotonic() + 60]
    sink = run(port=rabbit_proxy.port)
    sink.permitted = lambda: max(0.0, until[0] - time.monotonic())
    wait_for(lambda: sink.status().connected)
    before = rabbit_proxy.connections
    rabbit_proxy.stall()
    until[0] = time.monotonic() + 0.5
    stream = f"{mark}-u"
    sink.submit([account(stream, 0)])
    wait_for(lambda: not sink.status().connected)
    rabbit_proxy.resume()
    wait_for(lambda: sink.status().connected)
    assert rabbit_proxy.connections > before
    assert not sink.flush(0.5), "it waits for its process's next beat"
    until[0] = time.monotonic() + 60
    assert sink.flush(10)
    wait_for(lambda: unique_ids(rabbit_receiver, stream) == ids(stream, 1))


def test_an_outage_goes_to_disk_and_comes_back_in_order(
    run: Running, rabbit_receiver: RabbitReceiver, rabbit_proxy: TcpProxy, mark: str, tmp_path: Path
) -> None:
    confirmed: list[AccountMessage] = []
    sink = run(port=rabbit_proxy.port, outbox_dir=tmp_path, memory_messages=50, on_confirmed=confirmed.extend)
    wait_for(lambda: sink.status().connected)
    stream = f"{mark}-u"
    sink.submit([account(stream, number) for number in range(20)])
    rabbit_proxy.refuse()
    wait_for(lambda: not sink.status().connected)
    for start in range(20, 1_000, 20):
        messages = [account(stream, number) for number in range(start, start + 20)]
        wait_for(lambda messages=messages: sink.submit(messages))  # type: ignore[misc]
    wait_for(lambda: any(path.stat().st_size > 10_000 for path in tmp_path.glob("*/*.sqlite3-wal")))
    rabbit_proxy.accept()
    # Newer messages may not overtake the disk.
    for number in range(1_000, 1_100):
        wait_for(lambda number=number: sink.submit([account(stream, number)]))  # type: ignore[misc]
    assert sink.flush(30)
    wait_for(lambda: len(unique_ids(rabbit_receiver, stream)) == 1_100)
    assert unique_ids(rabbit_receiver, stream) == ids(stream, 1_100)
    assert [message.event_id for message in confirmed] == ids(stream, 1_100)
    assert list(tmp_path.glob("*/*.sqlite3*")) == []
    assert sink.status().queued == 0


def test_what_a_stopped_process_could_not_send_the_next_one_sends_first(
    run: Running, rabbit_receiver: RabbitReceiver, rabbit_proxy: TcpProxy, mark: str, tmp_path: Path
) -> None:
    stream = f"{mark}-u"
    rabbit_proxy.refuse()
    first = run(port=rabbit_proxy.port, outbox_dir=tmp_path, memory_messages=10)
    for number in range(100):
        wait_for(lambda number=number: first.submit([account(stream, number)]))  # type: ignore[misc]
    assert not first.stop(5)
    second = run(port=rabbit_proxy.port, outbox_dir=tmp_path, start=False)
    second.submit([account(stream, number) for number in range(100, 110)])
    second.start()
    wait_for(lambda: second.status().queued == 110)
    rabbit_proxy.accept()
    assert second.flush(20)
    wait_for(lambda: len(bodies(rabbit_receiver, stream)) == 110)
    assert unique_ids(rabbit_receiver, stream) == ids(stream, 110)
    assert second.stop(5)
    assert [path.name for path in tmp_path.iterdir()] == ["lock"]


def test_full_memory_and_disk_refuse_account_messages_and_lose_nothing_that_was_taken(
    run: Running, rabbit_receiver: RabbitReceiver, rabbit_proxy: TcpProxy, mark: str, tmp_path: Path
) -> None:
    stream = f"{mark}-u"
    rabbit_proxy.refuse()
    sink = run(port=rabbit_proxy.port, outbox_dir=tmp_path, outbox_bytes=4_000, memory_messages=20)
    taken: list[str] = []

    def refused() -> bool:
        message = account(stream, len(taken))
        if sink.submit([message]):
            taken.append(message.event_id)
            return False
        return bool(sink.status().detail)

    wait_for(refused)
    assert len(taken) >= 40
    assert sink.status().lost_account_events == 1
    assert sink.submit([tickers("okx", {"A": 1})])
    rabbit_proxy.accept()
    assert sink.flush(20)
    wait_for(lambda: len(unique_ids(rabbit_receiver, stream)) == len(taken))
    assert unique_ids(rabbit_receiver, stream) == taken
    assert sink.submit([account(stream, 10_000)])


def test_an_outbox_that_can_t_be_opened_leaves_the_sink_working(
    run: Running, rabbit_receiver: RabbitReceiver, mark: str, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("in the way")
    sink = run(outbox_dir=tmp_path / "file")
    sink.submit([account(f"{mark}-u", 1)])
    assert sink.flush(10)
    assert "outbox unusable" in sink.status().detail


def test_a_full_queue_that_refuses_gets_everything_in_order_once_there_is_room(queue: str, run: Running) -> None:
    sink = run(queue=queue, queue_max_length=5, queue_overflow="reject-publish")
    wait_for(lambda: sink.status().connected)
    for number in range(30):
        sink.submit([account("u", number)])
    # Taken out one by one: the sink meets a full queue again and again.
    found = drained(queue, 30)
    assert sink.flush(20)
    assert set(found) == set(ids("u", 30))
    # What was in flight behind the first refusal could not be called back; from then on nothing overtakes.
    start = max(index for index, message in enumerate(found[:6]) if message in ids("u", 6)) + 1
    assert found[start:] == sorted(found[start:], key=lambda message: int(message.split(":")[1]))


def test_tickers_of_an_outage_are_the_newest_per_symbol(
    run: Running, rabbit_receiver: RabbitReceiver, rabbit_proxy: TcpProxy
) -> None:
    rabbit_proxy.refuse()
    sink = run(port=rabbit_proxy.port)
    for value in range(50):
        sink.submit([tickers("okx", {"A": value, "B": value})])
    rabbit_proxy.accept()
    assert sink.flush(20)
    wait_for(lambda: len(rabbit_receiver.messages) == 1)
    assert rabbit_receiver.messages[0].body == b"[49,49]"
    assert sink.status().dropped == 98


def test_final_candles_of_an_outage_all_arrive_before_the_running_ones(
    run: Running, rabbit_receiver: RabbitReceiver, rabbit_proxy: TcpProxy
) -> None:
    rabbit_proxy.refuse()
    sink = run(port=rabbit_proxy.port)
    for start, body in ((1, "a"), (1, "b"), (2, "c"), (2, "d"), (3, "e"), (3, "f")):
        sink.submit([candle("ETH", start, body, closed=False)])
    rabbit_proxy.accept()
    assert sink.flush(20)
    wait_for(lambda: len(rabbit_receiver.messages) == 3)
    assert [message.body for message in rabbit_receiver.messages] == [b"b", b"d", b"f"]


def test_a_broker_that_stalls_is_left_and_nothing_is_lost(
    run: Running, rabbit_receiver: RabbitReceiver, rabbit_proxy: TcpProxy, mark: str
) -> None:
    sink = run(port=rabbit_proxy.port, heartbeat_s=1)
    wait_for(lambda: sink.status().connected)
    rabbit_proxy.stall()
    stream = f"{mark}-u"
    sink.submit([account(stream, number) for number in range(10)])
    wait_for(lambda: not sink.status().connected)
    rabbit_proxy.cut()
    rabbit_proxy.resume()
    assert sink.flush(20)
    wait_for(lambda: len(unique_ids(rabbit_receiver, stream)) == 10)
    assert unique_ids(rabbit_receiver, stream) == ids(stream, 10)


def test_stop_with_a_stalled_broker_keeps_the_rest_on_disk(
    run: Running, rabbit_receiver: RabbitReceiver, rabbit_proxy: TcpProxy, mark: str, tmp_path: Path
) -> None:
    stream = f"{mark}-u"
    first = run(port=rabbit_proxy.port, outbox_dir=tmp_path)
    wait_for(lambda: first.status().connected)
    rabbit_proxy.stall()
    first.submit([account(stream, number) for number in range(5)])
    assert not first.stop(1.0)
    assert len(list(tmp_path.glob("*/*.sqlite3"))) == 1
    second = run(outbox_dir=tmp_path)
    wait_for(lambda: len(unique_ids(rabbit_receiver, stream)) == 5)
    assert second.flush(10)


@pytest.mark.parametrize("kind", ["classic", "quorum"])
def test_a_queue_that_is_deleted_while_events_flow_loses_none_that_come_after(
    kind: str, run: Running, queue: str
) -> None:
    """The broker confirms what no queue takes; nothing else listens here, as in a deployment with one backend."""
    confirmed: list[str] = []
    sink = run(
        queue=queue,
        queue_type=kind,
        window=50,
        on_confirmed=lambda messages: confirmed.extend(message.event_id for message in messages),
    )
    connection = rabbit_connection()
    channel = connection.channel()
    for turn in range(3):
        sink.submit([account("q", 300 * turn + number) for number in range(100)])
        assert sink.flush(10)
        channel.queue_delete(queue)
        for number in range(100, 300):
            assert sink.submit([account("q", 300 * turn + number)])
        assert sink.flush(20)
        kept = []
        while (got := channel.basic_get(queue, auto_ack=True))[0] is not None:
            kept.append(got[1].message_id)
        assert first_seen(kept) == [f"q:{300 * turn + number}" for number in range(100, 300)]
    connection.close()
    assert confirmed == [f"q:{number}" for number in range(900)]
    assert sink.status().lost_account_events == 0
