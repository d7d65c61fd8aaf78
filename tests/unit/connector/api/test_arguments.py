"""What a program hands in and can't be used is refused before anything starts, by the setting's name."""

from __future__ import annotations

import pytest

from connector import Connector, InvalidSetting, PriceConnector


@pytest.mark.parametrize(
    "state",
    ["localhost:6379", "http://h", "redis://", "redis://h:port", "redis://h:70000", "redis://h/x", "redis://[h"],
)
def test_a_state_that_is_no_address_of_a_redis_is_refused(state: str) -> None:
    with pytest.raises(InvalidSetting, match="state: takes redis://"):
        Connector(state=state)


def test_symbols_without_their_exchange_are_refused() -> None:
    with pytest.raises(InvalidSetting, match="PRICE_SYMBOLS"):
        PriceConnector(symbols="BTCUSDT")


def test_an_exchange_that_nobody_has_is_refused() -> None:
    with pytest.raises(InvalidSetting, match=r"exchanges: takes binance, .* not nasdaq"):
        PriceConnector(exchanges=["nasdaq"])


def test_keys_that_can_not_seal_are_refused_without_showing_them() -> None:
    with pytest.raises(InvalidSetting, match="CREDENTIALS_KEYS") as refused:
        Connector({"CREDENTIALS_KEYS": "canary"}, state="redis://127.0.0.1:1")
    assert "canary" not in str(refused.value)
