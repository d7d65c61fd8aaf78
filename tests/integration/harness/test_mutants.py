"""`python -m bench.mutants` on a small project: it finds what its tests don't see, and nothing else."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from harness.servers import ROOT

pytestmark = pytest.mark.integration

COMMAND_S = 120.0
PURSE = '''"""A purse."""

LIMITS = {"coins": 3, "notes": 10}


class Purse:
    def __init__(self):
        self.coins = 0

    def add(self, coins):
        if coins <= 0 or self.coins + coins > LIMITS["coins"]:
            return False
        self.coins += coins
        return True

    def empty(self):
        while self.coins:
            self.coins -= 1
'''
WEAK = """from connector.purse import Purse


def test_a_coin_is_kept():
    purse = Purse()
    assert purse.add(1)
    assert purse.coins == 1


def test_too_many_are_refused():
    assert not Purse().add(99)


def test_it_can_be_emptied():
    purse = Purse()
    purse.add(3)
    purse.empty()
    assert purse.coins == 0
"""
STRONG = (
    WEAK
    + """

def test_nothing_is_no_coin():
    assert not Purse().add(0)
    assert not Purse().add(-1)


def test_three_fit_and_not_one_more():
    purse = Purse()
    assert purse.add(2)
    assert purse.add(1)
    assert not purse.add(1)
    assert purse.coins == 3


def test_refused_is_told_as_false():
    assert Purse().add(99) is False
"""
)
FLICKERING = """import os
from pathlib import Path

from connector.purse import Purse


def test_flickers():
    '''Passes while the tests are traced, fails always later.'''
    assert Purse().coins == 0
    assert "MUTANTS_FOLDER" in os.environ
"""
JUDGED = """
[floors]
"connector/purse.py" = 100

[[harmless]]
file = "connector/purse.py"
line = 'LIMITS = {"coins": 3, "notes": 10}'
change = "%s"
why = "No purse holds notes yet."
"""
NOTES = ("10 → 11", "10 → 9", "'notes' → left out", "'notes' → 'notes_'")


def project(root: Path, tests: str) -> Path:
    (root / "connector").mkdir()
    (root / "connector" / "__init__.py").write_text("")
    (root / "connector" / "purse.py").write_text(PURSE)
    (root / "tests" / "unit").mkdir(parents=True)
    (root / "tests" / "unit" / "test_purse.py").write_text(tests)
    entries = "".join(JUDGED.split("\n\n", 1)[1] % change for change in NOTES)
    (root / "tests" / "mutants.toml").write_text(JUDGED.split("\n\n", 1)[0] + "\n\n" + entries)
    (root / "pyproject.toml").write_text('[tool.pytest.ini_options]\naddopts = ["--import-mode=importlib"]\n')
    return root


def measured(root: Path) -> tuple[int, list[str], str]:
    """Exit status, the survivors, and all that was said."""
    command = [sys.executable, "-m", "bench.mutants", "--root", str(root), "--count", "100", "--patience", "2"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=COMMAND_S, check=False)
    survivors = [line.split(" ", 1)[1].strip() for line in done.stdout.splitlines() if line.startswith("SURVIVED")]
    return done.returncode, survivors, done.stdout + done.stderr


def test_what_no_test_sees_is_found_and_misses_the_floor(tmp_path: Path) -> None:
    status, survivors, said = measured(project(tmp_path, WEAK))
    assert status == 1, said
    assert any(":11 coins <= 0 → coins < 0" in one for one in survivors), said
    assert any(":11 self.coins + coins > LIMITS['coins']" in one for one in survivors), said
    assert not any("self.coins += coins → removed" in one for one in survivors), said
    assert "missed" in said


def test_strong_tests_keep_the_floor_and_a_loop_without_end_is_noticed(tmp_path: Path) -> None:
    status, survivors, said = measured(project(tmp_path, STRONG))
    assert (status, survivors) == (0, []), said
    assert "self.coins -= 1 → removed (1 tests run it) time limit" in said
    assert said.count("harmless  ") == len(NOTES)


def test_a_test_that_fails_anyway_kills_nothing(tmp_path: Path) -> None:
    status, survivors, said = measured(project(tmp_path, FLICKERING))
    assert status == 1, said
    assert "fails without any change: tests/unit/test_purse.py::test_flickers" in said
    assert any(":8 self.coins = 0 → removed (0 tests run it)" in one for one in survivors), said
    assert not any(line.startswith("killed") for line in said.splitlines()), said


def test_tests_that_fail_at_once_are_told(tmp_path: Path) -> None:
    status, _, said = measured(project(tmp_path, WEAK.replace("== 1", "== 2")))
    assert status == 1
    assert "without any change the tests fail" in said
