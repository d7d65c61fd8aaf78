"""The arrows between the packages hold: who may import whom (style: one layout for the whole project)."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

MAY_IMPORT = {
    "core": set(),
    "exchanges": set(),
    "sinks": set(),
    "state": set(),
    "streams": {"exchanges"},
    "tasks": {"streams", "exchanges"},
    "web": set(),
    "simulator": {"exchanges"},
    "workers": {"tasks", "streams", "sinks", "state", "web", "exchanges", "simulator", "cli"},
    "cli": {"tasks", "streams", "sinks", "state", "web", "exchanges", "simulator", "workers"},
}
"""Beside `core`, which everything may import. Only the entry points (`workers`, `cli`) see everything."""

TOOLS = {"bench", "harness"}
"""Developers' tools around the service: they may import anything, and nothing of the service imports them."""

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


def modules(package: str) -> list[Path]:
    return sorted((ROOT / package).rglob("*.py"))


def imports(path: Path) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path.name}: relative import in line {node.lineno}"
            found.add(node.module or "")
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def within(name: str, module: str) -> bool:
    return name == module or name.startswith(f"{module}.")


@pytest.mark.parametrize("package", sorted(MAY_IMPORT))
def test_packages_import_only_what_the_arrows_allow(package: str) -> None:
    others = (MAY_IMPORT.keys() | TOOLS) - MAY_IMPORT[package] - {package, "core"}
    wrong = {
        f"{path.relative_to(ROOT)}: {name}"
        for path in modules(package)
        for name in imports(path)
        for other in others
        if within(name, other)
    }
    assert not wrong


@pytest.mark.parametrize("package", ["exchanges"])
def test_protocols_stay_pure(package: str) -> None:
    wrong = {
        f"{path.relative_to(ROOT)}: {name}"
        for path in modules(package)
        for name in imports(path)
        for module in IMPURE
        if within(name, module)
    }
    assert not wrong


@pytest.mark.parametrize("path", modules("exchanges"), ids=lambda path: str(path.relative_to(ROOT)))
def test_protocols_never_ask_the_clock(path: Path) -> None:
    """Also not through `datetime`: the time comes with every input."""
    calls = {
        node.func.attr
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)
    }
    assert not calls & {"now", "utcnow", "today"}


def test_every_package_is_covered() -> None:
    packages = {path.parent.name for path in ROOT.glob("*/__init__.py")}
    assert packages <= MAY_IMPORT.keys() | TOOLS
