"""Commands of the backend, as the wire contract has them (sections 1, 2.3, 2.4, 4.3, 10)."""

from __future__ import annotations

import json
import queue
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pika
import pika.exceptions
import pytest

from connector.core.channels import candle_channel
from harness.backend import CANDLE_QUEUE, USER_QUEUE
from harness.servers import wait_for
from harness.stack import Stack
from tests.system.support import USER_ID, WAIT_S, Accounts, Keys, Startup, new_keys

pytestmark = pytest.mark.system


# --- topology and start ---


@pytest.mark.parametrize("name", [USER_QUEUE, CANDLE_QUEUE])
def test_the_command_queues_have_plain_declarations(stack: Stack, name: str) -> None:
    with stack.rabbit.connect() as connection:
        channel = connection.channel()
        channel.exchange_declare("gainium", "direct", durable=True)
        assert channel.queue_declare(name, durable=True).method.consumer_count == 1
        channel.queue_bind(name, "gainium", name)
        with pytest.raises(pika.exceptions.ChannelClosedByBroker, match="inequivalent arg"):
            channel.queue_declare(name, durable=True, arguments={"x-dead-letter-exchange": ""})


def test_the_start_is_announced_once_and_with_a_consumer(stack: Stack, startup: Startup) -> None:
    messages = [json.loads(text) for text in stack.backend.on("serviceLog")]
    assert [message for message in messages if "restart" in message and message["restart"] == "userStream"] == [
        {"restart": "userStream"}
    ]
    price = [message for message in messages if message.get("restart") == "priceConnector"]
    assert len(price) == 1
    assert set(price[0]) == {"restart", "bootId"}
    assert startup.consumers == {"userStream": 1, "priceConnector": 1}
    assert len(stack.events.service("restart")) == 2


def test_the_beacon_follows_the_announcement_of_prices(stack: Stack) -> None:
    messages = [json.loads(text) for text in stack.backend.on("serviceLog")]
    names = [next(iter(message)) for message in messages if message.get("restart") != "userStream"]
    assert names[:2] == ["restart", "priceConnectorAlive"]
    boot_id = next(message["bootId"] for message in messages if message.get("restart") == "priceConnector")
    beacon = next(message for message in messages if "priceConnectorAlive" in message)
    assert beacon == {"priceConnectorAlive": {"bootId": boot_id, "role": "all"}}


# --- acknowledgements and replies ---


class Caller:
    """A sender that waits for replies, as a balancer does."""

    def __init__(self, stack: Stack) -> None:
        self.replies: queue.Queue[tuple[str | None, bytes]] = queue.Queue()
        self._connection = stack.rabbit.connect("caller")
        self.channel = self._connection.channel()
        self.reply_queue = self.channel.queue_declare("", exclusive=True).method.queue
        self.channel.basic_consume(self.reply_queue, self._replied, auto_ack=True)

    def _replied(self, _channel: object, _method: object, properties: pika.BasicProperties, body: bytes) -> None:
        self.replies.put((properties.correlation_id, body))

    def send(self, name: str, body: bytes, **properties: Any) -> None:
        self.channel.basic_publish("gainium", name, body, pika.BasicProperties(**properties))

    def reply(self) -> tuple[str | None, Any]:
        wait_for(self._turn, WAIT_S, "a reply")
        correlation_id, body = self.replies.get_nowait()
        return correlation_id, json.loads(body)

    def _turn(self) -> bool:
        self._connection.process_data_events(time_limit=0.05)
        return not self.replies.empty()

    def close(self) -> None:
        self._connection.close()


@pytest.fixture
def caller(stack: Stack) -> Iterator[Caller]:
    made = Caller(stack)
    yield made
    made.close()


CLOSE = {"event": "close stream", "uuid": "nobody"}
REQUEST = {"symbol": "BTCUSDT", "exchange": "binance", "interval": "1m"}


