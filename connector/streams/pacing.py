"""When to try again: reconnect backoff, the auth ladder, flap windows. Pure; randomness is passed in."""

from __future__ import annotations

from collections import deque
from typing import Final

from connector.core.ports import Gate

BACKOFF_BASE_S: Final = 0.5
BACKOFF_CAP_S: Final = 60.0
HEALTHY_AFTER_S: Final = 30.0
"""A session that was live this long resets the backoff of its streams."""
FORGIVEN_S: Final = 5.0
"""Each time that a session was live this long makes up for one failed attempt: the pause grows only while a venue refuses, or
takes connections and drops them at once."""
MAX_EXPONENT: Final = 20
"""Contract 4.3: limits the ladder's power of two."""

LINGER_S: Final = 1.0
"""A session that was replaced is read this much longer, here or in the process that hands a stream over: what was on its way
over it when the new one subscribed comes nowhere else."""


def backoff_s(failures: int, uniform: float, floor_s: float = 0.0) -> float:
    """Full jitter: uniform in [0, min(cap, base * 2^failures)], at least `floor_s`.

    `failures` counts the consecutive failed attempts before this one (0 = first retry); `uniform` is in [0, 1).
    """
    ceiling = min(BACKOFF_CAP_S, BACKOFF_BASE_S * 2.0 ** min(failures, MAX_EXPONENT))
    return max(floor_s, uniform * ceiling)


def forgiven(failures: int, live_s: float) -> int:
    """What is left of `failures` after a session that was live for `live_s`."""
    return 0 if live_s >= HEALTHY_AFTER_S else max(0, failures - int(live_s // FORGIVEN_S))


class Ladder:
    """The auth cooldown ladder (contract 4.3): base x 2^strike up to the cap."""

    def __init__(self, base_ms: int, cap_ms: int) -> None:
        self.base_ms = base_ms
        self.cap_ms = cap_ms

    def reject(self, gate: Gate | None, digest: str, reason: str, now_ms: int) -> Gate:
        """The gate after one more rejection (one burst of rejections must be reported once).

        The run goes on if this rejection comes at most twice the previous cooldown after the last one; otherwise, and for
        other key material, it starts at the base.
        """
        strikes = 0
        if gate is not None and gate.digest == digest and now_ms - gate.last_reject_ms <= 2 * gate.cooldown_ms:
            strikes = gate.strikes + 1
        cooldown_ms = min(self.cap_ms, self.base_ms * 2 ** min(strikes, MAX_EXPONENT))
        return Gate(
            digest=digest,
            strikes=strikes,
            until_ms=now_ms + cooldown_ms,
            last_reject_ms=now_ms,
            cooldown_ms=cooldown_ms,
            reason=reason,
        )

    @staticmethod
    def keep_ms(gate: Gate) -> int:
        """How long the gate must be remembered so that the ladder can go on: twice the cooldown."""
        return 2 * gate.cooldown_ms


def blocks(gate: Gate | None, digest: str, now_ms: int) -> bool:
    """Whether an open with this key material must not connect now."""
    return gate is not None and gate.digest == digest and now_ms < gate.until_ms


class Window:
    """Counts happenings in a rolling window; `add` says when the threshold is reached and then starts anew."""

    __slots__ = ("_threshold", "_times", "_window_ms")

    def __init__(self, threshold: int, window_ms: int) -> None:
        self._threshold = threshold
        self._window_ms = window_ms
        self._times: deque[int] = deque()

    def add(self, now_ms: int) -> bool:
        self._times.append(now_ms)
        while self._times and self._times[0] < now_ms - self._window_ms:
            self._times.popleft()
        if len(self._times) >= self._threshold:
            self._times.clear()
            return True
        return False

    def clear(self) -> None:
        self._times.clear()
