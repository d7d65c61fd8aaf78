"""What ownership costs, and how long a take-over lasts: the real owners of P processes over stub sessions, on one real Redis.

`python -m bench.scale --streams 100000 --processes 50` ends with one JSON line: `redis_ms_per_s` (Redis's CPU, all processes
together, idle), `process_cpu_ms_per_s` (of one process, idle; the mean), `takeover_s` (from SIGKILL of one process until all
of its streams have an owner), `commands_per_s` (opens, one after the other, until the last of them has an owner).
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import signal
import sys
import time
from collections.abc import Sequence
from multiprocessing.connection import Connection
from typing import Any, Final, cast

import redis

from bench.scale_process import VAULT_KEY, run
from connector.core.log import get_logger
from connector.core.places import Host, RedisPlace
from connector.state.redis_state import RedisState
from connector.state.vault import Vault
from connector.streams.options import EngineOptions
from exchanges.credentials import credentials
from harness.servers import PrivateRedis

log = get_logger(__name__)

LONGEST_S: Final = 900.0
KEY: Final = credentials("key", "secret")


class Town:
    """The processes, their Redis, and what is asked of it."""

    def __init__(self, processes: int, ttl_s: float) -> None:
        self.redis = PrivateRedis()
        self.state = RedisState(
            RedisPlace(hosts=(Host(self.redis.host, self.redis.port),)), vault=Vault([VAULT_KEY]), socket_timeout_s=30.0
        )
        context = multiprocessing.get_context("fork")
        self.pipes: list[Connection] = []
        self.members: list[Any] = []
        for number in range(processes):
            here, there = context.Pipe()
            member = context.Process(target=run, args=(f"p{number:03}", self.redis.port, ttl_s, there), daemon=True)
            member.start()
            self.pipes.append(here)
            self.members.append(member)

    def ask(self, what: str) -> list[dict[str, float]]:
        """The same question to every living process."""
        alive = [pipe for pipe, member in zip(self.pipes, self.members, strict=True) if member.is_alive()]
        for pipe in alive:
            pipe.send(what)
        return [cast(dict[str, float], pipe.recv()) for pipe in alive]

    def server_ms(self) -> float:
        with self.redis.client() as client:
            cpu = cast(dict[str, float], client.info("cpu"))
        return 1000 * (cpu["used_cpu_user"] + cpu["used_cpu_sys"])

    def owners(self, units: Sequence[str]) -> dict[str, str]:
        return self.state.owners(units)

    def stop(self) -> None:
        for member in self.members:
            member.kill()
            member.join(10.0)
        self.redis.stop()


def until_owned(town: Town, units: Sequence[str], not_by: str = "") -> float:
    """Wait until every unit has an owner, other than one; when that was (monotonic seconds)."""
    left, give_up_at = list(units), time.monotonic() + LONGEST_S
    while left and time.monotonic() < give_up_at:
        owners = town.owners(left[:2_000])
        left = [unit for unit in left[:2_000] if owners.get(unit, not_by) == not_by] + left[2_000:]
        if left:
            time.sleep(0.02)
    if left:
        raise TimeoutError(f"{len(left)} streams have no owner after {LONGEST_S:.0f} s")
    return time.monotonic()


def measure(streams: int, processes: int, seconds: float, commands: int, ttl_s: float) -> dict[str, object]:
    town = Town(processes, ttl_s)
    try:
        names = [f"stream-{number:06}" for number in range(streams)]
        began = time.monotonic()
        for name in names:
            town.state.open(name, "bybit", "owner", KEY, 0)
        opened_s = time.monotonic() - began
        owned_s = until_owned(town, names) - began
        time.sleep(3 * ttl_s)
        before, held = town.server_ms(), town.ask("cpu")
        began = time.monotonic()
        time.sleep(seconds)
        after, now = town.server_ms(), town.ask("cpu")
        idle_s = time.monotonic() - began
        cpu = sorted((two["cpu_ms"] - one["cpu_ms"]) / idle_s for one, two in zip(held, now, strict=True))
        command_rate = _commands(town, commands)
        takeover = _takeover(town, names)
        return {
            "streams": streams,
            "processes": processes,
            "ttl_s": ttl_s,
            "opened_s": round(opened_s, 1),
            "owned_s": round(owned_s, 1),
            "held_max": int(max(row["held"] for row in now)),
            "redis_ms_per_s": round((after - before) / idle_s, 1),
            "process_cpu_ms_per_s": round(sum(cpu) / len(cpu), 1),
            "process_cpu_ms_per_s_max": round(cpu[-1], 1),
            **takeover,
            "commands_per_s": round(command_rate, 1),
        }
    finally:
        town.stop()


def _commands(town: Town, count: int) -> float:
    names = [f"command-{number:06}" for number in range(count)]
    began = time.monotonic()
    for name in names:
        applied = town.state.open(name, "bybit", "owner", KEY, 0)
        town.state.notify(applied.owner or "*", json.dumps({"t": "reconcile", "id": name}))
    return count / (until_owned(town, names) - began)


def _takeover(town: Town, names: Sequence[str]) -> dict[str, object]:
    victim = f"p{len(town.members) // 2:03}"
    owners: dict[str, str] = {}
    for start in range(0, len(names), 10_000):
        owners.update(town.owners(names[start : start + 10_000]))
    lost = [name for name, owner in owners.items() if owner == victim]
    began = time.monotonic()
    os.kill(town.members[len(town.members) // 2].pid, signal.SIGKILL)
    return {"lost": len(lost), "takeover_s": round(until_owned(town, lost, victim) - began, 2)}


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--streams", type=int, default=20_000)
    parser.add_argument("--processes", type=int, default=10)
    parser.add_argument("--seconds", type=float, default=30.0, help="of idleness that are measured")
    parser.add_argument("--commands", type=int, default=500)
    parser.add_argument("--ttl", type=float, default=EngineOptions(role="user").lease_ttl_s, help="LEASE_TTL_S")
    options = parser.parse_args(arguments)
    try:
        figures = measure(options.streams, options.processes, options.seconds, options.commands, options.ttl)
    except redis.RedisError as error:
        sys.stderr.write(f"Redis failed: {error}\n")
        return 1
    sys.stdout.write(json.dumps(figures) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
