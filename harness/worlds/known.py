"""What is known to be broken: by promise and cause, each with a seed that shows it. The list only ever gets shorter.

A broken promise counts as known if an entry names it and the world had what the entry blames. Every entry is played in
`make check`: one that does not fail any more must go from the list, because it would hide the next defect of its kind.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from harness.worlds.failure import Failure
from harness.worlds.plan import Plan, draw


@dataclass(frozen=True)
class Known:
    """One known defect."""

    name: str
    what: str
    breaks: frozenset[str]
    """Promises that break because of it."""
    blames: tuple[frozenset[str], ...]
    """Faults and traits of a world; one whole set must be part of it."""
    seed: int
    kind: str
    """Kind of the world of the seed …"""
    faults: tuple[str, ...] = ()
    """… and what its faults are drawn from, if not from all of its kind."""
    venues: tuple[str, ...] = ()
    within: int = 60
    """Any change of the product moves what happens in a world: one of so many from the seed on must show it."""

    def plans(self) -> Iterator[Plan]:
        """Worlds that may show it; on the code of its day the first one does."""
        for seed in range(self.seed, self.seed + self.within):
            yield draw(seed, kind=self.kind, venues=self.venues, faults=self.faults)

    def shows(self, failures: Sequence[Failure], plan: Plan) -> bool:
        return any(self.explains(failure, plan) for failure in failures)

    def explains(self, failure: Failure, plan: Plan) -> bool:
        return failure.invariant in self.breaks and any(blamed <= plan.blamable for blamed in self.blames)


def either(*kinds: str) -> tuple[frozenset[str], ...]:
    return tuple(frozenset((kind,)) for kind in kinds)


KNOWN: Final[tuple[Known, ...]] = ()


def cause_of(failure: Failure, plan: Plan) -> str | None:
    """The name of the first entry that explains a broken promise."""
    return next((known.name for known in KNOWN if known.explains(failure, plan)), None)