@pytest.mark.parametrize(
    ("name", "payload"),
    [
        (USER_QUEUE, CLOSE),
        (USER_QUEUE, {"event": "force restart stream", "uuid": "nobody"}),
        (USER_QUEUE, {"event": "no such event"}),
        (USER_QUEUE, {"event": "open stream", "uuid": "x", "data": {"userId": USER_ID, "api": {"provider": "mexc"}}}),
        (CANDLE_QUEUE, REQUEST),
        (CANDLE_QUEUE, {"symbol": "BTCUSDT", "exchange": "nowhere", "interval": "1m"}),
    ],
)
def test_both_reply_forms_get_a_null_response(caller: Caller, name: str, payload: dict[str, object]) -> None:
    caller.send(
        name, json.dumps({"payload": payload}).encode(), reply_to=caller.reply_queue, correlation_id="by-property"
    )
    assert caller.reply() == ("by-property", {"response": None})
    envelope = {"payload": payload, "replyTo": caller.reply_queue, "correlationId": "in-the-body"}
    caller.send(name, json.dumps(envelope).encode())
    assert caller.reply() == ("in-the-body", {"response": None})


def test_a_body_that_is_not_json_is_answered_too(caller: Caller) -> None:
    caller.send(USER_QUEUE, b"{not json", reply_to=caller.reply_queue, correlation_id="1")
    assert caller.reply() == ("1", {"response": None})


def test_bad_bodies_change_nothing_and_their_secrets_stay_secret(
    stack: Stack, caller: Caller, accounts: Accounts
) -> None:
    stream = accounts.live("paperBybit")
    secret = stack.evidence.canaries.secret
    api = {"provider": "binance", "key": secret("K"), "secret": secret("S")}
    data = {"userId": USER_ID, "api": api}
    payloads: list[object] = [
        None,
        [],
        secret(),
        {"event": secret(), "uuid": "x"},
        {"event": "open stream", "uuid": "x", "data": secret()},
        {"event": "open stream", "uuid": {"key": secret()}, "data": data},
        {"event": "open stream", "uuid": "x", "data": {"api": api}},
        {"event": "open stream", "uuid": "x", "data": {"userId": USER_ID}},
        {"event": "open stream", "uuid": "x", "data": {"userId": USER_ID, "api": {**api, "provider": None}}},
        {"event": "open stream", "uuid": "x", "data": {"userId": USER_ID, "api": {**api, "provider": secret()}}},
        {"event": "open stream", "uuid": "x", "data": {"userId": USER_ID, "api": {**api, "key": [secret()]}}},
        {"event": "open stream", "uuid": "x", "data": {"userId": USER_ID, "api": {**api, "provider": "ftxUS"}}},
        {"event": "open stream", "uuid": "x" * 1_000, "data": data},
        {"event": "close stream"},
        {"event": "close stream", "uuid": [secret()]},
        {"event": "force restart stream", "uuid": ""},
        {"event": "force restart stream", "uuid": 7},
    ]
    bodies = [json.dumps({"payload": payload}).encode() for payload in payloads]
    bodies += [
        b"",
        b"\xff\xfe" + secret().encode(),
        b'{"payload":' + secret().encode(),
        b"[" * 20_000,
        json.dumps(secret()).encode(),
        json.dumps({"payload": {"event": "open stream", "x": secret() * 20_000}}).encode(),
    ]
    before = _account_sockets(stack)
    for body in bodies:
        for name in (USER_QUEUE, CANDLE_QUEUE):
            caller.send(name, body, reply_to=caller.reply_queue, correlation_id="bad")
    answers = [caller.reply() for _ in range(2 * len(bodies))]
    assert answers == [("bad", {"response": None})] * len(answers)
    assert stack.queue_depth(USER_QUEUE) == stack.queue_depth(CANDLE_QUEUE) == 0
    assert _account_sockets(stack) == before
    assert stream.infos == 1
    stream.prove_live()


def _account_sockets(stack: Stack) -> dict[str, int]:
    return {name: count for name, count in stack.simulator.stats()["open"].items() if name.endswith(":user")}


def test_no_property_is_needed_and_unknown_keys_are_ignored(stack: Stack, accounts: Accounts) -> None:
    stream = accounts("paperOkx")
    api = {"provider": stream.exchange, "key": f"  {stream.keys.key}\n", "secret": stream.keys.secret, "new": {"a": 1}}
    payload = {"event": "open stream", "uuid": stream.uuid, "extra": 1, "data": {"userId": USER_ID, "api": api, "b": 2}}
    stack.backend.raw(USER_QUEUE, json.dumps({"payload": payload, "more": [1]}).encode())
    stream.opens = 1
    stream.wait_live()
    stream.prove_live()


# --- counting ---


