"""The two ways to Kraken's linear perpetuals: the classic futures API, which ends, and the unified WebSocket."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from exchanges._adapter import Adapter, Answer, Call, Instant, Outputs, Subscription
from exchanges._venue import Setup

OPTION: Final = "KRAKEN_FUTURES_ROUTE"
AUTO: Final = "auto"
CLASSIC: Final = "classic"
UNIFIED: Final = "unified"
ROUTES: Final = (AUTO, CLASSIC, UNIFIED)
END_MS: Final = 1_803_859_200_000
"""2027-03-01 00:00 UTC: the classic API ends (Kraken's change log)."""
WARN_MS: Final = 1_798_761_600_000
"""2027-01-01 00:00 UTC: from here on an account with the old kind of key is worth a warning each day."""
NEW_KEY: Final = (
    "this is a Kraken Derivatives key; Kraken ends that API on 2027-03-01: "
    "create a key at Settings → API with 'Access WebSocket API'"
)


def route_refusal(options: Mapping[str, str]) -> str | None:
    """None, or why the option can't be used."""
    value = _value(options)
    return None if value in ROUTES else f"{OPTION}={value!r} is none of {', '.join(ROUTES)}"


def route_of(options: Mapping[str, str], wall_ms: int) -> str:
    """`auto`, `classic` or `unified`; after the end of the classic API always `unified`."""
    return UNIFIED if wall_ms >= END_MS else _value(options)


def _value(options: Mapping[str, str]) -> str:
    return options.get(OPTION, "").strip().lower() or AUTO


class Routed:
    """A market connection that takes its way when it is first used: only then the time is known. Satisfies `Adapter`.

    Prices take the unified way if they are told to, and from the end of the classic API on.
    """

    def __init__(self, setup: Setup, classic: Callable[[Setup], Adapter], unified: Callable[[Setup], Adapter]) -> None:
        self._setup, self._classic, self._unified = setup, classic, unified
        self._inner: Adapter | None = None

    def _at(self, now: Instant) -> Adapter:
        if self._inner is None:
            way = self._unified if route_of(self._setup.options, now.wall_ms) == UNIFIED else self._classic
            self._inner = way(self._setup)
        return self._inner

    @property
    def subscribed(self) -> int | None:
        """See `exchanges._adapter.TellsSymbols`."""
        return getattr(self._inner, "subscribed", 0)

    def start(self, now: Instant) -> Outputs:
        return self._at(now).start(now)

    def connected(self, now: Instant) -> Outputs:
        return self._at(now).connected(now)

    def received(self, frame: bytes, now: Instant) -> Outputs:
        return self._at(now).received(frame, now)

    def answered(self, call: Call, answer: Answer, now: Instant) -> Outputs:
        return self._at(now).answered(call, answer, now)

    def woken(self, now: Instant) -> Outputs:
        return self._at(now).woken(now)

    def deadline(self) -> float | None:
        return self._inner.deadline() if self._inner is not None else None

    def add(self, subscription: Subscription, now: Instant) -> Outputs:
        return self._at(now).add(subscription, now)

    def remove(self, stream_id: str, now: Instant) -> Outputs:
        return self._at(now).remove(stream_id, now)

    def closing(self, now: Instant) -> Outputs:
        return self._at(now).closing(now)
