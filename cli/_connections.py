"""What the commands that talk to servers share: where RabbitMQ and Redis are, and publishing as the backend does."""

from __future__ import annotations

import argparse
import logging
import os
import ssl
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
LOCALHOST: Final = "127.0.0.1"
_TIMEOUT_S: Final = 10


class Unreachable(ConnectorError):
    """A server does not answer or does not let us in; the text says which setting to look at."""


def settings(environ: Mapping[str, str] | None = None) -> Settings:
    """The service's settings; hosts that are not set mean this machine."""
    found = Settings.from_env(os.environ if environ is None else environ)
    return found.model_copy(
        update={"rabbit_host": found.rabbit_host or LOCALHOST, "redis_host": found.redis_host or LOCALHOST}
    )


def rabbit(name: str) -> pika.BlockingConnection:
    """A connection to RabbitMQ (RABBIT_HOST, RABBIT_PORT, RABBIT_USER, RABBIT_PASSWORD, RABBIT_VHOST, RABBIT_TLS)."""
    import pika
    import pika.exceptions

    # pika logs what it could not deliver, body and all, and each step of a failing connect.
    logging.getLogger("pika").setLevel(logging.CRITICAL + 1)
    found = settings()
    parameters = pika.ConnectionParameters(
        host=found.rabbit_host,
        port=found.rabbit_port,
        virtual_host=found.rabbit_vhost,
        credentials=pika.PlainCredentials(found.rabbit_user, found.rabbit_password.get_secret_value()),
        socket_timeout=_TIMEOUT_S,
        stack_timeout=_TIMEOUT_S,
        blocked_connection_timeout=_TIMEOUT_S,
        client_properties={"connection_name": name},
        ssl_options=pika.SSLOptions(ssl.create_default_context(), found.rabbit_host) if found.rabbit_tls else None,
    )
    where = f"RabbitMQ at {found.rabbit_host}:{found.rabbit_port}"
    try:
        return pika.BlockingConnection(parameters)
    except pika.exceptions.ProbableAuthenticationError:
        problem = f"{where} refuses the user {found.rabbit_user} (RABBIT_USER, RABBIT_PASSWORD)"
    except (pika.exceptions.AMQPError, OSError) as error:
        problem = f"{where} can't be reached: {type(error).__name__} (RABBIT_HOST, RABBIT_PORT)"
    raise Unreachable(problem)


def redis_client(demo: str = "") -> redis.Redis:
    """A client of Redis that has answered (REDIS_HOST, REDIS_PORT, REDIS_PASSWORD, REDIS_TLS); `demo`: `host:port` of that of
    a `connector run` instead."""
    import redis
    from redis.backoff import NoBackoff
    from redis.retry import Retry

    found = settings()
    if demo:
        host, _, port = demo.rpartition(":")
        found = found.model_copy(update={"redis_host": host, "redis_port": int(port), "redis_tls": False})
        found = found.model_copy(update={"redis_password": None})
    client = redis.Redis(
        host=found.redis_host,
        port=found.redis_port,
        password=found.redis_password.get_secret_value() if found.redis_password else None,
        ssl=found.redis_tls,
        socket_timeout=_TIMEOUT_S,
        socket_connect_timeout=_TIMEOUT_S,
        retry=Retry(NoBackoff(), 0),  # a person waits: say at once that it failed
        decode_responses=True,
    )
    try:
        client.ping()
    except redis.AuthenticationError:
        problem = f"Redis at {found.redis_host}:{found.redis_port} refuses the password (REDIS_PASSWORD)"
    except redis.RedisError as error:
        where = f"Redis at {found.redis_host}:{found.redis_port}"
        problem = f"{where} can't be reached: {type(error).__name__} (REDIS_HOST, REDIS_PORT)"
    else:
        return client
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
    if not os.environ.get("RABBIT_HOST"):
        raise Unreachable(
            "RABBIT_HOST: say which RabbitMQ the service listens to, or --demo for a `connector run` here"
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
        print(f"sent to {settings().rabbit_host}: {what}")
        return 0
    finally:
        if connection.is_open:
            connection.close()
    print(f"connector: {problem}", file=sys.stderr)
    return 1
