"""The RabbitMQ publisher's thread: pika's loop, begun again should the client library fail."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator, Sequence
from itertools import cycle
from typing import Any, Final

import pika
from pika.adapters.select_connection import IOLoop, SelectConnection
from pika.exceptions import StreamLostError

from connector.core.log import get_logger
from connector.servers.sockets import DISCARD
from connector.sinks._amqp_ports import Callback
from connector.sinks._amqp_publisher import Publisher

log = get_logger(__name__)

JOINED_BYTES: Final = 32_768
"""Pieces that wait to be written are joined up to this size: pika makes three of a message, and writes each by itself."""


class AbortableConnection(SelectConnection):  # type: ignore[misc]  # pika is not typed
    """pika's, which can also be given up together with what did not arrive yet, and writes many messages at a time."""

    def _adapter_emit_data(self, data: bytes) -> None:
        transport: Any = self._transport
        waiting = transport._tx_buffers
        # Never to the first piece: TLS may be in the middle of it.
        if len(waiting) > 1 and len(waiting[-1]) + len(data) <= JOINED_BYTES:
            waiting[-1] += data
            transport._tx_buffered_byte_count += len(data)
        else:
            transport.write(data)

    def abort(self, why: str) -> None:
        """At once, without a word to the broker; told as any loss."""
        transport: Any = self._transport
        sock = getattr(transport, "_sock", None)
        if sock is not None:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, DISCARD)
        self._terminate_stream(StreamLostError(why))


class PublisherThread:
    """Runs a publisher from `start` until it has finished."""

    def __init__(self, publisher: Publisher, hosts: Sequence[pika.ConnectionParameters], name: str) -> None:
        """`hosts`: nodes of one broker; each attempt goes to the next one."""
        self._publisher = publisher
        self._hosts = cycle(hosts)
        self._name = name
        self.thread = threading.Thread(target=self._run, name=f"publisher-{name}", daemon=True)

    def start(self) -> None:
        self.thread.start()

    @property
    def started(self) -> bool:
        return self.thread.ident is not None

    @property
    def running(self) -> bool:
        return self.thread.is_alive()

    def join(self, timeout_s: float) -> None:
        self.thread.join(timeout_s)

    def _run(self) -> None:
        publisher = self._publisher
        publisher.open()
        while not publisher.finished:
            loop = IOLoop()
            publisher.begin(loop, connecting(self._hosts, loop))
            try:
                loop.start()
            except Exception:
                # A defect in the client library: start over with a new loop; nothing that was taken in is forgotten.
                log.exception("publisher failed", sink=self._name)
                publisher.lost("internal error")
            publisher.detach()
            loop.close()


def connecting(hosts: Iterator[pika.ConnectionParameters], loop: IOLoop) -> Any:
    """How a deployment connects: see `Connect`."""

    def connect(opened: Callback, failed: Callback, closed: Callback) -> Any:
        return AbortableConnection(
            next(hosts),
            on_open_callback=opened,
            on_open_error_callback=failed,
            on_close_callback=closed,
            custom_ioloop=loop,
        )

    return connect
