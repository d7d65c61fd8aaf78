"""What a ticker costs in this checkout, in another one and in the control, all at the same time.

    tests/with_servers.sh .venv/bin/python -m bench.beside --against ../before

On a machine with other work the same code costs twice as much at one moment as at another, so that runs one after the other
tell little. Here all run beside each other, each with a simulator of its own, and their CPU is read in the same windows.
`--against` the same checkout tells how far two processes of one version are apart. Ends with one line of JSON.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final

from bench.firehose import MARKETS
from harness.servers import ROOT

SETTLE_S: Final = 8.0
STOP_S: Final = 60.0
HOLD: Final = """
import sys
from bench.firehose import Stack
stack = Stack(float(sys.argv[1]), int(sys.argv[2]), "rabbitmq,redis", control=sys.argv[3] == "control")
try:
    print(stack.ready().pid, flush=True)
    sys.stdin.read()
finally:
    stack.stop()
"""
"""Run in each checkout, which may be older than this file: holds a service up until its input ends."""


@contextmanager
def running(root: Path, rate: float, symbols: int, what: str) -> Iterator[int]:
    """The pid of the process to measure."""
    command = [sys.executable, "-c", HOLD, str(rate), str(symbols), what]
    holder = subprocess.Popen(command, cwd=root, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert holder.stdin is not None
    assert holder.stdout is not None
    try:
        line = holder.stdout.readline()
        if not line:
            raise RuntimeError(f"the {what} of {root} did not start")
        yield int(line)
    finally:
        holder.stdin.close()
        holder.wait(STOP_S)


def cpu_ns(pid: int) -> int:
    """Of all threads that run now, to the nanosecond: the process's own times have ticks of ten milliseconds."""
    total = 0
    for task in Path(f"/proc/{pid}/task").iterdir():
        try:
            total += int((task / "schedstat").read_text().split()[0])
        except (FileNotFoundError, ProcessLookupError):  # a thread that ended
            continue
    return total


def shares(pids: Sequence[int], seconds: float, windows: int) -> Iterator[list[float]]:
    """CPU seconds a second of each process, window by window."""
    for _ in range(windows):
        before, began = [cpu_ns(pid) for pid in pids], time.monotonic()
        time.sleep(seconds)
        spent = [cpu_ns(pid) - earlier for pid, earlier in zip(pids, before, strict=True)]
        yield [each / 1e9 / (time.monotonic() - began) for each in spent]


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--against", type=Path, action="append", default=[], help="another checkout; may be repeated")
    parser.add_argument("--rate", type=float, default=1.0, help="frames per second and market")
    parser.add_argument("--symbols", type=int, default=2_000)
    parser.add_argument("--seconds", type=float, default=10.0, help="of each window")
    parser.add_argument("--windows", type=int, default=8)
    options = parser.parse_args(arguments)
    roots = [(ROOT, "service"), *((root.resolve(), "service") for root in options.against), (ROOT, "control")]
    with ExitStack() as stack:
        pids = [stack.enter_context(running(root, options.rate, options.symbols, what)) for root, what in roots]
        time.sleep(SETTLE_S)
        found = []
        for row in shares(pids, options.seconds, options.windows):
            found.append(row)
            sys.stderr.write(" ".join(f"{1000 * share:.1f}" for share in row) + " ms/s\n")
    tickers = options.rate * options.symbols * len(MARKETS)
    told = [
        {
            "what": f"{what} of {root.name}",
            "cpu_us_per_ticker": round(statistics.median(row[index] for row in found) * 1e6 / tickers, 2),
            "to_control": round(statistics.median(row[index] / row[-1] for row in found), 2),
        }
        for index, (root, what) in enumerate(roots)
    ]
    sys.stdout.write(json.dumps({"load": os.getloadavg(), "beside_each_other": told}) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
