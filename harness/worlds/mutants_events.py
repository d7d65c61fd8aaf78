"""Old defects of what is published, kept and repaired. See `harness.worlds.mutants`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any
from unittest.mock import patch

from connector.core.messages import StreamClosed
from connector.sinks._amqp_link import AmqpLink
from connector.sinks._durable_lane import DurableLane
from connector.streams.lines import Lines
from connector.streams.placement import Placement
from connector.streams.tracker import OrderTracker
from exchanges import _repair
from exchanges._positions import Positions
from exchanges.events import ExecutionReport, OrderTradeUpdate


def changes_of_positions_lost() -> AbstractContextManager[object]:
    return patch.object(Positions, "live", lambda *_: [])


def position_not_loaded() -> AbstractContextManager[object]:
    genuine = Lines.open

    def open_line(self: Lines, stream_id: str, exchange: str, position: Any, **more: Any) -> None:
        del position
        genuine(self, stream_id, exchange, None, **more)

    return patch.object(Lines, "open", open_line)


def order_goes_backwards() -> AbstractContextManager[object]:
    genuine = OrderTracker.admit

    def admit(self: OrderTracker, event: Any, **more: Any) -> Any:
        knows = self
        if isinstance(event, ExecutionReport | OrderTradeUpdate):
            knows = OrderTracker(self._exchange)
        return genuine(knows, event, **more)

    return patch.object(OrderTracker, "admit", admit)


def gap_not_read() -> AbstractContextManager[object]:
    return patch.object(Lines, "resume", lambda *_, **__: None)


def deltas_forgotten() -> AbstractContextManager[object]:
    """The next owner does not know which changes of balances the former one told."""
    genuine = OrderTracker.load

    def load(self: OrderTracker, position: Any) -> None:
        known = self._seen.copy()
        genuine(self, position)
        self._seen = known

    return patch.object(OrderTracker, "load", load)


def spoiled_events_given_up() -> AbstractContextManager[object]:
    return patch.object(DurableLane, "_owners", lambda *_: [])


@contextmanager
def returns_unseen() -> Iterator[None]:
    """E5: messages are not mandatory and nobody looks after the queue: what no queue takes is confirmed and gone."""
    genuine = AmqpLink.publish

    def publish(self: AmqpLink, *arguments: Any, **_: Any) -> int:
        return genuine(self, *arguments)

    with patch.object(AmqpLink, "publish", publish), patch.object(AmqpLink, "keep_queue", lambda *_: None):
        yield


def last_words_are_the_end() -> AbstractContextManager[object]:
    """W9: what is read after a stall counts as having come just now."""
    return patch.object(Placement, "seen_ms", lambda self, session: self.time.at(session.venue, session.last_byte_mono))


def event_after_the_close() -> AbstractContextManager[object]:
    """E16: a close does not wait for the event that is on its way through the line."""

    def close(self: Lines, stream_id: str, *, announce: bool) -> None:
        self._lines.pop(stream_id, None)
        self._after_reject.discard(stream_id)
        if announce:
            self._sink.submit([StreamClosed(stream_id=stream_id)])

    return patch.object(Lines, "close", close)


def steps_told() -> AbstractContextManager[object]:
    """E19: after a kill, too, a gap tells step by step how an order came to its end."""
    return patch.object(_repair, "_as_they_stand", list)
