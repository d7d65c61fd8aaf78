"""What the service looks like from outside: one snapshot, as JSON for programs and as a page for people. Read-only."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Final

import msgspec

from connector.core import redact
from connector.core.metrics import Minute
from connector.core.ports import WorkerInfo
from workers.hour import hour_lines
from workers.pages import REFRESH_S, age, page, table
from workers.stream_pages import rows_table, text_table
from workers.streams_seen import StreamList

NOT_LIVE: Final = frozenset({"joining", "opening", "waiting", "cooling"})


class Status(msgspec.Struct, frozen=True, kw_only=True):
    """Sums over all processes of the service, and each of them. Holds no secret: only names and numbers."""

    now_ms: int
    role: str
    version: str
    uptime_s: float = 0.0
    problems: Sequence[str] = ()
    """Why the service is not ready; empty = ready."""
    workers: Sequence[WorkerInfo] = ()
    states: Mapping[str, int] = msgspec.field(default_factory=dict)
    exchanges: Mapping[str, int] = msgspec.field(default_factory=dict)
    sinks: Mapping[str, int] = msgspec.field(default_factory=dict)
    lag_s: Mapping[str, float] = msgspec.field(default_factory=dict)
    """Mean time from frame to confirmation by sink, where known."""
    matrix: Mapping[str, Mapping[str, int]] = msgspec.field(default_factory=dict)
    """Streams by exchange id and state."""
    unowned: int = 0
    """Account streams that no process runs."""
    prices: Mapping[str, str] = msgspec.field(default_factory=dict)
    """Settings that keep symbols without prices, as they are written; empty = every symbol has one."""

    old_keys: Mapping[str, int] = msgspec.field(default_factory=dict)
    """Accounts by exchange id whose kind of key the exchange will refuse one day."""
    hour: Sequence[Minute] = ()
    """The last hour of all processes, minute by minute."""

    @property
    def blind(self) -> int:
        """Streams that are wanted and not live."""
        return self.unowned + sum(
            count for states in self.matrix.values() for state, count in states.items() if state in NOT_LIVE
        )

    @property
    def streams(self) -> int:
        """Streams that are wanted."""
        return self.unowned + sum(sum(states.values()) for states in self.matrix.values())


def summarize(
    workers: Sequence[WorkerInfo],
    *,
    now_ms: int,
    role: str,
    version: str,
    uptime_s: float = 0.0,
    problems: Sequence[str] = (),
    lag_s: Mapping[str, float] | None = None,
    prices: Mapping[str, str] | None = None,
    hour: Sequence[Minute] = (),
) -> Status:
    """Add the heartbeats of all processes up."""
    return Status(
        now_ms=now_ms,
        role=role,
        version=version,
        uptime_s=uptime_s,
        problems=tuple(redact.text(problem) for problem in problems),
        workers=sorted(workers, key=lambda worker: (worker.role, worker.host, worker.started_ms)),
        states=_sum(worker.states for worker in workers),
        exchanges=_sum(worker.exchanges for worker in workers),
        sinks=_sum(worker.sinks for worker in workers),
        lag_s=dict(lag_s or {}),
        matrix=_by_exchange(workers),
        unowned=max((worker.unowned for worker in workers), default=0),
        prices=dict(prices or {}),
        old_keys=_sum(worker.old_keys for worker in workers),
        hour=tuple(hour),
    )


def _sum(parts: Iterable[Mapping[str, int]]) -> dict[str, int]:
    total: Counter[str] = Counter()
    for part in parts:
        total.update(part)
    return dict(sorted(total.items()))


def _by_exchange(workers: Sequence[WorkerInfo]) -> dict[str, dict[str, int]]:
    found: dict[str, Counter[str]] = {}
    for worker in workers:
        for exchange, states in worker.matrix.items():
            found.setdefault(exchange, Counter()).update(states)
    return {exchange: dict(states) for exchange, states in sorted(found.items())}


def status_json(status: Status) -> bytes:
    return msgspec.json.encode(status)


def read_status(body: bytes) -> Status:
    """The snapshot out of its JSON. Raises `msgspec.DecodeError` (or its subclass for a wrong shape)."""
    return msgspec.json.decode(body, type=Status)


def tables(status: Status) -> list[tuple[str, tuple[str, ...], list[tuple[str, ...]]]]:
    """The snapshot as tables: title, column names, rows of text. Page and command line print the same ones."""
    workers: list[tuple[str, ...]] = [
        (
            worker.owner,
            worker.role,
            worker.host,
            str(worker.pid),
            age(status.now_ms - worker.started_ms),
            f"{worker.streams} of {worker.capacity}",
            "draining" if worker.draining else "working",
        )
        for worker in status.workers
    ]
    found: list[tuple[str, tuple[str, ...], list[tuple[str, ...]]]] = [
        ("Processes", ("process", "role", "host", "pid", "up", "owns", "state"), workers)
    ]
    for title, column, figures in (
        ("Streams by state", "state", status.states),
        ("Live streams by exchange", "exchange", status.exchanges),
        ("Waiting in sinks", "sink", status.sinks),
    ):
        rows: list[tuple[str, ...]] = [(name, str(count)) for name, count in figures.items()]
        found.append((title, (column, "count"), rows))
    if status.lag_s:
        lags: list[tuple[str, ...]] = [(name, f"{lag * 1000:.1f} ms") for name, lag in sorted(status.lag_s.items())]
        found.append(("Lag from frame to confirmation", ("sink", "mean"), lags))
    if status.old_keys:
        old: list[tuple[str, ...]] = [(exchange, str(count)) for exchange, count in status.old_keys.items()]
        found.append(("Keys that the exchange will refuse one day", ("exchange", "accounts"), old))
    if status.prices:
        found.append(("Symbols with prices", ("setting", "value"), list(status.prices.items())))
    return found


def status_page(status: Status, blind: StreamList | None = None) -> bytes:
    """The snapshot as an HTML page that renews itself; `blind`: the streams that are not live."""
    title = f"websocket-connector · {status.role}"
    # The list is a moment newer than the heartbeats: the page is never green above streams that are not live.
    parts = [f"<h1>{escape(title)}</h1>", _answer(status, max(status.blind, len(blind.rows) if blind else 0))]
    if blind is not None:
        parts.append('<p><a href="/streams">Search streams</a></p>')
    parts.append(hour_lines(status.hour))
    if blind is not None and blind.rows:
        parts.append(rows_table("Not live", blind))
    rows, red = matrix(status)
    if rows:
        parts.append(table("Streams", ("exchange", *_STATES), rows, red=red))
    parts.extend(
        table(title, columns, [tuple(escape(cell) for cell in row) for row in cells])
        for title, columns, cells in tables(status)
        if not rows or title not in _IN_MATRIX
    )
    parts.append(
        f'<p class="quiet">Version {escape(status.version)} · up {age(int(status.uptime_s * 1000))} · renewed every '
        f'{REFRESH_S} s · <a href="/status.json">JSON</a> · <a href="/metrics">metrics</a></p>'
    )
    return page(title, "".join(parts))


def _answer(status: Status, blind: int) -> str:
    """The one line that a person came for."""
    lines = [f'<p class="answer bad">Not ready: {escape(problem)}</p>' for problem in status.problems]
    if blind:
        lines.append(f'<p class="answer bad">{blind} of {status.streams} streams are not live</p>')
    elif not status.problems:
        word = f"all {status.streams} streams are live" if status.streams else "no streams are wanted"
        lines.append(f'<p class="answer ok">Ready: {word}</p>')
    return "".join(lines)


_IN_MATRIX: Final = frozenset({"Streams by state", "Live streams by exchange"})
"""What the table of exchanges and states says already."""
_STATES = ("live", "rotating", "draining", "joining", "opening", "waiting", "cooling")


def matrix(status: Status) -> tuple[list[tuple[str, ...]], list[bool]]:
    """Exchange x state as rows of text, and which of them have streams that are not live."""
    rows: list[tuple[str, ...]] = []
    red: list[bool] = []
    for exchange, states in sorted(status.matrix.items()):
        rows.append((escape(exchange), *(str(states.get(state) or "") for state in _STATES)))
        red.append(any(count for state, count in states.items() if state in NOT_LIVE))
    return rows, red


def status_text(status: Status) -> str:
    """The snapshot for a terminal."""
    lines = [f"{status.role} {status.version}: " + ("not ready" if status.problems else "ready")]
    lines.extend(f"  ! {problem}" for problem in status.problems)
    lines.append(
        f"  {status.blind} of {status.streams} streams are not live"
        if status.blind
        else f"  {status.streams} streams, all live"
    )
    for title, columns, rows in tables(status):
        lines.extend(("", title))
        lines.extend(text_table(columns, rows) if rows else ["  none"])
    return "\n".join(lines)
