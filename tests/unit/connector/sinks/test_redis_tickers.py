"""Batches of tickers on their way to Redis, without a thread."""

from __future__ import annotations

from connector.core.messages import TickerMessage
from connector.sinks._redis_publisher import MARKET_BATCH, MARKET_BATCHES
from tests.unit.connector.sinks.played import OnRedis, event


def tickers(rows: int, first: int = 0) -> TickerMessage:
    numbers = range(first, first + rows)
    return TickerMessage(
        exchange="okx", symbols=[f"S{n}" for n in numbers], bodies=[b"%d" % n for n in numbers], received_mono=0.0
    )


def bodies(redis: OnRedis) -> list[bytes]:
    return [parts[2] for parts in redis.server.done if parts[0] == b"PUBLISH" and parts[1].startswith(b"trade@")]


def test_the_next_batch_of_tickers_does_not_wait_for_the_answer_to_the_last() -> None:
    redis = OnRedis()
    redis.play(0.0)
    redis.server.late = True
    redis.sink.submit([tickers(10 * MARKET_BATCH)])
    redis.sink.turn()
    assert bodies(redis) == [b"%d" % n for n in range(MARKET_BATCHES * MARKET_BATCH)]


def test_tickers_of_which_no_answer_came_go_out_again_in_order() -> None:
    redis = OnRedis()
    redis.play(0.0)
    redis.server.late = True
    redis.sink.submit([tickers(10 * MARKET_BATCH)])
    redis.sink.turn()
    redis.server.late = False
    redis.server.done.clear()
    redis.play(5.0)
    assert bodies(redis) == [b"%d" % n for n in range(10 * MARKET_BATCH)]
    assert redis.sink.status().queued == 0


def test_an_account_event_waits_for_no_more_than_the_batches_on_their_way() -> None:
    redis = OnRedis()
    redis.play(0.0)
    sent: list[int] = []

    def comes_between() -> None:
        if not sent:
            redis.sink.submit([event(1)])
        sent.append(len(redis.server.done))

    redis.server.during = comes_between
    redis.sink.submit([tickers(10 * MARKET_BATCH)])
    redis.play(1.0)
    order = [parts[1] for parts in redis.server.done if parts[0] == b"PUBLISH"]
    assert order.index(b"u") == MARKET_BATCH
    assert len(bodies(redis)) == 10 * MARKET_BATCH
