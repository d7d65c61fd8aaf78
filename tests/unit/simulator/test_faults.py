"""Every fault does what its table says, seen from the outbox of a connection."""

from __future__ import annotations

import json

import pytest

from simulator import controls
from simulator._venue import Close, Frame, Pong, Refuse, Request
from simulator.engine import Refused
from simulator.faults import GARBAGE, KINDS, Fault
from tests.unit.simulator.worlds import World, subscribe, ws_api


def user(world: World):
    account = world.account()
    link = ws_api(world)
    subscribe(world, link)
    return account, link


def start(world: World, kind: str, **fields):
    names = {"venue", "host", "account", "feed", "connection", "path", "standing", "times", "for_s"}
    scope = {name: value for name, value in fields.items() if name in names}
    params = {name: str(value) for name, value in fields.items() if name not in names}
    return controls.inject(world.hub, Fault(kind=kind, params=params, **scope), world.clock())


def orders(world: World, account: str, link, count: int) -> list[str]:
    """Place orders; returns the client ids whose reports came, in order."""
    for number in range(count):
        world.place(account, client_id=f"c{number}")
    return ids(world.frames(link))


def ids(frames: list) -> list[str]:
    return [f["event"]["c"] for f in frames if isinstance(f, dict) and f.get("event", {}).get("e") == "executionReport"]


def test_drop_cuts_the_connection_without_a_close_frame():
    world = World()
    _, link = user(world)
    cut = []
    link.cut = lambda: cut.append(True)
    assert start(world, "drop", venue="binance", feed="user").hit == 1
    assert cut == [True]
    assert link.aborted
    assert world.actions(link) == []


def test_close_sends_the_code():
    world = World()
    _, link = user(world)
    start(world, "close", code=1012, reason="restart")
    assert world.actions(link) == [Close(1012, "restart")]


def test_stall_holds_everything_back_and_then_lets_go():
    world = World()
    account, link = user(world)
    start(world, "stall", seconds=5)
    assert orders(world, account, link, 2) == []
    assert link.stalled(world.clock().mono)
    world.clock.move(5)
    assert ids(world.frames(link)) == ["c0", "c1"]


def test_half_open_answers_nothing_not_even_pings():
    world = World()
    account, link = user(world)
    world.hub.pinged(link, b"x", world.clock())
    assert world.actions(link) == [Pong(b"x")]
    start(world, "half_open")
    world.hub.pinged(link, b"x", world.clock())
    assert subscribe(world, link) == []
    assert orders(world, account, link, 1) == []
    assert not link.ending


@pytest.mark.parametrize("kind", ["stall", "half_open", "close"])
def test_a_connection_that_hangs_or_ends_has_no_deadline_in_the_past(kind):
    world = World()
    _, link = user(world)
    start(world, kind)
    if kind != "close":
        world.clock.move(100_000)  # long after pings, pong timeout and maximum age
    world.hub.woken(link, world.clock())
    world.actions(link)
    deadline = link.deadline()
    assert deadline is None or deadline > world.clock().mono


def test_garbage_is_a_frame_that_is_no_message():
    world = World()
    _, link = user(world)
    start(world, "garbage")
    assert world.actions(link) == [Frame(GARBAGE)]
    start(world, "garbage", data="\x00", binary=1)
    assert world.actions(link) == [Frame("\x00", binary=True)]


def test_duplicate_reorder_and_lose_hit_so_many_frames():
    for kind, expected in (
        ("duplicate", ["c0", "c0", "c1", "c2"]),
        ("reorder", ["c1", "c0", "c2"]),
        ("lose", ["c1", "c2"]),
    ):
        world = World()
        account, link = user(world)
        # One of two frames of an order is its balances: hit reports only by giving the account nothing to lock.
        world.hub.world.engine.account(account).ledger.lock = lambda *_: True
        start(world, kind)
        assert orders(world, account, link, 3) == expected, kind


def test_a_frame_held_back_for_reordering_goes_out_alone_after_a_while():
    world = World()
    account, link = user(world)
    start(world, "reorder", times=5)
    world.hub.world.engine.account(account).ledger.lock = lambda *_: True
    assert orders(world, account, link, 1) == []
    world.hub.woken(link, world.clock.move(2))
    assert ids(world.frames(link)) == ["c0"]


def test_late_acks_do_not_hold_events_back():
    world = World()
    account, link = user(world)
    start(world, "delay_acks", seconds=3, standing=True)
    assert world.send(link, {"id": 9, "method": "ping"}) == []
    assert orders(world, account, link, 1) == ["c0"]
    world.clock.move(3)
    assert world.frames(link)[0]["id"] == 9


