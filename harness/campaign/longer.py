"""Scenarios that take their time: steady traffic while something long happens."""

from __future__ import annotations

import os
import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import psutil

from connector.streams.passing import READY_TIMEOUT_S
from exchanges import venue_of
from harness.campaign.accounts import Account, make_account, served
from harness.campaign.check import Seen, Transition, Verdict, covers, judge
from harness.campaign.faults import REJECTED
from harness.campaign.marks import Marks
from harness.campaign.measure import Ceiling, levels
from harness.campaign.report import percentile
from harness.campaign.stack import Stack
from harness.campaign.traffic import Traffic
from harness.servers import wait_for

SETTLE_S = 120.0
RATE = 200


@dataclass
class Outcome:
    """What one of these scenarios showed: figures for the report, failures in the verdict."""

    name: str
    verdict: Verdict = field(default_factory=Verdict)
    figures: dict[str, Any] = field(default_factory=dict)


class Flow:
    """Traffic at a steady rate from a thread of its own, until `end`."""

    def __init__(self, stack: Stack, per_s: float, accounts: Sequence[Account] = (), seed: int = 1) -> None:
        self.stack, self.marks = stack, Marks(stack)
        prefix = f"DBO{seed:x}L{int(time.time()) % 0xFFFFF:x}n"
        self.traffic = Traffic(stack.sim, accounts or stack.accounts, random.Random(seed), prefix)
        self.began = time.monotonic()
        self.seconds = 0.0
        self._per_s = per_s
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="flow", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        first = len(self.traffic.transitions)
        while not self._stop.is_set():
            elapsed = time.monotonic() - self.began
            if len(self.traffic.transitions) - first < elapsed * self._per_s:
                self.traffic.step()
            else:
                self._stop.wait(0.002)

    def end(self) -> None:
        self._stop.set()
        self._thread.join(10.0)
        self.seconds = time.monotonic() - self.began
        self.traffic.finish()

    def settle(self, timeout_s: float = SETTLE_S) -> None:
        """Until everything is published, or for so long."""
        wait = threading.Event()
        deadline = time.monotonic() + timeout_s
        while self.missing() and time.monotonic() < deadline:
            wait.wait(0.2)

    def missing(self) -> int:
        """Orders whose last transition is not covered on RabbitMQ yet."""
        last = {step.order: step for step in self.traffic.transitions}
        seen: dict[str, list[Seen]] = {}
        for event in self.marks.rabbit_events():
            if event.order in last:
                seen.setdefault(event.order, []).append(event)
        return sum(
            not any(covers(event, step) for event in reversed(seen.get(order, ())))
            for order, step in last.items()
            if not step.exchange.startswith("paper")
        )

    def lags(self) -> list[tuple[Transition, float]]:
        """Each transition that was published, and how long that took."""
        seen: dict[tuple[str, str], list[Seen]] = {}
        for event in self.marks.rabbit_events():
            seen.setdefault((event.stream, event.order), []).append(event)
        found = []
        for step in self.traffic.transitions:
            cover = next((event for event in seen.get((step.stream, step.order), ()) if covers(event, step)), None)
            if cover is not None:
                found.append((step, max(0.0, cover.at - step.at)))
        return found

    def outcome(self, name: str, *, redis: bool = True) -> Outcome:
        """The verdict over both consumers, and the usual figures."""
        gaps = self.marks.told_gaps(self.stack.accounts)
        verdict = judge(self.traffic.transitions, self.marks.rabbit_events(), gaps=gaps)
        lags = sorted(verdict.lags)
        on_redis = judge(self.traffic.transitions, self.marks.redis_events(), coverage=redis, gaps=gaps)
        rate = len(self.traffic.transitions) / max(self.seconds, 0.001)
        figures = {
            "order events": len(self.traffic.transitions),
            "events/s": round(rate),
            "seconds": round(self.seconds, 1),
            "lost": len(verdict.lost),
            "out of order": len(verdict.backwards),
            "doubled final states": len(verdict.duplicated),
            "told": verdict.told,
            "collapsed": verdict.collapsed,
            "repeated": verdict.repeated,
            "longest gap s": round(lags[-1], 3) if lags else 0.0,
            "lag p50 ms": round(percentile(lags, 50) * 1000, 1),
            "lag p99 ms": round(percentile(lags, 99) * 1000, 1),
            "Redis lost": len(on_redis.lost),
            "Redis out of order": len(on_redis.backwards),
            "Redis doubled": len(on_redis.duplicated),
        }
        on_redis.lags.clear()
        verdict.add(on_redis)
        verdict.wrong += self.marks.leaks() + self.marks.traces()
        return Outcome(name, verdict, figures)


