"""Hours of a little work: whether memory, threads, files or queues of the services and of the demo grow.

    tests/with_servers.sh .venv/bin/python -m bench.soak --hours 4

The price and the user service run on real RabbitMQ and Redis against the simulator, with an account at each market that
trades a little, tickers and candles; beside them `connector run` on its embedded defaults. Once a minute what each process
holds is read. At the end: a table, and one line of JSON with the slope of each process's memory over the second half of the
time. Exit status 1: memory grows by more than 1 MiB an hour (by two standard errors), a count grows steadily, or a process
ended. Ctrl-C ends it earlier, and what was measured is told.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from bench.soak_stack import SoakStack
from bench.trend import Slope, second_half, slope, steady

EVERY_S: Final = 60.0
LIMIT_MIB_PER_HOUR: Final = 1.0
MEMORY: Final = "rss_mib"
Samples = dict[str, dict[str, list[float]]]
"""Process → figure → its values, one a minute."""


def judged(times_s: Sequence[float], samples: Samples) -> list[dict[str, Any]]:
    """A row a process: slope and error of its memory over the second half, first and last of each figure, what is wrong."""
    rows = []
    for name, figures in samples.items():
        values = figures[MEMORY]
        # A process that ended has fewer values than there are times.
        line = slope(second_half(times_s[: len(values)]), second_half(values))
        rows.append(
            {
                "process": name,
                "mib_per_hour": None if line is None else round(line.per_hour, 2),
                "error": None if line is None else round(line.error, 2),
                "figures": {figure: [kept[0], kept[-1]] for figure, kept in figures.items() if kept},
                "wrong": [*_memory(line), *_counts(figures), *(["ended"] if len(values) < len(times_s) else [])],
            }
        )
    return rows


def _memory(line: Slope | None) -> Iterator[str]:
    if line is not None and line.above(LIMIT_MIB_PER_HOUR):
        yield "memory grows"


def _counts(figures: Mapping[str, Sequence[float]]) -> Iterator[str]:
    for figure, values in figures.items():
        if figure != MEMORY and steady(second_half(values)):
            yield f"{figure} grow"


def markdown(rows: Sequence[Mapping[str, Any]]) -> str:
    lines = [
        "| Process | memory, MiB | MiB an hour | threads | files | queue | outbox, KiB | keys | wrong |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        cells = [
            _first_last(row["figures"].get(figure)) for figure in ("threads", "files", "queue", "outbox_kib", "keys")
        ]
        rise = "–" if row["mib_per_hour"] is None else f"{row['mib_per_hour']:+.2f} ± {row['error']:.2f}"
        memory = _first_last(row["figures"].get(MEMORY))
        lines.append(
            f"| {row['process']} | {memory} | {rise} | {' | '.join(cells)} | {', '.join(row['wrong']) or '–'} |"
        )
    return "\n".join(lines) + "\n"


def _first_last(pair: Sequence[float] | None) -> str:
    return "–" if not pair else f"{pair[0]:g} → {pair[1]:g}"


def measured(stack: SoakStack, seconds: float, every_s: float, done: threading.Event) -> tuple[list[float], Samples]:
    """Look at all processes each `every_s`, until the time is over or `done` is set."""
    times_s: list[float] = []
    samples: Samples = {}
    began = time.monotonic()
    while True:
        now_s = time.monotonic() - began
        times_s.append(round(now_s, 1))
        for name, figures in stack.look():
            kept = samples.setdefault(name, {})
            for figure, value in figures.items():
                kept.setdefault(figure, []).append(value)
        # All of it at once, so that a run which is killed has told what it saw.
        newest = {name: {figure: values[-1] for figure, values in kept.items()} for name, kept in samples.items()}
        sys.stderr.write(json.dumps({"minute": round(now_s / 60, 1), **newest}) + "\n")
        if now_s >= seconds or done.wait(min(every_s, max(seconds - now_s, 0.1))):
            return times_s, samples


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--hours", type=float, default=4.0)
    parser.add_argument("--minutes", type=float, help="instead of hours")
    parser.add_argument("--every", type=float, default=EVERY_S, metavar="SECONDS", help="between two looks")
    options = parser.parse_args(arguments)
    seconds = options.hours * 3600 if options.minutes is None else options.minutes * 60
    done = threading.Event()
    with contextlib.closing(SoakStack()) as stack:
        stack.start()
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: done.set())
        times_s, samples = measured(stack, seconds, options.every, done)
    rows = judged(times_s, samples)
    sys.stdout.write(f"{times_s[-1] / 3600:.2f} hours, load average {os.getloadavg()[0]:.1f}\n\n{markdown(rows)}\n")
    sys.stdout.write(
        json.dumps({"hours": round(times_s[-1] / 3600, 2), "looks": len(times_s), "processes": rows}) + "\n"
    )
    return int(any(row["wrong"] for row in rows))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
