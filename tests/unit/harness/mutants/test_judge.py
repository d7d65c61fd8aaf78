"""The score counts what it says, a floor can be missed, and a judgement that speaks of nothing is an error."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.mutants.judge import BadJudgement, Harmless, Judge, read, score, table
from harness.mutants.play import Outcome, Verdict
from harness.mutants.sites import mutants_of

ROOT = Path(__file__).parents[4]
TEXT = "def f(a, b):\n    return a < b and a > 1\n"
FLOORS = '[floors]\n"one.py" = 90\n'
ENTRY = """
[[harmless]]
file = "one.py"
line = "return a < b and a > 1"
change = "a < b → a <= b"
why = "The two are never equal."
"""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "one.py").write_text(TEXT)
    return tmp_path


def judged(root: Path, text: str) -> Judge:
    (root / "mutants.toml").write_text(text)
    return read(root / "mutants.toml", root)


def verdicts(root: Path, *survivors: str) -> list[Verdict]:
    return [
        Verdict(one, Outcome.SURVIVED if one.shown in survivors else Outcome.KILLED, tests=int(one.shown != "1 → 2"))
        for one in mutants_of(root, "one.py")
    ]


def test_a_survivor_that_was_judged_does_not_count(root: Path) -> None:
    judge = judged(root, FLOORS + ENTRY)
    found = score("one.py", 9, verdicts(root, "a < b → a <= b", "1 → 2"), judge)
    assert (found.tried, found.killed, found.survived, found.harmless, found.left, found.untested) == (8, 6, 2, 1, 1, 1)
    assert found.raw == 75.0
    assert round(found.adjusted) == 86
    assert found.low
    assert "86 % | 90 % missed" in table([found])
    assert table([found]).splitlines()[-1].startswith("| all | 9 | 8 | 6 |")


def test_a_killed_mutant_needs_no_judgement(root: Path) -> None:
    found = score("one.py", 9, verdicts(root), judged(root, FLOORS + ENTRY))
    assert (found.harmless, found.adjusted, found.low) == (0, 100.0, False)


def test_a_module_without_a_floor_is_never_low(root: Path) -> None:
    found = score("two.py", 9, verdicts(root, "a < b → a <= b"), Judge({}, ()))
    assert not found.low
    assert "missed" not in table([found])


def test_nothing_tried_is_nothing_missed() -> None:
    found = score("one.py", 0, [], Judge({"one.py": 90.0}, (Harmless("one.py", "x", "y", "z"),)))
    assert (found.raw, found.adjusted, found.low) == (100.0, 100.0, False)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (FLOORS + ENTRY.replace("return a < b and", "return b < a and"), "no line"),
        (FLOORS + ENTRY.replace('file = "one.py"', 'file = "gone.py"'), "gone.py has no line"),
        (FLOORS + ENTRY.replace("The two are never equal.", "ok"), "no reason"),
        (FLOORS.replace("one.py", "gone.py"), "there is no gone.py"),
    ],
)
def test_an_entry_that_says_nothing_is_an_error(root: Path, text: str, told: str) -> None:
    with pytest.raises(BadJudgement, match=told):
        judged(root, text)


def test_modules_are_chosen_by_a_part_of_their_name(root: Path) -> None:
    judge = Judge({"streams/tracker.py": 90.0, "state/*.lua": 90.0})
    assert judge.modules([]) == ["streams/tracker.py", "state/*.lua"]
    assert judge.modules(["tracker"]) == ["streams/tracker.py"]
    with pytest.raises(ValueError, match="breaker"):
        judge.modules(["tracker", "breaker"])


def test_every_judgement_of_this_project_is_about_a_line_that_is_there() -> None:
    """Eighteen of them were about lines that had gone, and nothing was measured any more."""
    assert read(ROOT / "tests" / "mutants.toml", ROOT).harmless
