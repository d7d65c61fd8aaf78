"""The Redis sink against a real server: the contract's commands, and connections that fail at bad moments."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator, Sequence
from typing import Any

import fakeredis
import pytest

from connector.core.channels import LAST_EVENT_TIME, ORDERS
from connector.core.messages import InfoMessage, ServiceMessage, StreamClosed
from connector.core.places import Host, RedisPlace
from connector.servers.redis import wire
from connector.servers.sockets import DISCARD
from connector.sinks._redis_link import EXPIRY_KEY, PartialReply, RedisLink, command
from connector.sinks.redis_pubsub import RedisSink
from tests.integration.sinks.receivers import (
    REDIS_PORT,
    RedisReceiver,
    account,
    candle,
    first_seen,
    redis_place,
    tickers,
    wait_for,
)
from tests.integration.tcp_proxy import TcpProxy

pytestmark = pytest.mark.integration


class Running:
    """Starts sinks and stops them at the end of the test."""

    def __init__(self) -> None:
        self.sinks: list[RedisSink] = []

    def __call__(self, *, port: int = REDIS_PORT, **options: Any) -> RedisSink:
        options = {"reply_timeout_s": 1.0, "connect_timeout_s": 1.0} | options
        sink = RedisSink(place=redis_place(port), **options)
        self.sinks.append(sink)
        sink.start()
        return sink


@pytest.fixture
def run() -> Iterator[Running]:
    running = Running()
    yield running
    for sink in running.sinks:
        sink.stop(2)


def bodies(receiver: RedisReceiver, channel: str) -> list[bytes]:
    return [message.body for message in receiver.messages if message.channel == channel]


def test_every_kind_of_message_goes_where_the_contract_says(
    run: Running, redis_receiver: RedisReceiver, mark: str
) -> None:
    sink = run()
    stream = f"{mark}-u"
    before_ms = int(time.time() * 1000)
    service = ServiceMessage(kind="restart", body=b'{"restart":"%b"}' % mark.encode())
    log = redis_receiver.client.pubsub(ignore_subscribe_messages=True)  # type: ignore[no-untyped-call]
    log.subscribe("serviceLog")
    wait_for(lambda: log.get_message(timeout=0.01) is not None or log.subscribed)
    sink.submit(
        [
            account(stream, 1),
            InfoMessage(stream_id=stream, exchange="okx"),
            tickers(f"{mark}ex", {"BTC-USDT": 7}),
            candle(f"{mark}BTC", 60_000, "closed"),
            service,
            ServiceMessage(kind="streamGap", body=b'{"streamGap":"%b"}' % mark.encode(), redis=False),
        ]
    )
    assert sink.flush(10)
    wait_for(lambda: len(redis_receiver.messages) >= 4)
    assert {(message.channel, message.body) for message in redis_receiver.messages} == {
        (stream, account(stream, 1).body),
        (f"userStreamInfo{stream}", b"Subscribed to user " + stream.encode()),
        (f"trade@BTC-USDT@{mark}ex", b"7"),
        (f"{mark}BTC@okx@candle1mCandle", b"closed"),
    }
    score = redis_receiver.client.zscore(LAST_EVENT_TIME, stream)
    assert isinstance(score, float)
    assert before_ms <= score <= time.time() * 1000
    seen: list[bytes] = []

    def heard() -> bool:
        message = log.get_message(timeout=0.01)
        if message is not None and mark.encode() in message["data"]:
            seen.append(message["data"])
        return seen == [service.body]

    wait_for(heard)
    sink.submit([StreamClosed(stream_id=stream)])
    assert sink.flush(10)
    assert redis_receiver.client.zscore(LAST_EVENT_TIME, stream) is None
    log.close()


def test_a_score_of_the_future_is_not_set_back(run: Running, redis_receiver: RedisReceiver, mark: str) -> None:
    stream = f"{mark}-u"
    future = 4_000_000_000_000.0
    redis_receiver.client.zadd(LAST_EVENT_TIME, {stream: future})
    sink = run()
    sink.submit([account(stream, 1)])
    assert sink.flush(10)
    assert redis_receiver.client.zscore(LAST_EVENT_TIME, stream) == future
    redis_receiver.client.zrem(LAST_EVENT_TIME, stream)


def test_orders_without_hexpire_are_swept_when_their_time_has_come(
    run: Running, redis_receiver: RedisReceiver, mark: str
) -> None:
    client = redis_receiver.client
    probe = run(sweep_interval_s=0.05)
    short, long = f"{mark}-D-BO-1", f"{mark}-D-BO-2"
    event = account(f"{mark}-u", 1, order_field=short, order_ttl_s=1)
    probe.submit([event, account(f"{mark}-u", 2, order_field=long, order_ttl_s=3600)])
    assert probe.flush(10)
    assert client.hget(ORDERS, short) == event.body
    if client.zscore(EXPIRY_KEY, short) is None:
        pytest.skip("this server has HEXPIRE")
    wait_for(lambda: client.hget(ORDERS, short) is None)
    assert client.zscore(EXPIRY_KEY, short) is None
    assert client.hget(ORDERS, long) is not None
    assert client.zscore(EXPIRY_KEY, long) is not None
    client.hdel(ORDERS, long)
    client.zrem(EXPIRY_KEY, long)


def test_orders_with_hexpire_expire_by_themselves(mark: str) -> None:
    server = fakeredis.TcpFakeServer(("127.0.0.1", 0), server_type="redis")
    threading.Thread(target=server.serve_forever, name="fake-redis", daemon=True).start()
    host, port = server.server_address[:2]
    sink = RedisSink(place=RedisPlace(hosts=(Host(str(host), int(port)),)))
    sink.start()
    try:
        sink.submit([account(f"{mark}-u", 1, order_field="D-BO-1", order_ttl_s=300)])
        assert sink.flush(10)
        client = fakeredis.FakeRedis(server=server.fake_server)
        assert client.hget(ORDERS, "D-BO-1") == account(f"{mark}-u", 1).body
        assert 0 < client.httl(ORDERS, "D-BO-1")[0] <= 300
        assert not client.exists(EXPIRY_KEY)
    finally:
        sink.stop(5)
        server.shutdown()
        server.server_close()


def test_events_of_an_outage_are_kept_and_arrive_in_order(
    run: Running, redis_receiver: RedisReceiver, redis_proxy: TcpProxy, mark: str
) -> None:
    sink = run(port=redis_proxy.port)
    wait_for(lambda: sink.status().connected)
    stream = f"{mark}-u"
    sink.submit([account(stream, 0)])
    assert sink.flush(10)
    redis_proxy.refuse()
    for number in range(1, 300):
        assert sink.submit([account(stream, number)])
    wait_for(lambda: not sink.status().connected)
    redis_proxy.accept()
    assert sink.flush(20)
    wait_for(lambda: len(bodies(redis_receiver, stream)) == 300)
    assert bodies(redis_receiver, stream) == [account(stream, number).body for number in range(300)]


def test_cuts_in_the_middle_of_the_flow_lose_nothing_and_keep_the_order(
    run: Running, redis_receiver: RedisReceiver, redis_proxy: TcpProxy, mark: str
) -> None:
    sink = run(port=redis_proxy.port)
    stream = f"{mark}-u"
    cuts = 0
    for number in range(2_000):
        assert sink.submit([account(stream, number)])
        if number % 400 == 200:
            wait_for(lambda cuts=cuts: redis_proxy.connections > cuts and sink.status().connected)  # type: ignore[misc]
            redis_proxy.cut()
            cuts += 1
    assert sink.flush(20)
    expected = [account(stream, number).body.decode() for number in range(2_000)]
    wait_for(lambda: len(set(bodies(redis_receiver, stream))) == 2_000)
    assert first_seen([body.decode() for body in bodies(redis_receiver, stream)]) == expected


def test_a_balance_update_with_unknown_outcome_is_never_sent_again(
    run: Running, redis_receiver: RedisReceiver, redis_proxy: TcpProxy, mark: str
) -> None:
    sink = run(port=redis_proxy.port)
    wait_for(lambda: sink.status().connected)
    stream = f"{mark}-u"
    # The server gets the commands, the answers never come back.
    redis_proxy.stall(up=False, down=True)
    sink.submit([account(stream, 0), account(stream, 1, "balanceUpdate"), account(stream, 2)])
    wait_for(lambda: len(bodies(redis_receiver, stream)) == 3)
    redis_proxy.cut()
    redis_proxy.resume()
    sink.submit([account(stream, 3, "balanceUpdate"), account(stream, 4)])
    assert sink.flush(20)
    wait_for(lambda: account(stream, 4).body in bodies(redis_receiver, stream))
    got = bodies(redis_receiver, stream)
    assert got.count(account(stream, 1, "balanceUpdate").body) == 1
    assert got.count(account(stream, 3, "balanceUpdate").body) == 1
    assert set(got) == {account(stream, number).body for number in (0, 2, 4)} | {
        account(stream, number, "balanceUpdate").body for number in (1, 3)
    }
    assert sink.unknown_outcomes == 1
    assert "1 balance updates with unknown outcome" in sink.status().detail


def test_a_balance_update_that_was_never_sent_is_not_dropped(
    run: Running, redis_receiver: RedisReceiver, redis_proxy: TcpProxy, mark: str
) -> None:
    redis_proxy.refuse()
    sink = run(port=redis_proxy.port)
    stream = f"{mark}-u"
    sink.submit([account(stream, number, "balanceUpdate") for number in range(10)])
    redis_proxy.accept()
    assert sink.flush(20)
    wait_for(lambda: len(bodies(redis_receiver, stream)) == 10)
    assert sink.unknown_outcomes == 0


def test_an_overflow_drops_the_oldest_counts_them_and_tells_their_streams(
    run: Running, redis_receiver: RedisReceiver, redis_proxy: TcpProxy, mark: str
) -> None:
    told: list[Sequence[str]] = []
    redis_proxy.refuse()
    sink = run(port=redis_proxy.port, buffer_messages=10, on_recovered=told.append)
    old, closed, late = f"{mark}-old", f"{mark}-closed", f"{mark}-late"
    redis_receiver.client.zadd(LAST_EVENT_TIME, {closed: 1})
    sink.submit([account(old, 1), account(old, 2), account(closed, 3), StreamClosed(stream_id=closed)])
    assert sink.submit([account(late, number) for number in range(10)])
    assert sink.status().lost_account_events == 3
    assert told == []
    redis_proxy.accept()
    assert sink.flush(20)
    wait_for(lambda: len(told) == 1)
    assert told == [(old,)]
    wait_for(lambda: len(bodies(redis_receiver, late)) == 10)
    assert bodies(redis_receiver, old) == []
    assert redis_receiver.client.zscore(LAST_EVENT_TIME, closed) is None


def test_market_data_of_an_outage_is_the_newest_per_symbol_and_all_closed_candles(
    run: Running, redis_receiver: RedisReceiver, redis_proxy: TcpProxy, mark: str
) -> None:
    redis_proxy.refuse()
    sink = run(port=redis_proxy.port, candle_messages=3)
    for value in range(50):
        sink.submit([tickers(f"{mark}ex", {"A": value, "B": value})])
    for start in range(5):
        sink.submit([candle(f"{mark}BTC", start, f"c{start}")])
    for start, body in ((1, "r1"), (1, "r1 last"), (2, "r2")):
        sink.submit([candle(f"{mark}ETH", start, body, closed=False)])
    redis_proxy.accept()
    assert sink.flush(20)
    wait_for(lambda: len(redis_receiver.messages) >= 6)
    assert bodies(redis_receiver, f"trade@A@{mark}ex") == [b"49"]
    assert bodies(redis_receiver, f"trade@B@{mark}ex") == [b"49"]
    # Three fit: the oldest closed candles made room, also for the final values of the other topic.
    assert bodies(redis_receiver, f"{mark}BTC@okx@candle1mCandle") == [b"c3", b"c4"]
    assert bodies(redis_receiver, f"{mark}ETH@okx@candle1mCandle") == [b"r1 last", b"r2"]


def test_account_messages_overtake_a_backlog_of_tickers(
    run: Running, redis_receiver: RedisReceiver, redis_proxy: TcpProxy, mark: str
) -> None:
    sink = run(port=redis_proxy.port, ticker_rows=50_000, reply_timeout_s=20.0)
    wait_for(lambda: sink.status().connected)
    redis_proxy.stall()
    sink.submit([tickers(f"{mark}ex", {f"S{index}": index for index in range(6_000)})])
    sink.submit([account(f"{mark}-u", 1)])
    redis_proxy.resume()
    assert sink.flush(20)
    wait_for(lambda: len(redis_receiver.messages) == 6_001)
    position = [message.channel for message in redis_receiver.messages].index(f"{mark}-u")
    # At most the batch that was on its way, and one more.
    assert position <= 1_000


def test_a_connection_that_is_closed_takes_back_what_did_not_arrive() -> None:
    """The kernel would go on sending it when the way is free again, behind what another process published."""
    made: Any = wire(redis_place(), key="", connect_timeout_s=1.0, reply_timeout_s=1.0)
    link = RedisLink(made)
    try:
        assert made._sock.getsockopt(socket.SOL_SOCKET, socket.SO_LINGER, len(DISCARD)) == DISCARD
        assert link.write(command(b"PUBLISH", b"wsc:nobody", b"x"), 1, lambda: 0.5) == [0]
        with pytest.raises(PartialReply, match="no answer in time"):
            link.write(command(b"BLPOP", b"wsc:nothing", b"1"), 1, lambda: 0.05)
    finally:
        link.close()


def test_scripts_that_the_server_forgot_are_loaded_again(
    run: Running, redis_receiver: RedisReceiver, mark: str
) -> None:
    sink = run()
    sink.submit([tickers(f"{mark}ex", {"A": 1})])
    assert sink.flush(10)
    redis_receiver.client.script_flush()
    sink.submit([tickers(f"{mark}ex", {"A": 2})])
    assert sink.flush(10)
    wait_for(lambda: bodies(redis_receiver, f"trade@A@{mark}ex") == [b"1", b"2"])


def test_a_server_that_stops_answering_is_left_and_found_again(
    run: Running, redis_receiver: RedisReceiver, redis_proxy: TcpProxy, mark: str
) -> None:
    sink = run(port=redis_proxy.port, reply_timeout_s=0.3)
    wait_for(lambda: sink.status().connected)
    redis_proxy.stall()
    stream = f"{mark}-u"
    sink.submit([account(stream, 1)])
    wait_for(lambda: not sink.status().connected)
    redis_proxy.cut()
    redis_proxy.resume()
    assert sink.flush(20)
    wait_for(lambda: account(stream, 1).body in bodies(redis_receiver, stream))
