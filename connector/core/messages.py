"""What leaves the service, and the port of those who carry it: sinks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, Literal, Protocol

import msgspec

from connector.core.stamps import Stamped

BALANCE_DELTA: Final = "balanceUpdate"
"""The one event type that the backend adds up instead of storing: never published twice (contract 2.2)."""

PositionEvents = Literal["rabbitmq", "all", "none"]
"""Where an account's positions go: everywhere but to Redis, everywhere, or nowhere."""


class AccountMessage(msgspec.Struct, frozen=True, kw_only=True):
    """One account event on its way out, encoded once for all sinks."""

    stream_id: str
    exchange: str
    event_type: str
    event_id: str
    """Stable per event: the same order transition has the same id however often and from wherever it is published."""
    event_time_ms: int
    body: bytes
    received_mono: float
    """When its frame was read, for the publish-lag metric."""
    order_field: str | None = None
    """Field of the `orders` hash to store the body under, or None (contract 2.5)."""
    order_ttl_s: int = 0
    redis: bool = True
    """Whether it also goes to Redis, whose listeners read every message of a stream's channel."""

    @property
    def repeatable(self) -> bool:
        """Whether the backend stores it, so that saying it twice does no harm; a difference it would add twice."""
        return self.event_type != BALANCE_DELTA


class InfoMessage(msgspec.Struct, frozen=True, kw_only=True):
    """`Subscribed to user <uuid>` on `userStreamInfo<uuid>`, in order with the stream's events (contract 2.3)."""

    stream_id: str
    exchange: str


class StreamClosed(msgspec.Struct, frozen=True, kw_only=True):
    """The last subscriber left: `ZREM stream:lastEventTime <uuid>` (contract 2.4)."""

    stream_id: str
    unconfirmed: bool = False
    """The primary sink is away and has not all of the stream: whoever runs it next tells the rest from its position."""


class TickerMessage(msgspec.Struct, frozen=True, kw_only=True):
    """All tickers of one frame of one exchange id; `symbols[i]` belongs to `bodies[i]`. The newest per symbol wins."""

    exchange: str
    symbols: list[str]
    bodies: list[bytes]
    received_mono: float


class CandleMessage(msgspec.Struct, frozen=True, kw_only=True):
    exchange: str
    symbol: str
    interval: str
    event_id: str
    start_ms: int
    body: bytes
    closed: bool
    """False for venues whose running candles are published: those may be conflated to the newest per channel."""
    received_mono: float


class ServiceMessage(msgspec.Struct, frozen=True, kw_only=True):
    """One object of `serviceLog` (contract 3.1) or `streamGap`; `kind` is its first key."""

    kind: str
    body: bytes
    redis: bool = True
    """Whether it also goes to the Redis channel `serviceLog`."""


Message = AccountMessage | InfoMessage | StreamClosed | TickerMessage | CandleMessage | ServiceMessage


class SinkStatus(msgspec.Struct, frozen=True, kw_only=True):
    name: str
    connected: bool
    queued: int
    """Messages (tickers: symbols) accepted and not yet confirmed, memory and disk together."""
    dropped: int = 0
    """Market-data rows conflated away plus account events lost; the latter are also counted in `lost_account_events`."""
    lost_account_events: int = 0
    detail: str = ""


class Sink(Protocol):
    """Publishes messages from its own thread, in order per stream. Every method may be called from any thread."""

    name: str

    def start(self) -> None: ...

    def submit(self, messages: Sequence[Message]) -> bool:
        """Queue messages; never blocks on the network.

        Returns False when an account message could not be taken (bounds of memory and disk reached): the caller must end
        the stream's session, so that gap repair fetches what is missing later.
        """

    def revoke(self, stream_id: str) -> None:
        """The stream went to another process before everything of it was confirmed here; that process publishes again
        what is missing. Order events of it that were not sent yet are dropped, so that they can't arrive behind newer ones.
        """

    def mark(self) -> object:
        """The point in the order of account messages that is reached now, for `passed`."""

    def passed(self, mark: object) -> bool:
        """Whether every account message that was submitted before `mark` went out, or was given up."""

    def status(self) -> SinkStatus: ...

    def statuses(self) -> Sequence[SinkStatus]:
        """One for each place that this sink publishes to."""

    def threads(self) -> Sequence[Stamped]:
        """Those that must live between `start` and `stop`."""

    def flush(self, timeout_s: float) -> bool:
        """Wait until everything submitted before is confirmed; False if time ran out."""

    def stop(self, timeout_s: float) -> bool:
        """Flush, then end the thread and the connection; True if nothing was left unconfirmed."""


Confirmed = Callable[[Sequence[AccountMessage]], None]
"""Called from a sink's thread when account messages are safe at the receiver; must be quick and must not raise."""
Spoiled = Callable[[Sequence[str]], None]
"""Called from a sink's thread with the stream of each account message that it had taken and can't read any more: its disk
spoiled it. Must be quick and must not raise."""
Recovered = Callable[[Sequence[str]], None]
"""Called from a sink's thread with streams that lost events, once everything that was kept has gone out."""
