"""What the service looks like from outside: one snapshot, as JSON for programs and as a page for people. Read-only."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Final

import msgspec

from connector.core import redact
from connector.core.errors import StateUnavailable
from connector.core.limit_use import LimitUse
from connector.core.metrics import Minute
from connector.core.ports import WorkerInfo
from connector.streams.venue_time import OFF_MS
from workers.hour import hour_lines
from workers.limits_told import TITLE as LIMITS
from workers.limits_told import bars, limit_rows
from workers.pages import REFRESH_S, age, page, table
from workers.stream_pages import rows_table, text_table
from workers.streams_seen import StreamList

CLOCK_OFF_S: Final = OFF_MS / 1000
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
    clock_off_s: Mapping[str, float] = msgspec.field(default_factory=dict)
    """By how much the host's clock is ahead of each exchange's, where that was measured within the last hour."""
    limit_wait_s: Mapping[str, float] = msgspec.field(default_factory=dict)
    """Mean time that a connect or call waited for an exchange's rate limit."""
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
    limits: Sequence[LimitUse] = ()
    """What the processes of both services took of the exchanges' limits, and what bars them."""

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
    clock_off_s: Mapping[str, float] | None = None,
    limit_wait_s: Mapping[str, float] | None = None,
    prices: Mapping[str, str] | None = None,
    hour: Sequence[Minute] = (),
    limits: Sequence[LimitUse] = (),
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
        clock_off_s=dict(clock_off_s or {}),
        limit_wait_s=dict(limit_wait_s or {}),
        matrix=_by_exchange(workers),
        unowned=max((worker.unowned for worker in workers), default=0),
        prices=dict(prices or {}),
        old_keys=_sum(worker.old_keys for worker in workers),
        hour=tuple(hour),
        limits=tuple(limits),
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


def redis_away(error: StateUnavailable) -> str:
    """As a reason not to be ready."""
    return f"redis: {str(error).removeprefix('Redis: ')}"


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
    if status.limits:
        columns, uses, _ = limit_rows(status.limits, status.now_ms)
        found.append((LIMITS, columns, uses))
    if status.limit_wait_s:
        waits: list[tuple[str, ...]] = [(name, f"{wait:.1f} s") for name, wait in sorted(status.limit_wait_s.items())]
        found.append(("Waits for rate limits", ("exchange", "mean"), waits))
    if status.clock_off_s:
        clocks: list[tuple[str, ...]] = [(name, _ahead(off)) for name, off in sorted(status.clock_off_s.items())]
        found.append(("Clocks", ("exchange", "this host"), clocks))
    if status.old_keys:
        old: list[tuple[str, ...]] = [(exchange, str(count)) for exchange, count in status.old_keys.items()]
        found.append(("Keys that the exchange will refuse one day", ("exchange", "accounts"), old))
    if status.prices:
        found.append(("Symbols with prices", ("setting", "value"), list(status.prices.items())))
    return found


def _ahead(off_s: float) -> str:
    """Measured by a clock of whole seconds."""
    if abs(off_s) < CLOCK_OFF_S:
        return "agrees"
    return f"{abs(off_s):.1f} s {'ahead' if off_s > 0 else 'behind'}: check NTP"


def status_page(status: Status, blind: StreamList | None = None) -> bytes:
    """The snapshot as an HTML page that renews itself; `blind`: the streams that are not live."""
    title = f"websocket-connector · {status.role}"
    # The list is a moment newer than the heartbeats: the page is never green above streams that are not live.
    parts = [f"<h1>{escape(title)}</h1>", _answer(status, max(status.blind, len(blind.rows) if blind else 0))]
    parts.extend(f'<p class="doubt">{escape(line)}</p>' for line in bars(status.limits, status.now_ms))
    if blind is not None:
        parts.append('<p><a href="/streams">Search streams</a></p>')
    parts.append(hour_lines(status.hour))
    columns, rows, red = matrix(status)
    parts.append(table("Streams", columns, rows, red=red))
    if blind is not None and blind.rows:
        parts.append(rows_table("Not live", blind))
        if blind.cut:
            parts.append('<p class="quiet">… and more: <a href="/streams">search</a></p>')
    barred = limit_rows(status.limits, status.now_ms)[2]
    parts.extend(
        table(
            title,
            columns,
            [tuple(escape(cell) for cell in row) for row in cells],
            red=barred if title == LIMITS else (),
            cards=len(columns) > _FEW,
            tight=title != LIMITS,
        )
        for title, columns, cells in tables(status)
        if title not in _IN_MATRIX
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


_FEW: Final = 2
"""Columns for which a telephone has room."""
_IN_MATRIX: Final = frozenset({"Streams by state", "Live streams by exchange"})
"""What the table of exchanges and states says already."""
_STATES: Final = ("live", "rotating", "draining", "joining", "opening", "waiting", "cooling")


def matrix(status: Status) -> tuple[tuple[str, ...], list[tuple[str, ...]], list[bool]]:
    """Exchange x state: columns, rows as HTML, and which rows have streams that are not live. A state that no stream is in
    has no column: a telephone has room for few."""
    here = {state for states in status.matrix.values() for state, count in states.items() if count}
    shown = tuple(state for state in _STATES if state == "live" or state in here)
    rows: list[tuple[str, ...]] = []
    red: list[bool] = []
    for exchange, states in sorted(status.matrix.items()):
        wanted = sum(states.values())
        rows.append((escape(exchange), str(wanted), *(str(states.get(state) or "") for state in shown)))
        red.append(any(count for state, count in states.items() if state in NOT_LIVE))
    if status.unowned:
        rows.append(("run by nobody", str(status.unowned), *("" for _ in shown)))
        red.append(True)
    return ("exchange", "wanted", *shown), rows, red


def status_text(status: Status) -> str:
    """The snapshot for a terminal."""
    lines = [f"{status.role} {status.version}: " + ("not ready" if status.problems else "ready")]
    lines.extend(f"  ! {problem}" for problem in status.problems)
    lines.append(
        f"  {status.blind} of {status.streams} streams are not live"
        if status.blind
        else f"  {status.streams} streams, all live"
    )
    lines.extend(f"  ! {line}" for line in bars(status.limits, status.now_ms))
    for title, columns, rows in tables(status):
        lines.extend(("", title))
        lines.extend(text_table(columns, rows) if rows else ["  none"])
    return "\n".join(lines)
