"""Tells of the times in which an account was not connected."""

from __future__ import annotations

from typing import Final

from connector.core.metrics import METRICS
from connector.streams.lines import OVERLAP_MS
from connector.streams.pipeline import Pipeline
from connector.streams.spec import StreamSpec
from exchanges._adapter import GapReport

PAST_UNKNOWN: Final = "everything before: nothing is known of where the account stood"


def unknown_gap(now_ms: int) -> GapReport:
    """Nobody knows since when the account was not connected: `from` is 0."""
    return GapReport(from_ms=0, to_ms=now_ms, missing=(PAST_UNKNOWN,))


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
