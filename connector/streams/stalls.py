"""The watchdog of price feeds: a socket without data is restarted, a feed that stays silent is built anew (contract 4.7)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from connector.core.log import get_logger
from connector.core.metrics import METRICS
from connector.core.ports import Clock
from connector.streams.lifecycle import StreamState
from connector.streams.pipeline import Pipeline
from connector.streams.placement import Placement
from connector.streams.supervisor import Supervisor
from connector.streams.watchdog import TARGETED_RESTARTS, THIN_SYMBOLS, FeedSilence, stalls
from exchanges.ids import family_of

log = get_logger(__name__)

CANDLE_ONLY_LIMIT_S: Final = 75.0
"""Limit of candle silence in role `candle` (contract 4.7)."""


class StallWatch:
    """Owner's loop only. `rebuild(exchange, feed)` builds a whole feed anew."""

    def __init__(
        self,
        supervisor: Supervisor,
        placement: Placement,
        pipeline: Pipeline,
        clock: Clock,
        *,
        role: str,
        candle_stall_s: float | None,
        rebuild: Callable[[str, str], None],
        symbols: Callable[[str], int],
    ) -> None:
        """`symbols`: how many are traded on an exchange id; 0 = not known."""
        self._supervisor, self._placement, self._pipeline, self._clock = supervisor, placement, pipeline, clock
        self._role, self._candle_stall_s, self._rebuild = role, candle_stall_s, rebuild
        self._symbols = symbols
        self._strikes: dict[str, int] = {}
        """Restarts for silence by stream, since data last came over the session that carries it."""

    def forget(self, stream_id: str) -> None:
        self._strikes.pop(stream_id, None)

    def watch(self) -> None:
        now = self._clock.mono()
        states = self._supervisor.states()
        feeds = []
        for session in self._placement.sessions():
            limit_s = self._limit_s(session.feed, session.limits.data_silence_s)
            if session.feed == "user" or not session.opened_mono or session.closed or limit_s is None:
                continue
            if not any(states.get(stream_id) is StreamState.LIVE for stream_id in list(session.streams)):
                continue
            had_data = session.last_data_mono > session.opened_mono
            if had_data:
                # Only of this socket: a sibling that delivers must not hide one that never does (bugs B21, B23).
                for stream_id in list(session.streams):
                    self._strikes.pop(stream_id, None)
            feeds.append(
                FeedSilence(
                    name=session.name,
                    exchange=session.exchange,
                    family=family_of(session.exchange),
                    feed="candle" if session.feed == "candle" else "ticker",
                    silent_s=now - session.last_data_mono,
                    had_data=had_data,
                    limit_s=limit_s,
                    symbols=self._symbols(session.exchange) or THIN_SYMBOLS,
                )
            )
        for stall in stalls(feeds):
            self._recover(stall.name, stall.exchange, stall.kind, stall.silent_s)

    def _limit_s(self, feed: str, venue_limit_s: float | None) -> float | None:
        if venue_limit_s is None:
            return None
        if feed == "candle":
            if self._candle_stall_s is not None:
                return self._candle_stall_s
            if self._role == "candle":
                return max(venue_limit_s, CANDLE_ONLY_LIMIT_S)
        return venue_limit_s

    def _recover(self, session: str, exchange: str, kind: str, silent_s: float) -> None:
        notice = {"exchange": exchange, "kind": kind, "staleSeconds": int(silent_s), "role": self._role}
        self._pipeline.service("watchdogStall", notice)
        METRICS.count("watchdog_stalls_total", exchange=exchange, kind=kind)
        feed = "candle" if kind == "candle" else "ticker"
        carried = next((list(one.streams) for one in self._placement.sessions() if one.name == session), [])
        strikes = 1 + max((self._strikes.get(stream_id, 0) for stream_id in carried), default=0)
        if strikes <= TARGETED_RESTARTS:
            self._strikes.update(dict.fromkeys(carried, strikes))
            self._supervisor.restart_session(session, f"no data for {silent_s:.0f} s")
            return
        log.error("feed stalled again without data in between: rebuilding it whole", exchange=exchange, feed=feed)
        self._rebuild(exchange, feed)
