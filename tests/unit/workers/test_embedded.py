"""The broker of the embedded mode: the platform's JSON in, commands out, no server."""

from __future__ import annotations

import json
import logging
import random
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from typing import Any

import dramatiq
import pytest
from dramatiq import Worker
from dramatiq.errors import BrokerError
from hypothesis import given
from hypothesis import strategies as st

import tasks.price
import tasks.user
from connector.core.copies import Copy
from connector.core.errors import StateUnavailable
from connector.core.metrics import METRICS
from tasks.commands import CandleRequest, CloseStream, Command, OpenStream
from tasks.envelope import ReplyAddress
from tasks.service import set_service
from workers._translate import PRICE_QUEUES, USER_QUEUES, PlatformQueue, Translator
from workers.embedded import EmbeddedBroker

COMMANDS = "usersStreamAction"
CANARY = "CANARY-77aa-secret"


def body(payload: object, **more: object) -> bytes:
    return json.dumps({"payload": payload, **more}).encode()


def opening(uuid: str, secret: str = "s") -> dict[str, Any]:
    api = {"provider": "okx", "key": secret, "secret": secret, "passphrase": secret}
    return {"event": "open stream", "uuid": uuid, "data": {"userId": "n", "api": api}}


def closing(uuid: str) -> dict[str, Any]:
    return {"event": "close stream", "uuid": uuid}


class Service:
    def __init__(self) -> None:
        self.applied: list[Command] = []
        self.reconciled: list[str] = []
        self.before: Callable[[Command], None] = lambda command: None
        self.away = False

    def apply(self, command: Command, nonce: str = "", copy: Copy | None = None) -> object:
        if self.away:
            raise StateUnavailable("away")
        self.before(command)
        self.applied.append(command)
        return 7

    def reconcile(self, stream_id: str) -> None:
        self.reconciled.append(stream_id)
        if self.away:
            raise StateUnavailable("away")


class Rig:
    """One embedded process: broker, actors, worker, service."""

    def __init__(self, threads: int = 4) -> None:
        self.replies: list[tuple[ReplyAddress, bytes]] = []
        self.service = Service()
        self.broker = EmbeddedBroker(
            USER_QUEUES | PRICE_QUEUES, on_reply=lambda address, text: self.replies.append((address, text))
        )
        self.actors = tasks.user.declare(self.broker) | tasks.price.declare(self.broker)
        self.worker = Worker(self.broker, worker_threads=threads, worker_timeout=20)

    def send(self, payload: object, queue: str = COMMANDS, **properties: str) -> None:
        self.broker.publish_platform(queue, body(payload), properties)

    def join(self) -> None:
        for queue in (COMMANDS, "candlesRequests", "wsc.user", "wsc.reconcile", "wsc.price"):
            self.broker.join(queue, timeout=20_000)


@pytest.fixture
def rig() -> Iterator[Rig]:
    rig = Rig()
    set_service(rig.service)
    rig.worker.start()
    yield rig
    rig.worker.stop(timeout=5_000)
    set_service(None)


