"""pika's connection parameters, one set for each host of a broker; every wait in them is bounded."""

from __future__ import annotations

import ssl
from collections.abc import Sequence
from typing import Any

import pika

from connector.core.places import RabbitPlace


def tls_context(place: RabbitPlace) -> ssl.SSLContext | None:
    """None = without TLS. Raises `OSError` for an authority that can't be read."""
    return ssl.create_default_context(cafile=place.ca_file or None) if place.tls else None


def connection_arguments(
    place: RabbitPlace,
    *,
    name: str,
    heartbeat_s: int = 20,
    socket_timeout_s: float = 10.0,
    stack_timeout_s: float = 15.0,
    blocked_timeout_s: float = 300.0,
) -> list[dict[str, Any]]:
    """What `pika.ConnectionParameters` takes, for each host in turn: one attempt each, the pauses are the caller's.

    `name` is what RabbitMQ's management shows. With TLS, a host's certificate must be valid for its name. A broker in alarm
    blocks whoever publishes, for `blocked_timeout_s` at the most.
    """
    context = tls_context(place)
    return [
        {
            "host": host.name,
            "port": host.port,
            "virtual_host": place.vhost,
            "credentials": pika.PlainCredentials(place.user, place.password, erase_on_connect=False),
            "heartbeat": heartbeat_s,
            "socket_timeout": socket_timeout_s,
            "stack_timeout": stack_timeout_s,
            "blocked_connection_timeout": blocked_timeout_s,
            "connection_attempts": 1,
            "client_properties": {"connection_name": name},
            "ssl_options": pika.SSLOptions(context, host.name) if context is not None else None,
        }
        for host in place.hosts
    ]


def parameters(place: RabbitPlace, **options: Any) -> list[pika.ConnectionParameters]:
    """`connection_arguments` as pika's objects."""
    return [pika.ConnectionParameters(**arguments) for arguments in connection_arguments(place, **options)]


class Blocking:
    """Makes blocking connections to the first host that answers, beginning with the one that did last. Any thread."""

    def __init__(self, hosts: Sequence[pika.ConnectionParameters]) -> None:
        self._hosts = list(hosts)

    def __call__(self) -> pika.BlockingConnection:
        """Raises pika's errors if none answers."""
        hosts = self._hosts
        for turn, parameters in enumerate(hosts):
            try:
                connection = pika.BlockingConnection(parameters=parameters)
            except (pika.exceptions.AMQPError, OSError):
                if turn == len(hosts) - 1:
                    raise
                continue
            self._hosts = hosts[turn:] + hosts[:turn]
            return connection
        raise ValueError("no host to connect to")