def test_opens_are_counted_and_only_the_first_announces(accounts: Accounts) -> None:
    stream = accounts("okx")
    for _ in range(4):
        stream.open()
    stream.wait_live()
    stream.prove_live()
    links = stream.links()
    assert len(links) == 1
    for left in (3, 2, 1):
        stream.close()
        stream.prove_live()
        assert stream.links() == links, left
    assert stream.infos == 1
    stream.close()
    stream.wait_closed()


def test_a_lost_connection_comes_back_and_is_announced_once(stack: Stack, accounts: Accounts) -> None:
    stream = accounts.live("kucoin")
    before = stream.links()
    stack.simulator.fault("drop", account=stream.account)
    stream.wait_live(2)
    stream.prove_live()
    assert stream.infos == 2
    assert len(stream.links()) == 1
    assert stream.links() != before


@pytest.mark.parametrize("exchange", ["okxLinear", "paperKucoin"])
def test_a_forced_restart_keeps_the_count_and_announces_once(accounts: Accounts, exchange: str) -> None:
    stream = accounts.live(exchange)
    stream.open()
    before = stream.links()
    stream.restart()
    stream.wait_live(2)
    stream.prove_live()
    assert stream.infos == 2
    assert len(stream.links()) == 1
    assert stream.links() != before
    stream.close()
    stream.prove_live()
    stream.close()
    stream.wait_closed()


def test_a_restart_without_uuid_keeps_every_id(stack: Stack, accounts: Accounts) -> None:
    streams = [accounts.live(exchange) for exchange in ("binance", "paperBinance", "bybit")]
    before = {stream.uuid: stream.infos for stream in streams}
    stack.backend.restart(None)
    for stream in streams:
        stream.wait_live(before[stream.uuid] + 1)
        stream.prove_live()
        assert stream.infos == before[stream.uuid] + 1
    known = set(stack.accounts) | {"restart"}
    assert {key.split(".")[-1] for key in (message.key for message in stack.events.messages) if "user." in key} <= known


def test_a_restart_of_an_unknown_stream_does_nothing(stack: Stack, accounts: Accounts) -> None:
    stream = accounts("paperBitget")
    stream.restart()
    stream.close()
    stream.opens = 0
    stream.open()
    stream.wait_live()
    assert len(stream.links()) == 1


def test_new_key_material_reconnects_once_and_keeps_the_count(stack: Stack, accounts: Accounts) -> None:
    stream = accounts.live("okx")
    stream.open()
    fresh = new_keys(stack, "okx")
    _both_keys(stack, stream.account, stream.keys, fresh)
    before, logins = stream.links(), _logins(stack, stream.account)
    # The same key with blanks around it is the same key.
    stream.open(Keys(f" {stream.keys.key} ", f"{stream.keys.secret}\n", stream.keys.passphrase))
    stream.prove_live()
    assert (stream.links(), stream.infos) == (before, 1)
    stream.open(fresh)
    stream.wait_live(2)
    stream.prove_live()
    assert stream.infos == 2
    assert stream.links() != before
    assert _logins(stack, stream.account) == logins + 1
    for _ in range(3):
        stream.close()
        stream.prove_live()
    stream.close()
    stream.wait_closed()


def _both_keys(stack: Stack, account: str, *keys: Keys) -> None:
    from simulator.controls import api_key

    made = [api_key(one.key, one.secret, one.passphrase) for one in keys]
    stack.simulator.call(lambda hub, _: hub.world.engine.replace_keys(account, made))


def _logins(stack: Stack, account: str) -> int:
    notes = stack.simulator.events("notes")
    return sum(1 for note in notes if (note["what"], note["detail"]) == ("login", account))


# --- rejected keys ---


def test_a_rejected_key_is_told_once_and_waits_for_another_one(stack: Stack, accounts: Accounts) -> None:
    stream = accounts("okx")
    wrong = Keys(stream.keys.key, stack.evidence.canaries.secret("W"), stream.keys.passphrase)
    stream.open(wrong)
    stream.wait(lambda: _told(stack, "userStreamAuthReject", stream.uuid), "the notice")
    (notice,) = _told(stack, "userStreamAuthReject", stream.uuid)
    assert (notice["exchange"], notice["userId"], notice["kind"]) == ("okx", USER_ID, "authReject")
    assert notice["reason"]
    refused = _refusals(stack)
    for _ in range(5):
        stream.open(wrong)
    # Closing does not bypass the gate.
    stream.close()
    stream.open(wrong)
    other = accounts.live("okx")
    other.prove_live()
    assert _refusals(stack) == refused
    assert stream.infos == 0
    assert len(_told(stack, "userStreamAuthReject", stream.uuid)) == 1
    stream.open()
    stream.wait_live()
    stream.prove_live()
    stream.wait(lambda: _told(stack, "userStreamAuthRecovered", stream.uuid), "the recovery notice")
    assert _told(stack, "userStreamAuthRecovered", stream.uuid) == [{"exchangeUUID": stream.uuid}]


