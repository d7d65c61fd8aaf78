"""The outgoing side of one account stream: what was told, what is confirmed, what is on its way."""

from __future__ import annotations

import threading

from connector.streams.holdings import Outgoing
from connector.streams.positions import encode_position
from connector.streams.tracker import MAX_SEEN_IDS, OrderTracker, Position
from exchanges._adapter import Emit, KnownOrder


class Line:
    """Outgoing side of one account stream; its lock guards everything in it."""

    __slots__ = (
        "began_ms",
        "closed",
        "confirmed",
        "dirty",
        "exchange",
        "held",
        "last_event_mono",
        "live_until_ms",
        "lock",
        "on_way",
        "outgoing",
        "pending",
        "saved_ms",
        "stamp",
        "tracker",
        "unconfirmed",
    )

    def __init__(self, exchange: str) -> None:
        self.lock = threading.Lock()
        self.exchange = exchange
        self.tracker = OrderTracker(exchange)
        self.confirmed = OrderTracker(exchange)
        """Only what the primary sink confirmed: the position that another process may start from."""
        self.on_way: dict[str, KnownOrder] = {}
        """By event id, what the newest unconfirmed ones lead to."""
        self.outgoing = Outgoing()
        """Positions of the account; everything else is submitted at once."""
        self.pending = 0
        self.closed = False
        self.dirty = False
        self.saved_ms = 0
        self.live_until_ms = 0
        """Of the last position that was saved while nothing was on its way."""
        self.began_ms = 0
        """Until when those before were live, as the position told that it began with."""
        self.stamp = 0
        """Of the last position that was saved or loaded."""
        self.unconfirmed = False
        """It ended, and left something behind that waits for the broker."""
        self.held: list[tuple[Emit, float]] | None = None
        self.last_event_mono = 0.0

    def load(self, position: Position) -> None:
        self.tracker.load(position)
        self.confirmed.load(position)
        self.stamp = max(self.stamp, position.stamp)
        self.began_ms = max(self.began_ms, position.live_until_ms)

    def position(self, live_until_ms: int, now_ms: int) -> bytes:
        """What is confirmed, as the newest position of the stream."""
        self.stamp = max(self.stamp + 1, now_ms)
        return encode_position(self.confirmed.position(live_until_ms, stamp=self.stamp))

    def last_position(self, live_until_ms: int, now_ms: int) -> bytes:
        """All that was told, as the newest position: nothing follows it."""
        self.stamp = max(self.stamp + 1, now_ms)
        told = self.tracker.position(live_until_ms, stamp=self.stamp, seen=MAX_SEEN_IDS, last_word=True)
        return encode_position(told)
