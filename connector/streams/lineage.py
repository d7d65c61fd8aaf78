"""Which life of its role a process belongs to: the time in which at least one process of the role ran (contract 3.1).

Every process of a role renews one text in the state, `<life>|<renewals>`, which runs out after the last of them. Heartbeats
do not tell this: that of a killed process outlives it, and its successor would take its own past for another process.
"""

from __future__ import annotations

from typing import Final

from connector.core.clock import Chance
from connector.core.errors import StateUnavailable
from connector.core.log import get_logger
from connector.core.ports import Clock, Role, State

log = get_logger(__name__)

LIFE_S: Final = 6.0
"""So long a life outlasts its last renewal: a call of the state may take some seconds to fail."""
RESTORE_S: Final = 2.5
"""How long a process that starts leaves a forgotten text to those who know it: the state may have been away."""
BACK_S: Final = 5.0
"""So long after the state forgot them the heartbeats of those who live are there again, and tell who is alone."""
_OVER: Final = "over"


def announced_key(role: Role) -> str:
    """Name of the text that tells what was announced last."""
    return f"announced:{role}"


class Lineage:
    """The life of one process. `beat` and `conclude`: one thread; `life`: any.

    A process that starts joins a life that somebody renews while it looks. If nobody is there, or nobody renews it until it
    runs out, it begins another, and all that start with it join that one.
    """

    def __init__(self, state: State, owner: str, role: Role, clock: Clock, chance: Chance) -> None:
        self._state, self._owner, self._role, self._clock, self._chance = state, owner, role, clock, chance
        self._key = f"life:{role}"
        self.life: str | None = None
        """None until it is known whether others are alive."""
        self._seen: str | None = None
        self._missed_at: float | None = None
        self._renewals = 0
        self._young_at = float("-inf")
        """When the text was last missing, or had been: then heartbeats were missing as well."""

    def beat(self) -> None:
        """Renew it, or find out which it is. Often: several times within `LIFE_S`. Raises `StateUnavailable`."""
        try:
            text = self._state.get(self._key)
        except StateUnavailable:
            self._seen = None  # nobody could renew it
            raise
        if text is None:
            self._restore()
        elif text == _OVER:
            self._begin(text)
        elif self.life is not None or (self._seen is not None and text != self._seen):
            # Who comes back late belongs to the life that began without it.
            self._renew(text)
        else:
            # Heartbeats do not help: those of the dead outlast them, those of the living are gone when the state forgot.
            self._seen = text

    def conclude(self) -> None:
        """End the life if no other process has it: the next one need not wait until it runs out. If there are others, show it
        to those who have only just come. After the heartbeat is gone. Raises `StateUnavailable`."""
        text = self._state.get(self._key)
        if text is None or self.life is None or not text.startswith(f"{self.life}|"):
            return
        if self._alone() and self._clock.mono() - self._young_at >= BACK_S:
            self._state.swap(self._key, text, _OVER)
        else:
            self._renew(text)

    def _alone(self) -> bool:
        # A price service for tickers only has no part in it: what is announced are candles.
        others = [worker for worker in self._state.workers(self._role) if worker.owner != self._owner]
        return not any(worker.runs("candle") for worker in others)

    def _restore(self) -> None:
        """It ran out while all stood still or the state was away, or the state forgot it: who has it writes it again."""
        self._young_at = self._clock.mono()
        if self.life is not None:
            self._state.swap(self._key, None, f"{self.life}|1", LIFE_S)
            return
        now = self._clock.mono()
        if self._missed_at is None:
            self._missed_at = now
        fresh = self._state.get(announced_key(self._role)) is None
        if fresh or now - self._missed_at >= RESTORE_S:
            self._begin(None)

    def _begin(self, before: str | None) -> None:
        life = self._chance.new_id()
        if self._state.swap(self._key, before, f"{life}|1", LIFE_S):
            log.info("no other process of the role runs: a new life of it begins", role=self._role)
            self.life = life

    def _renew(self, text: str) -> None:
        life, _, renewals = text.partition("|")
        if int(renewals) < self._renewals:
            self._young_at = self._clock.mono()
        self._renewals = int(renewals)
        if life != self.life:
            log.info("joined the processes of the role", role=self._role)
        self.life = life
        self._state.swap(self._key, text, f"{life}|{int(renewals) + 1}", LIFE_S)
