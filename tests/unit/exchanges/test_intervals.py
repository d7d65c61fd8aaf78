"""Which candles each venue has, under which names, and how long they are: a wrong length closes them at the wrong time."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from exchanges._adapter import CandleSubscription
from exchanges._candles import CandleFeed
from exchanges.instruments import Instrument, SymbolTable
from tests.unit.exchanges.driver import setup
from tests.unit.exchanges.every_venue import load

DAY = 1_440
GENERIC: Mapping[str, int] = {
    "1m": 1, "3m": 3, "5m": 5, "15m": 15, "30m": 30, "1h": 60, "2h": 120, "4h": 240, "6h": 360, "8h": 480, "12h": 720,
    "1d": DAY, "3d": 3 * DAY, "1w": 7 * DAY,
}  # fmt: skip
"""Name that any venue may be asked with → minutes."""
LACKING = {
    "binance": "",
    "bybit": "8h 3d",
    "hyperliquid": "6h",
    "kraken": "3m 2h 6h 8h 12h 3d",
    "okx": "6h 12h 3d",
    "whitebit": "6h 12h 3d",
}
"""Venue → generic names that it has no candle for."""
OWN: Mapping[str, Mapping[str, int]] = {
    "bybit": {
        "1": 1, "3": 3, "5": 5, "15": 15, "30": 30, "60": 60, "120": 120, "240": 240, "360": 360, "720": 720,
        "D": DAY, "W": 7 * DAY,
    },
    "okx": {
        "candle1m": 1, "candle3m": 3, "candle5m": 5, "candle15m": 15, "candle30m": 30, "candle1H": 60, "candle2H": 120,
        "candle4H": 240, "candle6H": 360, "candle12H": 720, "candle1D": DAY, "candle1W": 7 * DAY, "candle6Hutc": 360,
        "candle12Hutc": 720, "candle1Dutc": DAY, "candle1Wutc": 7 * DAY,
    },
}  # fmt: skip
"""Venue → its own names → minutes."""
TABLE = SymbolTable([Instrument(wire="BTCUSDT", pair="BTCUSDT", base="BTC", quote="USDT", settle="USDT")])


@pytest.mark.parametrize("name", LACKING)
def test_a_candle_is_as_long_as_its_name_says_and_what_the_venue_lacks_is_refused(name: str) -> None:
    venue = load(name)
    exchange = venue.exchanges[0]
    adapter = venue.candle(setup(exchange, TABLE))
    assert isinstance(adapter, CandleFeed)
    lacking = LACKING[name].split()
    for interval, minutes in {**GENERIC, **OWN.get(name, {})}.items():
        refusal = venue.candle_refusal(exchange, "BTCUSDT", interval, TABLE)
        assert (refusal is None) == (interval not in lacking), (interval, refusal)
        if refusal is None:
            asked = CandleSubscription(stream_id="c", exchange=exchange, symbol="BTCUSDT", interval=interval)
            route = adapter._route(asked)
            assert isinstance(route, tuple)
            assert route[1] == minutes * 60_000, interval
