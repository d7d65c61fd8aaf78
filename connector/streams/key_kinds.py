"""Which kinds of keys the venues took: later connections start with it, and old kinds are told while there is time.

A venue that changes its API may want another kind of key from a date on. Until then such a stream is live; who runs the
service has to know how many accounts will not be.
"""

from __future__ import annotations

from collections import Counter
from typing import Final, NamedTuple

from connector.core.log import get_logger
from connector.core.metrics import METRICS
from connector.core.ports import Clock
from connector.streams.spec import StreamSpec
from exchanges._adapter import KeyKind

log = get_logger(__name__)

KEPT_S: Final = 86_400.0
"""A kind is asked for again after this long."""
_DAY_MS: Final = 86_400_000


class _Key(NamedTuple):
    exchange: str
    digest: str
    generation: int
    kind: KeyKind
    mono: float


class KeyKinds:
    """`learnt`, `kind_of` and `ended`: supervisor thread. `tell`: any thread."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._keys: dict[str, _Key] = {}
        self._told_days: dict[str, int] = {}

    def learnt(self, spec: StreamSpec, kind: KeyKind) -> None:
        """A connection found out what the stream's key is."""
        known = self._keys.get(spec.stream_id)
        mono = self._clock.mono()
        fresh = known is None or known.digest != spec.digest or mono - known.mono >= KEPT_S
        if not fresh and known is not None and known.kind == kind:
            if known.generation != spec.generation:
                self._keys[spec.stream_id] = known._replace(generation=spec.generation)
            return
        self._keys[spec.stream_id] = _Key(spec.exchange, spec.digest, spec.generation, kind, mono)
        if kind.advice:
            log.info("the venue will refuse this kind of key", stream=spec.stream_id, advice=kind.advice)

    def kind_of(self, spec: StreamSpec) -> str:
        """What is known of the stream's key. A new key and a forced restart are looked at anew."""
        known = self._keys.get(spec.stream_id)
        if known is None or (known.digest, known.generation) != (spec.digest, spec.generation):
            return ""
        return known.kind.kind if self._clock.mono() - known.mono < KEPT_S else ""

    def ended(self, stream_id: str) -> None:
        """The stream does not run here any more."""
        self._keys.pop(stream_id, None)

    def old(self) -> dict[str, int]:
        """Accounts by exchange id whose kind of key the venue will refuse one day. Any thread."""
        return dict(Counter(key.exchange for key in list(self._keys.values()) if key.kind.advice))

    def tell(self) -> None:
        """The gauge of accounts with an old kind of key, and from the venue's date on a warning each day."""
        old = [key for key in list(self._keys.values()) if key.kind.advice]
        counts = Counter(key.exchange for key in old)
        METRICS.replace("old_keys", [({"exchange": exchange}, float(count)) for exchange, count in counts.items()])
        now_ms = self._clock.wall_ms()
        for exchange, count in counts.items():
            due = next(key.kind for key in old if key.exchange == exchange)
            day = now_ms // _DAY_MS
            if due.warn_ms and now_ms >= due.warn_ms and self._told_days.get(exchange) != day:
                self._told_days[exchange] = day
                log.warning(
                    "accounts of this process have keys that the venue will refuse",
                    exchange=exchange,
                    accounts=count,
                    advice=due.advice,
                )
