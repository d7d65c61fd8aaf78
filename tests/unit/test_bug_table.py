"""docs/bugs.md has every row, and every test and recorded frame that it names exists."""

from __future__ import annotations

import ast
import json
import re
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ROWS = [
    f"{letter}{number}"
    for letter, last in (("A", 63), ("B", 25), ("C", 17), ("D", 22))
    for number in range(1, last + 1)
]

LATER = {
    "E": range(1, 6),
    "N": (1, 2, 3, 5, 6, 7, 8, 9, 10, 11, 12, 13),
    "M": (*range(1, 11), 12, 13, 14, 15, 18, 20, 21, 22, 23, 24, 26),
    "P": range(1, 37),
    "F": range(1, 12),
}
ROWS += [f"{letter}{number}" for letter, numbers in LATER.items() for number in numbers]


@cache
def table() -> dict[str, tuple[str, str]]:
    found: dict[str, tuple[str, str]] = {}
    for line in (ROOT / "docs" / "bugs.md").read_text().splitlines():
        match = re.match(r"\| ([A-FMNP]\d+) \| (.+?) \| (.+) \|$", line)
        if match is not None:
            assert match[1] not in found
            found[match[1]] = (match[2], match[3])
    return found


@cache
def names_in(path: str) -> frozenset[str]:
    """Test functions of a module, and methods as `Class::method`."""
    tree = ast.parse((ROOT / path).read_text())
    names = {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}
    for node in tree.body:
        if isinstance(node, ast.ClassDef):
            names |= {f"{node.name}::{one.name}" for one in node.body if isinstance(one, ast.FunctionDef)}
    return frozenset(names)


@cache
def cases_in(path: str) -> frozenset[str]:
    return frozenset(json.loads(line)["case"] for line in (ROOT / path).read_text().splitlines() if line.strip())


def test_the_table_has_every_row_in_order() -> None:
    assert list(table()) == ROWS


@pytest.mark.parametrize("row", ROWS)
def test_what_keeps_a_bug_out_exists(row: str) -> None:
    by = table()[row][1]
    named = re.findall(r"`(tests/[\w/]+\.py)::([\w:]+)`", by)
    recorded = re.findall(r"`(tests/golden/[\w-]+\.jsonl): (.+?)`", by)
    assert named or recorded, "a row needs a test"
    for path, name in named:
        assert name.split("::")[-1].startswith("test_")
        assert name in names_in(path), f"{path}::{name}"
    for path, case in recorded:
        assert case in cases_in(path), f"{path}: {case}"
    assert len(named) + len(recorded) == by.count("`tests/"), "a name that this test can't read"
