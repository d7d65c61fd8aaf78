"""The publisher of a process: account lines, market feed, and the messages that belong to neither."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

import msgspec

from connector.core.channels import subscribed_text
from connector.core.clock import Chance, SystemClock
from connector.core.log import get_logger
from connector.core.messages import InfoMessage, Message, PositionEvents, ServiceMessage, Sink
from connector.streams.lines import Lines
from connector.streams.market_feed import MarketFeed

log = get_logger(__name__)

BEHIND: Final = 50
"""Messages; at 200 events a second and a few ms of latency a handful are on their way."""


_REAL: Final = SystemClock()


class Pipeline:
    """What every session of a process publishes through. Any thread."""

    def __init__(
        self,
        sink: Sink,
        chance: Chance,
        wall_ms: Callable[[], int] = _REAL.wall_ms,
        positions: PositionEvents = "all",
    ) -> None:
        """`wall_ms`: our clock, by which the times that venues tell are judged. `positions`: where those of accounts go."""
        self._sink = sink
        self.lines = Lines(sink, chance, wall_ms, positions)
        self.market = MarketFeed(sink, wall_ms)
        # The parts themselves: an event on its way takes no step more than it must.
        self.account = self.lines.account
        self.tickers = self.market.tickers
        self.candle = self.market.candle
        self.confirmed = self.lines.confirmed

    def flush(self, timeout_s: float) -> bool:
        """Wait until everything submitted before is at its receivers; False if time ran out."""
        return self._sink.flush(timeout_s)

    @property
    def confirming(self) -> bool:
        """Whether the primary sink can reach its receiver."""
        return self._sink.status().connected

    def mark(self) -> object:
        """What was submitted up to now, on every sink; for `passed`."""
        return self._sink.mark()

    def passed(self, mark: object) -> bool:
        """Whether all account messages before the mark are out, on every sink."""
        return self._sink.passed(mark)

    @property
    def behind(self) -> bool:
        """Whether more waits in the sinks than what is on its way at any moment."""
        return self._sink.status().queued > BEHIND

    # --- other messages ---

    def info(self, stream_id: str, exchange: str) -> None:
        """`Subscribed to user <uuid>`: tells every bot of the account to check its orders (contract 2.3)."""
        self._sink.submit([InfoMessage(stream_id=stream_id, exchange=exchange)])
        log.info(subscribed_text(stream_id), exchange=exchange)

    def service(self, kind: str, payload: object, *, redis: bool = True) -> None:
        """One service message `{kind: payload}` (contract 3.1). A failure never changes control flow."""
        self._sink.submit([ServiceMessage(kind=kind, body=msgspec.json.encode({kind: payload}), redis=redis)])

    def raw_service(self, kind: str, body: object) -> None:
        """A service message whose object has further keys next to `kind` (`restart` with its `bootId`)."""
        self._sink.submit([ServiceMessage(kind=kind, body=msgspec.json.encode(body))])

    def submit(self, messages: Sequence[Message]) -> bool:
        return self._sink.submit(messages)
