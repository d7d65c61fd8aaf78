"""What the supervisor is asked to run."""

from __future__ import annotations

import msgspec

from connector.core.ports import Wanted
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


def account_spec(wanted: Wanted) -> StreamSpec:
    """The stream of an account that the state wants."""
    return StreamSpec(
        stream_id=wanted.stream_id,
        exchange=wanted.exchange,
        feed="user",
        user_id=wanted.user_id,
        digest=wanted.digest,
        generation=wanted.generation,
        credentials=wanted.credentials,
    )
