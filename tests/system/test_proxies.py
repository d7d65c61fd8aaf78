"""Fifty accounts through two proxies, with TLS inside: each proxy has budgets of its own, and one of them dies."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from harness.evidence import Evidence
from harness.proxies import RealProxy
from harness.servers import wait_for
from harness.stack import Stack
from tests.system.support import WAIT_S, Accounts, Stream, client_id_of
from tests.system.test_tls import endpoints

pytestmark = pytest.mark.system

ACCOUNTS = 50
EXCHANGES = ("binance", "bybit", "okx", "kucoinLinear", "bitget")


@dataclass
class Proxied:
    stack: Stack
    socks: RealProxy
    http: RealProxy
    streams: list[Stream]

    def ledgers(self, kind: str) -> Counter[str]:
        """What was taken of the exchanges' limits, by the name of the way."""
        used: Counter[str] = Counter()
        with self.stack.redis.client() as client:
            for key in client.scan_iter(f"wsc:bucket:*:{kind}*"):
                way = key.decode().split(":", 4)[4]
                slices = (client.hget(key, "slices") or b"").decode().split()
                used[way] += sum(int(one.split(":")[1]) for one in slices)
        return used


@pytest.fixture(scope="module")
def proxied(evidence: Evidence) -> Iterator[Proxied]:
    login = ("user-of-the-proxies", evidence.canaries.secret("P"))
    with (
        RealProxy("socks5", *login) as socks,
        RealProxy("proxy.py", *login) as http,
        Stack(evidence, venues=tuple({exchange.removesuffix("Linear") for exchange in EXCHANGES}), tls=True) as stack,
    ):
        stack.service(
            "user",
            VENUE_ENDPOINTS=json.dumps(endpoints(stack)),
            VENUE_CA_FILE=str(stack.simulator.ca_file),
            EGRESS_PROXIES=f"{socks.url},{http.url}",
        )
        stack.ready()
        accounts = Accounts(stack)
        streams = [accounts(EXCHANGES[number % len(EXCHANGES)]) for number in range(ACCOUNTS)]
        for stream in streams:
            stream.open()
        for stream in streams:
            stream.wait_live()
        yield Proxied(stack, socks, http, streams)
        accounts.close()


def test_the_start_says_in_one_line_which_proxies_are_used(proxied: Proxied) -> None:
    said = [line for line in proxied.stack.services[0].log.read_text().splitlines() if "through proxies" in line]
    assert len(said) == 1, said
    assert f"EGRESS_PROXIES: {proxied.socks.label}, {proxied.http.label}" in said[0]


def test_budgets_count_per_proxy(proxied: Proxied) -> None:
    connects, rest = proxied.ledgers("connect"), proxied.ledgers("rest-")
    assert set(connects) == {proxied.socks.label, proxied.http.label}, "nothing goes out another way"
    assert min(connects.values()) * 3 >= connects.total(), "Binance's accounts share sockets, the others have one each"
    assert set(rest) <= set(connects)
    assert rest.total() > 0


def test_when_a_proxy_dies_its_accounts_move_and_nothing_is_lost(proxied: Proxied) -> None:
    stack, streams = proxied.stack, proxied.streams
    orders = [(stream, stream.place()) for stream in streams]
    for stream, order in orders:
        stream.wait(lambda stream=stream, order=order: stream.order_events(order.client_id), "the order")
    before = proxied.ledgers("connect")[proxied.http.label]
    proxied.socks.kill()
    for _, order in orders:
        stack.simulator.fill(order.order_id)
    for stream, order in orders:
        stream.wait(
            lambda stream=stream, order=order: "FILLED" in states(stream, order.client_id), "the fill", WAIT_S * 2
        )
    assert {tuple(states(stream, order.client_id)).count("FILLED") for stream, order in orders} == {1}
    wait_for(lambda: all(stream.links() for stream in streams), WAIT_S, "every account is connected again")
    assert proxied.ledgers("connect")[proxied.http.label] > before
    counted = f'proxy="{proxied.socks.label}"'
    wait_for(lambda: counted in page(stack, "/metrics"), WAIT_S, "the dead proxy among the figures")
    shown = "".join(page(stack, name) for name in ("/metrics", "/streams.json", "/status.json", "/"))
    assert "user-of-the-proxies" not in shown + stack.services[0].log.read_text()
    for stream in streams:
        stream.prove_live()


def states(stream: Stream, client_id: str | None) -> list[str]:
    """Of an order, as RabbitMQ got them; the sink that confirms."""
    events = [message.json() for message in stream.amqp_events()]
    return [event["orderStatus"] for event in events if client_id_of(event) == client_id]


def page(stack: Stack, name: str) -> str:
    return stack.services[0].get(name)[1].decode()
