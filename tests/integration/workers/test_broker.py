"""The platform's queues on a real RabbitMQ (contract 1.1 and 1.2)."""

from __future__ import annotations

import json
import logging
import random
import threading
from collections import defaultdict
from collections.abc import Callable
from typing import Any

import pika
import pytest
from dramatiq import Message
from dramatiq.errors import BrokerError

from tasks.commands import CandleRequest, CloseStream, Command, OpenStream, RestartStream
from workers.broker import ConsumerUp

from .conftest import Backend, Names, Proxy, Service, Side, TlsProxy, eventually

pytestmark = pytest.mark.integration

Make = Callable[..., Side]
CANARY = "CANARY-7d20b1-secret"


def opening(uuid: str, **api: Any) -> dict[str, Any]:
    return {
        "event": "open stream",
        "uuid": uuid,
        "data": {"userId": "n", "api": {"provider": "okx", "key": "k", "secret": "s", "passphrase": None, **api}},
    }


def closing(uuid: str) -> dict[str, Any]:
    return {"event": "close stream", "uuid": uuid}


# --- commands in ---


def test_commands_of_both_queues_reach_the_service_and_are_acknowledged(
    sides: Make, backend: Backend, names: Names, service: Service
) -> None:
    side = sides()
    assert side.broker.wait_until_ready(10)
    backend.publish(opening("u"))
    eventually(lambda: len(service.applied) == 1)
    backend.publish(closing("u"))
    backend.publish({"event": "force restart stream"})
    backend.publish({"symbol": "BTC-USDT", "exchange": "paperOkx", "interval": "candle1H"}, names.candles)
    eventually(lambda: len(service.applied) == 4)
    assert isinstance(service.applied[0], OpenStream)
    assert service.applied[0].credentials.secret.reveal() == "s"
    assert CloseStream("u") in service.applied
    assert RestartStream(None) in service.applied
    assert CandleRequest("okx", "BTC-USDT", "candle1H") in service.applied
    assert backend.left_after(side.stop) == 0
    assert backend.declare_like_amqplib(names.candles) == 0


def test_the_declaration_is_the_old_connectors_and_has_no_companions(
    sides: Make, backend: Backend, names: Names, service: Service
) -> None:
    """A rolling change either way: 406 would stop whoever comes second."""
    side = sides()
    assert side.broker.wait_until_ready(10)
    backend.declare_like_amqplib(names.commands)
    backend.declare_like_amqplib(names.candles)
    for suffix in (".DQ", ".XQ"):
        assert not backend.exists(names.commands + suffix)
        assert not backend.exists(names.candles + suffix)


def test_queues_that_the_old_connector_left_are_taken_with_what_is_in_them(
    sides: Make, backend: Backend, names: Names, service: Service
) -> None:
    backend.declare_like_amqplib(names.commands)
    backend.publish(closing("waiting"))
    side = sides()
    eventually(lambda: service.applied == [CloseStream("waiting")])
    assert side.broker.wait_until_ready(10)


def test_a_queue_with_other_arguments_is_taken_as_it_is(
    sides: Make, backend: Backend, names: Names, service: Service
) -> None:
    backend.channel.queue_declare(names.commands, durable=True, arguments={"x-max-length": 1000})
    side = sides()
    assert side.broker.wait_until_ready(10)
    backend.publish(closing("u"))
    eventually(lambda: service.applied == [CloseStream("u")])


def test_a_platform_queue_takes_no_message_of_an_actor(sides: Make, backend: Backend, names: Names) -> None:
    side = sides()
    with pytest.raises(BrokerError, match="platform"):
        side.actors["platform_command"].send({"event": "close stream"})
    assert side.broker.wait_until_ready(10)
    assert side.broker.get_queue_message_counts(names.commands) == (0, 0, 0)
    backend.declare_like_amqplib(names.commands)


BAD_BODIES = [
    b"",
    b"\xff\xfe" + CANARY.encode(),
    b'{"payload": "' + CANARY.encode(),
    b"[" * 50_000 + CANARY.encode(),
    b'{"payload":{"event":"' + CANARY.encode() + b'"}}',
    b'{"payload":{"event":"open stream","data":{"userId":"' + CANARY.encode() + b'"}}}',
    b'{"payload":{"event":"open stream","data":{"userId":"n","api":{"provider":"'
    + CANARY.encode()
    + b'","key":"'
    + CANARY.encode()
    + b'"}}}}',
    b'{"payload":{"event":"close stream","uuid":"' + CANARY.encode() * 20_000 + b'"}}',
]


