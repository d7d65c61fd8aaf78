"""Hosts, markets, limits and ids of Bybit as the simulator plays them. Source: docs/venues/bybit.md 1, 3, 9."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Final

from exchanges._venue import Rate
from simulator._values import Coin, Market, Symbol

_REGIONS: Final = (
    "bybit.com",
    "bybit.eu",
    "bybit.tr",
    "bybit.kz",
    "bybitgeorgia.ge",
    "bybit.id",
    "manepa.jp",
    "spark-fintech.com",
)
STREAM_HOSTS: Final = frozenset(
    {*(f"stream.{region}" for region in _REGIONS), "stream-testnet.bybit.com", "stream-demo.bybit.com"}
)
"""The connect page lists none for `nl` and `ae`: their accounts use the global one."""
REST_HOSTS: Final = frozenset(
    {
        *(f"api.{region}" for region in (*_REGIONS, "bybit.nl", "bybit.ae")),
        "api.bytick.com",
        "api-testnet.bybit.com",
        "api-demo.bybit.com",
    }
)

Header = tuple[str, str]
HOST_SITES: Final[dict[str, Header]] = {
    "api.spark-fintech.com": ("x-refer-site-id", "HKG"),
    "stream.spark-fintech.com": ("x-refer-site-id", "HKG"),
}
"""Hosts that answer only whoever names the site."""
KEY_SITES: Final[dict[str, Header]] = {"bra-": ("x-site-id", "BRA_BTL"), "arg-": ("x-site-id", "ARG_BTL")}
"""Sites on the global hosts, by how the keys of their accounts begin here."""
SITE_HEADERS: Final = ("x-refer-site-id", "x-site-id")

EXCHANGES: Final = {"spot": "bybit", "linear": "bybitLinear", "inverse": "bybitInverse"}
CATEGORIES: Final = {exchange: category for category, exchange in EXCHANGES.items()}
WALLET: Final = "bybit"
"""Unified 2.0: one wallet for all three markets."""

CONNECTS: Final = Rate(500, 300.0)
"""New connections per address and domain."""
REST_PER_ADDRESS: Final = Rate(600, 5.0)
REST_PER_ACCOUNT: Final = Rate(50, 1.0)
"""Signed calls a second per account and path."""
ARGS_PER_REQUEST: Final = {"spot": 10, "linear": 1000, "inverse": 1000}
ARGS_CHARACTERS: Final = 21_000
IDLE_S: Final = 600.0

INTERVALS: Final = {
    "1": "1m",
    "3": "3m",
    "5": "5m",
    "15": "15m",
    "30": "30m",
    "60": "1h",
    "120": "2h",
    "240": "4h",
    "360": "6h",
    "720": "12h",
    "D": "1d",
    "W": "1w",
}
"""The venue's codes → canonical names."""
CODES: Final = {name: code for code, name in INTERVALS.items()}

_SPOT_OFFSET: Final = 1_801_114_445_550_000_000
_UUID_HEAD: Final = "8f0e4b1a-5d2c-4c7d-9a55-"


def wire_id(category: str, order_id: int) -> str:
    """The engine's id in the venue's style: a long number on spot, a UUID elsewhere."""
    return str(_SPOT_OFFSET + order_id) if category == "spot" else f"{_UUID_HEAD}{order_id:012x}"


def engine_id(category: str, text: str) -> int | None:
    """The engine's id behind a wire id; None for anything else."""
    if category == "spot":
        return int(text) - _SPOT_OFFSET if text.isascii() and text.isdigit() else None
    if not text.startswith(_UUID_HEAD):
        return None
    try:
        return int(text[len(_UUID_HEAD) :], 16)
    except ValueError:
        return None


def markets(coins: Sequence[Coin]) -> list[Market]:
    """Spot in USDT, linear in USDT and USDC, inverse in the coin."""
    usdc = coins[:3]
    linear = [_linear(coin, f"{coin.name}USDT", "USDT") for coin in coins]
    linear += [_linear(coin, f"{coin.name}PERP", "USDC") for coin in usdc]
    return [
        Market(exchange="bybit", wallet=WALLET, symbols=tuple(_spot(coin) for coin in coins)),
        Market(exchange="bybitLinear", wallet=WALLET, symbols=tuple(linear)),
        Market(exchange="bybitInverse", wallet=WALLET, symbols=tuple(_inverse(coin) for coin in coins)),
    ]


def _spot(coin: Coin) -> Symbol:
    return Symbol(
        wire=f"{coin.name}USDT",
        base=coin.name,
        quote="USDT",
        price=coin.price,
        price_decimals=coin.decimals,
        quantity_decimals=6,
    )


def _linear(coin: Coin, wire: str, settle: str) -> Symbol:
    return Symbol(
        wire=wire,
        base=coin.name,
        quote=settle,
        settle=settle,
        price=coin.price,
        price_decimals=coin.decimals,
        quantity_decimals=3,
        kind="LinearPerpetual",
    )


def _inverse(coin: Coin) -> Symbol:
    return Symbol(
        wire=f"{coin.name}USD",
        base=coin.name,
        quote="USD",
        settle=coin.name,
        inverse=True,
        contract_size=Decimal(1),
        price=coin.price,
        price_decimals=coin.decimals,
        quantity_decimals=0,
        kind="InversePerpetual",
    )


def site_fits(key: str, host: str, headers: Mapping[str, str]) -> bool:
    """Whether a key is used with its own site's header, and with no other one."""
    sites = {HOST_SITES.get(host), next((site for begin, site in KEY_SITES.items() if key.startswith(begin)), None)}
    return {(name, headers[name]) for name in SITE_HEADERS if name in headers} == sites - {None}
