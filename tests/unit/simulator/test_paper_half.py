"""The paper-trading service, frame by frame as in contract section 5."""

from __future__ import annotations

import json
from decimal import Decimal

from simulator import controls
from simulator._venue import Close, Refuse
from simulator.controls import OrderRef
from simulator.faults import Fault
from tests.unit.simulator.worlds import World

QUERY = "EIO=4&transport=websocket"


def joined(world: World):
    link = world.connect("paper", "paper-trading", "/socket.io/", QUERY)
    hello = world.frames(link)
    assert world.send(link, "40")[0].startswith('40{"sid":')
    return link, hello


def ask(world: World, link, event: str, key: str = "pk1", secret: str = "ps1"):
    return world.send(link, f'42["{event}",{{"key":"{key}","secret":"{secret}"}}]')


def decoded(frames: list[str]) -> list:
    return [json.loads(frame.removeprefix("42")) for frame in frames]


def test_handshake_subscribes_and_refusal():
    world = World()
    account = world.account("paper", "pk1", "ps1")
    link, hello = joined(world)

    opening = json.loads(hello[0][1:])
    assert hello[0][0] == "0"
    assert {**opening, "sid": ""} == {
        "sid": "", "upgrades": [], "pingInterval": 60000, "pingTimeout": 120000, "maxPayload": 1000000,
    }  # fmt: skip
    assert ask(world, link, "subscribeOrder") == ['42["order",{"type":"info","info":"subscribed"}]']
    assert ask(world, link, "subscribeOutboundAccountInfo") == [
        '42["outboundAccountInfo",{"type":"info","info":"subscribed"}]'
    ]
    assert ask(world, link, "subscribeOrder", secret="wrong") == [
        '42["order",{"type":"error","error":"User not found"}]'
    ]
    assert link.accounts == {account}


def test_pushes_have_the_documented_fields():
    world = World()
    account = world.account("paper", "pk1", "ps1")
    link, _ = joined(world)
    ask(world, link, "subscribeOrder")
    ask(world, link, "subscribeOutboundAccountInfo")

    order = world.place(account, quantity="0.01", price="61230", client_id="GRID-RO-x1")
    controls.fill(world.hub, OrderRef(order_id=order.order_id), world.clock())
    pushes = decoded(world.frames(link))

    assert [(name, body["type"]) for name, body in pushes] == [
        ("order", "update"), ("outboundAccountInfo", "update"),
    ] * 2  # fmt: skip
    data = pushes[2][1]["data"]
    assert set(data) == {
        "_id", "id", "exchange", "symbol", "externalId", "status", "type", "side", "amount", "filledAmount",
        "quoteAmount", "filledQuoteAmount", "price", "avgFilledPrice", "fee", "feePerc", "user", "reduceOnly",
        "positionSide", "createdAt", "updatedAt", "feePaid", "feeAsset",
    }  # fmt: skip
    assert (data["exchange"], data["status"], data["externalId"]) == ("binance", "FILLED", "GRID-RO-x1")
    assert (data["amount"], data["filledQuoteAmount"], data["price"]) == (0.01, 612.3, 61230)
    assert len(data["_id"]) == 24
    assert data["updatedAt"].endswith("Z")
    assert len(data["updatedAt"]) == 24
    balances = pushes[3][1]["data"]["balance"]
    assert {row["asset"] for row in balances} == {"USDT", "BTC"}
    assert all(isinstance(row["free"], int | float) for row in balances)


def test_futures_of_the_same_account_name_their_own_exchange():
    world = World()
    account = world.account("paper", "pk1", "ps1")
    link, _ = joined(world)
    ask(world, link, "subscribeOrder")
    world.place(account, "binanceUsdm", order_type="MARKET", quantity="1", price="0")
    controls.liquidate(world.hub, account, "binanceUsdm", "BTCUSDT", world.clock())
    pushes = [body["data"] for name, body in decoded(world.frames(link)) if name == "order"]
    assert {push["exchange"] for push in pushes} == {"binanceUsdm"}
    assert pushes[-1]["externalId"].startswith("liquidation_")


def test_only_what_was_subscribed_is_pushed():
    world = World()
    account = world.account("paper", "pk1", "ps1")
    link, _ = joined(world)
    ask(world, link, "subscribeOutboundAccountInfo")
    world.place(account)
    controls.transfer(world.hub, account, "binance", "USDT", Decimal(5), world.clock())
    assert {name for name, _ in decoded(world.frames(link))} == {"outboundAccountInfo"}


def test_the_server_pings_and_drops_a_client_that_does_not_answer():
    world = World()
    link, _ = joined(world)
    seen = []
    for second in range(1, 200):
        world.hub.woken(link, world.clock.move(1))
        seen += [(second, a.data if not isinstance(a, Close) else "close") for a in world.actions(link)]
    assert seen == [(60, "2"), (120, "2"), (180, "close")]


def test_an_answered_ping_keeps_the_connection():
    world = World()
    link, _ = joined(world)
    for _ in range(400):
        world.hub.woken(link, world.clock.move(1))
        if world.frames(link) == [2]:
            world.send(link, "3")
    assert not link.ending


def test_the_namespace_can_be_closed_by_the_server():
    world = World()
    account = world.account("paper", "pk1", "ps1")
    link, _ = joined(world)
    ask(world, link, "subscribeOrder")
    controls.inject(world.hub, Fault(kind="terminate", venue="paper"), world.clock())
    world.place(account)
    assert world.frames(link) == [41]
    assert not link.ending


def test_a_client_ping_is_answered_and_nonsense_closes():
    world = World()
    link, _ = joined(world)
    assert world.send(link, "2") == [3]
    world.hub.received(link, "nonsense", world.clock())
    assert isinstance(world.actions(link)[0], Close)


def test_polling_and_other_versions_are_refused():
    world = World()
    for query in ("EIO=3&transport=websocket", "EIO=4&transport=polling", ""):
        assert isinstance(world.try_connect("paper", "paper-trading", "/socket.io/", query), Refuse)
