"""Every exchange id from the open command to the event: what the venue did is what both sinks say (contract 2.1 to 2.5)."""

from __future__ import annotations

import json
from collections.abc import Iterator
from decimal import Decimal

import pytest

from exchanges.ids import is_paper
from harness.stack import Stack
from tests.system.support import (
    LIVE_IDS,
    PAPER_IDS,
    THINNED,
    Accounts,
    Stream,
    after,
    client_id_of,
    mapped_frames,
    same_number,
    tells_positions,
    totals,
)

pytestmark = pytest.mark.system

IDS = [*LIVE_IDS, *PAPER_IDS]
PRICE = Decimal(60_000)


@pytest.fixture(scope="module")
def streams(stack: Stack) -> Iterator[dict[str, Stream]]:
    """One stream of every id, all opened at once as after an announcement."""
    made = Accounts(stack)
    found = {exchange: made(exchange) for exchange in IDS}
    for stream in found.values():
        stream.open()
    yield found
    made.close()


@pytest.fixture
def stream(streams: dict[str, Stream], exchange: str) -> Stream:
    streams[exchange].wait_live()
    return streams[exchange]


def test_every_id_of_the_contract_is_here() -> None:
    assert len(LIVE_IDS) == 23
    assert len(PAPER_IDS) == 24
    assert {"paperMexc", "paperFtx"} <= set(PAPER_IDS)


@pytest.mark.parametrize("exchange", IDS)
def test_the_login_is_verified_by_the_venue(stream: Stream) -> None:
    logins = [note for note in stream.stack.simulator.events("notes") if note["what"] == "login"]
    assert stream.account in {note["detail"] for note in logins}
    assert len(stream.links()) == 1


@pytest.mark.parametrize("exchange", IDS)
def test_an_order_and_its_fills_arrive_whole_on_both_sinks(stack: Stack, stream: Stream, exchange: str) -> None:
    order = stream.place()
    stack.simulator.fill(order.order_id, quantity=order.quantity / 4, price=PRICE)
    filled = stack.simulator.fill(order.order_id, price=PRICE)
    client_id = order.client_id

    def done() -> bool:
        return len(stream.amqp_events()) == len(stream.events()) and mapped() == published()

    def published() -> list[dict[str, object]]:
        return after(stream.events(), order.created_ms, exchange)

    def mapped() -> list[dict[str, object]]:
        return after(mapped_frames(stream), order.created_ms, exchange)

    stream.wait(lambda: [e["orderStatus"] for e in stream.order_events(client_id)][-1:] == ["FILLED"], "FILLED")
    try:
        stream.wait(done, "equal events", 10.0)
    except TimeoutError:
        assert published() == mapped()

    # What happened, by the simulator's own account: every step, cumulative, in order, one FILLED and it is the last.
    journal = [entry for entry in stack.simulator.journal() if entry.order_id == order.order_id]
    events = stream.order_events(client_id)
    steps = [(event["orderStatus"], event["totalTradeQuantity"]) for event in events]
    assert [status for status, _ in steps].count("FILLED") == 1
    assert steps[-1][0] == "FILLED"
    executed = [Decimal(quantity) for _, quantity in steps]
    assert executed == sorted(executed)
    for entry in journal:
        quantity, value = totals(exchange, entry, PRICE)
        matching = [event for event in events if event["orderStatus"] == entry.status]
        assert any(same_number(event["totalTradeQuantity"], quantity) for event in matching), (entry, steps)
        if value is not None:
            assert any(same_number(event["totalQuoteTradeQuantity"], value) for event in matching), (entry, events)
    for event in events:
        assert event["symbol"] == stream.symbol.pair_id
        assert event["side"] == "BUY"
        assert Decimal(event["price"]) == PRICE
        assert Decimal(event["quantity"]) == order.quantity
        assert event["orderTime"] >= order.created_ms
        assert client_id_of(event) == client_id
    assert filled.status == "FILLED"

    # The other sink: byte for byte the same, with its own envelope.
    bodies = [message.body.decode() for message in stream.amqp_events()]
    assert bodies == stack.backend.on(stream.uuid)

    def position() -> Decimal:
        return next((Decimal(one["contracts"]) for one in reversed(stream.positions())), Decimal(0))

    if tells_positions(exchange):
        stream.wait(lambda: position() == stream.held_contracts() != 0, "the position that the fills made")
    else:
        assert stream.positions() == []
    ids = [message.message_id for message in stream.amqp_messages()]
    assert len(set(ids)) == len(ids)
    for message in stream.amqp_messages():
        event = message.json()
        assert message.key == f"user.{exchange}.{event['eventType']}.{stream.uuid}"
        assert message.headers == {"stream": stream.uuid, "exchange": exchange, "schema": 1}
        assert (message.content_type, message.delivery_mode) == ("application/json", 2)
        assert (message.kind, message.app_id) == (event["eventType"], "websocket-connector")
        assert message.timestamp