def _refusals(stack: Stack) -> int:
    return int(stack.simulator.stats()["noted"].get("okx", {}).get("login_refused", 0))


def _told(stack: Stack, kind: str, uuid: str) -> list[dict[str, Any]]:
    messages = [json.loads(text) for text in stack.backend.on("serviceLog")]
    return [message[kind] for message in messages if kind in message and message[kind].get("exchangeUUID") == uuid]


# --- what Redis keeps ---


def test_the_last_event_time_only_rises_and_goes_with_the_last_close(stack: Stack, accounts: Accounts) -> None:
    stream = accounts.live("paperKraken")
    stream.open()
    before = time.time_ns() // 1_000_000
    stream.prove_live()
    stream.wait(lambda: (stack.score(stream.uuid) or 0) >= before, "the score of an event")
    future = time.time_ns() // 1_000_000 + 3_600_000
    with stack.redis.client() as client:
        client.zadd("stream:lastEventTime", {stream.uuid: future})
    stream.prove_live()
    assert stack.score(stream.uuid) == future
    stream.close()
    stream.prove_live()
    assert stack.score(stream.uuid) == future
    stream.close()
    stream.wait_closed()


def test_a_close_of_an_unknown_stream_removes_what_is_left_of_it(stack: Stack) -> None:
    with stack.redis.client() as client:
        client.zadd("stream:lastEventTime", {"left-over": 5})
    stack.backend.close_stream("left-over")
    wait_for(lambda: stack.score("left-over") is None, WAIT_S, "ZREM")


def test_order_fields_have_a_deadline_also_without_hexpire(stack: Stack, accounts: Accounts, startup: Startup) -> None:
    stream = accounts.live("paperBinanceUsdm")
    order = stream.place()
    stream.wait(lambda: stream.order_events(order.client_id), "NEW")
    assert 86_000 <= _seconds_left(stack, order.client_id) <= 86_400
    stack.simulator.fill(order.order_id)
    stream.wait(lambda: stream.order_events(order.client_id)[-1]["orderStatus"] == "FILLED", "FILLED")
    stream.wait(lambda: _seconds_left(stack, order.client_id) <= 300, "a shorter life")
    with stack.redis.client() as client:
        _make_due(client, order.client_id)
    startup.due_fields.append(order.client_id)


def _has_hexpire(client: Any) -> bool:
    version = client.info("server")["redis_version"].split(".")
    return (int(version[0]), int(version[1])) >= (7, 4)


def _seconds_left(stack: Stack, name: str) -> float:
    with stack.redis.client() as client:
        if _has_hexpire(client):
            return float(client.execute_command("HTTL", "orders", "FIELDS", 1, name)[0])
        deadline = client.zscore("wsc:orders:expiry", name)
        assert deadline is not None
        return float(deadline) / 1000 - time.time()


def _make_due(client: Any, name: str) -> None:
    if _has_hexpire(client):
        client.execute_command("HPEXPIRE", "orders", 1, "FIELDS", 1, name)
    else:
        client.zadd("wsc:orders:expiry", {name: 1})


def test_a_liquidation_is_always_stored(stack: Stack, accounts: Accounts) -> None:
    stream = accounts.live("binanceUsdm")
    opened = stream.place()
    stack.simulator.fill(opened.order_id)
    stack.simulator.liquidate(stream.account, "binanceUsdm", stream.symbol.wire)

    def liquidations() -> list[dict[str, Any]]:
        return [event for event in stream.events() if event.get("liquidation") is True]

    stream.wait(lambda: any(event["orderStatus"] == "FILLED" for event in liquidations()), "a liquidation")
    last = liquidations()[-1]
    assert last["clientOrderId"].startswith("autoclose-")
    with stack.redis.client() as client:
        stream.wait(lambda: json.loads(client.hget("orders", last["clientOrderId"]) or b"{}") == last, "its field")


