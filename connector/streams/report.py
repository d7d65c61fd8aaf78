"""What a process tells of itself: in its heartbeat, and as gauges."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence

from connector.core.messages import Sink
from connector.core.metrics import METRICS
from connector.core.ports import WorkerInfo
from connector.core.version import VERSION
from connector.streams.coverage import Coverage
from connector.streams.leases import Leases
from connector.streams.lifecycle import StreamState
from connector.streams.placement import Placement
from connector.streams.supervisor import Supervisor


class Report:
    """Any thread."""

    def __init__(
        self,
        leases: Leases,
        supervisor: Supervisor,
        placement: Placement,
        sink: Sink,
        *,
        host: str,
        pid: int,
        service: str,
        started_ms: int,
        capacity: int,
        feeds: tuple[str, ...] = (),
    ) -> None:
        self._leases, self._supervisor, self._placement, self._sink = leases, supervisor, placement, sink
        self._host, self._pid, self._service = host, pid, service
        self._started_ms, self._capacity, self._feeds = started_ms, capacity, feeds
        self.coverage: Coverage | None = None
        """Of account streams."""
        self.broker: Callable[[], str] = str
        """Which broker the commands come from; empty = not known."""
        self.watched: list[Callable[[], Sequence[str]]] = []
        """Each tells, in words and without waiting, what keeps this process from its work."""

    def info(self, *, draining: bool) -> WorkerInfo:
        states: Counter[str] = Counter()
        matrix: dict[str, dict[str, int]] = {}
        for (state, exchange), count in self._by_state().items():
            states[state] += count
            matrix.setdefault(exchange, {})[state] = count
        live: Counter[str] = Counter()
        for session in self._placement.sessions():
            if session.opened_mono and not session.closed:
                live[session.exchange] += len(session.streams)
        return WorkerInfo(
            owner=self._leases.owner,
            role=self._leases.role,
            host=self._host,
            pid=self._pid,
            started_ms=self._started_ms,
            capacity=self._capacity,
            streams=len(self._leases),
            draining=draining,
            states=dict(states),
            sinks={status.name: status.queued for status in self._sink.statuses()},
            exchanges=dict(live),
            service=self._service,
            problems=tuple(self.problems()),
            matrix=matrix,
            wanted=self.coverage.wanted if self.coverage else 0,
            unowned=self.coverage.unowned if self.coverage else 0,
            ttl_s=self._leases.ttl_s,
            broker=self.broker(),
            feeds=self._feeds,
            old_keys=self._supervisor.keys.old(),
        )

    def problems(self) -> list[str]:
        """What keeps this process from its work: sinks that can't publish, and what others watch."""
        found = [
            f"{status.name}: {status.detail or 'not connected'}"
            for status in self._sink.statuses()
            if not status.connected
        ]
        return [*found, *(problem for watch in self.watched for problem in watch())]

    def _by_state(self) -> Counter[tuple[str, str]]:
        """Streams by life-cycle state and exchange id."""
        counted = self._supervisor.by_state()
        return Counter({(state.value, exchange): count for (state, exchange), count in counted.items()})

    def gauges(self) -> None:
        states = self._by_state()
        rows = [({"state": state, "exchange": exchange}, float(count)) for (state, exchange), count in states.items()]
        METRICS.replace("streams", rows)
        cooling = [row for row in rows if row[0]["state"] == StreamState.COOLING.value]
        METRICS.replace("auth_cooldowns", [({"exchange": labels["exchange"]}, count) for labels, count in cooling])
        self._supervisor.keys.tell()
        METRICS.gauge("info", 1, version=VERSION, role=self._leases.role)
        METRICS.gauge("leases", len(self._leases))
        METRICS.gauge("capacity", self._capacity)
