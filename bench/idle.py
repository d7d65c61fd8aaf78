"""Cost of idle account streams: RSS and CPU per stream of one user service with many listen-key accounts on the simulator."""

from __future__ import annotations

import argparse
import json
import sys
import time

from bench.crowd import Crowd, accounts

SETTLE_S = 5.0


def measure(streams: int, seconds: float) -> dict[str, object]:
    with Crowd(accounts([("binance", "binanceUsdm")], streams)) as crowd:
        rss_before = crowd.rss()
        started, cpu_before = time.monotonic(), crowd.cpu_s()
        for account in crowd.crowd:
            crowd.open(account)
        crowd.wait_live(streams)
        opened_s, open_cpu_s = time.monotonic() - started, crowd.cpu_s() - cpu_before
        time.sleep(SETTLE_S)
        rss = crowd.rss()
        cpu_before, began = crowd.cpu_s(), time.monotonic()
        time.sleep(seconds)
        cpu_share = (crowd.cpu_s() - cpu_before) / (time.monotonic() - began)
        return {
            "streams": streams,
            "opened_in_s": round(opened_s, 1),
            "open_cpu_ms_per_stream": round(open_cpu_s / streams * 1000, 2),
            "rss_mib": round(rss / 2**20, 1),
            "rss_kib_per_stream": round((rss - rss_before) / streams / 1024, 1),
            "cpu_percent_of_core": round(cpu_share * 100, 2),
            "cpu_percent_per_stream": round(cpu_share * 100 / streams, 5),
        }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--streams", type=int, default=1_000)
    parser.add_argument("--seconds", type=float, default=20.0)
    args = parser.parse_args()
    print(json.dumps(measure(args.streams, args.seconds), indent=2))
    return 0


if __name__ == "__main__":
    sys.exit(main())
