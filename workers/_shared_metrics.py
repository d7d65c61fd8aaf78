"""The figures of a worker process, put where the process with the health port finds them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from connector.core.errors import StateUnavailable
from connector.core.limit_use import LimitUse
from connector.core.log import get_logger
from connector.core.metrics import METRICS
from connector.core.ports import Clock, State
from workers.health import METRICS_KEY
from workers.hour import Hour

log = get_logger(__name__)

SHARE_S: Final = 5.0


class SharedMetrics:
    def __init__(
        self, state: State, owner: str, clock: Clock, limits: Callable[[], Sequence[LimitUse]] = tuple
    ) -> None:
        """`limits`: what the process took of the venues' limits."""
        self._state, self._key, self._limits = state, METRICS_KEY + owner, limits
        self._hour = Hour(clock, METRICS)

    def share(self) -> None:
        """Job: put the figures, good until a few more were missed."""
        try:
            figures = METRICS.dump(self._hour.note(), self._limits())
            self._state.put(self._key, figures.decode(), SHARE_S * 4)
        except StateUnavailable:
            log.debug("metrics are not shared: the state is unavailable")