def test_standing_drop_hits_every_later_login_of_the_account():
    world = World()
    account, link = user(world)
    other = world.account(key="K2", secret="S2")
    start(world, "drop", account=account, standing=True)
    assert link.aborted
    again, bystander = ws_api(world), ws_api(world)
    subscribe(world, again)
    subscribe(world, bystander, "K2", "S2")
    assert again.aborted
    assert not bystander.aborted
    assert bystander.accounts == {other}


def test_after_s_delays_the_act():
    world = World()
    _, link = user(world)
    start(world, "close", after_s=4)
    assert link.deadline() == world.clock().mono + 4
    world.hub.woken(link, world.clock.move(3.9))
    assert world.actions(link) == []
    world.hub.woken(link, world.clock.move(0.1))
    assert world.actions(link) == [Close(1001, "")]


def test_for_s_and_times_end_a_fault():
    world = World()
    start(world, "refuse", status=503, standing=True, for_s=10)
    assert isinstance(world.try_connect("binance", "stream.binance.com", "/ws"), Refuse)
    world.clock.move(10)
    ws_api(world)
    start(world, "refuse", status=403, times=2)
    seen = [world.try_connect("binance", "stream.binance.com", "/ws") for _ in range(3)]
    assert [isinstance(each, Refuse) for each in seen] == [True, True, False]


@pytest.mark.parametrize("status", ["403", "429", "503"])
def test_refused_upgrades(status):
    world = World()
    start(world, "refuse", venue="binance", host="stream.binance.com", status=status, retry_after=7)
    refused = world.try_connect("binance", "stream.binance.com", "/ws")
    assert (refused.status, refused.headers) == (int(status), {"Retry-After": "7"})
    start(world, "refuse", status="reset")
    assert world.try_connect("binance", "stream.binance.com", "/ws") is None
    assert [row.status for row in world.hub.stats.upgrades] == [int(status), 0]


def rest(world: World, path: str = "/api/v3/time", key: str = ""):
    headers = {"x-mbx-apikey": key} if key else {}
    return world.hub.rest(
        "binance", Request(method="GET", host="api.binance.com", path=path, headers=headers), world.clock()
    )


def test_rest_faults():
    world = World()
    start(world, "rest_error", status=418, retry_after=120, text="IP banned until 1")
    reply = rest(world).reply
    assert (reply.status, reply.headers["Retry-After"]) == (418, "120")
    assert json.loads(reply.body) == {"code": -1003, "msg": "IP banned until 1"}
    start(world, "rest_error", status=500, body="<oops>")
    assert rest(world).reply.body == b"<oops>"
    start(world, "rest_slow", seconds=2.5)
    slow = rest(world)
    assert (slow.delay_s, slow.reply.status) == (2.5, 200)
    start(world, "rest_reset")
    assert rest(world).reply is None
    start(world, "rest_garbage")
    assert rest(world).reply.body.startswith(b"<html>")
    assert rest(world).reply.status == 200


def test_rest_faults_by_path_and_account():
    world = World()
    account = world.account()
    start(world, "rest_error", status=500, path="/allOrders", standing=True)
    start(world, "rest_error", status=503, account=account, standing=True)
    assert rest(world).reply.status == 200
    assert rest(world, "/api/v3/allOrders").reply.status == 500
    assert rest(world, "/api/v3/openOrders", key="K").reply.status == 503


def test_clearing_the_book_ends_standing_faults():
    world = World()
    start(world, "refuse", standing=True)
    start(world, "clock_skew", venue="binance", ms=5000, standing=True)
    world.hub.faults.clear()
    ws_api(world)
    assert world.hub.now_at("binance", world.clock()) == world.clock()


def test_unknown_kinds_are_refused():
    world = World()
    with pytest.raises(Refused, match="no fault nonsense"):
        start(world, "nonsense")
    with pytest.raises(Refused, match="for_s"):
        start(world, "unreachable")


def test_every_kind_stands_in_the_table():
    from simulator import faults

    for kind in KINDS:
        assert f"`{kind}`" in faults.__doc__


def test_a_reader_that_is_too_slow_is_cut_off(monkeypatch):
    monkeypatch.setattr("simulator._link.MAX_OUTBOX", 10)
    world = World()
    account, link = user(world)
    for number in range(6):
        world.place(account, client_id=f"c{number}")
    assert link.aborted


def test_reset_drops_everything_and_forgets_accounts():
    world = World()
    _, link = user(world)
    world.hub.reset(world.clock())
    assert link.aborted
    assert world.hub.links == {}
    assert world.hub.world.engine.accounts() == []
    user(world)
