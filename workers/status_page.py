"""What the service looks like from outside: one snapshot, as JSON for programs and as a page for people. Read-only."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from html import escape

import msgspec

from connector.core import redact
from connector.core.ports import WorkerInfo

REFRESH_S = 5


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
    prices: Mapping[str, str] = msgspec.field(default_factory=dict)
    """Settings that keep symbols without prices, as they are written; empty = every symbol has one."""


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
        prices=dict(prices or {}),
    )


def _sum(parts: Iterable[Mapping[str, int]]) -> dict[str, int]:
    total: Counter[str] = Counter()
    for part in parts:
        total.update(part)
    return dict(sorted(total.items()))


def status_json(status: Status) -> bytes:
    return msgspec.json.encode(status)


def read_status(body: bytes) -> Status:
    """The snapshot out of its JSON. Raises `msgspec.DecodeError` (or its subclass for a wrong shape)."""
    return msgspec.json.decode(body, type=Status)


def _age(ms: int) -> str:
    seconds = max(0, ms // 1000)
    if seconds < 120:
        return f"{seconds} s"
    if seconds < 7200:
        return f"{seconds // 60} min"
    return f"{seconds // 3600} h"


def tables(status: Status) -> list[tuple[str, tuple[str, ...], list[tuple[str, ...]]]]:
    """The snapshot as tables: title, column names, rows of text. Page and command line print the same ones."""
    workers: list[tuple[str, ...]] = [
        (
            worker.owner,
            worker.role,
            worker.host,
            str(worker.pid),
            _age(status.now_ms - worker.started_ms),
            f"{worker.streams} / {worker.capacity}",
            "draining" if worker.draining else "working",
        )
        for worker in status.workers
    ]
    found: list[tuple[str, tuple[str, ...], list[tuple[str, ...]]]] = [
        ("Processes", ("process", "role", "host", "pid", "up", "streams", "state"), workers)
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
    if status.prices:
        found.append(("Symbols with prices", ("setting", "value"), list(status.prices.items())))
    return found


_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta http-equiv="refresh" content="{refresh}">
<meta name="viewport" content="width=device-width"><title>{title}</title><style>
body{{font:15px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:60rem;padding:0 1rem;color:#222;background:#fff}}
h1{{font-size:1.3rem}}h2{{font-size:1rem;margin:1.6rem 0 .4rem}}
table{{border-collapse:collapse;width:100%}}th,td{{text-align:left;padding:.25rem .6rem;border-bottom:1px solid #ddd}}
th{{font-weight:600}}td:not(:first-child){{font-variant-numeric:tabular-nums}}
.ok{{color:#0a6b2d}}.bad{{color:#a3180f}}.quiet{{color:#666}}
@media(prefers-color-scheme:dark){{body{{color:#ddd;background:#161616}}th,td{{border-color:#333}}.ok{{color:#5fce87}}
.bad{{color:#ff8d80}}.quiet{{color:#999}}}}
</style></head><body><h1>{title}</h1>{state}{tables}
<p class="quiet">Version {version} · up {uptime} · renewed every {refresh} s · <a href="/status.json">JSON</a> ·
<a href="/metrics">metrics</a></p></body></html>
"""


def status_page(status: Status) -> bytes:
    """The snapshot as an HTML page that renews itself."""
    if status.problems:
        items = "".join(f"<li>{escape(problem)}</li>" for problem in status.problems)
        state = f'<p class="bad">Not ready:</p><ul class="bad">{items}</ul>'
    else:
        state = '<p class="ok">Ready</p>'
    page = _PAGE.format(
        title=f"websocket-connector · {escape(status.role)}",
        refresh=REFRESH_S,
        state=state,
        tables="".join(_html_table(*table) for table in tables(status)),
        version=escape(status.version),
        uptime=_age(int(status.uptime_s * 1000)),
    )
    return page.encode()


def _html_table(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    if not rows:
        return f'<h2>{escape(title)}</h2><p class="quiet">none</p>'
    head = "".join(f"<th>{escape(column)}</th>" for column in columns)
    body = "".join("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in rows)
    return f"<h2>{escape(title)}</h2><table><tr>{head}</tr>{body}</table>"


def status_text(status: Status) -> str:
    """The snapshot for a terminal."""
    lines = [f"{status.role} {status.version}: " + ("not ready" if status.problems else "ready")]
    lines.extend(f"  ! {problem}" for problem in status.problems)
    for title, columns, rows in tables(status):
        lines.extend(("", title))
        lines.extend(_text_table(columns, rows) if rows else ["  none"])
    return "\n".join(lines)


def _text_table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(len(row[index]) for row in (columns, *rows)) for index in range(len(columns))]
    return [
        "  " + "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in (columns, *rows)
    ]
