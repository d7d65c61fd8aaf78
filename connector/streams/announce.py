"""Service announcements on `serviceLog`: restart of the user role, restart and beacon of the price role (contract 3.1)."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Final

from connector.core.clock import Chance
from connector.core.errors import StateUnavailable
from connector.core.log import get_logger
from connector.core.ports import Clock, State
from connector.streams.leases import Leases
from connector.streams.pipeline import Pipeline

log = get_logger(__name__)

BEACON_S: Final = 60.0
_BOOT_KEY: Final = "boot:price"
_ANNOUNCED_KEY: Final = "announced:user"
"""There once the user role was announced, as long as the state remembers anything."""


class Announcer:
    """Called by the boot code once the command consumer is ready and the state answers. Any thread."""

    def __init__(
        self,
        state: State,
        leases: Leases,
        pipeline: Pipeline,
        clock: Clock,
        chance: Chance,
        *,
        price_role: str,
        rejoin_grace_s: float,
        sweep: Callable[[], None],
    ) -> None:
        self._state, self._leases, self._pipeline, self._clock = state, leases, pipeline, clock
        self._chance = chance
        self._price_role, self._grace_s, self._sweep = price_role, rejoin_grace_s, sweep
        self.beacon_s = BEACON_S
        self.boot_id: str | None = None
        self._met_others = False

    def met(self) -> None:
        """Note who else is live. Called at the start of the process, after the first beat.

        A process that is deployed beside an old one gets the commands only when that one lets them go, and may be alone by
        then: what counts is that somebody kept the streams when it came.
        """
        self._met_others = any(worker.owner != self._leases.owner for worker in self._leases.workers)

    def user_started(self, *, lost: bool = False) -> int | None:
        """Announce the user role if no other process kept its streams. Returns the new epoch, or None.

        `lost`: commands may have been lost, so everybody is asked again whoever is live. All counts start again at 0 while
        the sockets stay up; `close_stale` ends later what nobody asked for again. Raises `StateUnavailable`: the caller
        tries again.
        """
        others = [worker for worker in self._state.workers("user") if worker.owner != self._leases.owner]
        if (others or self._met_others) and not lost:
            # Live is not enough: processes that start together on an empty state would all leave it to the others.
            if self._state.get(_ANNOUNCED_KEY) is not None:
                log.info("no announcement: other processes of the role are live", others=len(others))
                return None
            if not self._state.once("announce:user", self._leases.owner, 30.0):
                log.info("no announcement: another process is at it", others=len(others))
                return None
        self._state.put(_ANNOUNCED_KEY, self._leases.owner)
        epoch = self._state.begin_epoch(self._clock.wall_ms())
        self._pipeline.raw_service("restart", {"restart": "userStream"})
        log.info("announced the start of the account streams", epoch=epoch)
        return epoch

    def orphans(self, enabled: Callable[[str], bool]) -> set[str]:
        """Wanted streams that nobody runs and that this process can't open, because their keys are not known here.

        Without CREDENTIALS_KEYS the keys go with the process that got them. Raises `StateUnavailable`.
        """
        ids = self._state.wanted_ids()
        unowned = sorted(ids - self._state.owners(sorted(ids)).keys()) if ids else []
        wanted = self._state.wanted(unowned) if unowned else {}
        return {name for name, entry in wanted.items() if entry.credentials is None and enabled(entry.exchange)}

    def ask_for_orphans(self, orphans: int) -> bool:
        """Whether to announce again because of streams that only their senders can bring back; once per grace period."""
        if not self._state.once("orphans", self._leases.owner, self._grace_s):
            return False
        log.error(
            "streams whose keys no process knows: asking for all of them again; set CREDENTIALS_KEYS", streams=orphans
        )
        return True

    def close_stale(self, epoch: int) -> None:
        """End of the grace period after an announcement. Raises `StateUnavailable`: the caller tries again."""
        stale = self._state.close_stale(epoch)
        if not stale:
            return
        log.info("closed streams that nobody asked for again", streams=len(stale))
        try:
            for stream_id in stale:
                self._state.notify("*", json.dumps({"t": "reconcile", "id": stream_id}))
        except StateUnavailable:
            log.debug("nobody was told; the sweeps find it", streams=len(stale))
        self._sweep()

    @property
    def grace_s(self) -> float:
        return self._grace_s

    def price_started(self, *, lost: bool = False) -> None:
        """Announce the price role with a boot id, unless another process of the role is live and its id known.

        `lost`: candle requests may have been lost, so a new id asks for them again. Raises `StateUnavailable`: the caller
        tries again.
        """
        if self._price_role not in {"all", "candle"}:
            return
        others = [worker for worker in self._state.workers("price") if worker.owner != self._leases.owner]
        self.boot_id = self._state.get(_BOOT_KEY)
        if (others or self._met_others) and self.boot_id is not None and not lost:
            return
        self._new_boot()

    def _new_boot(self) -> None:
        self.boot_id = f"{self._price_role}-{self._chance.new_id()[:8]}-{self._clock.wall_ms()}-1"
        self._state.put(_BOOT_KEY, self.boot_id)
        self._pipeline.raw_service("restart", {"restart": "priceConnector", "bootId": self.boot_id})
        self._beacon_now()
        log.info("announced the start of the price feeds", boot_id=self.boot_id)

    def beacon(self) -> None:
        """One beacon a minute for the whole role (scheduler job); a forgotten boot id means forgotten subscriptions."""
        if self.boot_id is None:
            return
        try:
            known = self._state.get(_BOOT_KEY)
            if known is None:
                if self._state.once("boot-lost", self._leases.owner, 30.0):
                    log.warning("the state forgot the candle subscriptions: announcing a new boot id")
                    self._new_boot()
                return
            self.boot_id = known
            if self._state.once("beacon", self._leases.owner, BEACON_S - 1.0):
                self._beacon_now()
        except StateUnavailable:
            self._beacon_now()

    def _beacon_now(self) -> None:
        role = self._price_role or "ticker"
        self._pipeline.raw_service(
            "priceConnectorAlive", {"priceConnectorAlive": {"bootId": self.boot_id, "role": role}}
        )
