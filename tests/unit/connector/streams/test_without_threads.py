"""Whole engines, stepped by one thread under a clock that jumps, against a simulated venue: nothing else is replaced."""

from __future__ import annotations

import heapq
import itertools
import json
import math
import threading
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Any
from urllib.parse import urlsplit

import pytest

from connector.core.clock import Chance
from connector.core.messages import AccountMessage, Message
from connector.state.memory_state import MemoryState
from connector.streams.dial import Dial
from connector.streams.edges import Edges
from connector.streams.engine import Engine
from connector.streams.options import EngineOptions
from connector.streams.session import Session
from connector.streams.transport import DialFailure, Kind, Transport, TransportLost
from exchanges._adapter import Answer, Call
from exchanges.credentials import credentials
from simulator._link import Link
from simulator._venue import Close, Frame, Ping, Request, WorldSettings
from simulator._venue import Instant as SimInstant
from simulator.demo import Demo
from simulator.hub import Hub
from tests.unit.connector.streams.fakes import START_MS, FakeSink


class Clock:
    """Stands still until the town lets time jump."""

    def __init__(self) -> None:
        self.now = 1_000.0

    def mono(self) -> float:
        return self.now

    def wall_ms(self) -> int:
        return START_MS + round((self.now - 1_000.0) * 1000)


class Line(Transport):
    """A connection into the hub."""

    def __init__(self, town: Town, link: Link) -> None:
        self._town, self._link, self._frames, self._ended = town, link, deque[Any](), False

    def readable(self) -> bool:
        self._frames.extend(self._link.take(self._town.clock.now))
        return bool(self._frames) or not self._open()

    def _open(self) -> bool:
        return not self._link.aborted and self._link.link_id in self._town.hub.links

    def read(self) -> tuple[Kind, bytes] | None:
        if not self.readable():
            return None
        if not self._frames:
            raise TransportLost("connection lost: reset")
        match self._frames.popleft():
            case Frame(data=data):
                return Kind.DATA, data.encode() if isinstance(data, str) else data
            case Ping(payload=payload):
                return Kind.PING, payload
            case Close(code=code, reason=reason):
                return Kind.CLOSE, code.to_bytes(2, "big") + reason.encode()
            case other:
                return Kind.PONG, other.payload

    def _tell(self, tell: Callable[..., None], *data: Any) -> None:
        if not self._open():
            raise TransportLost("send failed: reset")
        tell(self._link, *data, self._town.moment())

    def send(self, text: str) -> None:
        self._tell(self._town.hub.received, text)

    def ping(self) -> None:
        self._tell(self._town.hub.pinged, b"")

    def pong(self, payload: bytes) -> None:
        self._tell(self._town.hub.ponged, payload)

    def say_goodbye(self) -> None: ...

    def close(self) -> None:
        self._ended = True
        self._town.hub.closed(self._link, self._town.moment())

    @property
    def closed(self) -> bool:
        return self._ended

    def fileno(self) -> int:
        return -1


class LinePoller:
    def __init__(self) -> None:
        self._lines: dict[Session, Line] = {}

    def watch(self, key: Session, transport: Transport) -> None:
        assert isinstance(transport, Line)
        self._lines[key] = transport

    def forget(self, key: Session) -> None:
        self._lines.pop(key, None)

    def wait(self, timeout_s: float) -> list[Session]:
        return [session for session, line in self._lines.items() if line.readable()]

    def wake(self) -> None: ...

    def close(self) -> None: ...


class Wires:
    """Opens lines a moment after they were asked for."""

    width = 16

    def __init__(self, town: Town) -> None:
        self._town = town

    def open(self, dial: Dial, done: Callable[[Transport | DialFailure], None]) -> bool:
        self._town.later(0.05, partial(self._open, dial, done))
        return True

    def _open(self, dial: Dial, done: Callable[[Transport | DialFailure], None]) -> None:
        town, parts = self._town, urlsplit(dial.connect.url)
        headers = {name.lower(): value for name, value in dial.connect.headers}
        asked = Request(
            method="GET", host=str(parts.hostname), path=parts.path or "/", query=parts.query, headers=headers
        )
        link = town.hub.connect(town.hub.hosts[asked.host], asked, town.moment())
        if not isinstance(link, Link):
            done(DialFailure("refused", status=getattr(link, "status", 0)))
            return
        town.hub.opened(link, town.moment())
        done(Line(town, link))

    def aside(self, work: Callable[[], None]) -> bool:
        work()
        return True

    def stop(self) -> None: ...


