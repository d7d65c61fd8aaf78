"""Old defects, put back by name: small patches of the product. A campaign that does not find one proves nothing about it.

`python -m bench.worlds --mutants` plays worlds with each until the promise breaks that it should break. A repaired defect of
`known.py` gets its mutant here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Final

from harness.worlds import mutants_at_venues as at_venues
from harness.worlds import mutants_commands as commands
from harness.worlds import mutants_events as events
from harness.worlds import mutants_fencing as fencing
from harness.worlds import mutants_owners as owners
from harness.worlds.plan import Plan, draw

WITHIN: Final = 1000
"""Worlds within which each must be found."""


@dataclass(frozen=True)
class Mutant:
    """`kind`: the worlds in which it is looked for; `breaks`: promises of which one must break."""

    name: str
    what: str
    kind: str
    breaks: frozenset[str]
    put_in: Callable[[], AbstractContextManager[object]]
    venues: tuple[str, ...] = ()
    faults: tuple[str, ...] = ()
    first: int = 1
    """Seed from which `make check` looks for it: some defects show in one world of hundred."""

    def plan(self, seed: int) -> Plan:
        return draw(seed, kind=self.kind, venues=self.venues, faults=self.faults)


MUTANTS: Final[tuple[Mutant, ...]] = (
    Mutant(
        "position not loaded",
        "the next owner starts without the saved position",
        "master",
        frozenset(
            {"rabbit lost", "redis lost", "rabbit backwards", "redis backwards", "rabbit doubled", "redis doubled"}
        ),
        events.position_not_loaded,
        first=7,
    ),
    Mutant(
        "order goes backwards",
        "what was published of an order is not compared with what comes",
        "venue",
        frozenset({"rabbit backwards", "redis backwards", "rabbit doubled"}),
        events.order_goes_backwards,
        first=2,
    ),
    Mutant(
        "gap not read",
        "a reconnect asks nothing about the time before it",
        "venue",
        frozenset({"rabbit lost"}),
        events.gap_not_read,
        first=2,
    ),
    Mutant(
        "deltas forgotten",
        "the next owner does not know which changes of balances the former one told",
        "process",
        frozenset({"redis deposit twice", "rabbit deposit twice"}),
        events.deltas_forgotten,
        venues=("binance",),
        faults=("drain",),
        first=17,
    ),
    Mutant(
        "announcement suppressed",
        "a start tells nobody",
        "calm",
        frozenset({"not announced"}),
        commands.announcement_suppressed,
    ),
    Mutant(
        "heartbeat for a day",
        "a process's heartbeat, and all that it keeps, outlives it",
        "process",
        frozenset({"dark"}),
        owners.heartbeat_for_a_day,
    ),
    Mutant(
        "dead not buried",
        "what a dead process held stays in its name",
        "process",
        frozenset({"dark"}),
        owners.dead_not_buried,
        faults=("kill",),
    ),
    Mutant(
        "lapse unseen",
        "a process that stood still goes on with streams that others have",
        "freeze",
        frozenset({"rabbit two owners", "redis two owners", "rabbit backwards", "redis backwards", "connections"}),
        owners.lapse_unseen,
        first=3,
    ),
    Mutant(
        "W6 nobody waits after a flush",
        "after Redis forgot everything another process takes a stream before its owner wrote its lease again: both publish",
        "flush",
        frozenset({"rabbit two owners", "redis two owners", "rabbit backwards", "redis backwards", "rabbit doubled"}),
        owners.nobody_waits_after_a_flush,
        first=86,
    ),
    Mutant(
        "W3 first nonce by our clock",
        "an account of Kraken stays dark for as long as the host's clock was ahead when it first signed",
        "clock",
        frozenset({"dark", "rabbit lost", "redis lost", "rabbit wrong end", "redis wrong end"}),
        at_venues.first_nonce_by_our_clock,
        venues=("kraken",),
        first=10,
    ),
    Mutant(
        "W4 orders under codes",
        "who takes a stream of Hyperliquid over without its symbol list tells orders once more, as others",
        "process",
        frozenset({"rabbit backwards", "redis backwards", "rabbit doubled", "redis doubled", "redis hash"}),
        at_venues.orders_under_codes,
        venues=("hyperliquid",),
        faults=("venue_rest_slow", "drain"),
        first=21,
    ),
    Mutant(
        "answers lost for good",
        "a claim whose answer was lost leaves the stream to nobody",
        "leave",
        frozenset({"lease of nobody", "dark"}),
        commands.answers_lost_for_good,
        faults=("redis_drop",),
        first=21,
    ),
    Mutant(
        "close not counted",
        "one bot's close ends the stream of all others",
        "commands",
        frozenset({"counts", "dark"}),
        commands.close_not_counted,
        first=2,
    ),
    Mutant(
        "E5 returns unseen",
        "the broker confirms events that no queue keeps",
        "topology",
        frozenset({"rabbit lost", "queue missing"}),
        events.returns_unseen,
        first=4,
    ),
    Mutant(
        "E1 nonces forgotten",
        "a command whose answer is late or lost is sent again and counts twice",
        "commands",
        frozenset({"counts", "dark", "not closed"}),
        commands.nonces_forgotten,
        first=54,
    ),
    Mutant(
        "W8 copies unknown",
        "a command that the broker brings again to another process, because the connection broke, counts again",
        "commands",
        frozenset({"counts", "not closed", "closed but judged"}),
        commands.copies_unknown,
        first=171,
    ),
    Mutant(
        "W5 commands of a queue that is gone",
        "a command that waited for Redis while its queue was deleted is carried out after the announcement",
        "commands",
        frozenset({"counts", "dark", "not closed", "closed but judged"}),
        commands.kept_without_queue,
        faults=("kill", "redis_stall", "commands_deleted", "drain", "redis_away", "rabbit_drop"),
        first=272,
    ),
    Mutant(
        "B2 absence is an order",
        "a stream whose key was evicted ends for good",
        "evict",
        frozenset({"rabbit lost", "rabbit wrong end", "dark", "counts", "connections"}),
        commands.absence_is_an_order,
        faults=("redis_evict",),
    ),
    Mutant(
        "E11 grace by the wall clock",
        "a step of the clock ends the grace period, and streams that are asked for again a moment later lose their past",
        "clock",
        frozenset({"rabbit lost", "counts"}),
        commands.grace_by_the_wall_clock,
        first=1351,
    ),
    Mutant(
        "B4 gaps by the host's clock",
        "a clock that is off loses the gap of a take-over and reports it as complete",
        "clock",
        frozenset({"rabbit lost", "redis lost", "rabbit wrong end", "redis wrong end"}),
        fencing.gaps_by_the_hosts_clock,
        faults=("clock_step", "restart_step"),
        first=126,
    ),
    Mutant(
        "B5 nothing outlives Redis",
        "a reboot of everything with Redis loses the gap and tells nobody",
        "reboot",
        frozenset({"rabbit lost", "rabbit wrong end"}),
        owners.nothing_outlives_redis,
    ),
    Mutant(
        "E7c nothing is fenced",
        "a process that stood still publishes what its sockets hold, although others own its streams",
        "freeze",
        frozenset(
            {"rabbit two owners", "redis two owners", "rabbit backwards", "redis backwards", "redis deposit twice"}
        ),
        fencing.nothing_is_fenced,
    ),
    Mutant(
        "E7a nothing is fenced",
        "a process that is cut off from Redis goes on beside the next owner, and its backlog goes out behind newer events",
        "cut",
        frozenset(
            {"rabbit two owners", "redis two owners", "rabbit backwards", "redis backwards", "redis deposit twice"}
        ),
        fencing.nothing_is_fenced,
        faults=("redis_cut",),
    ),
    Mutant(
        "E7b what was written arrives",
        "what a process wrote before its time was up arrives behind the next owner's events when it can be reached again",
        "cut",
        frozenset({"rabbit two owners", "redis two owners", "rabbit backwards", "redis backwards"}),
        fencing.what_was_written_arrives,
        faults=("redis_cut",),
    ),
    Mutant(
        "B6 a missing lease is free",
        "an evicted lease has two owners",
        "evict",
        frozenset(
            {"rabbit two owners", "redis two owners", "rabbit backwards", "redis backwards", "redis deposit twice"}
        ),
        fencing.a_missing_lease_is_free,
        first=213,
    ),
    Mutant(
        "E17 any gate is deleted",
        "the process that gets the commands deletes the gate of a newer rejected key",
        "keys",
        frozenset({"gate deleted"}),
        fencing.any_gate_is_deleted,
        first=132,
    ),
    Mutant(
        "W2 rebalance trips over the state",
        "an error of the state leaves the rebalancing of price feeds as an unexpected exception",
        "price",
        frozenset({"exception"}),
        owners.rebalance_trips_over_the_state,
        first=61,
    ),
    Mutant(
        "E13 handed to the dead",
        "a process that stops hands its streams to one that is dead already",
        "master",
        frozenset({"handed to the dead"}),
        owners.handed_to_whoever_has_a_heartbeat,
        first=13,
    ),
    Mutant(
        "E14 room not asked",
        "who takes a stream over is not asked whether it has room",
        "full",
        frozenset({"over capacity"}),
        owners.room_not_asked,
    ),
    Mutant(
        "E15 release undone by a renewal",
        "a release between a beat's look and its renewal gives the lease back to a process that forgot it",
        "leave",
        frozenset({"lease of nobody"}),
        owners.release_undone_by_a_renewal,
        first=5,
    ),
    Mutant(
        "E16 event after the close",
        "an event may follow the close of its stream",
        "leave",
        frozenset({"closed but judged"}),
        events.event_after_the_close,
        venues=("bybit",),
        first=93,
    ),
    Mutant(
        "spoiled events given up",
        "what the disk spoiled while it waited for the broker is told after the next start only",
        "disk",
        frozenset({"rabbit lost"}),
        events.spoiled_events_given_up,
        faults=("rabbit_away", "disk_damaged"),
        first=4,
    ),
    Mutant(
        "E2 announced once",
        "the registry is forgotten while a process dies: its streams are known to nobody and nobody asks",
        "flush",
        frozenset({"dark", "counts", "not closed", "rabbit lost", "rabbit wrong end"}),
        commands.announced_once,
        first=66,
    ),
    Mutant(
        "E6 tickers take the queue",
        "PRICEROLE=ticker beside candle: whoever starts first holds the queue, and nobody is told a boot id",
        "price",
        frozenset({"prices not announced", "no candles"}),
        commands.tickers_take_the_queue,
    ),
    Mutant(
        "E8 heartbeats of the dead",
        "without keys in the state the streams of a process that came back within the life of its heartbeat stay dark",
        "unsealed",
        frozenset({"dark", "counts", "not closed", "rabbit lost"}),
        commands.heartbeats_of_the_dead,
        faults=("kill_fast",),
        first=2,
    ),
    Mutant(
        "E19 steps told",
        "what was told just before a kill is told again step by step: a fill behind the end that it led to",
        "process",
        frozenset({"rabbit backwards", "redis backwards"}),
        events.steps_told,
        venues=("kraken",),
        faults=("kill", "kill_fast", "kill_in_drain"),
        first=30055,
    ),
    Mutant(
        "W10 taken back unasked",
        "a slow taker goes on without the giver that took the stream back and gave it to a third process",
        "process",
        frozenset({"rabbit two owners", "redis two owners"}),
        owners.taken_back_unasked,
        faults=("drain",),
        first=11_110,
    ),
    Mutant(
        "W11 closed by the taker alone",
        "a giver puts an account that its taker closed into stream:lastEventTime again",
        "commands",
        frozenset({"closed but judged"}),
        owners.closed_by_the_taker_alone,
        first=970,
    ),
    Mutant(
        "W9 last words are the end",
        "a process that stood still takes the end of a connection for that of the stall, and asks for nothing before it",
        "freeze",
        frozenset({"rabbit lost", "redis lost"}),
        events.last_words_are_the_end,
        first=2413,
    ),
    Mutant(
        "changes of positions lost",
        "a position is told whole after a connect, and never again",
        "calm",
        frozenset({"position"}),
        events.changes_of_positions_lost,
        first=2,
    ),
    Mutant(
        "W1 creation remembered",
        "a standby that declared the queue counts it as gone when it takes over much later, and announces",
        "master",
        frozenset({"announced too often"}),
        commands.creation_remembered,
    ),
    Mutant(
        "W7 made by anybody",
        "a process that takes the commands over makes an announcement again that the former consumer has just made",
        "flush",
        frozenset({"announced too often"}),
        commands.made_by_anybody,
        first=2,
    ),
)


@contextmanager
def put_in(mutant: Mutant) -> Iterator[None]:
    """Within it the product has this defect. Before `staged()`, or within."""
    with mutant.put_in():
        yield
