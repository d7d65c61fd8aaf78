"""Which changes are drawn: the same ones until the text changes, and with a revision only those of changed lines."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from harness.mutants.sites import changed_since, lines_of_diff, module

TEXT = "def f(a, b):\n    if a < b:\n        return a\n    return b - 1\n"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "connector").mkdir()
    (tmp_path / "connector" / "one.py").write_text(TEXT)
    return tmp_path


def names(root: Path, only: dict[str, set[int]] | None = None) -> list[str]:
    return [str(one) for one in module(root, "connector/*.py", only).mutants]


def test_the_same_text_draws_the_same_order(root: Path) -> None:
    assert names(root) == names(root)
    assert len(names(root)) == 6
    assert "connector/one.py:2 a < b → a <= b" in names(root)


def test_another_text_draws_anew(root: Path) -> None:
    before = names(root)
    (root / "connector" / "one.py").write_text(TEXT + "\n\n")
    assert sorted(names(root)) == sorted(before)
    assert names(root) != before


def test_only_the_lines_that_are_asked_for(root: Path) -> None:
    assert set(names(root, {"connector/one.py": {2}})) == {"connector/one.py:2 a < b → a <= b"}
    assert names(root, {"connector/two.py": {2}}) == []


def test_lines_of_a_diff() -> None:
    diff = (
        "--- a/x.py\n+++ b/x.py\n@@ -1,2 +3 @@\n+a\n@@ -9,0 +11,2 @@\n+a\n+b\n--- a/y\n+++ b/y\n@@ -4,2 +3,0 @@\n-a\n"
    )
    assert lines_of_diff(diff) == {"x.py": {3, 11, 12}, "y": set()}


def test_changes_since_a_revision(root: Path) -> None:
    def git(*arguments: str) -> None:
        config = ["-c", "user.name=A", "-c", "user.email=a@example.com"]
        subprocess.run(["git", *config, *arguments], cwd=root, check=True, capture_output=True, timeout=60)

    git("init", "--quiet")
    git("add", ".")
    git("commit", "--quiet", "-m", "Begin")
    (root / "connector" / "one.py").write_text(TEXT.replace("b - 1", "b - 2"))
    assert changed_since(root, "HEAD") == {"connector/one.py": {4}}
    with pytest.raises(ValueError, match="nowhere"):
        changed_since(root, "nowhere")
