"""The form that CONTRIBUTING asks of a commit message."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.commit_message import SUBJECT_CHARACTERS, main, problems


@pytest.mark.parametrize(
    "message",
    [
        "Keep a fill whose descriptive fields can't be read\n",
        "Don't let DEBUG lines block a worker's start\n\nThe reason.\n",
        "Process frames in order",
        "Feed the watchdog while a repair runs\n\n# a comment of git\n",
        "Move the tables\n# ------------------------ >8 ------------------------\ndiff --git a/x b/x\n",
        "A" + "b" * 10 + " " + "c" * (SUBJECT_CHARACTERS - 12),
    ],
)
def test_a_message_in_form_passes(message: str) -> None:
    assert problems(message) == []


@pytest.mark.parametrize(
    ("message", "told"),
    [
        ("", "no message"),
        ("# only comments\n", "no message"),
        ("fix the tracker\n", "capital"),
        ("Fixed the tracker\n", "imperative"),
        ("Fixes the tracker\n", "imperative"),
        ("Fixing the tracker\n", "imperative"),
        ("Fix the tracker.\n", "full stop"),
        ("Fix the tracker\nat once\n", "second line"),
        ("Tracker", "one word"),
        ("WIP tracker", "no verb"),
        ("#12: tracker", "no message"),
        ("12 trackers", "no verb"),
        ("fixup! Fix the tracker", "squashed"),
        ("Fix " + "x" * SUBJECT_CHARACTERS, "characters"),
    ],
)
def test_a_message_out_of_form_is_told_why(message: str, told: str) -> None:
    assert any(told in one for one in problems(message))


def test_git_gets_the_answer_as_exit_status(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "COMMIT_EDITMSG"
    path.write_text("Add a hook\n")
    assert main([str(path)]) == 0
    path.write_text("added a hook.\n")
    assert main([str(path)]) == 1
    assert capsys.readouterr().err.count("commit message: ") == 3