def rolling(stack: Stack, rate: float = RATE, streams: int = 0) -> Outcome:
    """Both services are restarted one after the other, as in a deploy, while orders flow. `streams`: at least so many."""
    many(stack, streams)
    stack.commander.open(*stack.accounts)
    stack.wait_live(stack.accounts, 900.0)
    flow = Flow(stack, rate)
    stack.wait_clock(5.0)
    for worker in stack.workers:
        worker.restart()
        worker.service.wait_ready(60.0)
        stack.wait_clock(8.0)
    flow.end()
    flow.settle()
    outcome = flow.outcome("rolling restart")
    longest: dict[str, float] = {}
    for transition, lag in flow.lags():
        longest[transition.exchange] = max(lag, longest.get(transition.exchange, 0.0))
    allowed = {exchange: READY_TIMEOUT_S if _scarce(exchange) else 1.0 for exchange in longest}
    outcome.verdict.wrong += [
        f"longest gap of {exchange}: {lag:.1f} s, allowed is {allowed[exchange]:.0f} s"
        for exchange, lag in longest.items()
        if lag > allowed[exchange]
    ]
    announced = sum("restart" in notice.body for notice in flow.marks.services())
    if announced:
        outcome.verdict.wrong.append(f"{announced} announcements in a rolling restart")
    outcome.figures |= {
        "streams": len(stack.accounts),
        "restarts": len(stack.workers),
        "announced": announced,
        "longest gap s by exchange": {exchange: round(lag, 1) for exchange, lag in sorted(longest.items())},
    }
    return outcome


def _scarce(exchange: str) -> bool:
    """Whether the exchange limits how many connections an address may make or have: then an account that finds none free
    waits for it, as long as docs/three-hosts.md says, and its giver goes on for `READY_TIMEOUT_S`."""
    venue = venue_of(exchange)
    limits = venue.limits(exchange, "user") if venue is not None else None
    return limits is not None and (limits.own_connects is not None or limits.open_connections is not None)


def rabbit_away(stack: Stack, seconds: float = 300.0, rate: float = RATE) -> Outcome:
    """RabbitMQ refuses connections for minutes; what waits goes to memory, then to disk."""
    before, during = Ceiling(), Ceiling()
    before.see(levels(stack))
    flow = Flow(stack, rate)
    stack.wait_clock(5.0)
    stack.rabbit_proxy.refuse()
    away = time.monotonic()
    disk = 0
    while time.monotonic() - away < seconds:
        stack.wait_clock(1.0)
        during.see(levels(stack))
        disk = max(disk, _disk(stack))
    stack.rabbit_proxy.accept()
    back = time.monotonic()
    stack.wait_clock(5.0)
    flow.end()
    flow.settle(300.0)
    drained = time.monotonic() - back
    outcome = flow.outcome("RabbitMQ away")
    outcome.figures |= {
        "away s": round(seconds),
        "RSS before MiB": round(before.rss_mib, 1),
        "RSS highest MiB": round(during.rss_mib, 1),
        "outbox highest MiB": round(disk / 2**20, 1),
        "drained within s": round(drained, 1),
    }
    if during.rss_mib > before.rss_mib + 128:
        outcome.verdict.wrong.append(f"memory rose from {before.rss_mib:.0f} to {during.rss_mib:.0f} MiB")
    return outcome


