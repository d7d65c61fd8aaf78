"""The four Binance markets as the simulator plays them: hosts, paths, limits, symbols. Source: venues/binance.md 1, 3, 9."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from types import MappingProxyType
from typing import Final, Literal

import msgspec

from exchanges._venue import Rate
from simulator._values import Coin, Market, Symbol

Style = Literal["spot", "usdm", "coinm"]

SPOT_STREAM_HOSTS: Final = frozenset(
    {
        "stream.binance.com",
        "data-stream.binance.vision",
        "stream.testnet.binance.vision",
        "demo-stream.binance.com",
    }
)
WS_API_HOSTS: Final = frozenset({"ws-api.binance.com", "ws-api.testnet.binance.vision", "demo-ws-api.binance.com"})
SPOT_REST_HOSTS: Final = frozenset(
    {
        "api.binance.com",
        "api-gcp.binance.com",
        "api1.binance.com",
        "api2.binance.com",
        "api3.binance.com",
        "api4.binance.com",
        "data-api.binance.vision",
        "testnet.binance.vision",
        "demo-api.binance.com",
    }
)
USDM_STREAM_HOSTS: Final = frozenset(
    {"fstream.binance.com", "fstream.binancefuture.com", "stream.binancefuture.com", "demo-fstream.binance.com"}
)
COINM_STREAM_HOSTS: Final = frozenset(
    {"dstream.binance.com", "dstream-auth.binance.com", "dstream.binancefuture.com", "demo-dstream.binance.com"}
)
FUTURES_REST_HOSTS: Final = frozenset(
    {
        "fapi.binance.com",
        "dapi.binance.com",
        "testnet.binancefuture.com",
        "demo-fapi.binance.com",
        "demo-dapi.binance.com",
    }
)
US_STREAM_HOSTS: Final = frozenset({"stream.binance.us"})
US_REST_HOSTS: Final = frozenset({"api.binance.us"})

HOSTS: Final = (
    SPOT_STREAM_HOSTS
    | WS_API_HOSTS
    | SPOT_REST_HOSTS
    | USDM_STREAM_HOSTS
    | COINM_STREAM_HOSTS
    | FUTURES_REST_HOSTS
    | US_STREAM_HOSTS
    | US_REST_HOSTS
)

CONNECTS: Final = Rate(300, 300.0)
"""Connection attempts per address, each host group on its own."""


class Profile(msgspec.Struct, frozen=True, kw_only=True):
    """One exchange id."""

    exchange: str
    style: Style
    api: str
    """First path segment of REST: `api`, `fapi`, `dapi`."""
    pool: str
    """Weight pool; USD-M and COIN-M share one since 2026-06-30."""
    weight: int
    """Per minute and address."""
    order_offset: int
    """Added to engine ids: realistic sizes, on USD-M above 2^53 as seen in production (bug B11)."""
    messages: Rate
    streams: int
    ping_every_s: float
    pong_within_s: float
    row_kind: int = 0
    """`st` of ticker rows; 0 = the rows carry none."""

    @property
    def spot(self) -> bool:
        return self.style == "spot"


PROFILES: Final = MappingProxyType(
    {
        profile.exchange: profile
        for profile in (
            Profile(
                exchange="binance",
                style="spot",
                api="api",
                pool="spot",
                weight=6000,
                order_offset=48_120_000_000,
                messages=Rate(5, 1.0),
                streams=1024,
                ping_every_s=20.0,
                pong_within_s=60.0,
            ),
            Profile(
                exchange="binanceUsdm",
                style="usdm",
                api="fapi",
                pool="futures",
                weight=2400,
                order_offset=8_389_766_000_000_000_000,
                messages=Rate(10, 1.0),
                streams=200,
                ping_every_s=180.0,
                pong_within_s=600.0,
                row_kind=1,
            ),
            Profile(
                exchange="binanceCoinm",
                style="coinm",
                api="dapi",
                pool="futures",
                weight=2400,
                order_offset=700_000_000_000,
                messages=Rate(10, 1.0),
                streams=200,
                ping_every_s=180.0,
                pong_within_s=600.0,
                row_kind=2,
            ),
            Profile(
                exchange="binanceUS",
                style="spot",
                api="api",
                pool="us",
                weight=1200,
                order_offset=9_200_000_000,
                messages=Rate(5, 1.0),
                streams=1024,
                ping_every_s=20.0,
                pong_within_s=60.0,
            ),
        )
    }
)

SPOT: Final = PROFILES["binance"]
USDM: Final = PROFILES["binanceUsdm"]
COINM: Final = PROFILES["binanceCoinm"]
US: Final = PROFILES["binanceUS"]

_NON_ASCII: Final = Coin("币安", Decimal("0.2514"), 4)
"""Real markets list names like this one; it is in spot and USD-M so that nobody forgets to encode."""


def rest_profile(host: str, path: str) -> Profile | None:
    """The market that a REST path of a host belongs to."""
    if host in US_REST_HOSTS:
        return US
    first = path.split("/", 2)[1] if path.startswith("/") else ""
    return next((p for p in (SPOT, USDM, COINM) if p.api == first), None)


def stream_profile(host: str) -> Profile | None:
    """The market of a stream host."""
    for hosts, profile in (
        (SPOT_STREAM_HOSTS, SPOT),
        (USDM_STREAM_HOSTS, USDM),
        (COINM_STREAM_HOSTS, COINM),
        (US_STREAM_HOSTS, US),
    ):
        if host in hosts:
            return profile
    return None


def markets(coins: Sequence[Coin]) -> list[Market]:
    """All four markets for the given coins."""
    named = [*coins, _NON_ASCII]
    return [
        Market(exchange="binance", wallet="binance", symbols=tuple(_spot(coin) for coin in named)),
        Market(exchange="binanceUsdm", wallet="binanceUsdm", symbols=tuple(_linear(coin) for coin in named)),
        Market(exchange="binanceCoinm", wallet="binanceCoinm", symbols=tuple(_inverse(coin) for coin in coins)),
        Market(exchange="binanceUS", wallet="binanceUS", symbols=tuple(_spot(coin) for coin in coins)),
    ]


def _spot(coin: Coin) -> Symbol:
    return Symbol(
        wire=f"{coin.name}USDT",
        base=coin.name,
        quote="USDT",
        price=coin.price,
        price_decimals=coin.decimals,
        quantity_decimals=5,
    )


def _linear(coin: Coin) -> Symbol:
    return Symbol(
        wire=f"{coin.name}USDT",
        base=coin.name,
        quote="USDT",
        settle="USDT",
        price=coin.price,
        price_decimals=coin.decimals,
        quantity_decimals=3,
        kind="PERPETUAL",
    )


def _inverse(coin: Coin) -> Symbol:
    return Symbol(
        wire=f"{coin.name}USD_PERP",
        base=coin.name,
        quote="USD",
        settle=coin.name,
        inverse=True,
        contract_size=Decimal(100 if coin.name == "BTC" else 10),
        price=coin.price,
        price_decimals=coin.decimals,
        quantity_decimals=0,
        kind="PERPETUAL",
    )
