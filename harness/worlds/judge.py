"""What must hold of a world that came to rest, whatever befell it. Each broken promise is one `Failure`. Pure reading.

Orders are held against the simulator's journal by the oracle of `harness.campaign.check`; the rest is looked at here.
"""

from __future__ import annotations

import json
import logging
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from decimal import Decimal
from typing import Final

from connector.streams.gaps import PAST_UNKNOWN
from connector.streams.lifecycle import StreamState
from connector.streams.lines import OVERLAP_MS
from exchanges._plan import OPEN_BEFORE
from exchanges.kraken._gap_unified import UNSEEN
from harness.campaign.check import Transition, Verdict, deduplicated, judge, rank, read_event
from harness.worlds.failure import Failure
from harness.worlds.judge_announcements import announcements
from harness.worlds.judge_positions import positions
from harness.worlds.judge_prices import prices
from harness.worlds.kernel import EPOCH_MS
from harness.worlds.monitor import Monitor
from harness.worlds.plan import Plan
from harness.worlds.process import ServiceProcess
from harness.worlds.record import EVENTS_QUEUE
from harness.worlds.world import World

FINAL: Final = rank("FILLED")
LEAVING_S: Final = 3.0
"""What happened so shortly before the last bot left may be on its way when the stream closes (Hyperliquid: a cancel is told
once it is sure that no other order has the client id)."""
NOTICED_S: Final = 1.5
"""The owner of a stream knows by then how many listen to it."""
SLACK_S: Final = 0.5
"""What happens so shortly after the end of a gap may belong to it: its report takes a moment."""
LEFT_DARK_S: Final = 60.0
"""Where something went wrong, the stream may have been dark for so long when its last bot left: nobody reads that gap."""
MAX_TASKS: Final = 60
"""Threads of one process: pools at their full size, and everything that runs for ever."""


def verdicts(world: World, plan: Plan, monitor: Monitor) -> list[Failure]:
    """Everything that is wrong with a world at rest."""
    if world.setup.price_roles:
        return [
            *prices(world),
            *announcements(world, plan, monitor),
            *_growth(world),
            *_secrets(world),
            *_traces(world),
        ]
    return [
        *_orders(world, plan),
        *_deposits(world),
        *positions(world),
        *_two_owners(world),
        *_owned(world),
        *_counts(world),
        *announcements(world, plan, monitor),
        *_hash(world),
        *_watched(world, monitor),
        *_growth(world),
        *_secrets(world),
        *_traces(world),
    ]


# --- orders ---


def _orders(world: World, plan: Plan) -> list[Failure]:
    gaps = _told_gaps(world, lambda missing: not set(missing) <= {UNSEEN, OPEN_BEFORE})
    for stream, at in world.backend.left.items():
        before_s = LEFT_DARK_S if plan.faults else LEAVING_S
        gaps.setdefault(stream, []).append((at - before_s, float("inf")))
    record, steps = world.record, _tellable(world)
    found = _failures("rabbit", judge(steps, record.rabbit, gaps=gaps))
    found += _failures("redis", judge(steps, record.redis, gaps=gaps, coverage=_redis_complete(plan)))
    return found


def _redis_complete(plan: Plan) -> bool:
    """Nobody stores what Redis publishes: what a killed process had confirmed elsewhere, or a lost answer left open, may be
    missing there (docs/events.md)."""
    touched = ("kill", "redis", "reboot", "restart_all", "disk")
    return not any(kind.startswith(touched) for kind in plan.fault_kinds)


def _tellable(world: World) -> list[Transition]:
    """All steps but those of orders that came and went without a fill in a gap in which the venue can't tell just those, and
    ends of orders that nobody can find (`_unfound`). If something was published of the former, the saved position must not
    have known them: a process was killed within the second in which it told that they were placed."""
    gaps = _told_gaps(world, lambda missing: UNSEEN in missing and set(missing) <= {UNSEEN, OPEN_BEFORE})
    told = {(event.stream, event.order) for event in (*world.record.rabbit, *world.record.redis)}
    lives: dict[tuple[str, str], list[Transition]] = {}
    for step in world.traffic.transitions:
        lives.setdefault((step.stream, step.order), []).append(step)
    unseen = {
        key
        for key, life in lives.items()
        if rank(life[-1].status) == FINAL
        and not any(step.executed for step in life)
        and any(
            start + (OVERLAP_MS / 1000 if key in told else 0) <= life[0].at and life[-1].at <= end
            for start, end in gaps.get(key[0], ())
        )
    }
    unfound = _unfound(world, lives)
    return [
        step
        for step in world.traffic.transitions
        if (step.stream, step.order) not in unseen and step.at <= unfound.get((step.stream, step.order), step.at)
    ]


