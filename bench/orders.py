"""The order path: frames of a stub venue through the real session, adapter, pipeline and both sinks, on real servers.

    tests/with_servers.sh .venv/bin/python -m bench.orders                      # 500, 2,000 and 5,000 events a second
    tests/with_servers.sh .venv/bin/python -m bench.orders --against ../before  # in turn with another checkout, as ratios

Latency from the sending of a frame to its arrival at a subscriber of Redis, and to RabbitMQ's confirm; CPU of the process;
what was lost, doubled, or came out of order. Ends with one line of JSON.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Final

from cryptography.fernet import Fernet

from bench.subscriber import listen, messages
from bench.venue import account_of, key_of, play
from harness.servers import ROOT, PrivateRedis, Rabbit, wait_for

RATES: Final = (500.0, 2_000.0, 5_000.0)
ACCOUNTS: Final = 500
HISTORY: Final = 100
SECONDS: Final = 10.0
WARM_UP_S: Final = 2.0
SETTLE_S: Final = 3.0
"""After the opening: what that leaves to do is not measured."""
DRAIN_S: Final = 30.0
"""For so long after the last frame events may still arrive."""
PATTERN: Final = "bench-*"
Arrived = list[tuple[int, float]]
"""Key of an event (`bench.venue.key_of`), and a monotonic time."""

_BODY: Final = re.compile(rb'"orderId":"(\d+)".*?"orderStatus":"(\w+)"|"orderStatus":"(\w+)".*?"orderId":"(\d+)"')


def key_of_body(body: bytes) -> int | None:
    """The event that a body on Redis tells; None for anything but an order's."""
    found = _BODY.search(body)
    if found is None:
        return None
    return key_of(int(found[1] or found[4]), (found[2] or found[3]).decode())


def key_of_event_id(event_id: str) -> int | None:
    """The event that RabbitMQ confirmed: `bybitLinear:<symbol>:<order>:<status>:…`."""
    parts = event_id.split(":")
    return key_of(int(parts[2]), parts[3]) if len(parts) >= 5 and parts[2].isdigit() else None


def judged(sent: Arrived, arrived: Arrived, from_mono: float) -> dict[str, float | int | None]:
    """Latencies in ms of what was sent since `from_mono`, and what went wrong with anything that was sent."""
    when: dict[int, float] = {}
    newest: dict[int, int] = {}
    disorder = doubled = 0
    for key, mono in arrived:
        account = account_of(key)
        disorder += key < newest.get(account, -1)
        newest[account] = max(key, newest.get(account, -1))
        doubled += key in when
        when.setdefault(key, mono)
    ordered = sorted(1000 * (when[key] - mono) for key, mono in sent if mono >= from_mono and key in when)
    return {
        **{f"p{share}_ms": quantile(ordered, share / 100) for share in (50, 99)},
        "max_ms": quantile(ordered, 1.0),
        "lost": sum(key not in when for key, _ in sent),
        "doubled": doubled,
        "out_of_order": disorder,
    }


def quantile(ordered: Sequence[float], share: float) -> float | None:
    """Of sorted values; None of none."""
    return round(ordered[min(len(ordered) - 1, int(len(ordered) * share))], 2) if ordered else None


def ratios(rounds: Sequence[Mapping[str, Any]], others: Sequence[Mapping[str, Any]]) -> dict[str, float | None]:
    """Medians of this checkout divided by those of the other, of every figure that both have."""
    flat = [[_flat(row) for row in rows] for rows in (rounds, others)]
    found: dict[str, float | None] = {}
    for name in flat[0][0]:
        mine, theirs = ([row[name] for row in rows if row.get(name) is not None] for rows in flat)
        if mine and theirs and name.endswith(("_ms", "_us", "_per_event")):
            base = statistics.median(theirs)
            found[name] = round(statistics.median(mine) / base, 2) if base else None
    return found


