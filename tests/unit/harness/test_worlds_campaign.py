"""Worlds of all kinds in `make check`: no promise breaks that is not known to be broken, and what leaves the service keeps to
its schema. `make worlds` plays many more."""

from __future__ import annotations

import json

import pytest

from harness.worlds.campaign import Choice, Tally, run_chunk
from harness.worlds.mutants import MUTANTS, Mutant, put_in
from harness.worlds.plan import KINDS, draw
from harness.worlds.play import play
from harness.worlds.stage import staged
from tests.unit.harness.listening import listening
from tests.unit.harness.worlds_command import worlds

WORLDS = 200
CHUNK = 25
LOOK = 250
"""Worlds within which an old defect must be found; `Mutant.first` only says where to begin, so that it takes seconds."""


@pytest.mark.parametrize("first", range(1, 1 + WORLDS, CHUNK))
def test_worlds_keep_every_promise_but_those_known_to_be_broken(first: int, monkeypatch: pytest.MonkeyPatch) -> None:
    with listening(monkeypatch) as listener:
        rows = run_chunk(Choice(), range(first, first + CHUNK))
    assert [f"python -m bench.worlds --seed {row.seed}: {text}" for row in rows for text in row.unknown] == []
    assert listener.wrong == []
    assert sum(row.virtual_s for row in rows) > 600
    assert listener.heard.total() > 2_000, listener.heard


def test_the_command_line_ends_with_one_line_of_figures_and_the_same_digest_each_time() -> None:
    tally = Tally(run_chunk(Choice(), range(40, 44)))
    done = worlds("--runs", "4", "--seed", "40", "--jobs", "1")
    assert done.returncode == 0, done.stdout + done.stderr
    figures = json.loads(done.stdout.strip().splitlines()[-1])
    assert figures.keys() >= {"runs", "failures", "known", "virtual_hours", "worlds_per_s"}
    assert figures["digest"] == tally.digest


def test_every_kind_of_world_can_be_drawn() -> None:
    drawn = {draw(seed).kind for seed in range(400)}
    assert drawn == set(KINDS)


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_an_old_defect_that_is_put_back_is_found(mutant: Mutant) -> None:
    with put_in(mutant), staged():
        found = any(
            any(failure.invariant in mutant.breaks for failure in play(mutant.plan(seed)).failures)
            for seed in range(mutant.first, mutant.first + LOOK)
        )
    assert found
