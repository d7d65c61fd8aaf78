"""`make bench`: every measurement of the services, one after the other on real servers, as one table.

    tests/with_servers.sh .venv/bin/python -m bench.table            # some ten minutes
    tests/with_servers.sh .venv/bin/python -m bench.table --quick    # a few minutes: whether all of it runs

Latencies and CPU are this machine's at this moment: two versions are compared by ratios of runs in turn
(`bench.orders --against`), the firehose with its control, which runs right behind it.
"""

from __future__ import annotations

import argparse
import os
import platform
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from bench import firehose, idle, orders
from bench import open as opening

Row = tuple[str, str, object]
"""What was measured, which figure, its value."""


def of_firehose(service: Mapping[str, Any], control: Mapping[str, Any]) -> Iterator[Row]:
    """Each figure of the service, and beside CPU and latency how it stands to the control's."""
    what = f"tickers, {service['offered_per_s']:,}/s"
    yield what, "delivered a second", service["events_per_s"]
    for name, mine, its in (
        ("CPU a ticker, µs", service["cpu_us_per_event"], control["cpu_us_per_event"]),
        ("p50 to Redis, ms", service["redis"]["p50_ms"], control["redis"]["p50_ms"]),
        ("p99 to Redis, ms", service["redis"]["p99_ms"], control["redis"]["p99_ms"]),
    ):
        ratio = f" ({mine / its:.2f} × the control)" if mine is not None and its else ""
        yield what, name, f"{mine:.1f}{ratio}" if mine is not None else "–"


def of_orders(row: Mapping[str, Any], accounts: int) -> Iterator[Row]:
    what = f"orders, {row['rate']:,.0f}/s over {accounts} accounts"
    yield what, "sent a second", row["sent_per_s"]
    for sink, name in (("redis", "Redis"), ("amqp", "RabbitMQ's confirm")):
        judged = row[sink]
        yield what, f"p50, p99 to {name}, ms", f"{judged['p50_ms']}, {judged['p99_ms']}"
        wrong = [f"{count} {bad}" for bad in ("lost", "doubled", "out_of_order") if (count := judged[bad])]
        yield what, f"wrong at {name}", ", ".join(wrong) or "nothing"
    yield what, "CPU an event, µs", row["cpu_us"]
    yield what, "context switches an event", row["switches_per_event"]


def of_figures(what: str, figures: Mapping[str, object], names: Mapping[str, str]) -> Iterator[Row]:
    """Those of the figures that have a name here, in its order."""
    for key, name in names.items():
        yield what, name, figures[key]


OPEN_NAMES = {
    "live_s": "until the last is live, s",
    "commands_per_s": "commands a second",
    "cpu_ms_per_account": "CPU each, ms",
}
IDLE_NAMES = {"cpu_percent_of_core": "CPU, % of a core", "rss_kib_per_stream": "memory each, KiB"}


def markdown(rows: Sequence[Row]) -> str:
    """One table; what is measured stands in the first of its rows only."""
    lines = ["| | | |", "|---|---|---|"]
    before = ""
    for what, name, value in rows:
        lines.append(f"| {'' if what == before else what} | {name} | {value} |")
        before = what
    return "\n".join(lines) + "\n"


def machine() -> str:
    load = ", ".join(f"{value:.1f}" for value in os.getloadavg())
    return f"{os.cpu_count()} CPUs ({platform.machine()}), Python {platform.python_version()}, load average {load}"


def measured(*, quick: bool) -> Iterator[Row]:
    accounts, seconds = (50, 4.0) if quick else (orders.ACCOUNTS, orders.SECONDS)
    for row in orders.run(accounts=accounts, seconds=seconds, rates=orders.RATES[:1] if quick else orders.RATES):
        yield from of_orders(row, accounts)
    count = 50 if quick else 1_000
    yield from of_figures(f"{count} openings at five venues", opening.run(count), OPEN_NAMES)
    yield from of_figures(f"{count} idle accounts", idle.measure(count, 2 * seconds), IDLE_NAMES)
    symbols, seconds = (200, 4.0) if quick else (2_000, 20.0)
    service = firehose.measure(1.0, symbols, seconds)
    yield from of_firehose(service, firehose.measure(1.0, symbols, seconds, control=True))


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="little of everything")
    options = parser.parse_args(arguments)
    before = machine()
    rows = list(measured(quick=options.quick))
    sys.stdout.write(f"Before: {before}\nAfter: {machine()}\n\n{markdown(rows)}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
