"""Openings: how long many accounts of several venues take from their commands until they are live, and what one costs.

    tests/with_servers.sh .venv/bin/python -m bench.open --accounts 1000

Commands go out in one burst. `commands_per_s`: until the last of them took effect in the state; `live_s`: until the last
account is live. Ends with one line of JSON.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Sequence
from typing import Final

from bench.crowd import Account, Crowd, accounts
from harness.servers import wait_for

PLACES: Final = (
    ("binance", "binanceUsdm"), ("bybit", "bybitLinear"), ("okx", "okxLinear"), ("kucoin", "kucoin"), ("bitget", "bitgetUsdm")
)  # fmt: skip
WANTED_KEY: Final = "wsc:streams"


def per_second(count: int, seconds: float) -> float:
    return round(count / seconds, 1) if seconds > 0 else 0.0


def measure(crowd: Crowd, batch: Sequence[Account], before: int) -> dict[str, object]:
    """Open these; `before` are live already."""
    cpu_s, began = crowd.cpu_s(), time.monotonic()
    for account in batch:
        crowd.open(account)
    published_s = time.monotonic() - began
    with crowd.redis.client() as client:
        wait_for(lambda: client.scard(WANTED_KEY) >= before + len(batch), 600.0, "all commands taken", 0.02)
    taken_s = time.monotonic() - began
    crowd.wait_live(before + len(batch))
    return {
        "accounts": len(batch),
        "published_s": round(published_s, 2),
        "commands_per_s": per_second(len(batch), taken_s),
        "live_s": round(time.monotonic() - began, 2),
        "cpu_ms_per_account": round((crowd.cpu_s() - cpu_s) * 1000 / max(len(batch), 1), 2),
        "load": round(os.getloadavg()[0], 1),
    }


def run(count: int, places: Sequence[tuple[str, str]] = PLACES) -> dict[str, object]:
    """So many accounts, in turn at these places, on a service of their own."""
    with Crowd(accounts(places, count)) as crowd:
        return measure(crowd, crowd.crowd, 0)


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--accounts", type=int, default=1_000)
    parser.add_argument("--venues", default="", help="comma list of venues (default: five of them)")
    options = parser.parse_args(arguments)
    chosen = [place for place in PLACES if not options.venues or place[0] in options.venues.split(",")]
    figures = run(options.accounts, chosen)
    sys.stdout.write(json.dumps({**figures, "venues": [venue for venue, _ in chosen]}) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
