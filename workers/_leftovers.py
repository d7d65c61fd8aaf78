"""Who runs the streams of which something was left: in the outbox by an earlier process, or on Redis by an outage."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from connector.core.errors import StateUnavailable
from connector.core.ports import Clock, State

BATCH: Final = 500
"""Streams per question."""
AWAY_FOR_S: Final = 5.0
"""A state that did not answer is not asked again for this long: each try may hold the publisher up for seconds."""


class OwnedElsewhere:
    """Says which streams other processes run: those have found by gap repair what is left here, and have published newer
    events since, behind which the old ones must not arrive. Any sink's publisher thread."""

    def __init__(self, state: State, owner: str, clock: Clock, gives: Callable[[str], bool]) -> None:
        """`gives`: whether this process publishes a stream still that has the name of its taker already."""
        self._state, self._owner, self._clock, self._gives = state, owner, clock, gives
        self._away_until = float("-inf")

    def __call__(self, stream_ids: Sequence[str]) -> frozenset[str] | None:
        """Those of `stream_ids` that other processes run; None = the state is away."""
        if self._clock.mono() < self._away_until:
            return None
        elsewhere: set[str] = set()
        try:
            for start in range(0, len(stream_ids), BATCH):
                owners = self._state.owners(stream_ids[start : start + BATCH])
                elsewhere.update(
                    stream_id
                    for stream_id, owner in owners.items()
                    if owner and owner != self._owner and not self._gives(stream_id)
                )
        except StateUnavailable:
            self._away_until = self._clock.mono() + AWAY_FOR_S
            return None
        return frozenset(elsewhere)
