"""What the tests of single venues share: picking outputs, moving the clock, JSON both ways, and a driver of one adapter."""

from __future__ import annotations

import base64
import hashlib
import hmac
import itertools
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeVar
from urllib.parse import parse_qs, urlsplit

from exchanges._adapter import Adapter, Answer, Call, Instant, Output, Send, Subscription
from exchanges._venue import Setup
from exchanges.instruments import EMPTY, SymbolTable

Kind = TypeVar("Kind")


def of(kind: type[Kind], outputs: Iterable[object]) -> list[Kind]:
    """The outputs of one kind."""
    return [output for output in outputs if isinstance(output, kind)]


def only(kind: type[Kind], outputs: Iterable[object]) -> Kind:
    """The one output of a kind."""
    found = of(kind, outputs)
    assert len(found) == 1, found
    return found[0]


def after(start: Instant, seconds: float) -> Instant:
    return Instant(start.mono + seconds, start.wall_ms + round(seconds * 1000))


def setup(exchange: str, table: SymbolTable = EMPTY, **options: str) -> Setup:
    """Request ids are r1, r2, …; `options` are the deployment's."""
    ids = itertools.count(1)
    return Setup(exchange=exchange, new_id=lambda: f"r{next(ids)}", table=lambda: table, options=options)


def frame(value: object) -> bytes:
    """What is JSON already stays as it is."""
    return value if isinstance(value, bytes) else json.dumps(value, separators=(",", ":")).encode()


def sent(outputs: Iterable[object]) -> list[Any]:
    """The JSON frames among the outputs."""
    return [json.loads(send.text) for send in of(Send, outputs) if send.text.startswith(("{", "["))]


def params(call: Call) -> dict[str, str]:
    return {name: values[0] for name, values in parse_qs(urlsplit(call.url).query).items()}


def path(call: Call) -> str:
    return urlsplit(call.url).path


def json_answer(value: object, status: int = 200, **headers: str) -> Answer:
    """An answer with a JSON body; `_` in the name of a header is a hyphen."""
    return Answer(status, {name.replace("_", "-"): text for name, text in headers.items()}, frame(value))


def hmac_base64(secret: str, text: str) -> str:
    return base64.b64encode(hmac.new(secret.encode(), text.encode(), hashlib.sha256).digest()).decode()


def hmac_hex(secret: str, text: str) -> str:
    return hmac.new(secret.encode(), text.encode(), hashlib.sha256).hexdigest()


class Driver:
    """Feeds one adapter and moves its clock."""

    begin = Instant(1000.0, 1_793_001_600_000)

    def __init__(self, make: Callable[[Setup], Adapter], exchange: str, table: SymbolTable = EMPTY, **options: str):
        self.adapter = make(setup(exchange, table, **options))
        self.mono = self.begin.mono

    @property
    def now(self) -> Instant:
        return after(self.begin, self.mono - self.begin.mono)

    def add(self, subscription: Subscription) -> list[Output]:
        return list(self.adapter.add(subscription, self.now))

    def start(self) -> list[Output]:
        return list(self.adapter.start(self.now))

    def connected(self) -> list[Output]:
        return list(self.adapter.connected(self.now))

    def frame(self, value: object) -> list[Output]:
        return list(self.adapter.received(frame(value), self.now))

    def answer(self, call: Call, value: object, status: int = 200, **headers: str) -> list[Output]:
        return list(self.adapter.answered(call, json_answer(value, status, **headers), self.now))

    def remove(self, stream_id: str) -> list[Output]:
        return list(self.adapter.remove(stream_id, self.now))

    def wake(self) -> list[Output]:
        """Jump to the adapter's next deadline."""
        deadline = self.adapter.deadline()
        assert deadline is not None
        self.mono = max(self.mono, deadline)
        return list(self.adapter.woken(self.now))


def answer_all(
    adapter: Adapter,
    outputs: Iterable[Output],
    replies: Mapping[str, Sequence[object]],
    wrap: Callable[[Any], Answer],
    now: Instant,
) -> tuple[list[Output], list[Call]]:
    """Answer every call by tag, each time with the next of its replies, then with an empty one (`wrap(None)`).

    Returns the outputs that are no calls, and the calls made.
    """
    queues = {tag: list(rows) for tag, rows in replies.items()}
    calls: list[Call] = []
    rest: list[Output] = []
    todo = list(outputs)
    while todo:
        output = todo.pop(0)
        if not isinstance(output, Call):
            rest.append(output)
            continue
        calls.append(output)
        queue = queues.get(output.tag)
        given = queue.pop(0) if queue else None
        todo.extend(adapter.answered(output, given if isinstance(given, Answer) else wrap(given), now))
    return rest, calls