def _flat(row: Mapping[str, Any], before: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in row.items():
        found.update(_flat(value, f"{before}{name}.") if isinstance(value, Mapping) else {before + name: value})
    return found


def _subscribe(host: str, port: int, pipe: Connection) -> None:
    chunks = listen(host, port, PATTERN, time.monotonic, lambda: pipe.send("ready"), pipe.poll)
    keys = ((key_of_body(body), mono) for mono, _, body in messages(chunks, PATTERN))
    pipe.send([(key, mono) for key, mono in keys if key is not None])


class Town:
    """Servers, venue, and the process under measurement, of this checkout or of another one."""

    def __init__(self, root: Path = ROOT, env: Mapping[str, str] | None = None) -> None:
        self._context = multiprocessing.get_context("spawn")
        self.redis, self.rabbit = PrivateRedis(), Rabbit()
        self.venue, theirs = self._context.Pipe()
        self._venue = self._context.Process(target=play, args=(theirs,), daemon=True)
        self._venue.start()
        theirs.close()  # so that its end is noticed
        port = self.venue.recv()
        self._outbox = tempfile.TemporaryDirectory(prefix="outbox-")
        settings = {
            **self.rabbit.env(),
            "REDIS_HOST": self.redis.host,
            "REDIS_PORT": str(self.redis.port),
            "VENUE_GATEWAY": f"127.0.0.1:{port}",
            # Connects within the venue's limit, which the service keeps per address.
            "EGRESS_IPS": ",".join(f"127.0.0.{number}" for number in range(2, 12)),
            "OUTBOX_DIR": self._outbox.name,
            **(env or {}),
        }
        given = json.dumps({"env": settings, "vault_key": Fernet.generate_key().decode()})
        self._member = subprocess.Popen(
            # Not from this folder: whose `connector` runs is for PYTHONPATH to say.
            [sys.executable, "-P", str(ROOT / "bench" / "orders_process.py"), given],
            cwd=root, env={**os.environ, "PYTHONPATH": str(root)}, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip

    def ask(self, *what: object) -> Any:
        """One question to the process under measurement."""
        if self._member.stdin is None or self._member.stdout is None:
            raise RuntimeError("the process under measurement has no pipes")
        self._member.stdin.write(json.dumps(what) + "\n")
        self._member.stdin.flush()
        line = self._member.stdout.readline()
        if not line:
            raise RuntimeError("the process under measurement ended")
        return json.loads(line)

    def listen(self) -> Connection:
        """A subscriber of Redis; it ends, and sends what came, when anything is sent to it."""
        mine, theirs = self._context.Pipe()
        self._context.Process(target=_subscribe, args=(self.redis.host, self.redis.port, theirs), daemon=True).start()
        theirs.close()
        if not mine.poll(20.0):
            raise TimeoutError("the subscriber did not start")
        mine.recv()
        return mine

    def stop(self) -> None:
        self._member.kill()
        self._member.wait(10.0)
        self._venue.kill()
        self._venue.join(10.0)
        self.redis.stop()
        self.rabbit.stop()
        self._outbox.cleanup()


def measure(town: Town, rate: float, seconds: float) -> dict[str, Any]:
    """One rate, after a warm-up at the same rate."""
    town.ask("confirmed")
    subscriber = town.listen()
    town.venue.send((rate, WARM_UP_S + seconds))
    time.sleep(WARM_UP_S)
    from_mono, before = time.monotonic(), town.ask("cpu")
    sent: Arrived = town.venue.recv()
    elapsed_s = time.monotonic() - from_mono
    # Also what comes late: a process that is behind would look cheap otherwise.
    wait_for(lambda: not town.ask("waiting")["queued"], DRAIN_S, "everything confirmed", 0.1)
    after = town.ask("cpu")
    time.sleep(0.5)
    subscriber.send("end")
    confirmed = [
        (key, mono)
        for mono, ids in town.ask("confirmed")
        for event_id in ids
        if (key := key_of_event_id(event_id)) is not None
    ]
    events = sum(mono >= from_mono for _, mono in sent)
    done = sum(mono >= from_mono for _, mono in confirmed)
    return {
        "rate": rate,
        "sent_per_s": round(events / elapsed_s),
        "redis": judged(sent, subscriber.recv(), from_mono),
        "amqp": judged(sent, confirmed, from_mono),
        "cpu_us": round((after["cpu_ms"] - before["cpu_ms"]) * 1000 / max(done, 1), 1),
        "switches_per_event": round((after["switches"] - before["switches"]) / max(done, 1), 1),
        "threads_us": {
            name: round(spent, 1)
            for name, ms in sorted(after["threads"].items())
            if (spent := (ms - before["threads"].get(name, 0.0)) * 1000 / max(done, 1)) >= 1.0
        },
        "load": round(os.getloadavg()[0], 1),
    }


def run(
    root: Path = ROOT,
    *,
    rates: Sequence[float] = RATES,
    accounts: int = ACCOUNTS,
    history: int = HISTORY,
    seconds: float = SECONDS,
) -> list[dict[str, Any]]:
    """Each rate in turn, on one process of this checkout."""
    town = Town(root)
    try:
        opened = town.ask("open", 0, accounts, history)
        sys.stderr.write(f"{root.name}: {accounts} accounts live, {opened}\n")
        time.sleep(SETTLE_S)
        return [measure(town, rate, seconds) for rate in rates]
    finally:
        town.stop()


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rates", type=lambda text: [float(part) for part in text.split(",")], default=list(RATES))
    parser.add_argument("--accounts", type=int, default=ACCOUNTS)
    parser.add_argument("--history", type=int, default=HISTORY, help="finished orders that each account begins with")
    parser.add_argument("--seconds", type=float, default=SECONDS)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--against", type=Path, help="another checkout; both run in turn, and ratios are told")
    options = parser.parse_args(arguments)
    roots = [ROOT] if options.against is None else [options.against.resolve(), ROOT]
    found: dict[Path, list[list[dict[str, Any]]]] = {root: [] for root in roots}
    for _ in range(options.rounds):
        for root in roots:
            rows = run(
                root,
                rates=options.rates,
                accounts=options.accounts,
                history=options.history,
                seconds=options.seconds,
            )
            found[root].append(rows)
            for row in rows:
                sys.stderr.write(f"{root.name}: {json.dumps(row)}\n")
    mine = list(zip(*found[ROOT], strict=True))
    told: dict[str, Any] = {"accounts": options.accounts, "rates": [list(rows) for rows in mine]}
    if options.against is not None:
        pairs = zip(mine, zip(*found[roots[0]], strict=True), strict=True)
        told["ratios"] = {f"{rate:g}": ratios(*pair) for rate, pair in zip(options.rates, pairs, strict=True)}
    sys.stdout.write(json.dumps(told) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
