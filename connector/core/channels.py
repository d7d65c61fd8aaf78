"""Names on the wire, byte for byte (contract section 2)."""

from __future__ import annotations

from typing import Final

LAST_EVENT_TIME: Final = "stream:lastEventTime"
ORDERS: Final = "orders"
SERVICE_LOG: Final = "serviceLog"


def ticker_channel(symbol: str, exchange: str) -> str:
    return f"trade@{symbol}@{exchange}"


def candle_channel(symbol: str, exchange: str, interval: str) -> str:
    """The interval stands in the name exactly as it was requested."""
    return f"{symbol}@{exchange}@{interval}Candle"


def user_info_channel(stream_id: str) -> str:
    return f"userStreamInfo{stream_id}"


def subscribed_text(stream_id: str) -> str:
    return f"Subscribed to user {stream_id}"
