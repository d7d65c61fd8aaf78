"""WhiteBIT's sites."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple

SITE_OPTION: Final = "WHITEBIT_SITE"


class Site(NamedTuple):
    """Where the venue is reached."""

    rest: str
    ws: str


COM: Final = Site("https://whitebit.com", "wss://api.whitebit.com/ws")
SITES: Final[Mapping[str, Site]] = {"com": COM, "eu": Site("https://whitebit.eu", "wss://api.whitebit.eu/ws")}
"""The second one stands in the documents, which mark it as not released."""


def site_of(options: Mapping[str, str]) -> Site:
    return SITES.get(options.get(SITE_OPTION, "").strip().lower(), COM)


def option_refusal(options: Mapping[str, str]) -> str | None:
    """None, or why the chosen site is none."""
    chosen = options.get(SITE_OPTION, "").strip().lower()
    return f"{SITE_OPTION}={chosen!r} is none of {', '.join(SITES)}" if chosen and chosen not in SITES else None


NO_SANDBOX: Final = "WhiteBIT has no sandbox: its demo tokens trade on the live venue"
