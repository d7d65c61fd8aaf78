"""Which changes are tried on Lua, and that each touches its line only."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.mutants.lua import lua_changed, lua_changes

ROOT = Path(__file__).parents[4]
SCRIPTS = sorted((ROOT / "connector").rglob("*.lua"))
TEXT = """-- KEYS: 1 == 2
local held = redis.call('GET', KEYS[1])
local keep = ARGV[2] -- ms, not 3
if held == ARGV[1] and true then
  redis.call('PEXPIRE', KEYS[1], keep)
end
return held
"""


def of_line(number: int) -> set[str]:
    return {one.after.strip() for one in lua_changes(TEXT) if one.line == number}


def test_comments_are_left_alone() -> None:
    assert not of_line(1)
    assert of_line(3) == {"local keep = ARGV[3]", "local keep = ARGV[1]"}


def test_conditions_calls_and_variables_change() -> None:
    assert of_line(4) == {
        "if true then",
        "if false then",
        "if held ~= ARGV[1] and true then",
        "if held == ARGV[1] or true then",
        "if held == ARGV[1] and false then",
        "if held == ARGV[2] and true then",
        "if held == ARGV[0] and true then",
    }
    assert of_line(5) == {
        "",
        "redis.call('PEXPIRE', KEYS[2], keep)",
        "redis.call('PEXPIRE', KEYS[0], keep)",
        "redis.call('PEXPIRE', KEYS[1], held)",
    }
    assert of_line(7) == {"return keep"}


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.name)
def test_every_script_has_changes_and_each_is_one_line(path: Path) -> None:
    text = path.read_text()
    assert lua_changes(text)
    for change in lua_changes(text):
        before, after = text.splitlines(), lua_changed(text, change).splitlines()
        assert len(before) == len(after)
        assert [number for number, line in enumerate(before, 1) if line != after[number - 1]] == [change.line]
