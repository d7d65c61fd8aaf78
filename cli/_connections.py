"""What the commands that talk to servers share: where RabbitMQ and Redis are, and publishing as the backend does."""

from __future__ import annotations

import argparse
import logging
import os
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from cli._demo import add_demo, send
from connector.core.errors import ConnectorError
from connector.core.settings import Settings

if TYPE_CHECKING:
    import pika
    import redis

EXCHANGE: Final = "gainium"
USER_QUEUE: Final = "usersStreamAction"
CANDLE_QUEUE: Final = "candlesRequests"
_TIMEOUT_S: Final = 10


class Unreachable(ConnectorError):
    """A server does not answer or does not let us in; the text says which setting to look at."""


def settings(environ: Mapping[str, str] | None = None) -> Settings:
    """The service's settings; servers that are not named are this machine's."""
    return Settings.from_env(os.environ if environ is None else environ)


def rabbit(name: str) -> pika.BlockingConnection:
    """A connection to RabbitMQ (RABBIT_URL, or RABBIT_HOST, RABBIT_PORT, RABBIT_USER, …)."""
    import pika
    import pika.exceptions

    from connector.servers.rabbit import Blocking, parameters

    # pika logs what it could not deliver, body and all, and each step of a failing connect.
    logging.getLogger("pika").setLevel(logging.CRITICAL + 1)
    place = settings().rabbit
    hosts = parameters(
        place,
        name=name,
        heartbeat_s=60,
        socket_timeout_s=_TIMEOUT_S,
        stack_timeout_s=_TIMEOUT_S,
        blocked_timeout_s=_TIMEOUT_S,
    )
    try:
        return Blocking(hosts)()
    except pika.exceptions.ProbableAuthenticationError:
        problem = f"RabbitMQ at {place} refuses the user {place.user} (RABBIT_USER, RABBIT_PASSWORD)"
    except (pika.exceptions.AMQPError, OSError) as error:
        problem = f"RabbitMQ at {place} can't be reached: {type(error).__name__} (RABBIT_HOST, RABBIT_PORT)"
    raise Unreachable(problem)


def redis_client(demo: str = "", key: str = "") -> redis.Redis:
    """A client of Redis that has answered (REDIS_URL, or REDIS_HOST, REDIS_PORT, REDIS_PASSWORD, …); `demo`: `host:port` of
    that of a `connector run` instead. In a cluster it reaches the node of `key`, and every channel."""
    import redis

    from connector.core.places import Host, RedisPlace
    from connector.servers.redis import client

    place = settings().redis
    if demo:
        host, _, port = demo.rpartition(":")
        place = RedisPlace(hosts=(Host(host, int(port)),))
    found = client(place, key=key, socket_timeout_s=_TIMEOUT_S, connect_timeout_s=_TIMEOUT_S, decode_responses=True)
    try:
        found.ping()
    except redis.AuthenticationError:
        problem = f"Redis at {place} refuses the password (REDIS_PASSWORD)"
    except redis.RedisError as error:
        problem = f"Redis at {place} can't be reached: {type(error).__name__} (REDIS_HOST, REDIS_PORT)"
    else:
        return found
    raise Unreachable(problem)


def add_target_arguments(parser: argparse.ArgumentParser, queue: str) -> None:
    """Options for installations, and tests, that renamed things."""
    add_demo(parser)
    parser.add_argument("--exchange-name", default=EXCHANGE, help="AMQP exchange of the commands (%(default)s)")
    parser.add_argument("--queue", default=queue, help="routing key = queue of the service (%(default)s)")


def publish(args: argparse.Namespace, body: bytes, what: str) -> int:
    """Publish one command exactly as the backend does: no properties, exchange `gainium`, routing key = queue.

    Unlike the backend, say so when nobody has declared the queue: the message would be lost without a word. Which broker that
    is must be said: one that merely runs on this machine may be somebody else's.
    """
    import pika.exceptions

    if args.demo:
        send(args.queue, body)
        print(f"sent to the demo: {what}")
        return 0
    if not settings().names_rabbit:
        raise Unreachable(
            "RABBIT_HOST, RABBIT_URL: say which RabbitMQ the service listens to, or --demo for a `connector run` here"
        )
    connection = rabbit("connector command line")
    try:
        channel: Any = connection.channel()
        channel.confirm_delivery()
        channel.exchange_declare(args.exchange_name, "direct", durable=True)
        channel.basic_publish(args.exchange_name, args.queue, body, mandatory=True)
    except pika.exceptions.UnroutableError:
        problem = f"nobody has declared the queue {args.queue}: the service has never run here"
    except (pika.exceptions.AMQPError, OSError) as error:
        problem = f"publishing failed: {type(error).__name__}"
    else:
        print(f"sent to {settings().rabbit}: {what}")
        return 0
    finally:
        if connection.is_open:
            connection.close()
    print(f"connector: {problem}", file=sys.stderr)
    return 1
