"""One question over a socket of its own, for what a venue tells over sockets only: connect, send, the frame that answers.

Blocks the calling thread for at most the call's timeout.
"""

from __future__ import annotations

import select
from typing import Final, Protocol

import websocket

from connector.core.ports import Clock
from connector.streams.dial import Dial
from connector.streams.rest import NO_HEADERS
from connector.streams.transport import Kind, Transport, TransportLost
from exchanges._adapter import Answer, Call, Connect
from exchanges._venue import Limits, Rate

CONNECT_TIMEOUT_S: Final = 5.0


class Connects(Protocol):
    """Opens a connection. Raises `OSError`, `ValueError` or an error of websocket-client. Any thread."""

    def connect(self, dial: Dial, address: str) -> Transport: ...


def ask(opener: Connects, call: Call, egress: str, clock: Clock) -> Answer:
    """The answer to a call with a `wss` URL; `status` 200 if there is one. Any thread."""
    give_up_at = clock.mono() + call.timeout_s
    once = Rate(1, 1.0)
    limits = Limits(connects=once, messages=once, connect_timeout_s=min(CONNECT_TIMEOUT_S, call.timeout_s))
    dial = Dial(Connect(call.url), limits, "", egress, lambda: True, lambda _: None)
    try:
        transport = opener.connect(dial, call.url)
    except websocket.WebSocketBadStatusException as error:
        return Answer(int(error.status_code), NO_HEADERS, b"", "upgrade refused")
    except (OSError, websocket.WebSocketException, ValueError) as error:
        return Answer(0, NO_HEADERS, b"", type(error).__name__)
    try:
        transport.send(call.body or "")
        return _read(transport, call, give_up_at, clock)
    except TransportLost as error:
        return Answer(0, NO_HEADERS, b"", str(error))
    finally:
        transport.say_goodbye()
        transport.close()


def _read(transport: Transport, call: Call, give_up_at: float, clock: Clock) -> Answer:
    poller, wanted = select.poll(), call.until.encode()
    poller.register(transport.fileno(), select.POLLIN)
    while (left_s := give_up_at - clock.mono()) > 0:
        frame = transport.read()
        if frame is None:
            poller.poll(left_s * 1000)
            continue
        kind, data = frame
        if kind is Kind.DATA and wanted in data:
            return Answer(200, NO_HEADERS, data)
        if kind is Kind.PING:
            transport.pong(data)
        elif kind is Kind.CLOSE:
            return Answer(0, NO_HEADERS, b"", "closed before it answered")
    return Answer(0, NO_HEADERS, b"", "no frame answered in time")
