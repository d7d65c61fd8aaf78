"""Promises of every venue half, found by walking the package."""

from __future__ import annotations

from typing import Any

import pytest

from exchanges.ids import FAMILIES
from simulator import controls
from simulator._link import Link
from simulator._venue import Refuse, Request, Signal
from simulator.demo import Demo, demo_key
from simulator.faults import Fault
from simulator.venues import halves
from tests.unit.simulator.worlds import World

VENUES = sorted(set(halves()) - {"paper"})
GARBAGE: list[Any] = [
    "", "{", "[]", "null", "true", "7", '"text"', "{}", '{"op":7}', '{"method":{}}', '{"type":[]}', '{"event":null}',
    '{"op":"subscribe","args":7}', '{"op":"subscribe","args":[7,null,{}]}', '{"op":"login","args":[{}]}',
    '{"op":"auth","args":[]}', '{"method":"SUBSCRIBE","params":{"a":1},"id":1}', '{"id":1,"type":"subscribe","topic":7}',
    '{"type":"subscribe","channel":7,"product_ids":"x"}', '{"method":"subscribe","params":{"channel":[]}}',
    '{"method":"subscribe","subscription":null}', "ping", "pong", "41", "42[", b"\x00\xff", b"{}",
]  # fmt: skip
OTHERS = ("/", "/nowhere", "/v2", "/ws", "/api/%zz")
"""Paths that are asked for beside the half's own."""


def paths(venue: str) -> list[str]:
    return list(dict.fromkeys((*halves()[venue].sockets, *OTHERS)))


def test_no_two_halves_play_the_same_host():
    hosts = [host for half in halves().values() for host in half.hosts]
    assert len(hosts) == len(set(hosts))
    assert all(host == host.lower() and ":" not in host for host in hosts)


@pytest.mark.parametrize("venue", VENUES)
def test_markets_are_those_of_the_family_and_stay_the_same(venue: str):
    world = World(venues=(venue,))
    markets = world.hub.world.markets
    assert set(markets.exchanges()) == set(FAMILIES[venue])
    for exchange in markets.exchanges():
        symbols = markets.symbols(exchange)
        assert symbols
        assert len({symbol.wire for symbol in symbols}) == len(symbols)
        assert all(symbol.price > 0 for symbol in symbols)
        assert symbols == World(venues=(venue,)).hub.world.markets.symbols(exchange)


@pytest.mark.parametrize("venue", VENUES)
def test_nonsense_never_raises(venue: str):
    world = World(venues=(venue,), limits=False)
    hub = world.hub
    opened: set[str] = set()
    for host in sorted(hub.halves[venue].hosts):
        for path in paths(venue):
            for method in ("GET", "POST", "DELETE"):
                request = Request(method=method, host=host, path=path, query="a=%zz&b", body=b"\xff{")
                result = hub.rest(venue, request, world.clock())
                assert result.reply is not None
            link = hub.connect(venue, Request(method="GET", host=host, path=path), world.clock())
            if isinstance(link, Link):
                hub.opened(link, world.clock())
                opened.add(path)
                for data in GARBAGE:
                    hub.received(link, data, world.clock())
                    hub.pinged(link, b"", world.clock())
                    hub.ponged(link, b"", world.clock())
                hub.closed(link, world.clock())
            else:
                assert isinstance(link, Refuse)
    assert opened >= set(halves()[venue].sockets), "a path of its own was not accepted"


@pytest.mark.parametrize("venue", VENUES)
@pytest.mark.parametrize("name", ["maintenance", "cut", "expire_token", "key_changed", "terminate", "unheard_of"])
def test_signals_never_raise_for_halves_and_their_connections(venue: str, name: str):
    world = World(venues=(venue,), limits=False)
    account = world.account(venue)
    for host in sorted(world.hub.halves[venue].hosts):
        for path in paths(venue):
            link = world.try_connect(venue, host, path)
            if isinstance(link, Link):
                world.hub.opened(link, world.clock())
    assert world.hub.links
    world.hub.halves[venue].signal(Signal(name, account), world.clock())
    for link in list(world.hub.links.values()):
        link.peer.signal(Signal(name, account), world.clock())


@pytest.mark.parametrize("venue", VENUES)
def test_the_demo_account_of_every_venue_trades(venue: str):
    world = World(venues=(venue,))
    world.hub.routines.append(Demo(world.hub))
    for _ in range(150):
        world.hub.pulse(world.clock.move(0.9))
    engine = world.hub.world.engine
    assert {entry.exchange for entry in engine.journal()} == set(FAMILIES[venue])
    assert {entry.status for entry in engine.journal()} >= {"NEW", "FILLED", "CANCELED"}
    assert engine.find_key(venue, demo_key(venue).key) is not None


@pytest.mark.parametrize("venue", VENUES)
def test_a_rejected_key_can_be_accepted_again(venue: str):
    world = World(venues=(venue,))
    account = world.account(venue)
    controls.inject(world.hub, Fault(kind="reject_key", account=account, params={"code": "1"}), world.clock())
    assert world.hub.world.engine.find_key(venue, "K")[1].rejected == "1"
    controls.inject(world.hub, Fault(kind="accept_key", account=account), world.clock())
    assert world.hub.world.engine.find_key(venue, "K")[1].rejected == ""
