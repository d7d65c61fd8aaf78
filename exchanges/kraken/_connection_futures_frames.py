"""Frames of the futures WebSocket: answers and alerts, and the heads of all messages (venues/kraken.md 3 and 5)."""

from __future__ import annotations

from typing import Final

import msgspec

from exchanges._rows import tolerant


class Frame(msgspec.Struct):
    """What every frame has: a feed, or an event."""

    event: str = ""
    feed: str = ""
    message: str = ""
    error: str = ""
    product_ids: list[str] = []
    product_id: str = ""


decode_frame: Final = tolerant(Frame)
