"""Many worlds: seeds spread over processes, results in the order of the seeds, so that runs can be compared by a digest."""

from __future__ import annotations

import hashlib
import multiprocessing
import os
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from harness.worlds.known import cause_of
from harness.worlds.plan import Plan, draw
from harness.worlds.play import Outcome, play
from harness.worlds.stage import staged

CHUNK: Final = 8


@dataclass(frozen=True)
class Choice:
    """What is not drawn from the seed."""

    kind: str | None = None
    venues: tuple[str, ...] = ()
    processes: int | None = None
    faults: tuple[str, ...] = ()

    def plan(self, seed: int) -> Plan:
        return draw(seed, kind=self.kind, venues=self.venues, processes=self.processes, faults=self.faults)


@dataclass(frozen=True)
class Row:
    """What is kept of one world."""

    seed: int
    kind: str
    digest: str
    virtual_s: float
    unknown: tuple[str, ...] = ()
    """Broken promises without a known cause: invariant and text."""
    known: tuple[str, ...] = ()
    """Known causes that showed."""

    @property
    def good(self) -> bool:
        return not self.unknown and not self.known


def row_of(outcome: Outcome) -> Row:
    causes: set[str] = set()
    unknown: list[str] = []
    for failure in outcome.failures:
        cause = cause_of(failure, outcome.plan)
        if cause is None:
            unknown.append(f"{failure.invariant}: {failure.text}")
        else:
            causes.add(cause)
    return Row(
        outcome.plan.setup.seed,
        outcome.plan.kind,
        outcome.digest,
        outcome.virtual_s,
        tuple(unknown),
        tuple(sorted(causes)),
    )


@dataclass
class Tally:
    """The figures of a campaign."""

    rows: list[Row] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def failures(self) -> list[Row]:
        return [row for row in self.rows if row.unknown]

    @property
    def known(self) -> Counter[str]:
        return Counter(cause for row in self.rows for cause in row.known)

    @property
    def digest(self) -> str:
        """Of everything that every world published."""
        whole = hashlib.sha256()
        for row in sorted(self.rows, key=lambda row: row.seed):
            whole.update(f"{row.seed} {row.digest}\n".encode())
        return whole.hexdigest()

    def figures(self) -> dict[str, Any]:
        return {
            "runs": len(self.rows),
            "failures": len(self.failures),
            "known": dict(sorted(self.known.items())),
            "virtual_hours": round(sum(row.virtual_s for row in self.rows) / 3600, 2),
            "worlds_per_s": round(len(self.rows) / self.seconds, 2) if self.seconds else 0.0,
            "digest": self.digest,
        }


def run_chunk(choice: Choice, seeds: Sequence[int]) -> list[Row]:
    """Some worlds in this process."""
    with staged():
        return [row_of(play(choice.plan(seed))) for seed in seeds]


def _task(task: tuple[Choice, Sequence[int]]) -> list[Row]:
    return run_chunk(*task)


def campaign(choice: Choice, seeds: Iterable[int], jobs: int = 0) -> Iterator[Row]:
    """Every world of these seeds, as they end; `jobs` processes, 0 = one per core."""
    listed = list(seeds)
    chunks = [listed[at : at + CHUNK] for at in range(0, len(listed), CHUNK)]
    workers = min(jobs or os.cpu_count() or 1, len(chunks))
    if workers <= 1:
        for chunk in chunks:
            yield from run_chunk(choice, chunk)
        return
    # Fresh interpreters: nothing of one may depend on what the parent happened to do before.
    with multiprocessing.get_context("spawn").Pool(workers) as pool:
        for rows in pool.imap(_task, [(choice, chunk) for chunk in chunks]):
            yield from rows


def counted(choice: Choice, seeds: Iterable[int], jobs: int = 0) -> Tally:
    tally, began = Tally(), time.monotonic()
    tally.rows.extend(campaign(choice, seeds, jobs))
    tally.seconds = time.monotonic() - began
    return tally
