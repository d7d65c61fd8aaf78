"""The control API, routing, and the modes that go on by themselves."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from simulator import control_api
from simulator._venue import Request
from simulator.demo import Demo
from simulator.engine import Refused
from simulator.firehose import Firehose
from simulator.script import Script, ScriptError, read_script
from simulator.server import target_of
from tests.unit.simulator.worlds import World, subscribe, ws_api


def api(world: World, method: str, name: str, body: object = None, query: str = ""):
    text = b"" if body is None else json.dumps(body).encode()
    request = Request(method=method, host="", path=f"/__control/{name}", query=query, body=text)
    reply = control_api.handle(world.hub, request, world.clock())
    return reply.status, json.loads(reply.body)


def test_an_order_lives_through_the_api():
    world = World()
    status, made = api(world, "POST", "accounts", {"venue": "binance", "key": "K", "secret": "S"})
    assert (status, made) == (200, {"account": "binance-1"})
    link = ws_api(world)
    subscribe(world, link)
    order = {"account": "binance-1", "exchange": "binance", "symbol": "BTCUSDT", "side": "BUY"}
    status, placed = api(world, "POST", "orders", {**order, "quantity": "0.25", "price": "61000", "client_id": "c1"})
    assert (status, placed["status"], placed["quantity"]) == (200, "NEW", "0.25")
    number = placed["order_id"]
    assert api(world, "POST", "fill", {"order_id": number, "quantity": "0.1"})[1]["status"] == "PARTIALLY_FILLED"
    by_client = {"account": "binance-1", "exchange": "binance", "client_id": "c1"}
    assert api(world, "POST", "amend", {**by_client, "quantity": 0.3})[1]["quantity"] == "0.3"
    assert api(world, "POST", "cancel", by_client)[1]["status"] == "CANCELED"
    assert api(world, "POST", "fill", {"order_id": number})[0] == 400

    journal = api(world, "GET", "journal")[1]
    assert [row["status"] for row in journal] == ["NEW", "PARTIALLY_FILLED", "PARTIALLY_FILLED", "CANCELED"]
    assert [row["executed"] for row in journal][-1] == "0.1"
    assert api(world, "GET", "journal", query=f"since={journal[-1]['seq']}")[1] == []
    assert len(world.frames(link)) >= 4


def test_prices_candles_money_and_liquidation():
    world = World()
    account = world.account()
    assert api(world, "POST", "price", {"exchange": "binance", "symbol": "BTCUSDT", "price": "60000"})[0] == 200
    assert api(world, "GET", "markets", query="exchange=binance")[1]["binance"]["BTCUSDT"] == "60000"
    assert api(world, "POST", "candle", {"exchange": "binance", "symbol": "BTCUSDT", "interval": "1m"})[1]["start_ms"]
    body = {"account": account, "exchange": "binance", "asset": "USDT", "delta": "-5"}
    assert api(world, "POST", "transfer", body)[1]["free"] == "9999995"
    body = {"account": account, "exchange": "binanceUsdm", "symbol": "BTCUSDT", "side": "SELL", "quantity": "1"}
    assert api(world, "POST", "liquidate", body)[1]["liquidation"] is True


def test_symbols_are_delisted_and_orders_modified_as_the_venue_does_it():
    world = World(venues=("binance", "hyperliquid"))
    body = {"exchange": "binance", "symbol": "ETHUSDT", "state": "delisted"}
    assert api(world, "POST", "listing", body) == (200, {"state": "delisted"})
    assert "ETHUSDT" not in api(world, "GET", "markets", query="exchange=binance")[1]["binance"]
    assert api(world, "POST", "listing", body)[0] == 400
    assert api(world, "POST", "listing", {**body, "state": "listed"})[0] == 200
    for venue, exchange, same in (("binance", "binance", True), ("hyperliquid", "hyperliquidLinear", False)):
        key = {"binance": "K", "hyperliquid": "0x" + "a" * 40}[venue]
        account = api(world, "POST", "accounts", {"venue": venue, "key": key, "secret": ""})[1]["account"]
        symbol = world.hub.world.markets.symbols(exchange)[0]
        order = {"account": account, "exchange": exchange, "symbol": symbol.wire, "side": "BUY", "client_id": "c1"}
        placed = api(world, "POST", "orders", {**order, "quantity": "0.25", "price": "61000"})[1]
        changed = api(world, "POST", "modify", {"order_id": placed["order_id"], "quantity": "0.3"})[1]
        assert (changed["quantity"], changed["client_id"]) == ("0.3", "c1")
        assert (changed["order_id"] == placed["order_id"]) is same


@pytest.mark.parametrize(
    ("name", "body"),
    [
        ("accounts", {"venue": "nowhere", "key": "a", "secret": "b"}),
        ("accounts", {"venue": "binance", "key": "a"}),
        ("orders", {"account": "x", "exchange": "binance", "symbol": "BTCUSDT", "side": "BUY"}),
        ("fill", {"order_id": 1}),
        ("price", {"exchange": "binance", "symbol": "NOPE", "price": "1"}),
        ("candle", {"exchange": "binance", "symbol": "BTCUSDT", "interval": "7m"}),
        ("faults", {"kind": "nonsense"}),
        ("firehose", {"rate": 0}),
        ("orders", []),
    ],
)
def test_what_cannot_be_done_is_400_with_a_reason(name, body):
    status, answer = api(World(), "POST", name, body)
    assert status == 400
    assert answer["error"]


def test_unknown_calls_are_404_and_the_root_explains():
    world = World()
    assert api(world, "GET", "nonsense")[0] == 404
    assert api(world, "GET", "fill")[0] == 404
    root = control_api.handle(world.hub, Request(method="GET", host="", path="/__control/"), world.clock())
    for method, name in control_api._READERS:
        assert f"__control/{name}`" in root.body.decode() or name in root.body.decode(), (method, name)


def test_accounts_are_listed_without_secrets():
    world = World()
    world.account(secret="very-secret-text")
    _status, listed = api(world, "GET", "accounts")
    assert listed[0]["keys"] == ["K"]
    assert "very-secret-text" not in json.dumps(listed)


def test_stats_count_sockets_logins_subscriptions_and_rest_calls():
    world = World()
    world.account()
    link = ws_api(world)
    subscribe(world, link)
    world.connect("binance", "stream.binance.com", "/ws/btcusdt@miniTicker")
    world.rest("GET", "api.binance.com", "/api/v3/time")
    stats = api(world, "GET", "stats")[1]
    assert stats["open"] == {"binance:user": 1, "binance:market": 1}
    assert stats["noted"]["binance"] == {"login": 1, "subscribe": 2}
    row = {"venue": "binance", "method": "GET", "path": "/api/v3/time", "status": 200, "count": 1}
    assert stats["rest"] == [row]
    assert api(world, "GET", "connections")[1][0]["accounts"] == ["binance-1"]
    notes = api(world, "GET", "events", query="kind=notes")[1]
    assert {"login", "subscribe"} == {note["what"] for note in notes}
    assert len(api(world, "GET", "events", query="kind=upgrades")[1]) == 2


def test_faults_are_listed_and_removed():
    world = World()
    body = {"kind": "refuse", "venue": "binance", "standing": True, "params": {"status": "503"}}
    number = api(world, "POST", "faults", body)[1]["fault_id"]
    assert api(world, "GET", "faults")[1][0]["kind"] == "refuse"
    assert api(world, "DELETE", "faults", query=f"id={number}")[1] == {"removed": True}
    assert api(world, "GET", "faults")[1] == []


# --- routing ---


@pytest.mark.parametrize(
    ("path", "host", "expected"),
    [
        ("/stream.binance.com:9443/ws?x=1", "127.0.0.1:7600", ("binance", "stream.binance.com", "/ws", "x=1")),
        ("/api.binance.com/api/v3/time", "127.0.0.1", ("binance", "api.binance.com", "/api/v3/time", "")),
        ("/API.Binance.com/p", "x", ("binance", "api.binance.com", "/p", "")),
        ("/fapi.binance.com", "x", ("binance", "fapi.binance.com", "/", "")),
        ("/api/v3/time", "api.binance.com", ("binance", "api.binance.com", "/api/v3/time", "")),
        ("/ws", "stream.binance.com:9443", ("binance", "stream.binance.com", "/ws", "")),
        ("/ws", "stream.binance.com.localhost:7600", ("binance", "stream.binance.com", "/ws", "")),
        ("/socket.io/?EIO=4", "127.0.0.1:7600", ("paper", "paper-trading", "/socket.io/", "EIO=4")),
        ("/paper-trading/socket.io/?EIO=4", "x", ("paper", "paper-trading", "/socket.io/", "EIO=4")),
        ("/localhost:7506/socket.io/?EIO=4", "x", ("paper", "localhost", "/socket.io/", "EIO=4")),
        ("/nowhere.example/x", "127.0.0.1", ("", "127.0.0.1", "/nowhere.example/x", "")),
    ],
)
def test_routes(path, host, expected):
    target = target_of(World().hub, "GET", path, {"host": host})
    request = target.request
    assert (target.venue, request.host, request.path, request.query) == expected
    assert not target.control


def test_signed_paths_stay_as_they_were_sent():
    request = target_of(World().hub, "GET", "/api.binance.com/api/v3/x?symbol=%E5%B8%81", {}).request
    assert request.query == "symbol=%E5%B8%81"
    assert target_of(World().hub, "GET", "/__control/stats", {}).control


# --- demo, firehose, script ---


def test_the_demo_trades_by_itself_and_can_be_stopped():
    world = World()
    _status, made = api(world, "POST", "demo", {})
    assert {row["venue"] for row in made["accounts"]} == {"binance", "paper"}
    for _ in range(200):
        world.hub.pulse(world.clock.move(0.5))
    statuses = {entry.status for entry in world.hub.world.engine.journal()}
    assert statuses >= {"NEW", "PARTIALLY_FILLED", "FILLED", "CANCELED"}
    assert api(world, "DELETE", "demo")[1] == {"running": False}
    assert not any(isinstance(routine, Demo) for routine in world.hub.routines)
    before = len(world.hub.world.engine.journal())
    for _ in range(20):
        world.hub.pulse(world.clock.move(0.5))
    assert len(world.hub.world.engine.journal()) == before


def test_the_firehose_keeps_its_rate_and_stamps_every_row():
    world = World(symbols=5, tick_s=1.0)
    link = world.connect("binance", "fstream.binance.com", "/market/ws/!ticker@arr")
    world.hub.routines.append(Firehose(world.hub, rate=10, exchanges=["binanceUsdm", "binanceCoinm"]))
    frames = []
    for _ in range(20):
        world.hub.pulse(world.clock.move(0.1))
        new = world.frames(link)
        for frame in new:
            assert {row["E"] for row in frame} == {world.clock().wall_ms}
        frames += new
    assert 19 <= len(frames) <= 21
    assert all(len(frame) == 11 for frame in frames), "six USD-M and five COIN-M symbols in each"
    assert len({frame[0]["c"] for frame in frames}) > 1


def test_a_late_firehose_skips_instead_of_bursting():
    world = World()
    link = world.connect("binance", "stream.binance.com", "/ws/!miniTicker@arr")
    world.hub.routines.append(Firehose(world.hub, rate=100, exchanges=["binance"]))
    world.hub.pulse(world.clock.move(1))
    world.frames(link)
    world.hub.pulse(world.clock.move(60))
    assert len(world.frames(link)) <= 101


def test_a_script_runs_its_steps_in_time(tmp_path: Path):
    world = World()
    file = tmp_path / "script.jsonl"
    file.write_text(
        "# comment\n\n"
        '{"at_s": 2, "call": "accounts", "body": {"venue": "binance", "key": "K", "secret": "S"}}\n'
        '{"at_s": 1, "every_s": 2, "call": "price", '
        '"body": {"exchange": "binance", "symbol": "BTCUSDT", "price": "50000"}}\n'
    )
    script = Script(world.hub, read_script(str(file)), world.clock())
    script.step(world.clock.move(1))
    assert world.hub.world.engine.accounts() == []
    assert str(world.hub.world.markets.quote("binance", "BTCUSDT").price) == "50000"
    assert script.step(world.clock.move(1)) == world.clock().mono + 1
    assert len(world.hub.world.engine.accounts()) == 1


@pytest.mark.parametrize(
    "line", ["{", '{"at_s": 1}', '{"at_s": 1, "call": "nonsense"}', '{"at_s": 1, "call": "price", "x": 1}']
)
def test_bad_script_lines_are_named(tmp_path: Path, line: str):
    file = tmp_path / "script.jsonl"
    file.write_text(f"# fine\n{line}\n")
    with pytest.raises(ScriptError, match="line 2"):
        read_script(str(file))


def test_a_key_belongs_to_one_account():
    world = World()
    world.account()
    with pytest.raises(Refused):
        world.account()
