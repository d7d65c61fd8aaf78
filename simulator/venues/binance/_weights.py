"""Request weight per address: 429 above the limit, 418 for those who go on. Pure."""

from __future__ import annotations

from typing import Any, Final

from exchanges._venue import Rate
from simulator._peer import Weight
from simulator._venue import Instant
from simulator.venues.binance._auth import Failure
from simulator.venues.binance._symbols import Profile

PATIENCE: Final = 20
"""Refused requests in one minute after which the address is banned."""
BAN_MS: Final = 120_000
"""First ban: 2 minutes."""


class _Address:
    def __init__(self, limit: int) -> None:
        self.weight = Weight(Rate(limit, 60.0))
        self.refused = 0
        self.banned_until_ms = 0


class Weights:
    """One window per pool and address."""

    def __init__(self, *, enforced: bool) -> None:
        self._enforced = enforced
        self._addresses: dict[tuple[str, str], _Address] = {}

    def _of(self, profile: Profile, remote: str) -> _Address:
        return self._addresses.setdefault((profile.pool, remote), _Address(profile.weight))

    def used(self, profile: Profile, remote: str) -> int:
        return self._of(profile, remote).weight.used

    def usage(self, profile: Profile, remote: str) -> dict[str, Any]:
        """As it stands in WebSocket API answers."""
        return {
            "rateLimitType": "REQUEST_WEIGHT",
            "interval": "MINUTE",
            "intervalNum": 1,
            "limit": profile.weight,
            "count": self.used(profile, remote),
        }

    def spend(self, profile: Profile, remote: str, weight: int, now: Instant) -> None:
        """Raises `Failure` 429 or 418."""
        address = self._of(profile, remote)
        if now.wall_ms < address.banned_until_ms:
            raise _ban(address.banned_until_ms, now)
        fine = address.weight.take(weight, now.wall_ms)
        if fine or not self._enforced:
            address.refused = 0 if fine else address.refused
            return
        address.refused += 1
        if address.refused > PATIENCE:
            address.refused = 0
            address.banned_until_ms = now.wall_ms + BAN_MS
            raise _ban(address.banned_until_ms, now)
        wait_ms = address.weight.wait_ms(now.wall_ms)
        raise Failure(
            429,
            -1003,
            f"Too much request weight used; current limit is {profile.weight} request weight per 1 MINUTE. "
            "Please use WebSocket Streams for live updates to avoid polling the API.",
            retry_after_s=-(-wait_ms // 1000),
            until_ms=now.wall_ms + wait_ms,
        )


def _ban(until_ms: int, now: Instant) -> Failure:
    return Failure(
        418,
        -1003,
        f"Way too much request weight used; IP banned until {until_ms}. "
        "Please use WebSocket Streams for live updates to avoid bans.",
        retry_after_s=-(-(until_ms - now.wall_ms) // 1000),
        until_ms=until_ms,
    )
