"""Balances of one account, published every 20 s at the most: never lost, only the newest of a period (bug D17)."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha256
from typing import Final

from exchanges._adapter import Instant
from exchanges.events import AccountPosition, Balance

PERIOD_S: Final = 20.0
"""Contract 4.8; on futures the venue tells balances with every price move."""


class Coalescer:
    """Gathers absolute balances per asset. I/O thread of the session only."""

    def __init__(self, period_s: float = PERIOD_S) -> None:
        self._period_s = period_s
        self._waiting: dict[str, Balance] = {}
        self._told: dict[str, Balance] = {}
        self._not_before = 0.0

    def add(self, balances: Sequence[Balance], now: Instant) -> AccountPosition | None:
        """Take balances; returns the event if it may go out now."""
        for balance in balances:
            # Told again after other values of the period: the newest wins, and nothing is told twice in a row.
            if self._told.get(balance.asset) == balance and self._period_s:
                self._waiting.pop(balance.asset, None)
            else:
                self._waiting.pop(balance.asset, None)
                self._waiting[balance.asset] = balance
        return self.due(now)

    def due(self, now: Instant) -> AccountPosition | None:
        """Call at `deadline()` or later."""
        if not self._waiting or now.mono < self._not_before:
            return None
        balances = list(self._waiting.values())
        self._told.update(self._waiting)
        self._waiting.clear()
        self._not_before = now.mono + self._period_s
        return position(balances, now.wall_ms)

    def deadline(self) -> float | None:
        return self._not_before if self._waiting else None


def position(balances: Sequence[Balance], time_ms: int) -> AccountPosition:
    """The event of these balances; the time is ours, as the platform's REST writer has it."""
    content = "|".join(f"{one.asset}={one.free}+{one.locked}+{one.venue_available}" for one in balances)
    return AccountPosition(
        event_time=time_ms,
        last_account_update=0,
        balances=list(balances),
        unique_message_id=f"balances:{time_ms}:{sha256(content.encode()).hexdigest()[:16]}",
    )
