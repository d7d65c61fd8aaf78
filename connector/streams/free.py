"""Units without an owner, as one process sees them: which it may take, and when."""

from __future__ import annotations

from collections.abc import Sequence, Set
from typing import Final

from connector.core.ports import Clock
from connector.streams.leases import Leases

UNOWNED_GRACE_S: Final = 2.0
"""A free unit is left this long to the process that should take it; then anybody takes it."""
LATER_S: Final = 10.0
"""A free unit that this process can't run is looked at again after this long."""


class Free:
    """Units that nobody owns, and for how long: each is left a moment to the process that should take it. One thread."""

    def __init__(self, leases: Leases, clock: Clock) -> None:
        self._leases, self._clock = leases, clock
        self._since: dict[str, float] = {}
        self._later: dict[str, float] = {}
        """Units that can't run here → when to look again."""

    def may_claim(self, unit: str) -> bool:
        """Whether this process may take a unit that it found without an owner."""
        if self._leases.mine_first(unit):
            return True
        now = self._clock.mono()
        return now - self._since.setdefault(unit, now) >= UNOWNED_GRACE_S

    def owned(self, unit: str) -> None:
        """Somebody has it, or nobody wants it: the next time that it is free, its grace begins anew."""
        self._since.pop(unit, None)

    def only(self, free: Set[str]) -> None:
        """Forget what is not free any more."""
        self._since = {unit: since for unit, since in self._since.items() if unit in free}

    def postpone(self, unit: str) -> None:
        """It can't run here; a command or a switch that changes this is told."""
        self._later[unit] = self._clock.mono() + LATER_S

    def asked(self, units: Sequence[str] | None) -> None:
        """Something about these has changed, or about all: they may run here now."""
        self._later = {unit: until for unit, until in self._later.items() if units is not None and unit not in units}

    def due(self, free: Set[str]) -> list[str]:
        """Which of all that are free this process may take now. Those that it should have come first, so that many processes
        do not ask about all of them at once."""
        now = self._clock.mono()
        self._later = {unit: until for unit, until in self._later.items() if unit in free}
        due = sorted(unit for unit in free if self._later.get(unit, now) <= now)
        due = [unit for unit in due if self.may_claim(unit)]
        return sorted(due, key=self._leases.mine_first, reverse=True)
