"""Who runs the streams of which an earlier process left events in the outbox."""

from __future__ import annotations

from typing import Final

from connector.core.errors import StateUnavailable
from connector.core.ports import Clock, State

GOOD_FOR_S: Final = 1.0
"""How long an answer is good for: an outbox may hold thousands of events of one stream."""


class OwnedElsewhere:
    """Says whether another process runs a stream: then it has found by gap repair what the earlier process left behind, and
    has published newer events since, behind which the old ones must not arrive. RabbitMQ publisher's thread."""

    def __init__(self, state: State, owner: str, clock: Clock) -> None:
        self._state, self._owner, self._clock = state, owner, clock
        self._known: dict[str, tuple[float, bool]] = {}

    def __call__(self, stream_id: str) -> bool:
        now = self._clock.mono()
        asked_at, elsewhere = self._known.get(stream_id, (now - GOOD_FOR_S, False))
        if now - asked_at >= GOOD_FOR_S:
            elsewhere = self._ask(stream_id)
            self._known[stream_id] = (now, elsewhere)
        return elsewhere

    def _ask(self, stream_id: str) -> bool:
        try:
            owner = self._state.owners([stream_id]).get(stream_id)
        except StateUnavailable:
            return False
        return owner is not None and owner != self._owner
