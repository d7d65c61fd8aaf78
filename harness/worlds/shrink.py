"""From the faults of a failed world to the few that it takes: each is left out once, then each half of what is left."""

from __future__ import annotations

from collections.abc import Callable, Set
from dataclasses import replace

from harness.worlds.plan import Plan, without
from harness.worlds.play import Outcome, play

TRIES = 40


def shortened(outcome: Outcome, run: Callable[[Plan], Outcome] = play) -> Outcome:
    """The smallest world found that breaks one of the same promises. Within `staged()`."""
    broken = {failure.invariant for failure in outcome.failures}
    best, left = outcome, TRIES
    progress = True
    while progress and left > 0:
        progress = False
        for place in reversed(range(len(best.plan.faults))):
            left -= 1
            tried = run(without(best.plan, place))
            if _same(tried, broken):
                best, progress = tried, True
    for smaller in (replace(best.plan.setup, processes=1), replace(best.plan.setup, accounts=1)):
        tried = run(replace(best.plan, setup=smaller))
        if smaller != best.plan.setup and _same(tried, broken) and len(tried.plan.faults) <= len(best.plan.faults):
            best = tried
    return best


def _same(outcome: Outcome, broken: Set[str]) -> bool:
    return any(failure.invariant in broken for failure in outcome.failures)
