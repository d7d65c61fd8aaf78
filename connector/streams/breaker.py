"""The auth breaker: a rejected key is tried again only at the end of its cooldown, by nobody earlier (contract 4.3)."""

from __future__ import annotations

import threading
from typing import Final

import msgspec

from connector.core.errors import StateUnavailable
from connector.core.log import get_logger
from connector.core.metrics import METRICS
from connector.core.ports import Clock, Gate, State
from connector.streams.pacing import Ladder, Window, blocks
from connector.streams.pipeline import Pipeline
from exchanges._adapter import Fail, FailKind

log = get_logger(__name__)

AWAY_S: Final = 5.0
"""After the state did not answer, gates are not asked for this long: the supervisor must not wait for each stream."""
MAX_SUPPRESSED: Final = 10_000


class AuthBreaker:
    """Gates by stream id, kept in the state with a TTL and cached here, so that asking is cheap and quiet. Any thread."""

    def __init__(
        self,
        state: State,
        pipeline: Pipeline,
        clock: Clock,
        ladder: Ladder,
        threshold: int,
        window_ms: int,
        owner: str | None = None,
    ) -> None:
        """`owner`: this process, whose gates are not saved over those of another that runs the stream by now."""
        self._owner = owner
        self._state, self._pipeline, self._clock, self._ladder = state, pipeline, clock, ladder
        self._threshold, self._window_ms = threshold, max(window_ms, 60_000)
        self._lock = threading.Lock()
        self._gates: dict[str, Gate] = {}
        self._asked: set[str] = set()
        """Streams of this process whose gate is known, also that there is none. Of others it may change at any moment."""
        self._away_until = float("-inf")
        self._lifted: set[str] = set()
        """Streams whose gate another key opened, and which have not delivered an event since."""
        self._windows: dict[str, Window] = {}
        self._suppressed: dict[str, tuple[int, int]] = {}
        """Stream → end of the cooldown that was told, and how many opens it refused. Outlives closes (bug C4)."""

    def blocked_until_ms(self, stream_id: str, digest: str, *, owned: bool = False) -> int | None:
        """End of the cooldown of this key, or None if it may connect. Other key material than the rejected one may.

        `owned`: this process runs the stream, so it will see when the account recovers.
        """
        now_ms = self._clock.wall_ms()
        gate = self._gate(stream_id, owned=owned)
        if owned and (gate is not None or stream_id in self._lifted):
            self._pipeline.lines.watch_for_recovery(stream_id)
        if gate is None or not blocks(gate, digest, now_ms):
            if gate is not None and gate.digest != digest:
                self.clear(stream_id)
            return None
        return gate.until_ms

    def skipped(self, stream_id: str) -> None:
        """An open was refused by the gate: one line per cooldown, the rest is counted."""
        with self._lock:
            gate = self._gates.get(stream_id)
            until_ms = gate.until_ms if gate is not None else 0
            told_ms, count = self._suppressed.get(stream_id, (-1, 0))
            fresh = told_ms != until_ms
            self._suppressed[stream_id] = (until_ms, 1 if fresh else count + 1)
            if len(self._suppressed) > MAX_SUPPRESSED:
                now_ms = self._clock.wall_ms()
                self._suppressed = {key: value for key, value in self._suppressed.items() if value[0] > now_ms}
        if fresh:
            log.info(
                "open skipped: the venue rejected this key; waiting for the end of the cooldown",
                stream=stream_id,
                until_ms=until_ms or None,
            )

    def rejected(self, stream_id: str, exchange: str, user_id: str, digest: str, fail: Fail) -> int | None:
        """A rejection. Returns the end of the cooldown (ms) if the breaker is open now, None below the threshold."""
        now_ms = self._clock.wall_ms()
        gate = self._gate(stream_id, owned=True)
        with self._lock:
            if gate is not None and gate.digest == digest and now_ms < gate.until_ms:
                return gate.until_ms  # the same burst
            if not fail.first_sight:
                window = self._windows.setdefault(stream_id, Window(self._threshold, self._window_ms))
                if not window.add(now_ms):
                    self._pipeline.lines.watch_for_recovery(stream_id)
                    return None
            gate = self._ladder.reject(gate, digest, fail.reason, now_ms)
            self._gates[stream_id] = gate
            self._asked.add(stream_id)
            self._windows.pop(stream_id, None)
            _, suppressed = self._suppressed.pop(stream_id, (0, 0))
        self._save(stream_id, gate)
        METRICS.count("auth_rejects_total", exchange=exchange)
        log.warning(
            "key rejected by the venue: cooling down",
            stream=stream_id,
            exchange=exchange,
            reason=fail.reason,
            strike=gate.strikes + 1,
            cooldown_s=gate.cooldown_ms // 1000,
            suppressed_opens=suppressed,
        )
        self._pipeline.lines.watch_for_recovery(stream_id)
        notice = {
            "exchange": exchange,
            "userId": user_id,
            "reason": fail.reason,
            "exchangeUUID": stream_id,
            "kind": "legacyKey" if fail.kind is FailKind.KEY_TYPE else "authReject",
        }
        self._pipeline.service("userStreamAuthReject", notice)
        return gate.until_ms

    def recovered(self, stream_id: str) -> None:
        """A genuine account event arrived: strikes, gate and window are forgotten.

        Talks to the state: not for I/O threads.
        """
        broken = self._lift(stream_id)
        with self._lock:
            broken |= stream_id in self._lifted
            self._lifted.discard(stream_id)
        if not broken:
            return  # there were rejections, but too few to open the breaker
        log.info("account delivers events again after an auth cooldown", stream=stream_id)
        self._pipeline.service("userStreamAuthRecovered", {"exchangeUUID": stream_id})

    def clear(self, stream_id: str) -> bool:
        """Another key lifts the gate; the recovery is told with the first event (contract 3.1). True if there was a gate."""
        lifted = self._lift(stream_id)
        with self._lock:
            if lifted and len(self._lifted) < MAX_SUPPRESSED:
                self._lifted.add(stream_id)
        return lifted

    def _lift(self, stream_id: str) -> bool:
        with self._lock:
            known = self._gates.pop(stream_id, None)
            self._windows.pop(stream_id, None)
            self._suppressed.pop(stream_id, None)
        if known is not None:
            try:
                self._state.clear_gate(stream_id, known.digest)
            except StateUnavailable:
                log.warning("a gate could not be removed: the state is unavailable", stream=stream_id)
        return known is not None

    def permit(self, stream_id: str) -> None:
        """A person asks: the cooldown is over now, for this process. The strikes stay, and so does the gate in the state."""
        gate = self._gate(stream_id, owned=True)
        if gate is not None:
            with self._lock:
                self._gates[stream_id] = msgspec.structs.replace(gate, until_ms=self._clock.wall_ms())

    def forget(self, stream_id: str) -> None:
        """The stream comes to or leaves this process; the gate itself stays in the state (a close can't bypass it)."""
        with self._lock:
            self._gates.pop(stream_id, None)
            self._asked.discard(stream_id)
            self._windows.pop(stream_id, None)

    def suspicious(self, stream_id: str) -> bool:
        """From the first auth error of a stream on: flap alarms are suppressed (contract 4.4)."""
        return stream_id in self._gates or stream_id in self._windows

    def _gate(self, stream_id: str, *, owned: bool) -> Gate | None:
        with self._lock:
            if stream_id in self._asked:
                return self._gates.get(stream_id)
        if self._clock.mono() < self._away_until:
            return None
        try:
            gate = self._state.gate(stream_id)
        except StateUnavailable:
            self._away_until = self._clock.mono() + AWAY_S
            return None
        with self._lock:
            if owned:
                self._asked.add(stream_id)
            if gate is not None:
                self._gates[stream_id] = gate
            else:
                self._gates.pop(stream_id, None)
        return gate

    def _save(self, stream_id: str, gate: Gate) -> None:
        try:
            self._state.set_gate(stream_id, gate, self._ladder.keep_ms(gate), self._owner)
        except StateUnavailable:
            self._away_until = self._clock.mono() + AWAY_S
            log.warning("a gate is kept in this process only: the state is unavailable", stream=stream_id)
