"""A picture of latency against rate: the service beside its control, from the sending of a frame to a subscriber of Redis.

    tests/with_servers.sh .venv/bin/python -m bench.chart                       # measures, and draws docs/performance.png
    .venv/bin/python -m bench.chart --figures figures.json                      # draws again what was printed then

For each rate `bench.firehose` measures the service and right behind it the control, which reads and publishes the same frames
and nothing else. The last line printed is the JSON that was drawn.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import sys
from collections.abc import Mapping, Sequence
from itertools import takewhile
from pathlib import Path
from typing import Any, Final, NamedTuple

from bench import firehose
from harness.servers import ROOT

RATES: Final = (0.5, 1.0, 2.0, 4.0, 8.0)
"""Frames a second and market."""
SYMBOLS: Final = 2_000
TARGET: Final = ROOT / "docs" / "performance.png"
COLOURS: Final = {"service": "#1f5fa8", "control": "#8a8a8a"}
STYLES: Final = {"p50": "-", "p99": "--"}


class Curve(NamedTuple):
    """One line of the picture."""

    name: str
    rates: list[float]
    """Tickers offered a second."""
    values_ms: list[float]

    @property
    def who(self) -> str:
        return self.name.split()[0]

    @property
    def percentile(self) -> str:
        return self.name.split()[1]


def kept_up(row: Mapping[str, Any]) -> bool:
    """Whether it delivered what was offered: latency of what is left out says nothing."""
    return bool(row["events_per_s"] >= 0.98 * row["offered_per_s"])


def curves(rows: Sequence[Mapping[str, Mapping[str, Any]]]) -> list[Curve]:
    """Median and 99th percentile of both, up to the rate at which each no longer kept up."""
    found = []
    for who in COLOURS:
        good = list(takewhile(kept_up, (row[who] for row in rows)))
        for percentile in STYLES:
            values = [(row["offered_per_s"], row["redis"][f"{percentile}_ms"]) for row in good]
            known = [(rate, value) for rate, value in values if value is not None]
            found.append(Curve(f"{who} {percentile}", [rate for rate, _ in known], [value for _, value in known]))
    return found


def draw(pyplot: Any, lines: Sequence[Curve], target: Path) -> None:
    figure, axes = pyplot.subplots(figsize=(7.2, 4.2), dpi=110)
    for line in lines:
        axes.plot(
            line.rates, line.values_ms, STYLES[line.percentile],
            color=COLOURS[line.who], marker="o", markersize=4, label=line.name,
        )  # fmt: skip
    axes.set_xscale("log", base=2)
    axes.set_ylim(bottom=0, top=1.1 * max((max(line.values_ms, default=0.0) for line in lines), default=0.0) or None)
    ticks = sorted({rate for line in lines for rate in line.rates})
    axes.set_xticks(ticks, [f"{rate:,.0f}" for rate in ticks])
    axes.set_xlabel("tickers offered a second (a line ends where not all of them arrived)")
    axes.set_ylabel("ms to a subscriber of Redis")
    axes.grid(visible=True, alpha=0.25)
    axes.legend(frameon=False, ncols=len(lines), loc="lower center", bbox_to_anchor=(0.5, 1.0))
    figure.tight_layout()
    # Without a date or a version, so that the same figures are the same file.
    figure.savefig(target, metadata={"Software": None})


def measured(rates: Sequence[float], symbols: int, seconds: float) -> list[dict[str, Any]]:
    rows = []
    for rate in rates:
        row = {
            "service": firehose.measure(rate, symbols, seconds),
            "control": firehose.measure(rate, symbols, seconds, control=True),
            "load": round(os.getloadavg()[0], 1),
        }
        sys.stderr.write(f"{json.dumps(row)}\n")
        rows.append(row)
    return rows


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rates", type=lambda text: [float(part) for part in text.split(",")], default=list(RATES))
    parser.add_argument("--symbols", type=int, default=SYMBOLS)
    parser.add_argument("--seconds", type=float, default=15.0)
    parser.add_argument("--figures", type=Path, help="what an earlier run printed: nothing is measured")
    parser.add_argument("--to", type=Path, default=TARGET)
    options = parser.parse_args(arguments)
    try:
        importlib.import_module("matplotlib").use("Agg")
        pyplot = importlib.import_module("matplotlib.pyplot")
    except ImportError as error:
        sys.stderr.write(f"without matplotlib ({error.name}) nothing is drawn: pip install -e '.[peers]'\n")
        return 1
    if options.figures is not None:
        rows = json.loads(options.figures.read_text().splitlines()[-1])["rows"]
    else:
        rows = measured(options.rates, options.symbols, options.seconds)
    draw(pyplot, curves(rows), options.to)
    sys.stdout.write(json.dumps({"rows": rows}) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
