from __future__ import annotations

import pytest

from connector.core.errors import InvalidSetting
from connector.streams.endpoints import Endpoints


def test_the_gateway_takes_every_url_and_keeps_the_host_with_its_port_as_first_segment() -> None:
    endpoints = Endpoints("127.0.0.1:9000")
    assert (
        endpoints.resolve("wss://stream.binance.com:9443/ws?x=1")
        == "ws://127.0.0.1:9000/stream.binance.com:9443/ws?x=1"
    )
    assert endpoints.resolve("https://api.binance.com/p") == "http://127.0.0.1:9000/api.binance.com/p"


def test_a_single_origin_can_be_moved_and_others_stay() -> None:
    endpoints = Endpoints("", {"wss://a.example:8443": "wss://localhost:1", "https://b.example": "http://h/base"})
    assert endpoints.resolve("wss://a.example:8443/ws/v5?q=1#f") == "wss://localhost:1/ws/v5?q=1#f"
    assert endpoints.resolve("https://b.example/p") == "http://h/base/p"
    assert endpoints.resolve("wss://a.example/ws") == "wss://a.example/ws"


def test_an_override_goes_before_the_gateway() -> None:
    endpoints = Endpoints("g:1", {"https://b.example": "https://c.example"})
    assert endpoints.resolve("https://b.example/p") == "https://c.example/p"


@pytest.mark.parametrize("bad", ["localhost:1", "ftp://x", "wss://"])
def test_a_bad_origin_is_named(bad: str) -> None:
    with pytest.raises(InvalidSetting, match="VENUE_ENDPOINTS"):
        Endpoints("", {bad: "wss://ok"})
