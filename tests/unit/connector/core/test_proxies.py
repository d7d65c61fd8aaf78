"""Proxies as settings tell them: which forms are taken, what is shown of them, and which hosts go without."""

from __future__ import annotations

import pytest

from connector.core.errors import InvalidSetting
from connector.core.proxies import Proxy, Standard, exempted, read_proxies, read_proxy
from connector.core.settings import Settings

SECRET = "s3cret-of-the-proxy"


@pytest.mark.parametrize(
    ("text", "label", "user", "password"),
    [
        ("http://proxy:3128", "http://proxy:3128", "", ""),
        ("http://proxy", "http://proxy:80", "", ""),
        ("proxy:3128", "http://proxy:3128", "", ""),
        ("SOCKS5://proxy", "socks5://proxy:1080", "", ""),
        ("socks5h://u:p%40w@10.0.0.1:9/", "socks5://10.0.0.1:9", "u", "p@w"),
        ("http://[2001:db8::1]:3128", "http://[2001:db8::1]:3128", "", ""),
        ("http://only-user@proxy:1", "http://proxy:1", "only-user", ""),
    ],
)
def test_a_proxy_is_read_and_shown_without_its_credentials(text: str, label: str, user: str, password: str) -> None:
    proxy = read_proxy(text)
    assert (proxy.label, proxy.user, proxy.password) == (label, user, password)
    assert str(proxy) == label
    assert not password or password not in repr(proxy)


@pytest.mark.parametrize(
    "text",
    [
        "https://proxy:443",
        "socks4://proxy:1080",
        "ftp://proxy",
        "http://",
        "http://proxy:0",
        "http://proxy:many",
        "http://proxy:70000",
        "http://proxy:1/path",
        "http://proxy:1?x=1",
        "http://:password@proxy:1",
        "http://a b:1",
        f"http://u:{'x' * 256}@proxy:1",
        "http://u:line%0d%0aX-Evil:1@proxy:1",
        "http://[::1:80",
    ],
)
def test_a_proxy_that_cannot_be_used_is_refused_by_form(text: str) -> None:
    with pytest.raises(ValueError, match="takes http://host:port or socks5://host:port"):
        read_proxy(text)


def test_a_list_has_proxies_and_direct_and_nothing_twice() -> None:
    assert read_proxies("socks5://a:1, direct,,http://u:p@a:1") == (
        Proxy("socks5", "a", 1),
        None,
        Proxy("http", "a", 1, "u", "p"),
    )
    for text, place in (
        ("http://a:1,http://a:1", "entry 2"),
        ("direct,DIRECT", "entry 2"),
        ("http://a:1,ftp://b", "2"),
    ):
        with pytest.raises(ValueError, match=place):
            read_proxies(text)
    with pytest.raises(ValueError, match="or direct"):
        read_proxies(" , ")


@pytest.mark.parametrize(
    ("exempt", "host", "port", "covered"),
    [
        ("*", "anything", 443, True),
        ("example.com", "example.com", 443, True),
        ("example.com", "api.EXAMPLE.com.", 443, True),
        (".example.com", "api.example.com", 443, True),
        ("*.example.com", "api.example.com", 443, True),
        ("example.com", "notexample.com", 443, False),
        ("example.com:8443", "example.com", 8443, True),
        ("example.com:8443", "example.com", 443, False),
        ("a.net b.net", "b.net", 443, True),
        ("10.0.0.0/8", "10.1.2.3", 443, True),
        ("10.0.0.0/8", "11.1.2.3", 443, False),
        ("2001:db8::/32", "2001:db8::5", 443, True),
        ("::1", "[::1]", 443, True),
        ("10.0.0.0/8", "ten.example", 443, False),
        ("", "example.com", 443, False),
        (",. ,", "example.com", 443, False),
    ],
)
def test_hosts_that_go_without_a_proxy(exempt: str, host: str, port: int, covered: bool) -> None:
    assert exempted(exempt, host, port) is covered


def test_the_standard_variables_are_for_what_they_say() -> None:
    https, every = read_proxy("http://a:1"), read_proxy("socks5://b:1")
    both = Standard(https, every, "example.com")
    assert both.proxy_for("venue", 443, secure=True) is https
    assert both.proxy_for("venue", 80, secure=False) is every
    assert both.proxy_for("api.example.com", 443, secure=True) is None
    assert Standard(None, every).proxy_for("venue", 443, secure=True) is every
    assert Standard(https).proxy_for("venue", 80, secure=False) is None
    for here in ("localhost", "LOCALHOST.", "127.0.0.1", "127.9.9.9", "::1"):
        assert both.proxy_for(here, 443, secure=True) is None


def test_the_settings_say_in_one_line_which_ways_lead_to_the_exchanges() -> None:
    login = f"user-of-the-proxy:{SECRET}@"
    environ = {
        "EGRESS_PROXIES": f"socks5://{login}a:1,direct",
        "PROXY_OKX": f"http://{login}b:2",
        "PROXY_OKKX": f"http://{login}c:3",
        "https_proxy": f"http://{login}d:4",
        "HTTPS_PROXY": "http://never:1",
        "NO_PROXY": "example.com",
    }
    settings = Settings.from_env(environ)
    assert settings.ways.said() == (
        "EGRESS_PROXIES: socks5://a:1, direct; PROXY_OKX: http://b:2; HTTPS_PROXY: http://d:4; "
        "neither is used: EGRESS_IPS and EGRESS_PROXIES come first; "
        "not used, because no exchange has this name: PROXY_OKKX"
    )
    assert Settings.from_env({**environ, "EGRESS_PROXIES": "", "PROXY_OKKX": ""}).ways.said() == (
        "PROXY_OKX: http://b:2; HTTPS_PROXY: http://d:4; NO_PROXY: example.com"
    )
    assert Settings.from_env({"NO_PROXY": "x"}).ways.said() == ""
    for text in (repr(settings), str(settings.ways), settings.ways.said()):
        assert SECRET not in text
        assert "user-of-the-proxy" not in text


@pytest.mark.parametrize("name", ["EGRESS_PROXIES", "PROXY_BINANCE", "PROXY_PAPER", "HTTPS_PROXY", "all_proxy"])
def test_a_wrong_proxy_names_its_setting_and_hides_its_value(name: str) -> None:
    with pytest.raises(InvalidSetting) as refused:
        Settings.from_env({name: f"ftp://user-of-the-proxy:{SECRET}@proxy:1"})
    assert name.upper() in str(refused.value)
    assert "takes http://" in str(refused.value)
    assert SECRET not in str(refused.value)
