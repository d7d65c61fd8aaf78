"""Actors of the account streams. `declare` puts them on a broker; nothing happens at import time.

`platform_command` serves the backend's own queue. The others are the interface for Python backends: messages on
`wsc.user` with one dict like the backend's `payload` (contract 1.3-1.5, `event` not needed)::

    actors = tasks.user.declare(broker)
    actors["open_stream"].send({"uuid": "…", "data": {"userId": "…", "api": {"provider": "okx", …}}})

Several processes share `wsc.user`, so commands of one uuid keep their order only while one process serves it; where that
matters, write to the backend's queue.
"""

from __future__ import annotations

from typing import Final

import dramatiq

from connector.core.errors import StateUnavailable
from connector.core.log import get_logger
from tasks._actors import carry_out
from tasks._actors import declare as declare_actor
from tasks.delivery import Delivery
from tasks.service import service

QUEUE: Final = "usersStreamAction"
PREFIX: Final = "wsc."

_log = get_logger(__name__)


def platform_command(delivery: Delivery) -> None:
    """Any command of the backend."""
    carry_out(delivery)


def open_stream(delivery: Delivery) -> None:
    """One subscriber more: `{"uuid": …, "data": {"userId": …, "api": {…}}}`."""
    carry_out(delivery)


def close_stream(delivery: Delivery) -> None:
    """One subscriber less: `{"uuid": …}`."""
    carry_out(delivery)


def restart_stream(delivery: Delivery) -> None:
    """Replace the connection: `{"uuid": …}`; without it, of all streams."""
    carry_out(delivery)


def reconcile(stream_id: str) -> None:
    """Make what runs equal to what is wanted, for one stream. Not retried: the next sweep does the same."""
    try:
        service().reconcile(stream_id)
    except StateUnavailable as error:
        _log.warning("reconcile left to the next sweep", stream=stream_id, reason=str(error))


def declare(
    broker: dramatiq.Broker, *, queue: str = QUEUE, prefix: str = PREFIX
) -> dict[str, dramatiq.Actor[..., None]]:
    """Declare all actors of the account role; returns them by name."""
    actors = [
        declare_actor(broker, "platform_command", platform_command, queue),
        declare_actor(broker, "open_stream", open_stream, f"{prefix}user"),
        declare_actor(broker, "close_stream", close_stream, f"{prefix}user"),
        declare_actor(broker, "restart_stream", restart_stream, f"{prefix}user"),
        declare_actor(broker, "reconcile", reconcile, f"{prefix}reconcile"),
    ]
    return {actor.actor_name: actor for actor in actors}
