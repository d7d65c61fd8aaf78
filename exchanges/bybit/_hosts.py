"""Hosts of Bybit v5, by region. Source: bybit-exchange.github.io/docs/v5 (guide), July 2026."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple

from exchanges.credentials import Credentials

CATEGORY: Final = {"bybit": "spot", "bybitLinear": "linear", "bybitInverse": "inverse"}
PUBLIC_REST: Final = "https://api.bybit.com"
PUBLIC_WS: Final = "wss://stream.bybit.com/v5/public/"


class Site(NamedTuple):
    """Where the accounts of one region live."""

    ws: tuple[str, ...]
    """Origins of the private WebSocket: the next one is for when none before it can be opened."""
    rest: str
    headers: tuple[tuple[str, str], ...] = ()
    """Sent with every call and handshake of the region's accounts, and never with another's."""


_GLOBAL_WS: Final = "wss://stream.bybit.com"
_GLOBAL_REST: Final = "https://api.bybit.com"
REGIONS: Final[Mapping[str, Site]] = {
    "com": Site((_GLOBAL_WS,), _GLOBAL_REST),
    # The connect page lists the host of `eu` for `system.status` only, and bybit-api 4.7.7 uses the global one.
    "eu": Site(("wss://stream.bybit.eu", _GLOBAL_WS), "https://api.bybit.eu"),
    # No host is listed for `nl`; bybit-api uses the global one by design, checked live on 2026-09-04.
    "nl": Site((_GLOBAL_WS, "wss://stream.bybit.nl"), "https://api.bybit.nl"),
    "tr": Site(("wss://stream.bybit.tr",), "https://api.bybit.tr"),
    "kz": Site(("wss://stream.bybit.kz",), "https://api.bybit.kz"),
    "ge": Site(("wss://stream.bybitgeorgia.ge",), "https://api.bybitgeorgia.ge"),
    "id": Site(("wss://stream.bybit.id",), "https://api.bybit.id"),
    "jp": Site(("wss://stream.manepa.jp",), "https://api.manepa.jp"),
    "ae": Site((_GLOBAL_WS,), "https://api.bybit.ae"),
    "hk": Site(("wss://stream.spark-fintech.com",), "https://api.spark-fintech.com", (("x-refer-site-id", "HKG"),)),
    "br": Site((_GLOBAL_WS,), _GLOBAL_REST, (("x-site-id", "BRA_BTL"),)),
    "ar": Site((_GLOBAL_WS,), _GLOBAL_REST, (("x-site-id", "ARG_BTL"),)),
}
"""By `bybitHost`. Source: page "Connect" (2026-07-24), bybit-api 4.7.7; `br` and `ar` are names of ours. `VENUE_ENDPOINTS`
overrides single origins."""
TESTNET: Final = Site(("wss://stream-testnet.bybit.com",), "https://api-testnet.bybit.com")


def region_of(credentials: Credentials) -> str:
    """The region that an account names, in the spelling of `REGIONS`."""
    return (credentials.bybit_host or "com").strip().lower()


def site_of(credentials: Credentials) -> Site:
    """Where an account lives. The sandbox wins over a region; an unknown region means `com` (contract 1.3, bug A60)."""
    if credentials.environment == "sandbox":
        return TESTNET
    return REGIONS.get(region_of(credentials), REGIONS["com"])
