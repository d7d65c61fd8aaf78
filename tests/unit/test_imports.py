"""The arrows between the rooms hold: who imports whom, exactly, and no file is part of a circle (CONTRIBUTING, "Layout")."""

from __future__ import annotations

import ast
from collections import defaultdict
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

ARROWS: dict[str, set[str]] = {
    "exchanges": set(),
    "connector.core": {"exchanges"},
    "connector.servers": {"connector.core"},
    "connector.sinks": {"connector.core", "connector.servers"},
    "connector.state": {"connector.core", "connector.servers", "exchanges"},
    "connector.streams": {"connector.core", "exchanges"},
    "connector.api": {"connector.core", "connector.state", "connector.streams", "exchanges"},
    "connector.aio": {"connector.api"},
    "tasks": {"connector.core", "exchanges"},
    "simulator": {"connector.core", "exchanges"},
    "workers": {
        "connector",
        "connector.core",
        "connector.servers",
        "connector.sinks",
        "connector.state",
        "connector.streams",
        "exchanges",
        "simulator",
        "tasks",
    },
    "cli": {
        "connector",
        "connector.core",
        "connector.servers",
        "connector.state",
        "connector.streams",
        "exchanges",
        "simulator",
        "tasks",
        "workers",
    },
    "harness": {
        "cli",
        "connector.api",
        "connector.core",
        "connector.servers",
        "connector.sinks",
        "connector.state",
        "connector.streams",
        "exchanges",
        "simulator",
        "tasks",
        "workers",
    },
    "bench": {
        "connector",
        "connector.core",
        "connector.servers",
        "connector.sinks",
        "connector.state",
        "connector.streams",
        "exchanges",
        "harness",
    },
    "connector": {"connector.api", "connector.core"},
}
"""Exactly the arrows that are used: one that nobody uses any more goes from this list, too."""

CIRCLES_LEFT: set[str] = set()
"""Files that know each other. Each is a debt: none is added."""

IMPURE = {
    "asyncio",
    "dramatiq",
    "logging",
    "os",
    "pika",
    "random",
    "redis",
    "requests",
    "secrets",
    "select",
    "selectors",
    "socket",
    "ssl",
    "subprocess",
    "threading",
    "time",
    "urllib.request",
    "uuid",
    "websocket",
}
"""What a protocol must not touch: sockets, clocks, threads, chance, environment."""


def name_of(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def room_of(module: str) -> str:
    """The room that a module stands in: the top folder, and one deeper in `connector`."""
    parts = module.split(".")
    return ".".join(parts[:2]) if parts[0] == "connector" else parts[0]


def files() -> dict[str, Path]:
    tops = {room.split(".")[0] for room in ARROWS}
    return {name_of(path): path for top in sorted(tops) for path in sorted((ROOT / top).rglob("*.py"))}


@cache
def imports(path: Path) -> set[str]:
    """Every name that a file imports, also for the type checker only: `a.b` and `a.b.c` for `from a.b import c`."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path.name}: relative import in line {node.lineno}"
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


@cache
def graph() -> dict[str, set[str]]:
    """Which of our files import which; a package's own `__init__` stands under the package's name."""
    known = files()
    arrows: dict[str, set[str]] = defaultdict(set)
    for module, path in known.items():
        for name in imports(path):
            target = name
            while target and target not in known:
                target = target.rpartition(".")[0]
            if target and target != module:
                arrows[module].add(target)
    return arrows


def circles() -> set[str]:
    """Groups of files that reach each other, each as its names in one text (Tarjan's strongly connected components)."""
    index: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    found: set[str] = set()

    def visit(module: str) -> None:
        index[module] = low[module] = len(index)
        stack.append(module)
        for target in sorted(graph()[module]) if module in graph() else ():
            if target not in index:
                visit(target)
                low[module] = min(low[module], low[target])
            elif target in stack:
                low[module] = min(low[module], index[target])
        if low[module] == index[module]:
            place = stack.index(module)
            group = stack[place:]
            del stack[place:]
            if len(group) > 1:
                found.add(" ".join(sorted(group)))

    for module in files():
        if module not in index:
            visit(module)
    return found


def test_rooms_import_exactly_what_the_arrows_say() -> None:
    used: dict[str, set[str]] = {room: set() for room in ARROWS}
    for module, targets in graph().items():
        here = room_of(module)
        used[here] |= {room_of(target) for target in targets if room_of(target) != here}
    assert used == ARROWS


def test_no_file_is_part_of_a_circle() -> None:
    assert circles() == CIRCLES_LEFT


def exchanges() -> list[Path]:
    return [path for module, path in files().items() if room_of(module) == "exchanges"]


def test_protocols_stay_pure() -> None:
    wrong = {
        f"{path.relative_to(ROOT)}: {name}"
        for path in exchanges()
        for name in imports(path)
        for module in IMPURE
        if name == module or name.startswith(f"{module}.")
    }
    assert not wrong


@pytest.mark.parametrize("path", exchanges(), ids=lambda path: str(path.relative_to(ROOT)))
def test_protocols_never_ask_the_clock(path: Path) -> None:
    """Also not through `datetime`: the time comes with every input."""
    calls = {
        node.func.attr
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)
    }
    assert not calls & {"now", "utcnow", "today"}


def test_every_room_is_covered() -> None:
    tops = {path.parent.name for path in ROOT.glob("*/__init__.py")}
    assert tops == {room.split(".")[0] for room in ARROWS}
    inner = {f"connector.{path.parent.name}" for path in (ROOT / "connector").glob("*/__init__.py")}
    assert inner <= ARROWS.keys()
