"""Service announcements on `serviceLog`: restart of the user role, restart and beacon of the price role (contract 3.1).

What was announced last stands in the state, so it is a level: whoever gets the commands compares it with what is, and
announces when they differ. An announcement that is due stands there as well until it was made, so that it does not end with
its process.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Final

import msgspec

from connector.core.clock import Chance
from connector.core.errors import StateUnavailable
from connector.core.log import get_logger
from connector.core.ports import Clock, State
from connector.streams.leases import Leases
from connector.streams.lineage import Lineage, announced_key
from connector.streams.orphans import Orphans
from connector.streams.pipeline import Pipeline

log = get_logger(__name__)

BEACON_S: Final = 60.0
LONGEST_LOOK_S: Final = 5.0
"""A process that stood still counts no more than this of the grace period: what was sent to it meanwhile still waits."""
MAKER_S: Final = 3.0
"""So long an announcement that is due is left to the process that makes it: that may have said it already, have lost the
commands since, and be about to write down that it was made."""
KEEP_GRACE_S: Final = 5.0
"""The rest of the grace period is written down this often."""


class Announced(msgspec.Struct, frozen=True, kw_only=True):
    """What was announced last, or is due."""

    id: str
    """Of the price role: its boot id."""
    life: str
    """The life of the role in which it was made."""
    epoch: int = 0
    """That began with it; 0 = it is due, and nobody has written down that it was made."""
    left_s: float | None = None
    """Of its grace period; None = over."""
    by: str = ""
    """The process that makes it."""


class Announcer:
    """Called where commands arrive, once the state answers. `beacon`: a job; everything else: one thread."""

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
        enabled: Callable[[str], bool],
    ) -> None:
        self._state, self._pipeline, self._clock, self._chance = state, pipeline, clock, chance
        self._role = leases.role
        self._price_role, self._grace_s, self._sweep = price_role, rejoin_grace_s, sweep
        self.lineage = Lineage(state, leases.owner, leases.role, clock, chance)
        self._owner = leases.owner
        self._orphans = Orphans(state, clock, enabled)
        self.beacon_s = BEACON_S
        self.boot_id: str | None = None
        self._key = announced_key(leases.role)
        self._made: Announced | None = None
        """What this process announced and has not yet written down as made."""
        self._others: tuple[str, float] = ("", 0.0)
        """What another process makes, and since when this one has seen that."""
        self._left: tuple[str, float] = ("", 0.0)
        self._looked_at: float | None = None

    @property
    def announces(self) -> bool:
        """Whether this role has anything to announce: candles are subscribed, prices of a ticker service are not."""
        return self._role == "user" or self._price_role in {"all", "candle"}

    def look(self, *, lost: bool) -> bool:
        """Compare what was announced with what is, and announce what is due. The caller gets the commands.

        `lost`: commands may have been lost, so everybody is asked again. True if an announcement is made or due that covers
        this. Raises `StateUnavailable`: the caller tries again.
        """
        life = self.lineage.life
        if life is None:
            return False  # others may be alive
        text = self._state.get(self._key)
        last = _read(text)
        if last is not None and not last.epoch:
            return self._finish(text, last, life, lost)
        self._made = None
        reason = self._reason(last, life, lost)
        if reason is None:
            if last is not None:
                self._grace(text, last)
            return False
        due = Announced(id=self._new_id(), life=life, by=self._owner)
        if not self._state.swap(self._key, text, _text(due)):
            return False  # another process is at it
        log.info("asking everybody again", role=self._role, reason=reason)
        self._make(_text(due), due, life)
        return True

    def settle(self) -> None:
        """Write down at once that an announcement was made: this process gets no commands any more, or not now. Raises
        `StateUnavailable`."""
        if self._made is None or not self._pipeline.confirming:
            return
        text = self._state.get(self._key)
        last = _read(text)
        ours = last is not None and last.id == self._made.id and last.by == self._owner and not last.epoch
        if not ours or self._state.swap(self._key, text, _text(self._made)):
            self._made = None

    def _new_id(self) -> str:
        name = self._chance.new_id()
        return name if self._role == "user" else f"{self._price_role}-{name}"

    def _reason(self, last: Announced | None, life: str, lost: bool) -> str | None:
        """Why to announce, or None."""
        if last is None:
            return "the state knows of no announcement"
        if lost:
            return "the command queue was made anew"
        if last.life != life:
            return "all processes of the role had ended"
        if self._role == "user":
            orphans = self._orphans.lasting(last.epoch)
            if orphans:
                log.error(
                    "the keys of some streams can't be read any more: they are asked for again", streams=len(orphans)
                )
                return "keys were lost"
        return None

    def _finish(self, text: str | None, due: Announced, life: str, lost: bool) -> bool:
        """Make what is due. What another process was about to make is taken from it first, so that one of the two makes it;
        and not before it had time to write down that it did, unless those who send are to be asked again anyway."""
        if due.by == self._owner:
            self._make(text, due, life)
            return True
        name, now = f"{due.by} {due.id}", self._clock.mono()
        if self._others[0] != name:
            self._others = (name, now)
        if now - self._others[1] < MAKER_S and not lost:
            return False
        ours = msgspec.structs.replace(due, by=self._owner)
        if not self._state.swap(self._key, text, _text(ours)):
            return False
        self._made = None
        self._make(_text(ours), ours, life)
        return True

    def _make(self, text: str | None, due: Announced, life: str) -> None:
        """Announce; and when it is surely out, write down that it was made. Until then any process would make it again: what
        waits for the broker goes with its process."""
        if self._made is None or self._made.id != due.id:
            epoch = self._say_user() if self._role == "user" else self._say_price(due)
            self._made = msgspec.structs.replace(due, life=life, epoch=epoch, left_s=self._grace_s)
        elif self._pipeline.confirming and self._state.swap(self._key, text, _text(self._made)):
            self._made = None

    def _say_user(self) -> int:
        """All counts start again at 0 while the sockets stay up; `close_stale` ends later what nobody asked for again."""
        epoch = self._state.begin_epoch(self._clock.wall_ms())
        self._pipeline.raw_service("restart", {"restart": "userStream"})
        log.info("announced the start of the account streams", epoch=epoch)
        return epoch

    # --- grace period ---

    def _grace(self, text: str | None, last: Announced) -> None:
        now = self._clock.mono()
        passed = 0.0 if self._looked_at is None else min(now - self._looked_at, LONGEST_LOOK_S)
        self._looked_at = now
        if last.left_s is None:
            return
        known, left_s = self._left
        left_s = last.left_s if known != last.id else left_s - passed
        self._left = (last.id, left_s)
        if left_s <= 0:
            self._close_stale(last.epoch) if self._role == "user" else self._drop_candles(last.id)
            self._state.swap(self._key, text, _text(msgspec.structs.replace(last, left_s=None)))
        elif last.left_s - left_s >= KEEP_GRACE_S:
            self._state.swap(self._key, text, _text(msgspec.structs.replace(last, left_s=left_s)))

    def _close_stale(self, epoch: int) -> None:
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

    # --- price role ---

    def _drop_candles(self, name: str) -> None:
        dropped = self._state.drop_candles(name)
        if dropped:
            log.info("forgot candles that nobody asked for again", topics=len(dropped))
            self._sweep()

    def _say_price(self, due: Announced) -> int:
        """What is subscribed goes on; what nobody asked for again by the end of the grace period is forgotten."""
        now_ms = self._clock.wall_ms()
        self._state.begin_candles()
        self.boot_id = due.id
        self._pipeline.raw_service("restart", {"restart": "priceConnector", "bootId": self.boot_id})
        self._beacon_now()
        log.info("announced the start of the price feeds", boot_id=self.boot_id)
        return now_ms

    def beacon(self) -> None:
        """One beacon a minute for the whole role (scheduler job)."""
        if not self.announces:
            return
        try:
            last = _read(self._state.get(self._key))
            if last is None or not last.epoch:
                return  # an announcement is due, which tells as much
            self.boot_id = last.id
            if self._state.once("beacon", self._owner, BEACON_S - 1.0):
                self._beacon_now()
        except StateUnavailable:
            if self.boot_id is not None:
                self._beacon_now()

    def _beacon_now(self) -> None:
        body = {"priceConnectorAlive": {"bootId": self.boot_id, "role": self._price_role}}
        self._pipeline.raw_service("priceConnectorAlive", body)


def _text(announced: Announced) -> str:
    return msgspec.json.encode(announced).decode()


def _read(text: str | None) -> Announced | None:
    """None as well for what another version wrote: then it is announced again."""
    if text is None:
        return None
    try:
        return msgspec.json.decode(text, type=Announced)
    except msgspec.MsgspecError as error:
        log.warning("what was announced last can't be read", reason=str(error))
        return None