def test_bad_bodies_are_acknowledged_answered_and_never_logged(
    sides: Make, backend: Backend, names: Names, service: Service, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    side = sides()
    assert side.broker.wait_until_ready(10)
    queue = backend.reply_queue()
    for number, body in enumerate(BAD_BODIES):
        backend.publish(body, reply_to=queue, correlation_id=str(number))
        backend.publish(body, names.candles)
        assert backend.reply(queue) == ({"response": None}, str(number))
    backend.publish(closing("good"))
    eventually(lambda: service.applied == [CloseStream("good")])
    assert backend.left_after(side.stop) == 0
    assert backend.declare_like_amqplib(names.candles) == 0
    assert CANARY not in everything(caplog)
    refused = [record.__dict__["fields"] for record in caplog.records if "command refused" in record.getMessage()]
    assert "data.api.provider: unknown exchange id" in [fields["reason"] for fields in refused]


def test_properties_that_are_no_text_harm_nobody(sides: Make, backend: Backend, names: Names, service: Service) -> None:
    side = sides()
    assert side.broker.wait_until_ready(10)
    body = json.dumps({"payload": closing("u")}).encode()
    for properties in (
        {"reply_to": b"\xff\xfe"},
        {"reply_to": "x", "correlation_id": b"\xff"},
        {"content_type": b"\xff", "headers": {"a": b"\xff\xfe", "b": {"c": [1, None, b"\xff"]}}},
    ):
        backend.channel.basic_publish(names.exchange, names.commands, body, pika.BasicProperties(**properties))
    eventually(lambda: len(service.applied) == 3)
    assert backend.left_after(side.stop) == 0


# --- replies ---


@pytest.mark.parametrize("form", ["properties", "body"])
def test_replies_go_to_whoever_asks(sides: Make, backend: Backend, service: Service, form: str) -> None:
    side = sides()
    assert side.broker.wait_until_ready(10)
    service.value = {"accepted": True, "workerId": "w1"}
    queue = backend.reply_queue()
    if form == "properties":
        backend.publish(closing("u"), reply_to=queue, correlation_id="c-1")
    else:
        backend.publish(closing("u"), replyTo=queue, correlationId="c-1")
    assert backend.reply(queue) == ({"response": {"accepted": True, "workerId": "w1"}}, "c-1")


def test_a_failing_command_is_answered_with_null(sides: Make, backend: Backend, service: Service) -> None:
    side = sides()
    assert side.broker.wait_until_ready(10)

    def fail(command: Command) -> None:
        raise LookupError("broken")

    service.before = fail
    queue = backend.reply_queue()
    backend.publish(closing("u"), reply_to=queue)
    assert backend.reply(queue) == ({"response": None}, None)
    assert backend.left_after(side.stop) == 0


def test_a_reply_to_nowhere_harms_nobody(sides: Make, backend: Backend, service: Service) -> None:
    side = sides()
    assert side.broker.wait_until_ready(10)
    backend.publish(closing("1"), reply_to="t.no-such-queue")
    backend.publish(closing("2"), reply_to="amq.rabbitmq.reply-to.nonsense")
    queue = backend.reply_queue()
    backend.publish(closing("3"), reply_to=queue)
    assert backend.reply(queue) == ({"response": None}, None)
    eventually(lambda: len(service.applied) == 3)


# --- order ---


def test_300_opens_and_closes_on_8_threads_take_effect_in_order(
    sides: Make, backend: Backend, service: Service
) -> None:
    """Bug D6. Without lanes most closes finish before their opens."""
    chance = random.Random(3)
    effects: dict[str, list[str]] = defaultdict(list)
    lock = threading.Lock()
    pause = threading.Event()

    def effect(command: Command) -> None:
        assert isinstance(command, OpenStream | CloseStream)
        if isinstance(command, OpenStream):
            pause.wait(chance.random() * 0.02)
        with lock:
            effects[command.stream_id].append(command.name)

    service.before = effect
    side = sides(threads=8, prefetch=200)
    assert side.broker.wait_until_ready(10)
    for number in range(300):
        backend.publish(opening(f"s{number}"))
        backend.publish(closing(f"s{number}"))
    eventually(lambda: len(service.applied) == 600, 60)
    assert all(order == ["open", "close"] for order in effects.values())
    assert len(effects) == 300
    eventually(lambda: len(side.broker.translator.lanes) == 0)
    assert backend.left_after(side.stop) == 0


# --- one process at a time ---


def test_a_second_process_stands_by_and_takes_over(
    sides: Make, backend: Backend, names: Names, service: Service, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    first = sides()
    assert first.broker.wait_until_ready(10)
    second = sides()
    eventually(lambda: any("standing by" in record.getMessage() for record in caplog.records))
    backend.publish(closing("1"))
    eventually(lambda: len(service.applied) == 1)
    assert not second.ready
    first.stop()
    assert second.broker.wait_until_ready(10)
    backend.publish(closing("2"))
    eventually(lambda: len(service.applied) == 2)
    assert not first.ready
    told = [record for record in caplog.records if "standing by" in record.getMessage()]
    assert len(told) == 2  # once for each queue
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]


def test_the_refusal_of_an_exclusive_queue_means_standing_by(
    sides: Make, backend: Backend, names: Names, service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both see a free queue, one is faster: RabbitMQ answers 403 to the other."""
    first = sides()
    assert first.broker.wait_until_ready(10)
    monkeypatch.setattr("workers._consumer.PlatformConsumer._consumers", lambda self: 0)
    second = sides()
    eventually(lambda: len(second.broker.commands._consumers) == 2)
    assert not second.ready
    first.stop()
    assert second.broker.wait_until_ready(10)
    backend.publish(closing("u"))
    eventually(lambda: service.applied == [CloseStream("u")])


def test_a_running_old_connector_keeps_the_queue_until_it_stops(sides: Make, backend: Backend, names: Names) -> None:
    backend.declare_like_amqplib(names.commands)
    tag = backend.channel.basic_consume(names.commands, lambda *message: None)
    side = sides()
    eventually(lambda: side.broker.consumer_ready(names.candles))
    assert not side.ready
    backend.channel.basic_cancel(tag)
    assert side.broker.wait_until_ready(10)


def test_a_draining_process_finishes_what_it_took_and_hands_the_queue_over(
    sides: Make, backend: Backend, names: Names, service: Service
) -> None:
    go_on = threading.Event()
    service.before = lambda command: _wait(go_on) if command == CloseStream("0") else None
    first = sides(threads=1, prefetch=3)
    assert first.broker.wait_until_ready(10)
    for number in range(10):
        backend.publish(closing(f"{number}"))
    eventually(lambda: backend.declare_like_amqplib(names.commands) == 7)
    second = sides()
    released: list[bool] = []
    drain = threading.Thread(target=lambda: released.append(first.broker.release_commands()), name="drain")
    drain.start()
    eventually(lambda: first.broker.commands.released)
    go_on.set()
    drain.join(10)
    assert released == [True]
    assert second.broker.wait_until_ready(10)
    eventually(lambda: len(service.applied) == 10)
    assert service.applied == [CloseStream(f"{number}") for number in range(10)]
    first.stop()
    assert backend.left_after(second.stop) == 0
    assert len(service.applied) == 10


def test_a_command_that_hangs_does_not_keep_the_queue(
    sides: Make, backend: Backend, names: Names, service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("workers._consumer.RELEASE_TIMEOUT_S", 0.1)
    go_on = threading.Event()
    service.before = lambda command: _wait(go_on) if command == CloseStream("slow") else None
    first = sides(threads=1, prefetch=3)
    assert first.broker.wait_until_ready(10)
    for uuid in ("slow", "next", "last"):
        backend.publish(closing(uuid))
    eventually(lambda: len(first.broker.commands._consumers[names.commands]._unacknowledged) == 3)
    second = sides()
    assert first.broker.release_commands()
    assert second.broker.wait_until_ready(10)
    backend.publish(closing("other"))
    eventually(lambda: service.applied == [CloseStream("other")])
    go_on.set()
    eventually(lambda: len(service.applied) == 4)
    first.stop()
    assert backend.left_after(second.stop) == 0
    assert len(service.applied) == 4


def test_commands_given_up_while_draining_go_back_before_anybody_can_overtake_them(
    sides: Make, backend: Backend, names: Names, service: Service
) -> None:
    """The registry is away, the process stops: the next one must see the open before the close."""
    service.away = True
    first = sides(threads=2, prefetch=2)
    assert first.broker.wait_until_ready(10)
    for number in range(5):
        backend.publish(opening(f"s{number}"))
    for number in range(5):
        backend.publish(closing(f"s{number}"))
    eventually(lambda: len(first.broker.translator.lanes) == 2)
    second = sides()
    first.broker.translator.stopping.set()
    assert first.broker.release_commands()
    effects: dict[str, list[str]] = defaultdict(list)
    service.before = lambda command: effects[getattr(command, "stream_id", "")].append(command.name)
    service.away = False
    eventually(lambda: len(service.applied) == 10)
    assert all(order == ["open", "close"] for order in effects.values())
    first.stop()
    assert backend.left_after(second.stop) == 0
    assert len(service.applied) == 10


def _wait(event: threading.Event) -> None:
    assert event.wait(15)


# --- broken connections ---


def _asked(side: Side, names: Names) -> None:
    """The senders were asked, and the broker knows it for as long as the queue exists."""
    side.broker.announced()
    eventually(lambda: not side.broker.commands._consumers[names.commands]._to_mark)


def test_consumption_comes_back_after_the_broker_dropped_the_connections(
    sides: Make, backend: Backend, names: Names, service: Service, proxy: Proxy
) -> None:
    side = sides(port=proxy.port)
    ups: list[ConsumerUp] = []
    side.broker.watch_consumers(ups.append)
    assert side.broker.wait_until_ready(10)
    _asked(side, names)
    backend.publish(closing("1"))
    eventually(lambda: len(service.applied) == 1)
    proxy.refuse = True
    proxy.cut()
    eventually(lambda: not side.ready)
    backend.publish(closing("2"))
    proxy.refuse = False
    eventually(lambda: len(service.applied) == 2)
    eventually(lambda: side.ready)
    assert [(up.first, up.created) for up in ups if up.queue == names.commands] == [(True, True), (False, False)]
    assert backend.left_after(side.stop) == 0


def test_commands_in_hand_when_the_connection_breaks_count_once(
    sides: Make, backend: Backend, names: Names, service: Service, proxy: Proxy
) -> None:
    """Unacknowledged commands come again after a reconnect; ones that are being carried out must not count twice."""
    go_on = threading.Event()
    service.before = lambda command: _wait(go_on)
    side = sides(port=proxy.port, threads=2, prefetch=10)
    assert side.broker.wait_until_ready(10)
    for number in (1, 2, 3, 3, 3, 4, 5):
        backend.publish(closing(f"{number}"))
    eventually(lambda: len(side.broker.commands._consumers[names.commands]._unacknowledged) == 7)
    proxy.cut()
    eventually(lambda: not side.ready)
    eventually(lambda: side.ready)
    backend.publish(closing("6"))
    go_on.set()
    eventually(lambda: CloseStream("6") in service.applied)
    eventually(lambda: len(side.broker.translator.lanes) == 0)
    assert sorted(command.stream_id for command in service.applied if isinstance(command, CloseStream)) == [
        "1",
        "2",
        "3",
        "3",
        "3",
        "4",
        "5",
        "6",
    ]
    assert backend.left_after(side.stop) == 0
    assert len(service.applied) == 8


def test_a_deleted_queue_is_made_again_and_told(sides: Make, backend: Backend, names: Names, service: Service) -> None:
    side = sides()
    ups: list[ConsumerUp] = []
    side.broker.watch_consumers(ups.append)
    assert side.broker.wait_until_ready(10)
    _asked(side, names)
    backend.channel.queue_delete(names.commands)
    eventually(lambda: len([up for up in ups if up.queue == names.commands]) == 2)
    assert ups[-1] == ConsumerUp(names.commands, created=True, first=False)
    backend.publish(closing("u"))
    eventually(lambda: service.applied == [CloseStream("u")])


def test_a_broken_watcher_does_not_end_the_consumer(sides: Make, backend: Backend, service: Service) -> None:
    def broken(up: ConsumerUp) -> None:
        raise LookupError

    side = sides()
    side.broker.watch_consumers(broken)
    assert side.broker.wait_until_ready(10)
    side.broker.watch_consumers(broken)
    backend.publish(closing("u"))
    eventually(lambda: service.applied == [CloseStream("u")])


def test_tls_with_a_verified_certificate(
    sides: Make, backend: Backend, service: Service, tls_proxy: Callable[[str], TlsProxy]
) -> None:
    proxy = tls_proxy("127.0.0.1")
    side = sides(port=proxy.port, ca_file=proxy.ca_file)
    assert side.broker.wait_until_ready(10)
    backend.publish(closing("u"))
    eventually(lambda: service.applied == [CloseStream("u")])


def test_a_certificate_of_another_host_is_refused(
    sides: Make, backend: Backend, service: Service, tls_proxy: Callable[[str], TlsProxy]
) -> None:
    proxy = tls_proxy("10.1.2.3")
    side = sides(port=proxy.port, ca_file=proxy.ca_file)
    eventually(lambda: proxy.refused >= 2)
    assert not side.broker.wait_until_ready(0.1)


# --- Redis away ---


def test_commands_wait_while_the_registry_is_away_and_go_to_another_process_when_this_one_stops(
    sides: Make, backend: Backend, service: Service
) -> None:
    service.away = True
    first = sides(threads=2)
    assert first.broker.wait_until_ready(10)
    for number in range(6):
        backend.publish(opening(f"s{number}"))
        backend.publish(closing(f"s{number}"))
    assert backend.left_after(first.stop) == 12
    service.away = False
    effects: dict[str, list[str]] = defaultdict(list)
    service.before = lambda command: effects[getattr(command, "stream_id", "")].append(command.name)
    second = sides(threads=2)
    eventually(lambda: len(service.applied) == 12)
    assert all(order == ["open", "close"] for order in effects.values())
    assert backend.left_after(second.stop) == 0


def test_commands_that_wait_for_the_registry_are_carried_out_when_it_is_back(
    sides: Make, backend: Backend, service: Service
) -> None:
    service.away = True
    side = sides(threads=2)
    assert side.broker.wait_until_ready(10)
    for number in range(6):
        backend.publish(closing(f"{number}"))
    eventually(lambda: len(side.broker.translator.lanes) == 6)
    service.away = False
    eventually(lambda: len(service.applied) == 6)
    assert backend.left_after(side.stop) == 0


# --- our own queues ---


def test_python_backends_send_to_actors(sides: Make, backend: Backend, names: Names, service: Service) -> None:
    side = sides()
    side.actors["open_stream"].send(opening("u", secret=CANARY))
    eventually(lambda: len(service.applied) == 1)
    side.actors["close_stream"].send({"uuid": "u"})
    side.actors["restart_stream"].send({"uuid": "u"})
    side.actors["subscribe_candle"].send({"symbol": "BTC-USDT", "exchange": "okx", "interval": "candle1m"})
    side.actors["reconcile"].send("u")
    eventually(lambda: len(service.applied) == 4 and service.reconciled == ["u"])
    assert isinstance(service.applied[0], OpenStream)
    assert service.applied[0].credentials.secret.reveal() == CANARY
    side.stop()
    for name in ("user", "price", "reconcile"):
        for suffix in ("", ".DQ", ".XQ"):
            declared = backend.channel.queue_declare(f"{names.prefix}{name}{suffix}", passive=True)
            assert declared.method.message_count == 0


def test_no_secret_reaches_a_log_or_a_dead_letter_queue(
    sides: Make, backend: Backend, names: Names, service: Service, caplog: pytest.LogCaptureFixture
) -> None:
    """Everything at DEBUG, everything failing, on both ways in."""
    caplog.set_level(logging.DEBUG)

    def fail(command: Command) -> None:
        raise LookupError("broken")

    service.before = fail
    side = sides()
    assert side.broker.wait_until_ready(10)
    secrets = opening("u", key=CANARY, secret=CANARY, passphrase=CANARY)
    queue = backend.reply_queue()
    backend.publish(secrets, reply_to=queue)
    assert backend.reply(queue) == ({"response": None}, None)
    user = f"{names.prefix}user"
    side.actors["open_stream"].send(secrets)
    side.actors["open_stream"].send({"uuid": 5, "data": CANARY})
    side.actors["open_stream"].send(secrets, CANARY)
    side.actors["open_stream"].send(secret=CANARY)
    for actor in ("platform_command", "no_such_actor"):
        # A sender that mixes things up: a wrong actor, and a queue name that is not the queue's.
        message: Message[Any] = Message(
            queue_name="elsewhere", actor_name=actor, args=(secrets,), kwargs={}, options={}
        )
        backend.channel.basic_publish("", user, message.encode())
    backend.channel.basic_publish("", user, b"garbage " + CANARY.encode())
    side.actors["reconcile"].send("last")
    eventually(lambda: service.reconciled == ["last"])
    # Both of these are the stock library's doing, with the sender's message as it was.
    eventually(lambda: backend.channel.queue_declare(f"{user}.XQ", passive=True).method.message_count == 2)
    eventually(lambda: backend.channel.queue_declare(user, passive=True).method.message_count == 0)
    side.stop()
    assert "command failed" in caplog.text
    assert CANARY not in everything(caplog)


def everything(caplog: pytest.LogCaptureFixture) -> str:
    """Every log line of the test with all that its record carries."""
    return caplog.text + "".join(repr(vars(record)) for record in caplog.records)
