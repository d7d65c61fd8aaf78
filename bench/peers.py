"""What reading one ticker costs here, in ccxt.pro and in cryptofeed: the same bytes, in a process of each.

    .venv/bin/pip install -e '.[peers]'
    .venv/bin/python -m bench.peers

From a frame as the socket brings it (the golden ones, spread over many symbols) to what the library hands to its user: here
events, and as a second figure the bytes that are published; in ccxt a dict per ticker in `tickers`, in cryptofeed a `Ticker`
given to a callback. No sockets, no sinks. The processes run in turn, several rounds; told are medians, in microseconds of
CPU a ticker, and ratios to the service's events of the same round. Ends with one line of JSON.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from typing import Any, Final

from bench.peers_feeds import EVENTS, FEEDS, PEERS, Missing, Reader, frames, reader
from harness.servers import ROOT

ROWS: Final = 200
"""Symbols of each market."""


def cost_us(read: Reader, raw: Sequence[bytes], rows: int, seconds: float) -> float:
    """Microseconds of CPU a ticker, after one round to warm up. Raises `ValueError` if a ticker is missing."""
    if (found := read(raw)) != rows:
        raise ValueError(f"{found} tickers of {rows}")
    tickers, began = 0, time.process_time()
    while (spent := time.process_time() - began) < seconds:
        tickers += read(raw)
    return spent / tickers * 1e6


def one(peer: str, seconds: float) -> dict[str, float]:
    """Market → cost, of what this peer can read. Raises `Missing`."""
    found = {}
    for exchange in FEEDS:
        read = reader(peer, exchange, ROWS)
        if read is not None:
            found[exchange] = cost_us(read, frames(exchange, ROWS), ROWS, seconds)
    return found


def ratios(rounds: Sequence[Mapping[str, Mapping[str, float]]]) -> list[dict[str, Any]]:
    """A row a market and peer: the median of its cost and of its ratio to the service's events, round by round."""
    rows = []
    for exchange in FEEDS:
        for peer in PEERS:
            known = [each for each in rounds if exchange in each.get(peer, {})]
            if known:
                cost = statistics.median(each[peer][exchange] for each in known)
                ratio = statistics.median(each[peer][exchange] / each[EVENTS][exchange] for each in known)
                rows.append({"exchange": exchange, "peer": peer, "us": round(cost, 2), "ratio": round(ratio, 1)})
    return rows


def markdown(rows: Sequence[Mapping[str, Any]]) -> str:
    """A line a market, a column a peer."""
    told = {(row["exchange"], row["peer"]): f"{row['us']:g} µs ({row['ratio']:g})" for row in rows}
    lines = [f"| | {' | '.join(PEERS)} |", f"|---|{'---|' * len(PEERS)}"]
    for exchange in FEEDS:
        cells = [told.get((exchange, peer), "–") for peer in PEERS]
        lines.append(f"| {exchange} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _in_its_own_process(peer: str, seconds: float) -> dict[str, float]:
    """Empty where the peer is not installed; it has said so itself."""
    command = [sys.executable, "-m", "bench.peers", "--one", peer, "--seconds", str(seconds)]
    ended = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, timeout=600, check=True)
    found: dict[str, float] = json.loads(ended.stdout.splitlines()[-1])
    return found


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--one", choices=PEERS, help=argparse.SUPPRESS)
    parser.add_argument("--seconds", type=float, default=3.0, help="of CPU for each market")
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args(arguments)
    if options.one is not None:
        try:
            sys.stdout.write(json.dumps(one(options.one, options.seconds)) + "\n")
        except Missing as missing:
            sys.stderr.write(f"{missing}\n")
            sys.stdout.write("{}\n")
        return 0
    rounds = []
    left = list(PEERS)
    for _ in range(options.rounds):
        rounds.append({peer: _in_its_own_process(peer, options.seconds) for peer in left})
        left = [peer for peer in left if rounds[-1][peer]]
    rows = ratios(rounds)
    sys.stdout.write(f"{markdown(rows)}\n{json.dumps({'load': os.getloadavg(), 'rows': rows})}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
