"""The times in which an account was not connected: when they begin and end, and what is told of them."""

from __future__ import annotations

from typing import Final

import msgspec

from connector.core.metrics import METRICS
from connector.core.ports import Clock
from connector.core.traces import TRACES
from connector.streams.attempts import Stream
from connector.streams.lines import OVERLAP_MS, Lines
from connector.streams.pipeline import Pipeline
from connector.streams.placement import Placement
from connector.streams.spec import StreamSpec
from connector.streams.tracker import Position
from exchanges._adapter import GapReport
from exchanges._plan import open_told

CLOCK_OFF: Final = "what came before: a clock is off, and it is not known since when the account was not connected"
PAST_UNKNOWN: Final = "everything before: nothing is known of where the account stood"


def unknown_gap(now_ms: int) -> GapReport:
    """Nobody knows since when the account was not connected: `from` is 0."""
    return GapReport(from_ms=0, to_ms=now_ms, missing=(PAST_UNKNOWN,))


def measured_gap(gap: GapReport, ahead_ms: int = 0) -> GapReport:
    """With its end by the venue's clock, which is `ahead_ms` ahead of ours: adapters tell it by ours, the start by theirs.

    One that ends before it begins is of unknown length: a clock was off, and its start can't be true.
    """
    gap = msgspec.structs.replace(gap, to_ms=gap.to_ms + ahead_ms)
    if gap.from_ms <= gap.to_ms:
        return gap
    return msgspec.structs.replace(gap, from_ms=0, missing=(*gap.missing, CLOCK_OFF))


def tell_gap(pipeline: Pipeline, spec: StreamSpec, gap: GapReport) -> None:
    """One `streamGap` message (docs/events.md)."""
    if gap.from_ms:
        METRICS.observe("gap_seconds", max(0, gap.to_ms - gap.from_ms - OVERLAP_MS) / 1000, venue=spec.exchange)
    METRICS.count("gaps_total", venue=spec.exchange, result="partial" if gap.missing else "complete")
    told = {
        "exchange": spec.exchange,
        "stream": spec.stream_id,
        "from": gap.from_ms,
        "to": gap.to_ms,
        "orders": gap.orders,
        "balances": gap.balances,
        "candles": gap.candles,
        "missing": list(gap.missing),
    }
    pipeline.service("streamGap", told, redis=False)
    TRACES.gap(spec.stream_id, spec.exchange, gap.orders, gap.missing)


class Gaps:
    """Measures the gaps of a process's streams by their venues' clocks. The supervisor's thread only."""

    def __init__(self, placement: Placement, clock: Clock, lines: Lines, stale_s: float) -> None:
        """`stale_s`: a stream's former owner may have been gone for so long before another one begins."""
        self._placement, self._clock, self._lines = placement, clock, lines
        self._stale_ms = int(stale_s * 1000)

    def begun(self, stream: Stream, known: Position | None, *, unknown: bool) -> None:
        """The stream begins here. `known`: where it stood; `unknown`: it may have run before, and nobody knows where it
        stood. A position of a clock that is ahead is not later than its owner's lease allows."""
        if known is not None and known.live_until_ms:
            latest_ms = self._placement.now_ms(stream.spec.exchange) - self._stale_ms
            stream.gap_from_ms = min(known.live_until_ms, latest_ms)
        stream.past_unknown = unknown and stream.gap_from_ms is None
        if stream.past_unknown:
            # At once: nobody may start from a position that does not say so.
            self._lines.past_is_unknown(stream.spec.stream_id)

    def reread(self, stream: Stream, since_ms: int) -> None:
        """Everything since then is read again; 0: since the stream is live here."""
        if not since_ms:
            live_ms = int((self._clock.mono() - stream.live_since) * 1000)
            since_ms = self._placement.now_ms(stream.spec.exchange) - live_ms
        stream.gap_from_ms = min(since_ms, stream.gap_from_ms or since_ms)

    def ended(self, stream: Stream, gap: GapReport | None) -> GapReport | None:
        """The stream is live, and its adapter tells of this gap: what is to be told of it."""
        now_ms = self._placement.now_ms(stream.spec.exchange)
        if gap is not None:
            gap = measured_gap(gap, now_ms - self._clock.wall_ms())
            if gap.complete:
                self._lines.gap_was_read(stream.spec.stream_id, open_told=open_told(gap.missing))
        if stream.past_unknown:
            stream.past_unknown = False
            gap = gap or unknown_gap(now_ms)
        return gap

    @staticmethod
    def settle(stream: Stream, gap: GapReport | None) -> None:
        """A gap that is still being read stays the start of the next repair, here and in the saved position."""
        reading = gap is not None and gap.from_ms and not gap.complete
        stream.gap_from_ms = gap.from_ms + OVERLAP_MS if gap is not None and reading else None


def tell_flaps(pipeline: Pipeline, spec: StreamSpec, reconnects: int, window_ms: int) -> None:
    """A stream was lost and live again so often within the window."""
    flap = {
        "exchange": spec.exchange,
        "userId": spec.stream_id,
        "reconnects": reconnects,
        "windowSec": window_ms // 1000,
    }
    pipeline.service("userStreamFlap", flap)
