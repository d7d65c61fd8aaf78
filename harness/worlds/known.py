"""What is known to be broken: by promise and cause, each with a seed that shows it. The list only ever gets shorter.

A broken promise counts as known if an entry names it and the world had what the entry blames. Every entry is played in
`make check`: one that does not fail any more must go from the list, because it would hide the next defect of its kind.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from harness.worlds.judge import Failure
from harness.worlds.plan import Plan


@dataclass(frozen=True)
class Known:
    """One known defect. `blames`: sets of fault kinds; one whole set must have been part of the world."""

    name: str
    what: str
    invariants: frozenset[str]
    blames: tuple[frozenset[str], ...]
    seed: int
    kind: str
    """Kind of the world of the seed."""

    def explains(self, failure: Failure, plan: Plan) -> bool:
        return failure.invariant in self.invariants and any(blamed <= plan.fault_kinds for blamed in self.blames)


KNOWN: Final[tuple[Known, ...]] = ()


def cause_of(failure: Failure, plan: Plan) -> str | None:
    """The name of the first entry that explains a broken promise."""
    return next((known.name for known in KNOWN if known.explains(failure, plan)), None)