class Town:
    def __init__(self, seed: int, venue: str = "bybit") -> None:
        self.seed, self.clock = seed, Clock()
        self.hub = Hub(WorldSettings(seed=seed, limits=False, move=0.0), (venue,))
        self.demo = Demo(self.hub, seed=seed)
        self.hub.routines.append(self.demo)
        self.state = MemoryState(self.clock)
        self.state.notify = self._notify  # type: ignore[method-assign]
        self.state.listen = self._listen  # type: ignore[method-assign]
        self.listeners: dict[str, Callable[[str], None]] = {}
        self.engines: list[Engine] = []
        self.sinks: list[FakeSink] = []
        self._later: list[tuple[float, int, Callable[[], None]]] = []
        self._numbers = itertools.count()

    def moment(self) -> SimInstant:
        return SimInstant(self.clock.now, self.clock.wall_ms())

    def later(self, delay_s: float, work: Callable[[], None]) -> None:
        heapq.heappush(self._later, (self.clock.now + delay_s, next(self._numbers), work))

    def _listen(self, owner: str, callback: Callable[[str], None]) -> Callable[[], None]:
        self.listeners[owner] = callback
        return lambda: self.listeners.pop(owner, None) and None

    def _notify(self, owner: str, text: str) -> None:
        for name in [owner] if owner != "*" else list(self.listeners):
            if name in self.listeners:
                self.later(0.01, partial(self.listeners[name], text))

    def _perform(self, call: Call, egress: str, done: Callable[[Answer], None]) -> None:
        self.later(0.03, partial(self._answer, call, done))

    def _answer(self, call: Call, done: Callable[[Answer], None]) -> None:
        parts = urlsplit(call.url)
        headers = {name.lower(): value for name, value in call.headers.items()}
        asked = Request(
            method=call.method, host=str(parts.hostname), path=parts.path, query=parts.query, headers=headers,
            body=(call.body or "").encode(),
        )  # fmt: skip
        reply = self.hub.rest(self.hub.hosts[asked.host], asked, self.moment()).reply
        answer = Answer(0, {}, b"", "reset")
        if reply is not None:
            answer = Answer(reply.status, {name.lower(): value for name, value in reply.headers.items()}, reply.body)
        done(answer)

    def engine(self) -> Engine:
        sink = FakeSink()
        number = len(self.engines)
        edges = Edges(
            clock=self.clock, chance=Chance(self.seed * 100 + number), host="town", pid=number, threaded=False,
            opener=Wires(self), poller=LinePoller, perform=self._perform,
        )  # fmt: skip
        engine = Engine(EngineOptions(role="user"), self.state, sink, edges)
        engine.start()
        self.engines.append(engine)
        self.sinks.append(sink)
        return engine

    def open_all(self) -> None:
        for one in self.demo.accounts():
            material = credentials(one.key, one.secret, one.passphrase or None, keys_type=one.keys_type or None)
            self.state.open(one.account, one.exchange, "owner", material, self.clock.wall_ms())
            self._notify("*", json.dumps({"t": "reconcile", "id": one.account}))

    def run(self, seconds: float) -> None:
        end = self.clock.now + seconds
        while self.clock.now < end:
            self._settle()
            due = [engine.next_due() for engine in self.engines]
            times = [
                end,
                self.hub_due,
                *(self._later[0][:1] if self._later else ()),
                *(d for d in due if d is not None),
            ]
            self.clock.now = max(self.clock.now + 0.001, min(times))
        self._settle()

    def _settle(self) -> None:
        self.hub_due = self.hub.pulse(self.moment())
        for link in list(self.hub.links.values()):
            self.hub.woken(link, self.moment())
        busy = True
        while busy:
            busy = False
            while self._later and self._later[0][0] <= self.clock.now:
                heapq.heappop(self._later)[2]()
                busy = True
            for engine, sink in zip(self.engines, self.sinks, strict=True):
                busy |= engine.turn()
                fresh = sink.account()[getattr(sink, "told", 0) :]
                if fresh:
                    sink.told = len(sink.account())  # type: ignore[attr-defined]
                    engine.pipeline.confirmed(fresh)
                    busy = True

    def published(self) -> list[Message]:
        return [message for sink in self.sinks for message in sink.messages]


def orders(town: Town) -> dict[tuple[str, str], str]:
    """The last state that was published of each order."""
    last: dict[tuple[str, str], tuple[int, str]] = {}
    for message in town.published():
        if isinstance(message, AccountMessage) and message.event_type in {"executionReport", "ORDER_TRADE_UPDATE"}:
            body = json.loads(message.body)
            name = str(body.get("originalClientOrderId") or body["newClientOrderId"])
            rank = (message.event_time_ms, body["orderStatus"])
            last[message.stream_id, name] = max(rank, last.get((message.stream_id, name), (0, "")))
    return {key: status for key, (_, status) in last.items()}


def play(seed: int) -> Town:
    town = Town(seed)
    first = town.engine()
    town.open_all()
    town.run(20)
    for link in list(town.hub.links.values()):
        link.abort()
    town.run(10)
    town.engine()
    gone: list[bool] = []
    first.drain(20.0, gone.append)
    town.run(25)
    assert gone == [True]
    first.take_down()
    town.run(5)
    town.demo._next = math.inf
    town.run(30)
    return town


@pytest.fixture(scope="module")
def town() -> Town:
    before = set(threading.enumerate())
    town = play(1)
    assert set(threading.enumerate()) == before, "nothing made a thread"
    return town


def test_orders_survive_a_cut_and_a_hand_over(town: Town) -> None:
    told = orders(town)
    ids = {account.account: account.exchange for account in town.demo.accounts()}
    really = {
        (entry.account, entry.client_id): str(getattr(entry.status, "value", entry.status))
        for entry in town.hub.world.engine.journal()
        if ids.get(entry.account) == entry.exchange
    }
    ended = {key: status for key, status in really.items() if status in {"FILLED", "CANCELED"}}
    assert len(ended) > 5
    assert {key: told.get(key) for key in ended} == ended


def test_the_taker_runs_alone_after_the_drain(town: Town) -> None:
    assert [len(engine.leases) for engine in town.engines] == [0, len(town.demo.accounts())]
    assert town.engines[0].supervisor.ids() == set()
    assert town.engines[0].io[0].open_connections() == 0


def test_the_same_seed_gives_the_same_bytes(town: Town) -> None:
    again = play(1)
    assert repr(again.published()) == repr(town.published())
