"""What Bitget's half, its connections and its REST share. Pure."""

from __future__ import annotations

from exchanges._venue import Rate
from simulator._peer import Window
from simulator._venue import Instant, World
from simulator.engine import Account
from simulator.venues.bitget._auth import starts_unified
from simulator.venues.bitget._frames import TickerFrames, modern_ticker, ticker


class State:
    """Lives as long as the half."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.tickers = TickerFrames(ticker)
        self.modern_tickers = TickerFrames(modern_ticker)
        self.modes: dict[str, str] = {}
        """Accounts whose mode was changed."""
        self.states: dict[str, str] = {}
        """States of contracts, where they are not the usual ones."""
        self.units = "contracts"
        self.doubt = False
        self.closed_until = 0.0
        """Monotonic end of a maintenance."""
        self._calls: dict[tuple[str, str], Window] = {}

    def mode(self, account: Account) -> str:
        """The word of the settings call."""
        return self.modes.get(account.account_id) or ("unified" if starts_unified(account) else "classic")

    def unified(self, account: Account) -> bool:
        return self.mode(account) in ("unified", "hybrid", "upgrading")

    def allow(self, path: str, payer: str, per_second: int, now: Instant) -> bool:
        """Count a REST call against the allowance of its path and user (public: address)."""
        if not self.world.settings.limits:
            return True
        return self._calls.setdefault((path, payer), Window(Rate(per_second, 1.0))).hit(now.mono)
