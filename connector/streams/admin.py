"""Which exchanges the platform's admin config lets run (contract 3.2)."""

from __future__ import annotations

from connector.core.errors import StateUnavailable
from connector.core.log import get_logger
from connector.core.ports import State
from exchanges.ids import real_id

log = get_logger(__name__)


class AdminSwitches:
    """Any thread. `used` False: this deployment has no admin config, and everything runs."""

    def __init__(self, state: State, *, used: bool) -> None:
        self._state, self._used = state, used
        self._enabled: frozenset[str] | None = None

    @property
    def loaded(self) -> bool:
        """Whether a config was read; then it alone decides."""
        return self._enabled is not None

    def enabled(self, exchange: str) -> bool:
        """Whether this exchange id, or the real one of a paper id, may run."""
        return self._enabled is None or real_id(exchange) in self._enabled

    def refresh(self) -> bool:
        """Read the config again; True if the set changed."""
        if not self._used:
            return False
        try:
            enabled = self._state.enabled_exchanges()
        except StateUnavailable:
            return False
        if enabled == self._enabled:
            return False
        self._enabled = enabled
        log.info("enabled exchanges changed", exchanges=sorted(enabled) if enabled is not None else "all")
        return True
