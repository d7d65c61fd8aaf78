"""The opt-in liveness guard for account streams (contract 4.6): recreates silent accounts, a few at a time."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from connector.core.log import get_logger
from connector.core.ports import Clock
from connector.streams.lifecycle import StreamState
from connector.streams.pipeline import Pipeline
from connector.streams.supervisor import Supervisor
from exchanges.ids import is_paper

log = get_logger(__name__)


class LivenessRules(msgspec.Struct, frozen=True, kw_only=True):
    scan_s: float = 120.0
    stale_s: float = 1200.0
    cooldown_s: float = 3600.0
    max_per_scan: int = 15
    paper_only: bool = True


def due(
    silent: dict[str, float], exchanges: Callable[[str], str | None], recent: dict[str, float], now: float,
    rules: LivenessRules,
) -> list[str]:  # fmt: skip
    """The streams to recreate now, the most silent first. Pure.

    `silent`: seconds without an event; `recent`: when each was recreated last.
    """
    candidates = []
    for stream_id, silent_s in silent.items():
        exchange = exchanges(stream_id)
        if exchange is None or silent_s < rules.stale_s or (rules.paper_only and not is_paper(exchange)):
            continue
        if now - recent.get(stream_id, float("-inf")) >= max(rules.cooldown_s, rules.stale_s):
            candidates.append((silent_s, stream_id))
    candidates.sort(reverse=True)
    return [stream_id for _, stream_id in candidates[: rules.max_per_scan]]


class LivenessGuard:
    """`scan` is a scheduler job; without rules it does nothing."""

    def __init__(self, rules: LivenessRules | None, supervisor: Supervisor, pipeline: Pipeline, clock: Clock) -> None:
        self._rules, self._supervisor, self._pipeline, self._clock = rules, supervisor, pipeline, clock
        self._first_seen: dict[str, float] = {}
        self._recreated: dict[str, float] = {}

    def scan(self) -> None:
        rules = self._rules
        if rules is None:
            return
        now = self._clock.mono()
        live = {stream_id for stream_id, state in self._supervisor.states().items() if state is StreamState.LIVE}
        self._recreated = {
            stream_id: at
            for stream_id, at in self._recreated.items()
            if now - at < max(rules.cooldown_s, rules.stale_s)
        }
        self._first_seen = {stream_id: self._first_seen.get(stream_id, now) for stream_id in live}
        silent = {
            stream_id: now - max(self._first_seen[stream_id], self._pipeline.lines.last_event_mono(stream_id) or 0.0)
            for stream_id in live
        }
        for stream_id in due(silent, self._exchange, self._recreated, now, rules):
            self._recreated[stream_id] = now
            log.info("recreating a silent account stream", stream=stream_id, silent_s=int(silent[stream_id]))
            self._supervisor.restart_stream(stream_id, "no account event for long")

    def _exchange(self, stream_id: str) -> str | None:
        spec = self._supervisor.spec(stream_id)
        return spec.exchange if spec is not None and spec.feed == "user" else None