def eventually(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + 10
    pause = threading.Event()
    while not condition():
        assert time.monotonic() < deadline
        pause.wait(0.002)


def test_the_platforms_json_reaches_the_service(rig: Rig) -> None:
    assert rig.broker.wait_until_ready(5)
    rig.send(opening("u"), reply_to="q", correlation_id="c")
    rig.send({"symbol": "BTC-USDT", "exchange": "paperOkx", "interval": "candle1H"}, "candlesRequests")
    rig.join()
    assert {type(command) for command in rig.service.applied} == {OpenStream, CandleRequest}
    assert rig.replies == [(ReplyAddress("q", "c"), b'{"response":7}')]


def test_bad_bodies_are_counted_answered_and_forgotten(rig: Rig, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    before = METRICS.value("commands_total", command="unknown", result="invalid")
    for raw in (b"\xff" + CANARY.encode(), body(CANARY), body({"event": CANARY}), b"x" * 300_000):
        rig.broker.publish_platform(COMMANDS, raw, {"reply_to": "q"})
    rig.send(closing("good"))
    rig.join()
    assert rig.replies == [(ReplyAddress("q"), b'{"response":null}')] * 4
    assert rig.service.applied == [CloseStream("good")]
    assert METRICS.value("commands_total", command="unknown", result="invalid") == before + 4
    assert CANARY not in caplog.text + "".join(repr(vars(record)) for record in caplog.records)


def test_actors_take_the_same_payloads(rig: Rig) -> None:
    rig.actors["open_stream"].send(opening("u"))
    rig.join()
    rig.actors["close_stream"].send({"uuid": "u"})
    rig.actors["restart_stream"].send({})
    rig.actors["subscribe_candle"].send({"symbol": "A", "exchange": "kucoin", "interval": "1m"})
    rig.actors["reconcile"].send("u")
    rig.join()
    assert isinstance(rig.service.applied[0], OpenStream)
    assert CandleRequest("kucoin", "A", "1min") in rig.service.applied
    assert len(rig.service.applied) == 4
    assert rig.service.reconciled == ["u"]


def test_a_reconcile_is_left_to_the_sweep_when_the_registry_is_away(rig: Rig) -> None:
    rig.service.away = True
    rig.actors["reconcile"].send("u")
    rig.join()
    assert rig.service.reconciled == ["u"]


def test_secrets_stay_out_of_the_logs_when_everything_fails(rig: Rig, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)

    def fail(command: Command) -> None:
        raise LookupError("broken")

    rig.service.before = fail
    rig.send(opening("u", CANARY))
    rig.actors["open_stream"].send(opening("u", CANARY))
    rig.actors["open_stream"].send(CANARY)
    rig.actors["open_stream"].send(CANARY, CANARY)
    rig.join()
    assert "command failed" in caplog.text
    assert CANARY not in caplog.text + "".join(repr(vars(record)) for record in caplog.records)


def test_300_pairs_on_8_threads_take_effect_in_order() -> None:
    rig = Rig(threads=8)
    set_service(rig.service)
    effects: dict[str, list[str]] = defaultdict(list)
    chance = random.Random(5)
    pause = threading.Event()

    def effect(command: Command) -> None:
        assert isinstance(command, OpenStream | CloseStream)
        if isinstance(command, OpenStream):
            pause.wait(chance.random() * 0.005)
        effects[command.stream_id].append(command.name)

    rig.service.before = effect
    rig.worker.start()
    for number in range(300):
        rig.send(opening(f"s{number}"))
        rig.send(closing(f"s{number}"))
    rig.broker.join(COMMANDS, timeout=30_000)
    rig.worker.stop(timeout=5_000)
    set_service(None)
    assert len(effects) == 300
    assert all(order == ["open", "close"] for order in effects.values())
    assert len(rig.broker.translator.lanes) == 0


class Skipper(dramatiq.Middleware):
    """A middleware that drops every second message before its actor."""

    def __init__(self) -> None:
        self.seen = 0

    def before_process_message(self, broker: dramatiq.Broker, message: dramatiq.MessageProxy) -> None:
        self.seen += 1
        if self.seen % 2:
            raise dramatiq.middleware.SkipMessage


def test_a_skipped_message_holds_nobody_up(rig: Rig) -> None:
    rig.broker.add_middleware(Skipper())
    for _ in range(10):
        rig.send(closing("u"), reply_to="q")
    rig.join()
    assert len(rig.service.applied) == 5
    assert len(rig.replies) == 10
    eventually(lambda: len(rig.broker.translator.lanes) == 0)


def test_a_stop_does_not_wait_for_the_registry(rig: Rig) -> None:
    rig.service.away = True
    for _ in range(6):
        rig.send(closing("u"))
    eventually(lambda: len(rig.broker.translator.lanes) == 1)
    rig.worker.stop(timeout=60_000)
    assert rig.service.applied == []
    assert len(rig.broker.translator.lanes) == 0
    assert not rig.broker.consumer_ready(COMMANDS)


def test_a_defect_in_reading_costs_one_command(
    rig: Rig, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*args: object, **options: object) -> None:
        raise ZeroDivisionError

    with monkeypatch.context() as patched:
        patched.setattr("workers._translate.read", broken)
        rig.send(closing("lost"))
        rig.join()
    rig.send(closing("u"))
    rig.join()
    assert rig.service.applied == [CloseStream("u")]
    assert "reading a command failed" in caplog.text


def test_other_queues_are_refused(rig: Rig) -> None:
    with pytest.raises(BrokerError):
        rig.broker.publish_platform("wsc.user", b"{}")
    with pytest.raises(BrokerError):
        rig.actors["platform_command"].send({})


def test_a_full_queue_says_so() -> None:
    broker = EmbeddedBroker(USER_QUEUES)
    broker._platform[COMMANDS].maxsize = 1
    broker.publish_platform(COMMANDS, b"{}")
    with pytest.raises(BrokerError, match="full"):
        broker.publish_platform(COMMANDS, b"{}", timeout_s=0.001)


@pytest.mark.parametrize("prefetch", [0, -1, 70_000])
def test_a_queue_without_bound_is_refused(prefetch: int) -> None:
    with pytest.raises(ValueError, match="prefetch"):
        PlatformQueue("platform_command", USER_QUEUES[COMMANDS].parse, prefetch)


TRANSLATOR = Translator(USER_QUEUES | PRICE_QUEUES, lambda queue, address, text: None)


@given(st.binary(max_size=300), st.none() | st.text(max_size=300), st.none() | st.text(max_size=300))
def test_no_body_and_no_property_breaks_the_translator(
    raw: bytes, reply_to: str | None, correlation_id: str | None
) -> None:
    for queue in ("usersStreamAction", "candlesRequests"):
        translated = TRANSLATOR.platform(queue, raw, reply_to, correlation_id)
        if translated is not None:
            assert translated[0].queue_name == queue
            translated[1].give_up()


@given(
    st.sampled_from(["open_stream", "close_stream", "restart_stream", "subscribe_candle", "platform_command"]),
    st.lists(st.none() | st.text(max_size=5) | st.dictionaries(st.text(max_size=5), st.text(max_size=5)), max_size=2),
    st.dictionaries(st.text(max_size=5), st.none(), max_size=1),
)
def test_no_arguments_break_the_translator(actor: str, args: list[object], kwargs: dict[str, object]) -> None:
    message: dramatiq.Message[Any] = dramatiq.Message("elsewhere", actor, tuple(args), kwargs, {})
    translated = TRANSLATOR.native("wsc.user", message)
    if translated is not None:
        assert translated[0].queue_name == "wsc.user"
        translated[1].give_up()