def test_big_ids_are_text_and_small_ones_stay_numbers(stack: Stack, accounts: Accounts) -> None:
    big, small = accounts.live("binanceUsdm"), accounts.live("binanceCoinm")
    for stream in (big, small):
        stream.prove_live()
    (big_id,) = {event["orderId"] for event in big.events() if "orderId" in event}
    (small_id,) = {event["orderId"] for event in small.events() if "orderId" in event}
    assert isinstance(big_id, str)
    assert int(big_id) > 2**53 - 1
    frames = [frame.text for frame in stack.frames.user(big.account)]
    assert any(f'"i":{big_id}' in text.replace(": ", ":") for text in frames)
    assert isinstance(small_id, int)


# --- native producers ---


@pytest.fixture
def send(stack: Stack) -> Iterator[Callable[..., None]]:
    """What a Python backend does: a stock Dramatiq broker and messages for our actors."""
    from dramatiq import Message
    from dramatiq.brokers.rabbitmq import RabbitmqBroker

    credentials = pika.PlainCredentials(stack.rabbit.user, stack.rabbit.password)
    parameters = {"host": stack.rabbit.host, "port": stack.rabbit.port, "virtual_host": stack.rabbit.vhost}
    broker = RabbitmqBroker(parameters=[{**parameters, "credentials": credentials, "heartbeat": 60}])

    def enqueue(queue_name: str, actor: str, argument: object) -> None:
        broker.declare_queue(queue_name)
        broker.enqueue(Message(queue_name=queue_name, actor_name=actor, args=(argument,), kwargs={}, options={}))

    yield enqueue
    broker.close()


def test_native_actors_do_the_same(stack: Stack, accounts: Accounts, send: Callable[..., None]) -> None:
    stream = accounts("paperCoinbase")
    api = {"provider": stream.exchange, "key": stream.keys.key, "secret": stream.keys.secret}
    for infos in (1, 1):
        send("wsc.user", "open_stream", {"uuid": stream.uuid, "data": {"userId": USER_ID, "api": api}})
        stream.opens += 1
        stream.wait_live(infos)
    stream.prove_live()
    assert stream.infos == 1
    send("wsc.user", "restart_stream", {"uuid": stream.uuid})
    stream.wait_live(2)
    send("wsc.user", "close_stream", {"uuid": stream.uuid})
    stream.opens -= 1
    stream.prove_live()
    send("wsc.user", "close_stream", {"uuid": stream.uuid})
    stream.opens -= 1
    stream.wait_closed()
    send("wsc.user", "open_stream", {"uuid": "native", "data": stack.evidence.canaries.secret()})
    send("wsc.price", "subscribe_candle", {"symbol": "ETH-USDT", "exchange": "kucoin", "interval": "1min"})
    channel = candle_channel("SOL-USDT", "kucoin", "1min")
    send("wsc.price", "subscribe_candle", {"symbol": "SOL-USDT", "exchange": "kucoin", "interval": "1min"})
    wait_for(lambda: stack.backend.on(channel) or _nudge(stack), WAIT_S, channel, 0.3)


def _nudge(stack: Stack) -> bool:
    symbols = [symbol.wire for symbol in stack.simulator.call(lambda hub, _: hub.world.markets.symbols("kucoin"))]
    stack.simulator.set_price("kucoin", next(wire for wire in symbols if wire.startswith("SOL")), "140.5")
    return False


def test_commands_of_many_threads_of_senders_arrive(stack: Stack, accounts: Accounts) -> None:
    """Several bots write to the queue at the same time, each over its own connection."""
    streams = [accounts("paperOkxLinear") for _ in range(6)]

    def bot() -> None:
        with stack.rabbit.connect("bot") as connection:
            channel = connection.channel()
            for stream in streams:
                api = {"provider": stream.exchange, "key": stream.keys.key, "secret": stream.keys.secret}
                data = {"userId": USER_ID, "api": api}
                payload = {"event": "open stream", "uuid": stream.uuid, "data": data}
                channel.basic_publish("gainium", USER_QUEUE, json.dumps({"payload": payload}).encode())

    threads = [threading.Thread(target=bot) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(WAIT_S)
    for stream in streams:
        stream.opens = 3
        stream.wait_live()
        stream.prove_live()
        assert (stream.infos, len(stream.links())) == (1, 1)
