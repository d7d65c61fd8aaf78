"""A derivatives account on the unified socket: spot's session with the class of the assets, margin, and no REST list."""

from __future__ import annotations

from typing import Final

from exchanges._adapter import Instant, Note, Output, Outputs, UserSubscription
from exchanges._venue import Setup
from exchanges.kraken import _errors, _hosts
from exchanges.kraken._connection_spot_frames import Frame
from exchanges.kraken._connection_topic import DERIVATIVES
from exchanges.kraken._positions import CHANNEL as POSITIONS
from exchanges.kraken._route import NEW_KEY
from exchanges.kraken._user_spot import SpotUser
from exchanges.kraken._user_spot_account import SpotAccount
from exchanges.kraken._user_unified_account import UnifiedAccount

MARGIN: Final = "margin"
SNAPSHOT_S: Final = 10.0
"""From the acknowledgement to the snapshot; then it is asked for once more."""
SECOND_S: Final = 1.0
"""Whether orders and fills come in one snapshot or in two is documented nowhere: for the second one."""
PERMISSION: Final = "the key lacks the permission 'Access WebSocket API'"
TOO_LARGE: Final = b'"snapshot_too_large"'
_SNAPSHOT, _AGAIN, _SECOND = "snapshot", "snapshot again", "second snapshot"


class UnifiedUser(SpotUser):
    """One account: connect → token → subscribe → snapshots → live. See `exchanges._adapter.Adapter`."""

    url = _hosts.UNIFIED_PRIVATE_WS

    def __init__(self, setup: Setup) -> None:
        super().__init__(setup)
        self._unified: UnifiedAccount | None = None

    def _account(self, subscription: UserSubscription, now: Instant) -> SpotAccount:
        self._unified = UnifiedAccount(self._setup, subscription, now)
        return self._unified

    def _wishes(self, channel: str) -> dict[str, object]:
        if channel == "executions":
            return {**DERIVATIVES, "snap_orders": True, "snap_trades": True, "order_status": True}
        if channel == POSITIONS:
            return {**DERIVATIVES, "snapshot": True}
        return dict(DERIVATIVES) if channel == MARGIN else {"snapshot": True}

    def _advice(self, reason: str) -> str:
        said = _errors.normalised(reason)
        if said.startswith("eapi:invalid key"):
            return f"if {NEW_KEY}"
        return PERMISSION if "permission" in said else ""

    # --- answers ---

    def _answer(self, session: SpotAccount, message: Frame, now: Instant) -> list[Output]:
        channel = message.result.channel if message.result else ""
        channel = channel or self._asked.get(message.req_id or 0, "")
        if channel == MARGIN and message.error is not None:
            # Without it balances have no `venueAvailable`, which is no reason to be without orders.
            return [Note(f"margin: {message.error[:100]}", "info" if _errors.benign(message.error) else "warning")]
        if channel == POSITIONS and message.error is not None:
            return [Note(f"positions are not told: {message.error[:100]}")]
        if channel == "executions" and _AGAIN in self._alarms and message.error is not None:
            return [self._failed(session, _errors.failure_of_text(message.error))]
        return super()._answer(session, message, now)

    def _all_confirmed(self, session: SpotAccount, now: Instant) -> list[Output]:
        self._alarms.set(_SNAPSHOT, now.mono + SNAPSHOT_S)
        extras = [self._request("subscribe", channel, self._token) for channel in (MARGIN, POSITIONS)]
        return [*extras, *self._go_on(now)]

    # --- snapshots ---

    def received(self, frame: bytes, now: Instant) -> Outputs:
        outputs = super().received(b"" if TOO_LARGE in frame else frame, now)
        return [*outputs, *self._go_on(now)] if self._waits else outputs

    @property
    def _waits(self) -> bool:
        """Something waits for snapshots."""
        return any(name in self._alarms for name in (_SNAPSHOT, _AGAIN, _SECOND))

    def _go_on(self, now: Instant) -> list[Output]:
        """With what the snapshots told, as soon as all of them are here."""
        unified = self._unified
        if unified is None or not unified.has_snapshot:
            return []
        if not unified.has_fills:
            if _SECOND not in self._alarms:
                self._alarms.set(_SECOND, now.mono + SECOND_S)
            return []
        return self._read(unified, now) if unified.wants_fills or unified.has_wallet else []

    def _read(self, unified: UnifiedAccount, now: Instant) -> list[Output]:
        """No further snapshot is waited for."""
        for name in (_SNAPSHOT, _AGAIN, _SECOND):
            self._alarms.clear(name)
        if unified.wants_fills:
            return unified.ask(unified.fills_told(now), now)
        return super()._all_confirmed(unified, now)

    def _alarm(self, session: SpotAccount, name: str, now: Instant) -> list[Output]:
        unified = self._unified
        if unified is None or name not in (_SNAPSHOT, _AGAIN, _SECOND):
            return super()._alarm(session, name, now)
        if name == _SECOND:
            unified.has_fills = True  # there are none
            return self._go_on(now)
        if name == _SNAPSHOT and not unified.has_snapshot:
            return self._ask_again(now)
        return self._read(unified, now)

    def _ask_again(self, now: Instant) -> list[Output]:
        """Subscribe the orders anew, for their snapshots."""
        if self._unified is not None:
            self._unified.has_snapshot = self._unified.has_fills = False
        self._alarms.set(_AGAIN, now.mono + SNAPSHOT_S)
        return [self._request(method, "executions", self._token) for method in ("unsubscribe", "subscribe")]

    def woken(self, now: Instant) -> Outputs:
        outputs = list(super().woken(now))
        unified = self._unified
        if unified is not None and unified.wants_fills and _AGAIN not in self._alarms:
            outputs.extend(self._ask_again(now))
        return outputs

    def _leave(self, stream_id: str, now: Instant) -> Outputs:
        self._unified = None
        return super()._leave(stream_id, now)


def refused_key(reason: str) -> bool:
    """Whether a token call says that the key is none of this API: then it may be one of the classic derivatives API."""
    return _errors.normalised(reason).startswith("eapi:invalid key")
