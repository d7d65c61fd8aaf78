"""CPU time of the sinks per event, against real servers.

    python -m bench.sinks [seconds]

Tickers: frames of 2,000 symbols, 6,000 events a second, into one sink and into both. Account events: 1,000 a second in
frames of one. "cpu" is the time of this whole process (submitting and the publisher threads), of which "submit" is
what the I/O threads pay; "redis" is the server's own.
"""

from __future__ import annotations

import os
import secrets
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from connector.core.messages import AccountMessage, Message, TickerMessage
from connector.core.metrics import METRICS
from connector.core.settings import Settings
from connector.servers.rabbit import Blocking, parameters
from connector.servers.redis import client
from connector.sinks.fanout import ConfirmingSink, FanoutSink
from connector.sinks.rabbitmq import RabbitOptions, RabbitSink
from connector.sinks.redis_pubsub import RedisSink

SYMBOLS = 2_000
TICKERS_PER_S = 6_000
ACCOUNT_PER_S = 1_000
BODY = (
    b'{"symbol":"SYM0001-USDT","time":1790000003000,"price":61234.5,"volume":1234.56,"bestAsk":61234.5,'
    b'"bestBid":61234.5,"bestAskQnt":0.8,"bestBidQnt":1.1,"uniqueMessageId":"SYM0001-USDT@1790000003000@okx61234.5",'
    b'"eventTime":1790000003021,"exchange":"okx"}'
)
SETTINGS = Settings.from_env(os.environ)


def ticker_frame(_number: int) -> Sequence[Message]:
    return [TickerMessage(exchange="okx", symbols=NAMES, bodies=BODIES, received_mono=time.monotonic())]


def account_frame(number: int) -> Sequence[Message]:
    return [
        AccountMessage(
            stream_id=f"bench-{number % 50}",
            exchange="okx",
            event_type="executionReport",
            event_id=f"bench:{number}",
            event_time_ms=1_790_000_001_456,
            body=BODY,
            received_mono=time.monotonic(),
        )
    ]


NAMES = [f"BENCH{number}-USDT" for number in range(SYMBOLS)]
BODIES = [BODY] * SYMBOLS


def measure(
    name: str, sinks: Sequence[ConfirmingSink], frame: Callable[[int], Sequence[Message]], per_s: float, events: int
) -> None:
    """Feed `per_s` frames of `events` events a second for `SECONDS`, on a fixed schedule."""
    sink = FanoutSink(sinks)
    METRICS.reset()
    sink.start()
    sink.submit(frame(0))
    if not sink.flush(10):
        print(f"{name:<34} no server: {sink.status().detail}")
        sink.stop(1)
        return
    pause = threading.Event()
    frames = max(1, int(SECONDS * per_s))
    submitting = 0.0
    server = _redis_cpu_s()
    started, cpu = time.monotonic(), time.process_time()
    for number in range(frames):
        pause.wait(max(0.0, started + number / per_s - time.monotonic()))
        before = time.thread_time()
        sink.submit(frame(number))
        submitting += time.thread_time() - before
    flushed = sink.flush(30)
    cpu, server = time.process_time() - cpu, _redis_cpu_s() - server
    total = frames * events
    status = sink.status()
    sink.stop(5)
    print(
        f"{name:<34} {total:>7} events  cpu {cpu / total * 1e6:7.2f} µs/event  submit {submitting / total * 1e6:6.3f} µs"
        f"  redis {server / total * 1e6:5.2f} µs"
        f"  conflated {status.dropped}  {'' if flushed else 'NOT FLUSHED'}"
    )


def _redis_cpu_s() -> float:
    with client(SETTINGS.redis, key="", socket_timeout_s=5.0, connect_timeout_s=5.0) as redis:
        figures: Any = redis.info("cpu")
    return float(figures["used_cpu_user"]) + float(figures["used_cpu_sys"])


def main() -> None:
    exchange = f"bench.{secrets.token_hex(4)}"

    def rabbit() -> RabbitSink:
        return RabbitSink(RabbitOptions(place=SETTINGS.rabbit, exchange=exchange, queue=None))

    def redis() -> RedisSink:
        return RedisSink(place=replace(SETTINGS.redis, db=12))

    per_s = TICKERS_PER_S / SYMBOLS
    measure("tickers, redis", [redis()], ticker_frame, per_s, SYMBOLS)
    measure("tickers, rabbitmq", [rabbit()], ticker_frame, per_s, SYMBOLS)
    measure("tickers, both", [rabbit(), redis()], ticker_frame, per_s, SYMBOLS)
    measure("tickers, both, ten times the rate", [rabbit(), redis()], ticker_frame, 10 * per_s, SYMBOLS)
    measure("account events, both", [rabbit(), redis()], account_frame, ACCOUNT_PER_S, 1)
    connection = Blocking(parameters(SETTINGS.rabbit, name="bench"))()
    connection.channel().exchange_delete(exchange)
    connection.close()


SECONDS = float(sys.argv[1]) if len(sys.argv) > 1 else 3.0

if __name__ == "__main__":
    main()
