"""Where account streams stood, for their next owners: in the state, and on this host's disk for the day when both go down."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from connector.core.ports import KeptPosition, PositionKeeper, State
from connector.streams.positions import stamp_of

POSITION_KEEP_S: Final = 7 * 86_400


class PositionStore:
    """The owner's loop only. What the disk can't take costs its copies; what the state can't take raises."""

    def __init__(self, state: State, disk: PositionKeeper | None) -> None:
        self._state, self._disk = state, disk

    def save(self, positions: Mapping[str, bytes], owner: str) -> None:
        """Not those of streams that another process than `owner` owns. Raises `StateUnavailable`; the disk has them then."""
        if self._disk is not None and positions:
            self._disk.save({stream_id: KeptPosition(data, stamp_of(data)) for stream_id, data in positions.items()})
        self._state.save_positions(positions, POSITION_KEEP_S, owner)

    def load(self, stream_ids: Sequence[str]) -> dict[str, bytes]:
        """The newest that is known of each stream. Raises `StateUnavailable`."""
        found = self._state.positions(stream_ids)
        if self._disk is not None:
            for stream_id, kept in self._disk.load(stream_ids).items():
                data = found.get(stream_id)
                if data is None or stamp_of(data) < kept.stamp:
                    found[stream_id] = kept.position
        return found

    def drop_position(self, stream_id: str) -> None:
        """Its last subscriber left: there is no gap to repair. Raises `StateUnavailable`."""
        if self._disk is not None:
            self._disk.forget([stream_id])
        self._state.drop_position(stream_id)
