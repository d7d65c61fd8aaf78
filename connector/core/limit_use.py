"""What was taken of the exchanges' limits, and who bars which of our addresses: as a process tells it, and all of them."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec


class LimitUse(msgspec.Struct, frozen=True, kw_only=True):
    """One limit of a venue, as it counts for one way out. Holds no secret: a proxy is named without its password."""

    venue: str
    kind: str
    """`connect`, `connect-own`, `rest-<pool>` or `rest-requests`."""
    egress: str = ""
    """Our address, or the proxy; empty = the host's own."""
    used: int = 0
    """Taken within the last period."""
    limit: int = 0
    """0 = not known."""
    per_s: float = 0.0
    barred_until_ms: int = 0
    """Nothing is taken before; 0 = never barred."""
    why: str = ""
    """Of the bar, in words; empty = another process was told."""


def together(uses: Iterable[LimitUse]) -> list[LimitUse]:
    """Those of several processes as one: what all took, and the longest bar."""
    found: dict[tuple[str, str, str], LimitUse] = {}
    for use in uses:
        key = (use.venue, use.kind, use.egress)
        known = found.get(key)
        found[key] = use if known is None else _both(known, use)
    return [found[key] for key in sorted(found)]


def _both(one: LimitUse, other: LimitUse) -> LimitUse:
    longer = max(one, other, key=lambda use: (use.barred_until_ms, bool(use.why)))
    wider = max(one, other, key=lambda use: use.limit)
    return msgspec.structs.replace(longer, used=one.used + other.used, limit=wider.limit, per_s=wider.per_s)