@pytest.mark.parametrize("exchange", THINNED)
def test_the_last_balance_of_a_period_is_told(stack: Stack, stream: Stream, exchange: str) -> None:
    """Bug D17: all but one balance message of 20 s were dropped, even if the last one differed."""
    for _ in range(2):
        stack.simulator.fill(stream.place().order_id, price=PRICE)
    held = stack.simulator.call(lambda hub, _: hub.world.engine.account(stream.account).holdings(exchange))
    wanted = next(holding.total for holding in held if holding.asset == "USD")

    def told() -> Decimal | None:
        rows = [row for event in stream.events() for row in event.get("balances", ()) if row["asset"] == "USD"]
        return Decimal(rows[-1]["free"]) if rows else None

    stream.wait(lambda: told() == wanted, "the last balance")


@pytest.mark.parametrize("exchange", IDS)
def test_a_canceled_order_keeps_its_executed_part(stack: Stack, stream: Stream, exchange: str) -> None:
    order = stream.place()
    stack.simulator.fill(order.order_id, quantity=order.quantity / 4, price=PRICE)
    stack.simulator.cancel(order.order_id)
    stream.wait(
        lambda: any(e["orderStatus"] == "CANCELED" for e in stream.order_events(order.client_id)), "cancellation"
    )
    last = stream.order_events(order.client_id)[-1]
    assert last["orderStatus"] == "CANCELED"
    entry = [entry for entry in stack.simulator.journal() if entry.order_id == order.order_id][-1]
    quantity, _ = totals(exchange, entry, PRICE)
    assert same_number(last["totalTradeQuantity"], quantity)


@pytest.mark.parametrize("exchange", IDS)
def test_the_orders_hash_holds_what_was_published(stack: Stack, stream: Stream, exchange: str) -> None:
    known, unknown = stream.place(), stream.place(client_id=f"manual{exchange[:16]}")
    stream.wait(lambda: stream.order_events(known.client_id), "the platform's order")
    stream.wait(lambda: stream.order_events(unknown.client_id), "the user's order")
    published = [text for text in stack.backend.on(stream.uuid) if client_id_of(json.loads(text)) == known.client_id]
    with stack.redis.client() as client:
        stored = client.hget("orders", known.client_id)
        assert stored is not None
        assert stored.decode() == published[-1]
        assert client.hget("orders", unknown.client_id) is None
    stack.simulator.cancel(known.order_id)
    stack.simulator.cancel(unknown.order_id)


def test_everything_is_in_the_durable_queue(stack: Stack, streams: dict[str, Stream]) -> None:
    """A backend that was down meanwhile reads the same events afterwards, in the same order."""
    stored = stack.take_user_events()
    for stream in streams.values():
        mine = [message for message in stored if message.headers["stream"] == stream.uuid and message.kind != "info"]
        assert mine == stream.amqp_messages()
        infos = [message for message in stored if message.key == f"user.{stream.exchange}.info.{stream.uuid}"]
        assert [message.json() for message in infos] == [{"info": f"Subscribed to user {stream.uuid}"}]


def test_only_the_last_subscriber_takes_the_live_ids_down(stack: Stack, streams: dict[str, Stream]) -> None:
    assert {exchange: stream.infos for exchange, stream in streams.items()} == dict.fromkeys(IDS, 1)
    assert all(stack.score(stream.uuid) for stream in streams.values())


def test_paper_ids_ignore_other_exchanges(stack: Stack, streams: dict[str, Stream]) -> None:
    """One paper account can hold orders of several exchanges; a stream passes on those of its own (contract 5)."""
    stream = streams["paperBinance"]
    other = stack.simulator.place(
        stream.account, "bybit", symbol="BTCUSDT", side="BUY", quantity="1", price="60000", client_id="D-BO-elsewhere"
    )
    stream.prove_live()
    assert stream.order_events(other.client_id) == []
    assert is_paper(stream.exchange)