def _unfound(world: World, lives: Mapping[tuple[str, str], list[Transition]]) -> dict[tuple[str, str], float]:
    """Orders that were open at a moment (the value) at which nothing was known of their account, of which nothing was told
    since, and that ended in a gap whose report says that such can't be found: their ids are known to nobody. Fills lead to
    them, but on Binance, where fills are read by order; and what a list shows is told: neither is excused."""
    named = _told_gaps(world, lambda missing: OPEN_BEFORE in missing)
    unknown = _told_gaps(world, lambda missing: PAST_UNKNOWN in missing)
    latest: dict[tuple[str, str], float] = {}
    for event in (*world.record.rabbit, *world.record.redis):
        latest[event.stream, event.order] = max(event.at, latest.get((event.stream, event.order), 0.0))
    return {
        key: blind
        for key, life in lives.items()
        for start, end in named.get(key[0], ())
        for blind in (told - SLACK_S for _, told in unknown.get(key[0], ()))
        if rank(life[-1].status) == FINAL
        and start <= life[-1].at <= end
        and life[0].at <= blind < life[-1].at
        and latest.get(key, 0.0) < blind
        and (life[-1].exchange.startswith("binance") or _filled(life, blind) == life[-1].executed)
    }


def _filled(life: list[Transition], at: float) -> Decimal:
    """How much of an order was filled at a moment."""
    return max(step.executed for step in life if step.at <= at)


def _told_gaps(world: World, counts: Callable[[list[str]], bool]) -> dict[str, list[tuple[float, float]]]:
    """Gaps that were announced as not read whole, in seconds of the world: what fell in there is told, not lost."""
    gaps: dict[str, list[tuple[float, float]]] = {}
    for told in world.record.services:
        gap = told.body.get("streamGap")
        if gap and gap.get("missing") and counts(gap["missing"]):
            start, end = (moment / 1000 - EPOCH_MS / 1000 for moment in (gap["from"], gap["to"]))
            gaps.setdefault(gap["stream"], []).append((start, end + SLACK_S))
    return gaps


def _failures(sink: str, verdict: Verdict) -> list[Failure]:
    lives = {life.split("\n", 1)[0]: life for life in verdict.offenders}
    rows = [
        ("lost", verdict.lost),
        ("doubled", verdict.duplicated),
        ("backwards", verdict.backwards),
        ("wrong end", verdict.wrong),
    ]
    return [
        Failure(f"{sink} {name}", text, text.split(" ", 1)[0], lives.get(text.split(":", 1)[0], ""))
        for name, texts in rows
        for text in texts
    ]


def _deposits(world: World) -> list[Failure]:
    """The backend adds them up: at most once, on Redis without any message id to tell a repetition by (contract 2.2)."""
    found = []
    for sink, events in (("rabbit", deduplicated(world.record.rabbit)[0]), ("redis", world.record.redis)):
        counted = Counter((event.stream, event.status) for event in events if event.kind == "balanceUpdate")
        found += [
            Failure(f"{sink} deposit twice", f"{stream}: {change} {count} times", stream)
            for (stream, change), count in sorted(counted.items())
            if count > 1
        ]
    return found


def _hash(world: World) -> list[Failure]:
    """The last state in `orders` is the last one that happened."""
    ends = {step.order: step for step in world.traffic.transitions if rank(step.status) == FINAL}
    found = []
    for field, body in sorted(world.redis.orders.items()):
        order, status, _, _ = read_event(json.loads(body))
        end = ends.get(order)
        published = any(seen.order == order and rank(seen.status) == FINAL for seen in world.record.redis)
        if end is not None and published and rank(status) != FINAL:
            found.append(Failure("redis hash", f"{field.decode()}: {status}, the order is {end.status}", end.stream))
    return found


# --- ownership ---


def _two_owners(world: World) -> list[Failure]:
    """Once another process has published for a stream, the former one publishes nothing of it any more."""
    found: dict[tuple[str, str], Failure] = {}
    last: dict[tuple[str, str], str] = {}
    former: dict[tuple[str, str], dict[str, float]] = {}
    for at, sink, stream, host in world.record.publishers:
        key = (sink, stream)
        before = last.get(key)
        if before is not None and before != host:
            former.setdefault(key, {})[before] = at
            left = former[key].pop(host, None)
            if left is not None and key not in found:
                text = f"{stream}: {host} published at {at:.3f} s, {before} had taken over at {left:.3f} s"
                if not _came_back(world, stream, host, left, at):
                    found[key] = Failure(f"{sink} two owners", text, stream)
        last[key] = host
    return list(found.values())


def _came_back(world: World, stream: str, host: str, left: float, at: float) -> bool:
    """Whether the host took the stream over again in between: then it logged in at the venue again."""
    del stream
    return any(name == host and left <= when <= at for when, name, _ in world.venues.dials)


