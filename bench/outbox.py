"""What the outbox costs: records a second and CPU time per record, written and read back, and how long a start takes.

    python -m bench.outbox [directory]

Each figure is of records of 600 bytes on the disk of the directory (default: `var/bench`, which is emptied); the CPU time is
that of this process. The last line is JSON: for each size of a batch `written_per_s`, `write_us`, `read_per_s`, `read_us`;
and `start_s`, to adopt 300,000 records that a dead process left.
"""

from __future__ import annotations

import json
import secrets
import shutil
import sys
import time
from pathlib import Path
from typing import Final

from connector.sinks.outbox import Outbox

BODY: Final = secrets.token_hex(300).encode()
RUNS: Final = {1: 600, 10: 4_000, 100: 40_000, 1_000: 200_000}
"""Records of a batch → how many are written."""
LEFT: Final = 300_000
MAX_BYTES: Final = 1 << 30


def opened(folder: Path) -> Outbox:
    outbox = Outbox(folder, max_bytes=MAX_BYTES)
    outbox.open()
    return outbox


def measure(folder: Path, batch: int, records: int) -> dict[str, float]:
    outbox = opened(folder)
    started, cpu = time.perf_counter(), time.process_time()
    for _ in range(records // batch):
        outbox.append([BODY] * batch, [None] * batch)
    write_s, write_cpu_s = time.perf_counter() - started, time.process_time() - cpu
    started, cpu = time.perf_counter(), time.process_time()
    read = 0
    while (loaded := outbox.load()) is not None:
        read += len(loaded[1])
        outbox.discard(loaded[0])
    read_s, read_cpu_s = time.perf_counter() - started, time.process_time() - cpu
    outbox.close()
    if read != records:
        raise RuntimeError(f"{read} of {records} records came back")
    return {
        "written_per_s": round(records / write_s),
        "write_us": round(write_cpu_s / records * 1e6, 1),
        "read_per_s": round(records / read_s),
        "read_us": round(read_cpu_s / records * 1e6, 1),
    }


def start(folder: Path) -> float:
    before = opened(folder)
    for _ in range(LEFT // 1_000):
        before.append([BODY] * 1_000)
    before.close()
    started = time.perf_counter()
    outbox = opened(folder)
    took_s = time.perf_counter() - started
    outbox.close()
    return round(took_s, 2)


def main(folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    found: dict[str, object] = {}
    for batch, records in RUNS.items():
        found[str(batch)] = figures = measure(folder, batch, records)
        print(f"batches of {batch:5}: {figures}")
    found["start_s"] = start(folder)
    shutil.rmtree(folder, ignore_errors=True)
    print(json.dumps(found))


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path("var/bench"))
