"""Whole worlds by the thousand (docs/worlds.md): `--runs 1000 --seed 1` plays so many, `--seed N` one again.

A campaign ends with one JSON line (`runs`, `failures`, `known`, `virtual_hours`, `worlds_per_s`, `digest`); exit status 1 if
a promise broke that is not known to be broken.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections import Counter
from collections.abc import Sequence

from harness.worlds.campaign import Choice, Tally, campaign, row_of
from harness.worlds.known import KNOWN
from harness.worlds.mutants import MUTANTS, WITHIN, put_in
from harness.worlds.plan import KINDS, LONG, MIXED
from harness.worlds.play import play
from harness.worlds.shrink import shortened
from harness.worlds.stage import staged
from harness.worlds.story import told

HASH_SEED = "0"
"""Sets of texts are walked in an order that follows from Python's hash seed: the same one gives the same bytes."""
TOLD = 3
"""Failed worlds of a campaign whose story is printed."""


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.worlds", description=__doc__.split("\n")[0])
    parser.add_argument(
        "--runs", type=int, default=0, help="number of worlds; without it, the one world of --seed is told"
    )
    parser.add_argument("--seed", type=int, default=1, help="first seed")
    parser.add_argument("--kind", choices=KINDS, help="only worlds of this kind")
    parser.add_argument("--venues", default="", help="comma list of venues instead of drawn ones")
    parser.add_argument("--processes", type=int, help="processes instead of a drawn number")
    parser.add_argument("--faults", default="", help="comma list of faults to draw from")
    parser.add_argument("--jobs", type=int, default=0, help="worlds at a time; 0 = one per core")
    parser.add_argument(
        "--known", action="store_true", help="play the world of every known failure: each must still show"
    )
    parser.add_argument(
        "--mutants", action="store_true", help="put old defects back and look for each, one line a defect"
    )
    parser.add_argument("--short", action="store_true", help="with --seed: look for fewer faults that still fail")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str]) -> int:
    options = parse(arguments)
    faults = tuple(filter(None, options.faults.split(",")))
    unknown = sorted(set(faults) - set(MIXED) - set(LONG))
    if unknown:
        sys.stderr.write(f"no fault {', '.join(unknown)}; there are {', '.join(sorted({*MIXED, *LONG}))}\n")
        return 2
    choice = Choice(options.kind, tuple(filter(None, options.venues.split(","))), options.processes, faults)
    if options.known:
        return known()
    if options.mutants:
        return mutants(options.seed, options.runs or WITHIN)
    if not options.runs:
        return one(choice, options.seed, short=options.short)
    return many(choice, options.seed, options.runs, options.jobs)


def one(choice: Choice, seed: int, *, short: bool) -> int:
    with staged():
        outcome = play(choice.plan(seed))
        if outcome.failures and short:
            outcome = shortened(outcome)
    row = row_of(outcome)
    sys.stdout.write(told(outcome) + f"\ndigest {outcome.digest}\n")
    sys.stdout.write("good\n" if outcome.good else f"known: {', '.join(row.known) or 'nothing of it'}\n")
    return int(bool(row.unknown))


def many(choice: Choice, first: int, runs: int, jobs: int) -> int:
    tally = Tally()
    began = time.monotonic()
    for row in campaign(choice, range(first, first + runs), jobs):
        tally.rows.append(row)
        if row.unknown:
            sys.stdout.write(f"seed {row.seed} ({row.kind}): {row.unknown[0]}\n")
            sys.stdout.flush()
    tally.seconds = time.monotonic() - began
    for row in tally.failures[:TOLD]:
        _tell(choice, row.seed)
    by_promise = Counter(
        f"{row.kind}: {promise}"
        for row in tally.failures
        for promise in {text.split(":", 1)[0] for text in row.unknown}
    )
    if by_promise:
        sys.stdout.write(f"unknown failures: {dict(by_promise.most_common())}\n")
    sys.stdout.write(json.dumps(tally.figures()) + "\n")
    return int(bool(tally.failures))


def known() -> int:
    """One line a known failure. Exit status 1 if one does not show any more: then it must go from the list."""
    gone = 0
    with staged():
        for entry in KNOWN:
            seed = None
            for plan in entry.plans():
                if entry.shows(play(plan).failures, plan):
                    seed = plan.setup.seed
                    break
            gone += seed is None
            state = (
                f"shows (seed {seed}, {entry.kind})" if seed is not None else "DOES NOT SHOW any more: is it repaired?"
            )
            sys.stdout.write(f"{entry.name}: {state}: {entry.what}\n")
            sys.stdout.flush()
    return int(bool(gone))


def mutants(first: int, within: int) -> int:
    """One line a defect: in which world it was found. Exit status 1 if one was not."""
    missed = 0
    for mutant in MUTANTS:
        found = None
        with put_in(mutant), staged():
            for seed in range(first, first + within):
                if any(failure.invariant in mutant.breaks for failure in play(mutant.plan(seed)).failures):
                    found = seed
                    break
        missed += found is None
        where = (
            f"found in world {found - first + 1}, seed {found}"
            if found is not None
            else f"NOT FOUND in {within} worlds"
        )
        sys.stdout.write(f"{mutant.name}: {where} ({mutant.what})\n")
        sys.stdout.flush()
    return int(bool(missed))


def _tell(choice: Choice, seed: int) -> None:
    with staged():
        outcome = play(choice.plan(seed))
        short = shortened(outcome)
    sys.stdout.write(f"\n{told(short)}\nplay it again: python -m bench.worlds --seed {seed}\n\n")


if __name__ == "__main__":
    if os.environ.get("PYTHONHASHSEED") != HASH_SEED:
        os.execve(
            sys.executable,
            [sys.executable, "-m", "bench.worlds", *sys.argv[1:]],
            {**os.environ, "PYTHONHASHSEED": HASH_SEED},
        )
    sys.exit(main(sys.argv[1:]))