def _owned(world: World) -> list[Failure]:
    """Everybody wanted runs in exactly one process and on exactly one connection, nobody else anywhere."""
    found = []
    living = [process for process in world.living() if process.process is not None]
    for account in world.accounts:
        stream, wanted = account.stream, world.backend.bots[account.stream] > 0
        if stream in world.backend.unsure:
            continue
        live = [process.host.name for process in living if _state(process, stream) is StreamState.LIVE]
        held = [process.host.name for process in living if _state(process, stream) is not None]
        links = sum(stream in link.accounts for link in world.hub.links.values())
        if wanted and len(live) != 1:
            found.append(
                Failure("dark" if not live else "run twice", f"{stream}: live in {live}, held in {held}", stream)
            )
        elif not wanted and held:
            found.append(Failure("not closed", f"{stream}: nobody wants it, held in {held}", stream))
        elif links != int(wanted):
            found.append(Failure("connections", f"{stream}: {links} connections follow it", stream))
    return found


def _state(process: ServiceProcess, stream: str) -> StreamState | None:
    return process.process.engine.supervisor.states().get(stream) if process.process is not None else None


def _unheard(world: World, stream: str) -> bool:
    """A command counted in the state alone when that lost the stream: its owner looks once in a while."""
    lost = [at for at, kind, name in world.redis.evicted if (kind, name) == ("stream", stream)]
    return any(at - NOTICED_S <= sent <= at for at in lost for sent, _, name in world.backend.sent if name == stream)


def _counts(world: World) -> list[Failure]:
    """The registry counts what the backend counts (contract 1.4, 1.7)."""
    found = []
    for stream in sorted(world.streams):
        if stream in world.backend.unsure or _unheard(world, stream):
            continue
        entry = world.redis.registry._entries.get(stream)
        counted, wanted = entry.count if entry is not None else 0, world.backend.bots[stream]
        if counted != wanted:
            found.append(Failure("counts", f"{stream}: {counted} counted, {wanted} bots listen", stream))
    return found


def _watched(world: World, monitor: Monitor) -> list[Failure]:
    """What the monitor saw on the way."""
    found = [Failure(*row) for row in monitor.broken]
    capacity = world.setup.capacity
    if capacity:
        found += [
            Failure("over capacity", f"{name} held {most} streams, MAX_STREAMS is {capacity}")
            for name, most in sorted(monitor.most_held.items())
            if most > capacity
        ]
    left = [stream for stream in sorted(world.streams) if not world.backend.bots[stream]]
    found += [
        Failure("closed but judged", f"{stream}: stands in stream:lastEventTime, nobody listens to it", stream)
        for stream in left
        if stream.encode() in world.redis.last_event and stream not in world.backend.unsure
    ]
    return found


# --- the service itself ---


def _growth(world: World) -> list[Failure]:
    """Nothing is left of what is over, and nothing grows with the length of the run."""
    found = []
    living = {process.owner for process in world.living()}
    strangers = sorted(set(world.redis.listeners) - living)
    if strangers:
        found.append(Failure("left behind", f"subscriptions of {strangers}"))
    tasks = world.kernel.tasks_by_host()
    for process in world.living():
        count = tasks.get(process.host.name, 0)
        if count > MAX_TASKS:
            found.append(Failure("threads", f"{process.host.name} has {count} threads"))
    queue = world.rabbit.queues.get("usersStreamAction")
    if queue is not None and (queue.messages or (queue.consumer is not None and queue.consumer.unacknowledged)):
        found.append(Failure("commands left", f"{len(queue.messages)} commands wait in the queue"))
    if world.accounts and world.living() and EVENTS_QUEUE not in world.rabbit.queues:
        found.append(Failure("queue missing", f"{EVENTS_QUEUE} is not there"))
    return found


def _secrets(world: World) -> list[Failure]:
    needles = [
        line.encode()
        for account in world.accounts
        for secret in account.secrets()
        for line in secret.splitlines()
        if len(line) >= 12 and "-----" not in line
    ]
    texts = [*world.record.bodies, *(f"{line.text} {line.trace}".encode() for line in world.record.lines)]
    everything = b"\n".join(texts)
    return [
        Failure("secret", f"…{needle[-4:].decode()} stands in what left the service")
        for needle in needles
        if needle in everything
    ]


def _traces(world: World) -> list[Failure]:
    """Exceptions that nobody expected, and threads that ended of one."""
    lines = [line for line in world.record.lines if line.trace and line.level >= logging.ERROR]
    return [
        *[Failure("exception", f"{line.host}: {line.text}", life=line.trace) for line in lines[:3]],
        *[Failure("thread died", crash) for crash in world.record.crashes[:3]],
    ]


def by_invariant(failures: Iterable[Failure]) -> Counter[str]:
    return Counter(failure.invariant for failure in failures)
