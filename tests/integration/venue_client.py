"""An adapter on a real socket against the simulator: the least that carries out its outputs, one thread, for tests."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterable
from typing import Self, TypeVar
from urllib.parse import urlsplit

import requests
import websocket

from exchanges._adapter import Adapter, Answer, Call, Connect, Fail, Instant, Output, Send, Subscription
from exchanges._venue import InstrumentLoader, Setup, Venue
from exchanges.instruments import EMPTY, SymbolTable

T = TypeVar("T")
WAIT_S = 10.0


def now() -> Instant:
    return Instant(time.monotonic(), time.time_ns() // 1_000_000)


def setup(exchange: str, table: SymbolTable = EMPTY) -> Setup:
    ids = itertools.count(1)
    return Setup(exchange=exchange, new_id=lambda: f"t{next(ids)}", table=lambda: table)


def perform(call: Call, gateway: str) -> Answer:
    """One REST call through the gateway."""
    parts = urlsplit(call.url)
    query = f"?{parts.query}" if parts.query else ""
    url = f"http://{gateway}/{parts.netloc}{parts.path}{query}"
    try:
        reply = requests.request(call.method, url, headers=dict(call.headers), data=call.body, timeout=5)
    except requests.RequestException as error:
        return Answer(0, {}, b"", type(error).__name__)
    return Answer(reply.status_code, {name.lower(): value for name, value in reply.headers.items()}, reply.content)


def load(loader: InstrumentLoader, gateway: str) -> SymbolTable:
    """A venue's symbols, all pages."""
    pending = list(loader.start())
    while pending:
        call = pending.pop()
        pending += loader.answered(call, perform(call, gateway))
    found = loader.result()
    assert found is not None
    return SymbolTable(found)


class VenueClient:
    """One adapter, one connection. `outputs` is everything that the adapter said, in order."""

    def __init__(self, adapter: Adapter, gateway: str) -> None:
        self.adapter = adapter
        self.gateway = gateway
        self.outputs: list[Output] = []
        self.closed = False
        self._ws: websocket.WebSocket | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._ws is not None:
            self._ws.close(timeout=1)

    def begin(self, *subscriptions: Subscription) -> Self:
        for subscription in subscriptions:
            self._take(self.adapter.add(subscription, now()))
        self._take(self.adapter.start(now()))
        return self

    def add(self, subscription: Subscription) -> None:
        self._take(self.adapter.add(subscription, now()))

    def until(self, found: Callable[[list[Output]], bool], timeout_s: float = WAIT_S) -> list[Output]:
        """Read until a condition on the outputs holds; fails after a while."""
        end = time.monotonic() + timeout_s
        while not found(self.outputs):
            assert time.monotonic() < end, f"not seen; the last outputs: {self.outputs[-5:]}"
            self._turn()
        return self.outputs

    def wait(self, kind: type[T], count: int = 1, timeout_s: float = WAIT_S) -> list[T]:
        """Read until there are so many outputs of a kind; returns all of them."""
        self.until(lambda outputs: len(of(outputs, kind)) >= count, timeout_s)
        return of(self.outputs, kind)

    def _turn(self) -> None:
        deadline = self.adapter.deadline()
        if deadline is not None and deadline <= time.monotonic():
            self._take(self.adapter.woken(now()))
        if self._ws is None or self.closed:
            time.sleep(0.01)  # nothing to read: the condition is looked at again
            return
        self._ws.settimeout(0.05)
        try:
            opcode, data = self._ws.recv_data()
        except websocket.WebSocketTimeoutException:
            return
        except (websocket.WebSocketException, OSError):
            self.closed = True
            return
        if opcode == websocket.ABNF.OPCODE_CLOSE:
            self.closed = True
        else:
            self._take(self.adapter.received(data, now()))

    def _take(self, outputs: Iterable[Output]) -> None:
        pending = list(outputs)
        while pending:
            output = pending.pop(0)
            self.outputs.append(output)
            if isinstance(output, Call):
                pending += self.adapter.answered(output, perform(output, self.gateway), now())
            elif isinstance(output, Connect):
                parts = urlsplit(output.url)
                query = f"?{parts.query}" if parts.query else ""
                url = f"ws://{self.gateway}/{parts.netloc}{parts.path}{query}"
                self._ws = websocket.create_connection(url, timeout=5)
                pending += self.adapter.connected(now())
            elif isinstance(output, Send) and self._ws is not None:
                self._ws.send(output.text)
            elif isinstance(output, Fail) and output.stream_id is None:
                self.closed = True


def of(outputs: Iterable[Output], kind: type[T]) -> list[T]:
    return [output for output in outputs if isinstance(output, kind)]


def client(venue: Venue, exchange: str, feed: str, gateway: str, table: SymbolTable = EMPTY) -> VenueClient:
    make = {"user": venue.user, "ticker": venue.ticker, "candle": venue.candle}[feed]
    return VenueClient(make(setup(exchange, table)), gateway)