def rabbit_away_restarts(stack: Stack, seconds: float = 120.0, rate: float = RATE) -> Outcome:
    """While RabbitMQ is away one service is restarted in an orderly way, and the other one is killed and comes back."""
    flow = Flow(stack, rate)
    stack.wait_clock(5.0)
    stack.rabbit_proxy.refuse()
    stack.wait_clock(seconds / 3)
    first, second = stack.workers
    first.restart()
    stack.wait_clock(seconds / 3)
    second.kill()
    second.restart()
    stack.wait_clock(seconds / 3)
    disk = _disk(stack)
    stack.rabbit_proxy.accept()
    stack.wait_clock(10.0)
    flow.end()
    flow.settle(300.0)
    outcome = flow.outcome("restarts while RabbitMQ is away", redis=False)
    outcome.figures |= {"away s": round(seconds), "outbox before the return MiB": round(disk / 2**20, 1)}
    return outcome


def _disk(stack: Stack) -> int:
    total = 0
    for folder, _, names in os.walk(stack.folder):
        if ".outbox" in folder:
            for name in names:
                try:
                    total += os.stat(os.path.join(folder, name)).st_size
                except FileNotFoundError:
                    continue
    return total


def half_open(stack: Stack, rate: float = 40) -> Outcome:
    """Every account connection goes dead without a word: the other end reads, and never answers again."""
    flow = Flow(stack, rate)
    stack.wait_clock(2.0)
    at = time.time()
    dead = {row["connection"] for row in stack.sim.connections() if row["accounts"]}
    stack.sim.fault("half_open", feed="user")
    wait_for(
        lambda: _fresh(stack, dead) >= {account.stream for account in stack.accounts}, 240.0, "every stream back", 0.5
    )
    flow.end()
    flow.settle()
    outcome = flow.outcome("half-open venue connections")
    recoveries = _recoveries(flow.marks, at)
    outcome.figures |= _times("recovery", recoveries.values())
    return outcome


def _fresh(stack: Stack, dead: set[int]) -> set[str]:
    return {account for row in stack.sim.connections() if row["connection"] not in dead for account in row["accounts"]}


def _recoveries(marks: Marks, at: float) -> dict[str, float]:
    """Seconds from `at` to the end of each stream's gap, as the service tells it."""
    found: dict[str, float] = {}
    for notice in marks.services():
        gap = notice.body.get("streamGap")
        if gap and notice.at >= at:
            found.setdefault(str(gap["stream"]), gap["to"] / 1000 - at)
    return found


def _times(name: str, values: Any) -> dict[str, Any]:
    ordered = sorted(values)
    if not ordered:
        return {f"{name} streams": 0}
    return {
        f"{name} streams": len(ordered),
        f"{name} p50 s": round(percentile(ordered, 50), 2),
        f"{name} p99 s": round(percentile(ordered, 99), 2),
        f"{name} longest s": round(ordered[-1], 2),
    }


def many(stack: Stack, count: int) -> None:
    """More accounts, spread over every exchange id, until there are `count`; opened and live."""
    exchanges = sorted({account.exchange for account in stack.accounts if account.venue != "paper"})
    number = 1
    while len(stack.accounts) < count:
        for exchange in exchanges:
            if len(stack.accounts) < count:
                stack.accounts.append(make_account(stack.sim, exchange, f"chaos-{exchange}-{number}"))
        number += 1
    stack.canaries.add(text for account in stack.accounts for text in account.secrets())


