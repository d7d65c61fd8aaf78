"""OKX's sites, and which one an account lives on (docs/venues/okx.md, section 1)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple

from exchanges._adapter import Call
from exchanges.credentials import Credentials


class Site(NamedTuple):
    """One of OKX's three sites; a key lives on exactly one of them. Demo shares the REST host."""

    ws: str
    demo_ws: str
    rest: str


SITES: Final = {
    "com": Site("wss://ws.okx.com:8443", "wss://wspap.okx.com:8443", "https://openapi.okx.com"),
    "my": Site("wss://wseea.okx.com:8443", "wss://wseeapap.okx.com:8443", "https://eea.okx.com"),
    "app": Site("wss://wsus.okx.com:8443", "wss://wsuspap.okx.com:8443", "https://us.okx.com"),
}
PUBLIC_WS: Final = f"{SITES['com'].ws}/ws/v5/public"
"""Prices are the same on all sites: everybody reads the global one."""
BUSINESS_WS: Final = f"{SITES['com'].ws}/ws/v5/business"
"""All candle channels live here; on `public` they are refused."""
PUBLIC_REST: Final = SITES["com"].rest


class Hosts(NamedTuple):
    """Where one account's connection and calls go."""

    ws: str
    rest: str
    demo: bool


def hosts_of(credentials: Credentials, options: Mapping[str, str]) -> Hosts:
    """By region of the key (unknown: the global site); demo by `ENVOKX=sandbox` or the account's own environment."""
    site = SITES.get((credentials.okx_source or "com").lower(), SITES["com"])
    demo = options.get("ENVOKX", "").lower() == "sandbox" or credentials.environment == "sandbox"
    return Hosts(f"{site.demo_ws if demo else site.ws}/ws/v5/private", site.rest, demo)


def time_call(rest: str, context: object = None) -> Call:
    """Ask for the venue's clock."""
    return Call(
        tag="time", method="GET", url=f"{rest}/api/v5/public/time", pool="public", timeout_s=5.0, context=context
    )
