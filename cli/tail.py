"""`connector tail`: the events that leave the service, from either sink, as they come."""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final

from cli._connections import Unreachable, rabbit, redis_client, settings
from cli._demo import add_demo, redis_and_gateway
from cli._events import TYPES, Filter, Row, as_json, as_text, binding_keys, from_rabbitmq, from_redis, redis_channels
from cli._values import count, seconds

if TYPE_CHECKING:
    import pika

NAME: Final = "tail"
HELP: Final = "show events as they leave the service, from RabbitMQ or Redis"

POLL_S: Final = 0.5
"""How often a quiet source is left to look at the time."""
BACKLOG: Final = 10_000
"""Messages kept for a terminal that can't keep up; the oldest go first."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--sink", choices=("rabbitmq", "redis"), default="rabbitmq", help="where to listen (%(default)s)"
    )
    parser.add_argument(
        "--stream", action="append", default=[], metavar="UUID", help="only this account stream (repeat)"
    )
    parser.add_argument(
        "--exchange",
        action="append",
        default=[],
        metavar="ID",
        help="only this exchange id (repeat); account events on Redis don't name theirs and are left out then",
    )
    parser.add_argument(
        "--type",
        action="append",
        default=[],
        metavar="TYPE",
        choices=TYPES,
        help="only this type (repeat): executionReport, outboundAccountPosition, info, ticker, candle, restart, …",
    )
    add_demo(parser)
    parser.add_argument("--json", action="store_true", help="one JSON object a line")
    parser.add_argument("--count", type=count, metavar="N", help="stop after N events")
    parser.add_argument(
        "--seconds", type=seconds, metavar="S", help="stop after S seconds (exit code 1 if --count was not reached)"
    )
    parser.add_argument("--events-exchange", help="AMQP exchange of the events (EVENTS_EXCHANGE)")


def run(args: argparse.Namespace) -> int:
    wanted = Filter(frozenset(args.stream), frozenset(args.exchange), frozenset(args.type))
    deadline = None if args.seconds is None else time.monotonic() + args.seconds
    demo = redis_and_gateway()[0] if args.demo else ""
    rows = _redis_rows(wanted, demo) if demo or args.sink == "redis" else _rabbit_rows(args, wanted)
    shown = 0
    try:
        for row in rows:
            if row is not None and wanted.shows(row):
                print(as_json(row) if args.json else as_text(row), flush=True)
                shown += 1
                if args.count is not None and shown >= args.count:
                    return 0
            if deadline is not None and time.monotonic() >= deadline:
                return 1 if args.count is not None else 0
    except BrokenPipeError:  # `connector tail | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 0


def _rabbit_rows(args: argparse.Namespace, wanted: Filter) -> Iterator[Row | None]:
    """Rows as they come; None each time that nothing came for a moment."""
    import pika.exceptions

    connection = rabbit("connector tail")
    try:
        named = args.events_exchange
        yield from _consume(connection, named or settings().events_exchange, wanted, there=named is not None)
        problem = "the queue of this command was removed"
    except (pika.exceptions.AMQPError, OSError) as error:
        problem = f"RabbitMQ: {type(error).__name__} {getattr(error, 'reply_text', '')}".rstrip()
    finally:
        if connection.is_open:
            connection.close()
    raise Unreachable(problem)


def _consume(
    connection: pika.BlockingConnection, exchange: str, wanted: Filter, *, there: bool
) -> Iterator[Row | None]:
    """`there`: somebody named the exchange, so it has to exist; the service's own may be made later."""
    channel: Any = connection.channel()
    channel.exchange_declare(exchange, "topic", durable=True, passive=there)
    # A queue of this command's own: it goes with the connection and takes nothing from anybody.
    queue = channel.queue_declare(
        "", exclusive=True, auto_delete=True, arguments={"x-max-length": BACKLOG}
    ).method.queue
    for key in binding_keys(wanted):
        channel.queue_bind(queue, exchange, key)
    channel.basic_qos(prefetch_count=500)
    for method, properties, body in channel.consume(queue, inactivity_timeout=POLL_S):
        if method is None:
            yield None
            continue
        channel.basic_ack(method.delivery_tag)
        yield from from_rabbitmq(method.routing_key, properties.headers or {}, body)


def _redis_rows(wanted: Filter, demo: str) -> Iterator[Row | None]:
    """Like `_rabbit_rows`, from pub/sub."""
    import redis

    client = redis_client(demo)
    listener = client.pubsub(ignore_subscribe_messages=True)  # type: ignore[no-untyped-call]
    channels, patterns = redis_channels(wanted)
    try:
        if channels:
            listener.subscribe(*channels)
        if patterns:
            listener.psubscribe(*patterns)
        while True:
            message = listener.get_message(timeout=POLL_S)
            yield None if message is None else from_redis(message["channel"], message["data"])
    except redis.RedisError as error:
        problem = f"Redis: {type(error).__name__}"
    finally:
        listener.close()
        client.close()
    raise Unreachable(problem)
