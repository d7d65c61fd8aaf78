"""What the supervisor is asked to run."""

from __future__ import annotations

import msgspec

from exchanges.credentials import Credentials
from exchanges.ids import Feed


class StreamSpec(msgspec.Struct, frozen=True, kw_only=True):
    """One wanted stream of this process, for any feed."""

    stream_id: str
    exchange: str
    """Exchange id as it was asked for (may be a paper id for account streams)."""
    feed: Feed
    user_id: str = ""
    digest: str = ""
    generation: int = 0
    credentials: Credentials | None = None
    symbols: tuple[str, ...] = ()
    symbol: str = ""
    interval: str = ""
