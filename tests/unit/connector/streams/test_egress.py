"""The ways out to the exchanges: their names, which venue takes which, and how a proxy that does not work is left alone."""

from __future__ import annotations

import pytest

from connector.core import redact
from connector.core.proxies import Standard, Ways, read_proxies, read_proxy
from connector.streams.egress import LONGEST_REST_S, REST_S, Egresses
from tests.clocks import Standing as Clock


def egresses(clock: Clock | None = None, **ways: object) -> Egresses:
    return Egresses(Ways(**ways), clock or Clock())  # type: ignore[arg-type]


def test_without_settings_the_host_takes_its_own_way() -> None:
    plain = egresses()
    assert plain.names("okx") == ("",)
    assert plain.way("").proxy is None
    assert plain.way("10.0.0.9").source_ip == "10.0.0.9"


def test_addresses_and_proxies_are_one_list_and_a_venue_may_have_its_own() -> None:
    both = egresses(
        ips=("10.0.0.1",), proxies=read_proxies("socks5://a:1,direct"), venues={"okx": read_proxies("http://b:2")}
    )
    assert both.names("bybit") == ("10.0.0.1", "socks5://a:1", "")
    assert both.names("okx") == ("http://b:2",)
    assert both.names("paper") == ("10.0.0.1",), "the paper server is beside us, not behind the proxies"


def test_the_paper_server_gets_a_proxy_only_by_its_name() -> None:
    assert egresses(standard=Standard(read_proxy("http://a:1"))).names("paper") == ("",)
    named = egresses(venues={"paper": read_proxies("http://a:1")})
    assert named.names("paper") == ("http://a:1",)


def test_the_standard_variables_count_only_without_ways_of_our_own() -> None:
    standard = Standard(read_proxy("http://a:1"), read_proxy("http://b:1"))
    assert egresses(standard=standard).names("okx") == ("http://a:1",)
    assert egresses(standard=standard, ips=("10.0.0.1",)).names("okx") == ("10.0.0.1",)


def test_users_of_one_proxy_are_ways_of_their_own_and_no_name_holds_a_credential() -> None:
    """Providers give each user another exit address: the budgets must not be one."""
    several = egresses(
        proxies=read_proxies("http://one:secret-1@p:1,http://two:secret-2@p:1"),
        venues={"okx": read_proxies("http://two:secret-2@p:1")},
    )
    assert several.names("bybit") == ("http://p:1", "http://p:1#2")
    assert several.names("okx") == ("http://p:1#2",), "the same proxy has one name everywhere"
    proxy = several.way("http://p:1#2").proxy
    assert proxy is not None
    assert proxy.user == "two"
    assert "secret-1" not in redact.text("it said secret-1")


def test_a_proxy_that_failed_rests_and_others_are_taken_meanwhile() -> None:
    clock = Clock()
    two = egresses(clock, proxies=read_proxies("http://a:1,http://b:1"))
    two.failed("http://a:1", "dead")
    assert two.working("okx") == ("http://b:1",)
    assert two.rests("okx", "http://a:1")
    assert not two.rests("okx", "http://b:1")
    clock.now += REST_S
    assert two.working("okx") == ("http://a:1", "http://b:1")
    two.failed("http://a:1", "dead")
    clock.now += REST_S
    assert two.rests("okx", "http://a:1"), "longer with each time"
    two.worked("http://a:1")
    assert not two.rests("okx", "http://a:1")


def test_when_every_proxy_rests_all_are_tried() -> None:
    two = egresses(proxies=read_proxies("http://a:1,http://b:1"))
    two.failed("http://a:1", "dead")
    two.failed("http://b:1", "dead")
    assert two.working("okx") == ("http://a:1", "http://b:1")
    assert not two.rests("okx", "http://a:1")


def test_failures_at_the_same_time_count_once_and_the_rest_has_a_bound() -> None:
    clock = Clock()
    two = egresses(clock, proxies=read_proxies("http://a:1,http://b:1"))
    for _ in range(50):
        two.failed("http://a:1", "dead")
    clock.now += REST_S
    assert not two.rests("okx", "http://a:1")
    for _ in range(20):
        two.failed("http://a:1", "dead")
        clock.now += LONGEST_REST_S
        assert not two.rests("okx", "http://a:1")


def test_an_exchange_that_a_proxy_cannot_reach_costs_the_others_nothing() -> None:
    """It answers "bad gateway" also while that exchange is down for everybody."""
    two = egresses(proxies=read_proxies("http://a:1,http://b:1"))
    two.failed("http://a:1", "HTTP 502", "okx")
    assert two.working("okx") == ("http://b:1",)
    assert two.working("bybit") == ("http://a:1", "http://b:1")
    two.worked("http://a:1", "bybit")
    assert two.rests("okx", "http://a:1")
    two.worked("http://a:1", "okx")
    assert not two.rests("okx", "http://a:1")


@pytest.mark.parametrize("name", ["", "10.0.0.9"])
def test_a_way_that_no_setting_named_never_rests(name: str) -> None:
    assert not egresses(proxies=read_proxies("http://a:1")).rests("okx", name)
