"""Worlds of all kinds in `make check`: no promise breaks that is not known to be broken. `make worlds` plays many more."""

from __future__ import annotations

import json

import pytest

from harness.worlds.mutants import MUTANTS, Mutant, put_in
from harness.worlds.plan import KINDS, draw
from harness.worlds.play import play
from harness.worlds.stage import staged
from tests.unit.harness.worlds_command import worlds

WORLDS = 200
CHUNK = 25
LOOK = 250
"""Worlds within which an old defect must be found; `Mutant.first` only says where to begin, so that it takes seconds."""


@pytest.mark.parametrize("first", range(1, 1 + WORLDS, CHUNK))
def test_worlds_keep_every_promise_but_those_known_to_be_broken(first: int) -> None:
    done = worlds("--runs", str(CHUNK), "--seed", str(first), "--jobs", "1")
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_command_line_ends_with_one_line_of_figures_and_the_same_digest_each_time() -> None:
    lines = [worlds("--runs", "6", "--seed", "40", "--jobs", "1").stdout.strip().splitlines()[-1] for _ in range(2)]
    first, second = map(json.loads, lines)
    assert first.keys() >= {"runs", "failures", "known", "virtual_hours", "worlds_per_s"}
    assert first["digest"] == second["digest"]


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
