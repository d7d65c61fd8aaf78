"""Time, chance and ids are handed in: one file asks the system for them (docs/architecture.md, "One process").

So a world plays a whole service under its own clock, and the same seed gives the same bytes.
"""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ROOMS = ("connector", "tasks", "workers")
SOURCE = "connector/core/clock.py"
"""The one file that asks."""

LEFT: set[str] = set()
"""Files that still ask on their own. Each is a debt: none is added, and one that is paid goes from the list."""

MODULES = {"random", "secrets", "time", "uuid"}
OF_DATETIME = {"now", "today", "utcnow"}


def files() -> list[str]:
    return sorted(str(path.relative_to(ROOT)) for room in ROOMS for path in (ROOT / room).rglob("*.py"))


def asked(source: str) -> set[str]:
    """What a file takes from the system's clock and chance: `time.monotonic`, `datetime.now`, `from uuid import uuid4`."""
    found: set[str] = set()
    tree = ast.parse(source)
    names = {
        alias.asname or alias.name: alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.Import)
        for alias in node.names
        if alias.name in MODULES
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module in MODULES:
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.Attribute):
            if isinstance(node.value, ast.Name) and node.value.id in names:
                found.add(f"{names[node.value.id]}.{node.attr}")
            elif node.attr in OF_DATETIME and ast.unparse(node.value).split(".")[-1] in {"datetime", "date"}:
                found.add(f"datetime.{node.attr}")
    return found


@pytest.mark.parametrize("path", files())
def test_nobody_asks_the_system_for_time_chance_or_ids(path: str) -> None:
    found = asked((ROOT / path).read_text())
    if path == SOURCE:
        assert found
    elif path in LEFT:
        assert found, f"{path} asks for nothing any more: take it from the list"
    else:
        assert found == set()


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("import time\nx = time.monotonic()", {"time.monotonic"}),
        ("import time as t\ndef f(mono=t.monotonic): ...", {"time.monotonic"}),
        ("from random import uniform", {"random.uniform"}),
        ("import uuid\nx = uuid.uuid4().hex", {"uuid.uuid4"}),
        ("from datetime import datetime, UTC\nx = datetime.now(UTC)", {"datetime.now"}),
        ("import datetime\nx = datetime.datetime.utcnow()", {"datetime.utcnow"}),
        ("import secrets\nx = secrets.token_hex(6)", {"secrets.token_hex"}),
        ("x = self.io.now(); y = clock.mono(); event.time", set()),
    ],
)
def test_the_check_finds_what_it_looks_for(source: str, found: set[str]) -> None:
    assert asked(source) == found