def sigkill(stack: Stack, streams: int = 500) -> Outcome:
    """One of two processes, with half of the streams, is killed and stays away."""
    many(stack, streams)
    opened = time.monotonic()
    stack.commander.open(*stack.accounts)
    stack.wait_live(stack.accounts, 900.0)
    opened = time.monotonic() - opened
    warm = Traffic(stack.sim, stack.accounts, random.Random(2), "DBOwarm2n")
    warm.warm()
    stack.wait_clock(5.0)
    victim = max(stack.workers, key=lambda worker: _held(stack, worker.pids()))
    held = _held(stack, victim.pids())
    flow = Flow(stack, 50)
    stack.wait_clock(3.0)
    survivors = [pid for worker in stack.workers if worker is not victim for pid in worker.pids()]
    busy_s = _cpu_s(survivors)
    at = time.time()
    victim.kill()
    wait_for(lambda: len(_recoveries(flow.marks, at)) >= held, 300.0, f"{held} streams recovered", 0.2)
    busy_s = _cpu_s(survivors) - busy_s
    calls = sum(row["time_ms"] >= at * 1000 for row in stack.sim.events("calls"))
    flow.end()
    flow.settle()
    outcome = flow.outcome("SIGKILL")
    recoveries = _recoveries(flow.marks, at)
    by_venue: dict[str, list[float]] = {}
    for stream, seconds in recoveries.items():
        by_venue.setdefault(stream.split("-")[1], []).append(seconds)
    outcome.figures |= {
        "streams": len(stack.accounts),
        "of the killed process": held,
        "opened within s": round(opened, 1),
        "REST calls of the recovery": calls,
        "CPU of the survivor s": round(busy_s, 1),
    }
    outcome.figures |= _times("recovery", recoveries.values())
    outcome.figures["recovery longest s by exchange"] = {
        exchange: round(max(times), 1) for exchange, times in sorted(by_venue.items())
    }
    return outcome


def _cpu_s(pids: Sequence[int]) -> float:
    times = [psutil.Process(pid).cpu_times() for pid in pids]
    return sum(float(one.user + one.system) for one in times)


def _held(stack: Stack, pids: Sequence[int]) -> int:
    infos = {info.pid: info.streams for worker in stack.workers for info in worker.service.status().workers}
    return sum(infos.get(pid, 0) for pid in pids)


def rejected_key(stack: Stack, opens: int = 20) -> Outcome:
    """A key that its venue refuses, asked for again and again: nobody dials, one line is logged."""
    outcome = Outcome("rejected key")
    for exchange in served(stack.sim, stack.venues):
        account = make_account(stack.sim, exchange, f"chaos-{exchange}-rejected")
        if account.venue == "paper":
            continue
        stack.accounts.append(account)
        stack.canaries.add(account.secrets())
        stack.sim.reject_key(account.stream, REJECTED[account.venue])
        outcome.figures[exchange] = _reopen(stack, account, opens, outcome.verdict)
    return outcome


def _reopen(stack: Stack, account: Account, opens: int, verdict: Verdict) -> str:
    notices = stack.rabbit_reader.services
    first = len(notices)
    stack.commander.open(account)

    def told() -> bool:
        return any(
            notice.body.get("userStreamAuthReject", {}).get("exchangeUUID") == account.stream
            for notice in notices[first:]
        )

    wait_for(told, 90.0, f"the notice that the key of {account.stream} is rejected", 0.05)
    stack.wait_clock(0.5)
    marks = Marks(stack)
    before = _attempts(stack)
    for _ in range(opens):
        stack.commander.open(account)
    stack.wait_clock(2.5)
    tried = _attempts(stack) - before
    lines = sum(
        account.stream.encode() in line
        for worker in stack.workers
        for line in marks.log(worker.log).splitlines()
        if b"rejected this key" in line
    )
    tried_venue = {name: count for name, count in tried.items() if name.startswith(account.venue)}
    if tried_venue:
        verdict.wrong.append(f"{account.stream}: connection attempts during the cooldown: {tried_venue}")
    if lines != 1:
        verdict.wrong.append(f"{account.stream}: {lines} log lines about the skipped opens, not 1")
    return f"{opens} opens, {sum(tried_venue.values())} attempts, {lines} line"


def _attempts(stack: Stack) -> Counter[str]:
    """Upgrades, and REST calls that carry somebody's key, by venue."""
    stats = stack.sim.stats()
    found: Counter[str] = Counter()
    for part in ("connects", "refused"):
        found.update({venue: int(count) for venue, count in stats[part].items()})
    for row in stats["rest"]:
        if "listenKey" in row["path"] or "bullet-private" in row["path"] or row["status"] in {400, 401, 403}:
            found[row["venue"]] += int(row["count"])
    return found


SCENARIOS: Mapping[str, Callable[..., Outcome]] = {
    "rolling": rolling,
    "rabbit-away": rabbit_away,
    "rabbit-away-restarts": rabbit_away_restarts,
    "sigkill": sigkill,
    "rejected-key": rejected_key,
    "half-open": half_open,
}
