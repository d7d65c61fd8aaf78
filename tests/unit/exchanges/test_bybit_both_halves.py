"""What is special about Bybit, with the simulated venue on the other side: regions and their headers, corporate actions."""

from __future__ import annotations

import pytest

from exchanges._adapter import Call, Connect, Fail, FailKind, Note, UserSubscription
from exchanges.bybit._hosts import REGIONS
from exchanges.credentials import credentials
from simulator import controls
from simulator.venues.bybit import Bybit
from tests.unit.exchanges.pair import Pair, Seat

KEYS = {"br": "bra-key", "ar": "arg-key"}


def account(pair: Pair, region: str, key: str) -> UserSubscription:
    controls.add_account(pair.hub, "bybit", controls.api_key(key, "secret"))
    owner = credentials(key, "secret", bybit_host=region)
    resume = pair.books.resume(pair.now.wall_ms - 60_000)
    return UserSubscription(stream_id="u", exchange="bybit", credentials=owner, resume=resume)


@pytest.mark.parametrize("region", REGIONS)
def test_an_account_of_every_region_is_reachable_with_its_sites_header(region: str) -> None:
    pair = Pair(Seat("bybit"))
    pair.open("user", account(pair, region, KEYS.get(region, "key")))
    pair.until(pair.whole)
    assert pair.missing() == ""
    assert {call.url.split("/")[2] for call in pair.calls} == {REGIONS[region].rest.split("/")[2]}
    assert not pair.of(Note)


@pytest.mark.parametrize(
    ("region", "key"), [("com", "bra-key"), ("br", "arg-key"), ("ar", "key"), ("br", "key"), ("hk", "bra-key")]
)
def test_a_key_with_another_sites_header_is_refused(region: str, key: str) -> None:
    pair = Pair(Seat("bybit"))
    pair.open("user", account(pair, region, key))
    pair.wait_for_failure()
    assert pair.of(Fail)[0].kind is FailKind.CREDENTIAL


def test_the_socket_of_a_site_is_refused_to_whoever_does_not_name_it() -> None:
    pair = Pair(Seat("bybit"))
    pair.open("user", account(pair, "hk", "key"))
    pair.until(pair.whole)
    connect = pair.of(Connect)[-1]
    assert connect.headers == REGIONS["hk"].headers
    with pytest.raises(AssertionError, match="was refused"):
        pair._connect(Connect(connect.url))


@pytest.mark.parametrize("exchange", ["bybit", "bybitLinear", "bybitInverse"])
def test_a_corporate_action_in_a_gap_is_no_order_that_the_venue_forgot(exchange: str) -> None:
    pair = Pair(Seat(exchange)).joined()
    pair.drop()
    half = pair.hub.halves["bybit"]
    assert isinstance(half, Bybit)
    action = half.corporate_action(pair.account, exchange, pair.symbol.wire, pair.now)
    pair.t += 5
    pair.again()
    assert pair.missing() == ""
    assert not [call for call in pair.of(Call) if action in call.url]
