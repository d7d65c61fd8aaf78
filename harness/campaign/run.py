"""One scenario: orders flow, faults happen, everything settles, and what arrived is held against what happened."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from connector.streams.pacing import FORGIVEN_S
from exchanges import venue_of
from harness.campaign.accounts import Account
from harness.campaign.check import Seen, Verdict, covers, deduplicated, judge
from harness.campaign.faults import FAULTS, Planned, draw
from harness.campaign.marks import Marks
from harness.campaign.stack import ADDRESSES, Stack
from harness.campaign.traffic import Traffic

SETTLE_S = 45.0
"""Longest wait after the last order for everything to be published; far beyond what any scenario should need."""
LONG_BUDGET_S = 10.0
QUIET_S = 0.3
"""After everything has arrived: time for what should not arrive."""


@dataclass
class Recovery:
    """How long one stream was without a session after a fault."""

    group: str
    stream: str
    seconds: float


@dataclass
class Result:
    """A scenario and what came of it."""

    seed: int
    accounts: list[str]
    plans: list[Planned]
    verdict: Verdict = field(default_factory=Verdict)
    redis: Verdict = field(default_factory=Verdict)
    recoveries: list[Recovery] = field(default_factory=list)
    seconds: float = 0.0
    notes: list[str] = field(default_factory=list)
    """What helps to understand a failure."""

    @property
    def good(self) -> bool:
        return self.verdict.good and self.redis.good

    def describe(self) -> str:
        faults = ", ".join(str(plan) for plan in self.plans) or "none"
        return f"seed {self.seed}: {', '.join(self.accounts)}; faults {faults}"


class Scenario:
    """Everything that a seed decides. Nothing happens before `play`."""

    def __init__(self, seed: int, accounts: Sequence[Account], workers: int, *, node: bool) -> None:
        self.seed = seed
        source = random.Random(seed)
        self.accounts = source.sample(list(accounts), min(len(accounts), source.randint(3, 6)))
        self.seconds = round(source.uniform(1.5, 3.5), 2)
        self.rate = source.choice((8, 15, 30))
        """Deeds a second."""
        self.ends_early = source.random() < 0.5
        """Whether the orders end while the faults may still be on, or after everything is healed."""
        count = source.choices((1, 2, 3), (5, 4, 2))[0]
        self.plans = draw(source, self.accounts, workers, self.seconds, node=node, count=count)
        self.traffic_seed = source.getrandbits(32)

    def play(self, stack: Stack) -> Result:
        return _Play(self, stack).run()


class _Play:
    """One performance of a scenario."""

    def __init__(self, scenario: Scenario, stack: Stack) -> None:
        self.scenario, self.stack = scenario, stack
        self.result = Result(scenario.seed, [one.stream for one in scenario.accounts], scenario.plans)
        self.faults: list[threading.Thread] = []
        self.began: dict[int, float] = {}
        self.errors: list[str] = []
        stack.wait_readers()
        self.marks = Marks(stack)
        prefix = f"DBO{scenario.seed % 0xFFFFFF:x}x{int(time.time() * 10) % 0xFFFF:x}n"
        self.traffic = Traffic(stack.sim, scenario.accounts, random.Random(scenario.traffic_seed), prefix)

    def run(self) -> Result:
        started = time.monotonic()
        try:
            self.stack.wait_live(self.scenario.accounts)
            self._perform(started := time.monotonic())
            self._settle()
        except TimeoutError as error:
            self.errors.append(str(error))
        finally:
            self.stack.heal()
        self._check()
        self.result.seconds = time.monotonic() - started
        return self.result

    # --- acting ---

    def _perform(self, started: float) -> None:
        scenario = self.scenario
        waiting = list(enumerate(scenario.plans))
        deeds = 0
        while (elapsed := time.monotonic() - started) < scenario.seconds:
            while waiting and waiting[0][1].at <= elapsed:
                self._begin(*waiting.pop(0))
            if deeds < elapsed * scenario.rate:
                self.traffic.step()
                deeds += 1
            else:
                time.sleep(0.005)
        for index, plan in waiting:
            self._begin(index, plan)
        if scenario.ends_early:
            self.traffic.finish()
        for thread in self.faults:
            thread.join(120.0)
        self.stack.heal()
        self.traffic.finish()

    def _begin(self, index: int, plan: Planned) -> None:
        thread = threading.Thread(target=self._carry_out, args=(index, plan), name=plan.kind, daemon=True)
        self.faults.append(thread)
        thread.start()

    def _carry_out(self, index: int, plan: Planned) -> None:
        kind = FAULTS[plan.kind]
        self.began[index] = time.time()
        try:
            kind.begin(self.stack, plan)
            if kind.end is not None:
                time.sleep(plan.seconds)
                kind.end(self.stack, plan)
        except Exception as error:  # noqa: BLE001 - whatever went wrong, the run reports it
            self.errors.append(f"the fault {plan} failed: {type(error).__name__}: {error}")

    def _settle(self) -> None:
        """Until every transition is covered on RabbitMQ, the streams are live, and nothing comes any more."""
        deadline = time.monotonic() + SETTLE_S
        while time.monotonic() < deadline:
            if self._covered(self.marks.rabbit_events()) and self._redis_covered():
                break
            time.sleep(0.03)
        self.stack.wait_live(self.scenario.accounts, SETTLE_S)
        time.sleep(QUIET_S)

    def _covered(self, events: Sequence[Seen]) -> bool:
        """Every transition, but for those that fell into a gap which its venue can't tell about."""
        by_order: dict[str, list[Seen]] = {}
        for event in events:
            by_order.setdefault(event.order, []).append(event)
        gaps = self.marks.told_gaps(self.stack.accounts)
        return all(
            any(covers(event, step) for event in by_order.get(step.order, ()))
            or any(start <= step.at <= end for start, end in gaps.get(step.stream, ()))
            for step in self.traffic.transitions
        )

    def _redis_covered(self) -> bool:
        return not self._redis_complete or self._covered(self.marks.redis_events())

    @property
    def _redis_complete(self) -> bool:
        """Nobody stores what Redis publishes: a reader, a server or a sink that was away may cost events there."""
        kinds = [FAULTS[plan.kind] for plan in self.scenario.plans]
        redis_trouble = any(kind.redis for kind in kinds) or any(
            plan.kind.startswith("redis") for plan in self.scenario.plans
        )
        killed = any(kind.kills for kind in kinds)
        return (
            not any(kind.redis for kind in kinds) and not (redis_trouble and killed) and not self.marks.redis_outage()
        )

    # --- checking ---

    def _check(self) -> None:
        result, transitions = self.result, self.traffic.transitions
        gaps = self.marks.told_gaps(self.stack.accounts)
        rabbit = self.marks.rabbit_events()
        result.verdict = judge(transitions, rabbit, gaps=gaps)
        result.redis = judge(transitions, self.marks.redis_events(), coverage=self._redis_complete, gaps=gaps)
        self._check_deposits(rabbit, result.verdict)
        self._check_deposits_on_redis(result.redis)
        if not (result.verdict.good and result.redis.good):
            result.notes += [
                f"told: {notice.body['streamGap']}" for notice in self.marks.services() if notice.kind == "streamGap"
            ]
            result.notes += self._calls()
        result.verdict.wrong += self.errors + self.marks.leaks() + self.marks.traces()
        result.recoveries = self._recoveries()

    def _calls(self) -> list[str]:
        """REST calls of gap repair, for the report of a run that went wrong."""
        rows = [row for row in self.stack.sim.events("calls") if row["time_ms"] / 1000 >= self.marks.at]
        return [
            f"{row['time_ms'] / 1000 - self.marks.at:7.2f} s  {row['venue']} {row['method']} {row['path']} {row['status']}"
            for row in rows
        ]

    def _check_deposits(self, events: Sequence[Seen], verdict: Verdict) -> None:
        counted: dict[tuple[str, str], int] = {}
        for event in deduplicated(events)[0]:
            if event.kind == "balanceUpdate":
                key = (event.stream, event.status)
                counted[key] = counted.get(key, 0) + 1
        for (stream, change), count in counted.items():
            if count > 1:
                verdict.duplicated.append(f"{stream}: balance change {change} published {count} times")

    def _check_deposits_on_redis(self, verdict: Verdict) -> None:
        """The backend adds these up and sees no message id on Redis: never twice, whatever happens (contract 2.2)."""
        known: set[tuple[str, str]] = set()
        for event in self.marks.redis_events():
            key = (event.stream, event.status)
            if event.kind == "balanceUpdate" and key in known:
                verdict.duplicated.append(f"{event.stream}: balance change {event.status} twice on Redis")
            known.add(key)

    def _recoveries(self) -> list[Recovery]:
        """From the fault that explains it to the end of the gap, as the service tells it: a kill, else the newest one."""
        groups = {index: FAULTS[plan.kind].group for index, plan in enumerate(self.scenario.plans)}
        named = [(self.began[index], group) for index, group in groups.items() if group and index in self.began]
        found = []
        for notice in self.marks.services():
            gap = notice.body.get("streamGap")
            before = [(began, group) for began, group in named if began <= notice.at] if gap else []
            if not gap or not before:
                continue
            kills = [(began, group) for began, group in before if group.startswith("sig")]
            began, group = max(kills or before)
            if len(self.scenario.plans) > 1:
                group += ", combined"
            if budget_spent(self.stack, str(gap["exchange"]), notice.at):
                group += ", budget spent"
            elif self._was_lost_lately(str(gap["stream"]), began, notice.at):
                group += ", once more"
            found.append(Recovery(group, str(gap["stream"]), max(0.0, gap["to"] / 1000 - began)))
        return found

    def _was_lost_lately(self, stream: str, began: float, until: float) -> bool:
        """Whether the stream had come back seconds before the fault, or again within it: then the pause before the next try
        has grown, because only a connection that holds for a while makes up for a failed attempt."""
        return any(
            began - 2 * FORGIVEN_S <= notice.at < until and notice.body.get("streamGap", {}).get("stream") == stream
            for notice in self.stack.rabbit_reader.services
        )


def budget_spent(stack: Stack, exchange: str, at: float) -> bool:
    """Whether a venue that counts connects over a longer time had so many of them lately that the next one had to wait."""
    venue = venue_of(exchange)
    if venue is None:
        return False
    limit, per_s = venue.limits(exchange, "user").connects
    if per_s < LONG_BUDGET_S:
        return False
    since_ms = (at - per_s) * 1000
    rows = [row for row in stack.sim.events("upgrades") if row["venue"] == venue.name and row["time_ms"] >= since_ms]
    return len(rows) >= (int(limit) - 1) * ADDRESSES
