"""Hyperliquid's two networks, and the one REST path (docs/venues/hyperliquid.md 1 and 2)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple

import msgspec

from exchanges._adapter import Call


class Site(NamedTuple):
    """One of the two networks. One socket URL and one REST path serve every market."""

    ws: str
    info: str
    testnet: bool


LIVE: Final = Site("wss://api.hyperliquid.xyz/ws", "https://api.hyperliquid.xyz/info", testnet=False)
TESTNET: Final = Site("wss://api.hyperliquid-testnet.xyz/ws", "https://api.hyperliquid-testnet.xyz/info", testnet=True)


def site_of(options: Mapping[str, str]) -> Site:
    """The network that `HYPERLIQUIDENV` names: `demo` is the testnet."""
    return TESTNET if options.get("HYPERLIQUIDENV", "").strip().lower() == "demo" else LIVE


POOL: Final = "info"
_HEADERS: Final = {"Content-Type": "application/json"}


def info(site: Site, tag: str, weight: int, body: Mapping[str, object], context: object = None) -> Call:
    """A question to the one REST path. All are POST and unsigned."""
    return Call(
        tag=tag,
        method="POST",
        url=site.info,
        headers=_HEADERS,
        body=msgspec.json.encode(body).decode(),
        weight=weight,
        pool=POOL,
        context=context,
    )
