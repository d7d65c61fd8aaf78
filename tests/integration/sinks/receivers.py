"""What stands on the other side of a sink in these tests: subscribers of real servers."""

from __future__ import annotations

import os
import secrets
import threading
import time
from collections.abc import Callable
from typing import NamedTuple

import pika
import redis

from connector.core.messages import AccountMessage, CandleMessage, TickerMessage
from connector.core.places import Host, RabbitPlace, RedisPlace

REDIS_HOST = os.environ.get("REDIS_HOST", "127.0.0.1")
REDIS_PORT = int(os.environ.get("REDIS_PORT", "6379"))
REDIS_DB = 13
RABBIT_HOST = os.environ.get("RABBIT_HOST", "127.0.0.1")
RABBIT_PORT = int(os.environ.get("RABBIT_PORT", "5672"))
RABBIT_USER = os.environ.get("RABBIT_USER", "guest")
RABBIT_PASSWORD = os.environ.get("RABBIT_PASSWORD", "guest")
WAIT_S = 20.0


def rabbit_place(port: int = RABBIT_PORT) -> RabbitPlace:
    return RabbitPlace(hosts=(Host(RABBIT_HOST, port),), user=RABBIT_USER, password=RABBIT_PASSWORD)


def redis_place(port: int = REDIS_PORT) -> RedisPlace:
    return RedisPlace(hosts=(Host(REDIS_HOST, port),), db=REDIS_DB)


def unique() -> str:
    return f"t{secrets.token_hex(5)}"


def wait_for(condition: Callable[[], bool], what: str = "condition", timeout_s: float = WAIT_S) -> None:
    deadline = time.monotonic() + timeout_s
    pause = threading.Event()
    while not condition():
        assert time.monotonic() < deadline, f"timed out waiting for {what}"
        pause.wait(0.005)


def account(stream: str, number: int, event_type: str = "executionReport", **fields: object) -> AccountMessage:
    return AccountMessage(
        stream_id=stream,
        exchange="okx",
        event_type=event_type,
        event_id=f"{stream}:{number}",
        event_time_ms=1_790_000_001_456,
        body=b'{"n":%d,"eventType":"%b"}' % (number, event_type.encode()),
        received_mono=time.monotonic(),
        **fields,  # type: ignore[arg-type]
    )


def tickers(exchange: str, rows: dict[str, int]) -> TickerMessage:
    return TickerMessage(
        exchange=exchange,
        symbols=list(rows),
        bodies=[b"%d" % value for value in rows.values()],
        received_mono=time.monotonic(),
    )


def candle(symbol: str, start: int, body: str, *, closed: bool = True) -> CandleMessage:
    return CandleMessage(
        exchange="okx",
        symbol=symbol,
        interval="candle1m",
        event_id=f"{symbol}:{start}:{body}",
        start_ms=start,
        body=body.encode(),
        closed=closed,
        received_mono=time.monotonic(),
    )


class Received(NamedTuple):
    """One message: Redis channel or routing key, body, and what RabbitMQ adds."""

    channel: str
    body: bytes
    message_id: str = ""
    properties: pika.BasicProperties | None = None


class RedisReceiver:
    """Subscribes to every channel that contains `mark`."""

    def __init__(self, mark: str) -> None:
        self.messages: list[Received] = []
        self.client = redis.Redis(host=REDIS_HOST, port=REDIS_PORT, db=REDIS_DB)
        self._pubsub = self.client.pubsub(ignore_subscribe_messages=True)  # type: ignore[no-untyped-call]
        self._pubsub.psubscribe(f"*{mark}*")
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="redis-receiver", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while not self._ended.is_set():
            message = self._pubsub.get_message(timeout=0.1)
            if message is not None:
                self.messages.append(Received(message["channel"].decode(), message["data"]))

    def close(self) -> None:
        self._ended.set()
        self._thread.join(5)
        self._pubsub.close()
        self.client.close()


class RabbitReceiver:
    """Consumes a queue of its own, bound to everything of one exchange, which it declares like the sink."""

    def __init__(self, exchange: str) -> None:
        self.exchange = exchange
        self.messages: list[Received] = []
        self._ready = threading.Event()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="rabbit-receiver", daemon=True)
        self._thread.start()
        assert self._ready.wait(WAIT_S)

    def _run(self) -> None:
        connection = rabbit_connection()
        channel = connection.channel()
        channel.exchange_declare(self.exchange, "topic", durable=True)
        queue = channel.queue_declare("", exclusive=True).method.queue
        channel.queue_bind(queue, self.exchange, "#")
        for method, properties, body in channel.consume(queue, auto_ack=True, inactivity_timeout=0.05):
            self._ready.set()
            if method is not None:
                self.messages.append(Received(method.routing_key, body, properties.message_id, properties))
            elif self._ended.is_set():
                break
        channel.exchange_delete(self.exchange)
        connection.close()

    def close(self) -> None:
        self._ended.set()
        self._thread.join(5)


def rabbit_connection() -> pika.BlockingConnection:
    return pika.BlockingConnection(
        pika.ConnectionParameters(
            RABBIT_HOST, RABBIT_PORT, credentials=pika.PlainCredentials(RABBIT_USER, RABBIT_PASSWORD)
        )
    )


def first_seen(items: list[str]) -> list[str]:
    """Without repetitions, as a consumer that drops known message ids sees them."""
    return list(dict.fromkeys(items))
