"""What is drawn from a seed: the setup of a world, and the faults that befall it. Pure."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from harness.worlds.world import Setup

SLOW_S: Final = 0.01
BEGIN_S: Final = 12.0
"""Faults begin when streams are live and orders flow."""
REDIS_WAYS_S: Final = (*[(0.0001, 0.002)] * 6, (0.001, 0.06), (0.02, 0.25))
"""How far Redis is: mostly near, sometimes slow."""
PRICE_ROLES: Final = (("ticker", "candle"), ("candle", "ticker"), ("all",), ("all", "all"))
"""Price services of a deployment by PRICEROLE, in the order in which they start."""
CANDLE_S: Final = 75.0
"""So long that every candle of a minute closes once more."""
VENUES: Final = ("binance", "bybit", "okx", "kucoin", "bitget", "coinbase", "hyperliquid", "kraken", "whitebit")


@dataclass(frozen=True)
class Fault:
    """One fault. `target` chooses among the processes, accounts or keys that are there when it begins."""

    kind: str
    at: float
    seconds: float = 0.0
    target: int = 0
    dice: float = 0.0
    """For choices inside the fault."""

    def __str__(self) -> str:
        seconds = f" for {self.seconds:.1f} s" if self.seconds else ""
        return f"{self.at:7.2f} s {self.kind}{seconds} (target {self.target})"


@dataclass(frozen=True)
class Plan:
    setup: Setup
    kind: str
    faults: tuple[Fault, ...]
    until_s: float
    """Traffic ends then; what follows is for settling."""

    @property
    def fault_kinds(self) -> frozenset[str]:
        return frozenset(fault.kind for fault in self.faults)

    @property
    def blamable(self) -> frozenset[str]:
        """What a broken promise may be blamed on: faults, venues, and what is unusual in the setup."""
        setup = self.setup
        unusual = {
            "unsealed": not setup.sealed,
            "slow_redis": setup.redis_way_s[1] > SLOW_S,
            "pauses": bool(setup.pause_every),
            "capacity": bool(setup.capacity),
            "price": bool(setup.price_roles),
            "split_roles": set(setup.price_roles) == {"ticker", "candle"},
        }
        return self.fault_kinds | {name for name, there in unusual.items() if there} | set(setup.venues)


LONG: Final[Mapping[str, tuple[float, float]]] = {
    "freeze": (0.5, 45.0),
    "redis_stall": (0.5, 6.0),
    "redis_away": (0.5, 15.0),
    "redis_cut": (2.0, 25.0),
    "redis_readonly": (1.0, 12.0),
    "redis_evict": (0.5, 4.0),
    "rabbit_away": (0.5, 15.0),
    "rabbit_cut": (2.0, 50.0),
    "rabbit_alarm": (1.0, 15.0),
    "rabbit_stall": (0.5, 8.0),
    "venue_cut": (1.0, 30.0),
    "venue_refuse": (1.0, 10.0),
    "venue_stall": (1.0, 20.0),
    "venue_duplicate": (3.0, 10.0),
    "venue_reorder": (3.0, 10.0),
    "venue_rest_error": (2.0, 12.0),
    "venue_rest_slow": (2.0, 12.0),
    "venue_rest_reset": (2.0, 12.0),
    "venue_skew": (5.0, 30.0),
    "key_rejected": (2.0, 10.0),
    "key_bad_twice": (4.0, 12.0),
    "disk_full": (5.0, 15.0),
}
"""Faults that last, and how long."""

POOLS: Final[Mapping[str, tuple[str, ...]]] = {
    "calm": (),
    "venue": (
        "venue_drop", "venue_half_open", "venue_close", "venue_refuse", "venue_maintenance", "venue_duplicate",
        "venue_reorder", "venue_rest_error", "venue_rest_slow", "venue_rest_reset", "venue_stall", "venue_skew",
        "venue_cut", "venue_expire", "liquidation",
    ),
    "process": ("kill", "kill_fast", "drain", "start", "kill_at_start", "kill_in_drain", "restart_all"),
    "freeze": ("freeze",),
    "clock": ("clock_step", "kill", "drain", "venue_drop", "restart_step"),
    "redis": (
        "redis_stall", "redis_away", "redis_restart_empty", "redis_flush", "redis_drop", "redis_readonly",
    ),
    "evict": ("redis_evict",),
    "cut": ("redis_cut", "rabbit_cut", "venue_cut"),
    "flush": ("redis_flush", "redis_restart_empty", "kill", "drain"),
    "rabbit": (
        "rabbit_away", "rabbit_drop", "rabbit_alarm", "rabbit_stall", "rabbit_cut", "commands_deleted",
    ),
    "topology": ("events_queue_deleted", "events_exchange_deleted", "commands_deleted"),
    "keys": ("key_rejected", "key_replaced", "key_bad_twice", "venue_drop", "kill"),
    "master": ("master_dies",),
    "full": ("drain", "kill"),
    "disk": ("rabbit_away", "disk_full", "disk_damaged", "kill_fast", "drain"),
    "commands": ("redis_stall", "rabbit_drop", "redis_flush", "kill", "drain"),
    "unsealed": ("kill_fast", "kill", "drain", "redis_flush"),
    "leave": (),
    "reboot": ("reboot",),
    "price": ("kill", "drain", "redis_flush", "venue_cut", "prices_drop", "redis_away"),
}  # fmt: skip
"""Kinds of worlds: what they draw their faults from."""

MIXED: Final = tuple(
    sorted(
        {fault for name, pool in POOLS.items() if name not in {"evict", "reboot", "master", "price"} for fault in pool}
        - {"restart_all"}
    )
)
KINDS: Final = (*POOLS, "mixed")
WEIGHTS: Final[Mapping[str, int]] = {"mixed": 5, "venue": 3, "process": 2, "redis": 2, "commands": 2}


def draw(
    seed: int,
    *,
    kind: str | None = None,
    venues: Sequence[str] = (),
    processes: int | None = None,
    faults: Sequence[str] = (),
) -> Plan:
    """The plan of a seed; what is given is not drawn."""
    source = random.Random(f"plan {seed}")
    names = [name for name in KINDS for _ in range(WEIGHTS.get(name, 1))]
    drawn = source.choice(names)
    chosen = kind or drawn
    pool = tuple(faults) or (MIXED if chosen == "mixed" else POOLS[chosen])
    count = source.choice((1, 2, 2, 3)) if chosen != "mixed" else source.choice((2, 3, 3, 4, 5))
    number = source.choice((1, 2, 2, 2, 3)) if chosen not in {"freeze", "cut", "process"} else source.choice((2, 2, 3))
    if chosen == "unsealed":
        number = source.choice((1, 1, 2))
    one = source.choice(VENUES)
    where = tuple(venues) or ((one, source.choice(VENUES)) if source.random() < 0.15 else (one,))
    setup = Setup(
        seed=seed,
        venues=tuple(dict.fromkeys(where)),
        processes=processes or number,
        accounts=source.choice((1, 2, 2, 3)),
        bots=source.choice((1, 2, 3)),
        sealed=chosen != "unsealed" and (chosen != "mixed" or source.random() < 0.8),
        per_s=source.uniform(1.0, 4.0),
        redis_way_s=source.choice(REDIS_WAYS_S),
        pause_every=source.choice((0, 0, 20, 100, 400)),
        grace_s=30 if chosen == "clock" else 0,
    )
    if chosen == "price":
        setup = replace(setup, accounts=0, sealed=True, price_roles=source.choice(PRICE_ROLES))
    if chosen == "leave":
        setup = replace(setup, pause_every=15, busy=True, per_s=15.0, redis_way_s=source.choice(REDIS_WAYS_S[-3:]))
    if chosen == "full":
        setup = replace(setup, processes=3, accounts=3, capacity=1)
    if chosen == "master":
        setup = replace(setup, processes=3, accounts=3)
    drawn_faults = _faults(source, pool, count if pool else 0)
    until_s = max([BEGIN_S + 12.0, *[fault.at + fault.seconds + source.uniform(3, 12) for fault in drawn_faults]])
    if chosen == "price":
        until_s += CANDLE_S
    return Plan(setup, chosen, drawn_faults, until_s)


def _faults(source: random.Random, pool: Sequence[str], count: int) -> tuple[Fault, ...]:
    found: list[Fault] = []
    at = BEGIN_S
    for _ in range(count):
        at += source.expovariate(1 / 5.0)
        kind = source.choice(pool)
        low, high = LONG.get(kind, (0.0, 0.0))
        seconds = low * (high / low) ** source.random() if high else 0.0
        found.append(Fault(kind, at, seconds, source.randrange(12), source.random()))
    return tuple(found)


def without(plan: Plan, *places: int) -> Plan:
    """The same plan with some of its faults taken out."""
    kept = tuple(fault for place, fault in enumerate(plan.faults) if place not in places)
    return replace(plan, faults=kept)
