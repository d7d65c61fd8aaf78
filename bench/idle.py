"""Cost of idle account streams: RSS and CPU per stream of one user service with many listen-key accounts on the simulator."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
import urllib.request

import psutil

from harness.backend import Backend
from harness.servers import ROOT, PrivateRedis, Rabbit, free_port, wait_for
from harness.services import Service

SETTLE_S = 5.0


def _post(url: str, body: object) -> None:
    request = urllib.request.Request(url, json.dumps(body).encode(), {"Content-Type": "application/json"})
    urllib.request.urlopen(request, timeout=10.0).read()


def measure(streams: int, seconds: float) -> dict[str, object]:
    redis, rabbit, port = PrivateRedis(), Rabbit(), free_port()
    simulator = subprocess.Popen(
        [sys.executable, "-m", "cli.main", "simulate", "--port", str(port), "--venues", "binance", "--no-limits"],
        cwd=ROOT, stdout=subprocess.DEVNULL,
    )  # fmt: skip
    env = {
        **rabbit.env(),
        "REDIS_HOST": redis.host,
        "REDIS_PORT": str(redis.port),
        "VENUE_GATEWAY": f"127.0.0.1:{port}",
        # 300 connects per 5 minutes and address is the venue's limit, which the service keeps.
        "EGRESS_IPS": ",".join(f"127.0.0.{number}" for number in range(2, 4 + streams // 250)),
    }
    service = Service("user", env)
    backend = Backend(rabbit, redis)
    try:
        service.wait_ready()
        control = f"http://127.0.0.1:{port}/__control"
        for number in range(streams):
            _post(f"{control}/accounts", {"venue": "binance", "key": f"key-{number}", "secret": f"secret-{number}"})
        pids = wait_for(service.worker_pids, 20.0, "a worker process")
        assert isinstance(pids, list)
        worker = psutil.Process(pids[0])
        rss_before = worker.memory_info().rss
        started, cpu_before = time.monotonic(), sum(worker.cpu_times()[:2])
        for number in range(streams):
            backend.open(f"idle-{number}", "binanceUsdm", f"key-{number}", f"secret-{number}")
        wait_for(lambda: service.status().states.get("live", 0) >= streams, 300.0, f"{streams} live streams", 0.5)
        opened_s, open_cpu_s = time.monotonic() - started, sum(worker.cpu_times()[:2]) - cpu_before
        time.sleep(SETTLE_S)
        rss = worker.memory_info().rss
        cpu_before, began = sum(worker.cpu_times()[:2]), time.monotonic()
        time.sleep(seconds)
        cpu_share = (sum(worker.cpu_times()[:2]) - cpu_before) / (time.monotonic() - began)
        return {
            "streams": streams,
            "opened_in_s": round(opened_s, 1),
            "open_cpu_ms_per_stream": round(open_cpu_s / streams * 1000, 2),
            "rss_mib": round(rss / 2**20, 1),
            "rss_kib_per_stream": round((rss - rss_before) / streams / 1024, 1),
            "cpu_percent_of_core": round(cpu_share * 100, 2),
            "cpu_percent_per_stream": round(cpu_share * 100 / streams, 5),
        }
    finally:
        backend.close()
        service.stop()
        simulator.terminate()
        simulator.wait(10)
        redis.stop()
        rabbit.stop()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--streams", type=int, default=1_000)
    parser.add_argument("--seconds", type=float, default=20.0)
    args = parser.parse_args()
    print(json.dumps(measure(args.streams, args.seconds), indent=2))
    return 0


if __name__ == "__main__":
    sys.exit(main())
