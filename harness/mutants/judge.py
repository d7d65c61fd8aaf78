"""The score: floors and judged survivors (tests/mutants.toml), and the table at the end."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.mutants.play import Outcome, Verdict


class BadJudgement(Exception):
    """An entry of the file that says nothing, or speaks of a line that is no longer there."""


@dataclass(frozen=True)
class Harmless:
    """A survivor that was read by a person: with it the code behaves as before, for a reason."""

    file: str
    line: str
    change: str
    why: str


@dataclass(frozen=True)
class Judge:
    """What is measured, what is asked of it, and what was judged."""

    floors: Mapping[str, float]
    """Module (a path or a pattern with one score) → the least adjusted score in percent."""
    harmless: tuple[Harmless, ...] = ()

    def is_harmless(self, verdict: Verdict) -> bool:
        mutant = verdict.mutant
        return any(
            (one.file, one.line, one.change) == (mutant.file, mutant.text, mutant.shown) for one in self.harmless
        )

    def modules(self, patterns: Sequence[str]) -> list[str]:
        """The modules that one of the patterns is part of; all without any. Raises `ValueError` for one that fits none."""
        if not patterns:
            return list(self.floors)
        for pattern in patterns:
            if not any(pattern in name for name in self.floors):
                raise ValueError(f"no module of tests/mutants.toml has {pattern!r} in its name")
        return [name for name in self.floors if any(pattern in name for pattern in patterns)]


def read(path: Path, root: Path) -> Judge:
    """The file, checked against the sources. Raises `BadJudgement` naming what is wrong."""
    data = tomllib.loads(path.read_text(encoding="utf-8"))
    harmless = tuple(Harmless(**one) for one in data.get("harmless", ()))
    for one in harmless:
        if len(one.why.split()) < 3:
            raise BadJudgement(f"{one.file}: {one.change}: there is no reason")
        source = root / one.file
        lines = {line.strip() for line in source.read_text("utf-8").splitlines()} if source.is_file() else set()
        if one.line not in lines:
            raise BadJudgement(f"{one.file} has no line {one.line!r} any more: judge anew")
    floors = {str(name): float(floor) for name, floor in data["floors"].items()}
    for name in floors:
        if not any(root.glob(name)):
            raise BadJudgement(f"there is no {name}")
    return Judge(floors, harmless)


@dataclass(frozen=True)
class Score:
    """One module's row of the table."""

    module: str
    sites: int
    tried: int
    killed: int
    untested: int
    """Survivors whose line no test runs."""
    harmless: int
    floor: float | None

    @property
    def survived(self) -> int:
        return self.tried - self.killed

    @property
    def left(self) -> int:
        return self.survived - self.harmless

    @property
    def raw(self) -> float:
        """Killed of tried, in percent; nothing tried is nothing missed."""
        return 100.0 * self.killed / self.tried if self.tried else 100.0

    @property
    def adjusted(self) -> float:
        """Without the mutants that were judged harmless."""
        count = self.tried - self.harmless
        return 100.0 * self.killed / count if count else 100.0

    @property
    def low(self) -> bool:
        return self.floor is not None and self.adjusted < self.floor


def score(module: str, sites: int, verdicts: Iterable[Verdict], judge: Judge) -> Score:
    found = list(verdicts)
    survivors = [one for one in found if one.outcome is Outcome.SURVIVED]
    return Score(
        module=module,
        sites=sites,
        tried=len(found),
        killed=len(found) - len(survivors),
        untested=sum(not one.tests for one in survivors),
        harmless=sum(judge.is_harmless(one) for one in survivors),
        floor=judge.floors.get(module),
    )


def table(scores: Sequence[Score]) -> str:
    """Markdown, with a line for all together."""
    head = "module | sites | tried | killed | survived | no test runs it | equivalent | left | raw | adjusted | floor"
    rows = [head, "|".join(["---"] * 11)]
    sums = {name: sum(getattr(one, name) for one in scores) for name in _SUMMED}
    everything = Score("all", **sums, floor=None)
    for one in (*scores, everything):
        floor = "" if one.floor is None else f"{one.floor:.0f} %" + (" missed" if one.low else "")
        cells = [one.module, one.sites, one.tried, one.killed, one.survived, one.untested, one.harmless, one.left]
        rows.append(" | ".join([*(str(cell) for cell in cells), f"{one.raw:.0f} %", f"{one.adjusted:.0f} %", floor]))
    return "\n".join(f"| {row} |" for row in rows)


_SUMMED = ("sites", "tried", "killed", "untested", "harmless")
