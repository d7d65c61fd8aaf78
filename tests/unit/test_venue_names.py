"""What is true of one venue stands in its package: shared code names none, but where the platform itself does."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from exchanges import venues
from exchanges.ids import KNOWN

ROOT = Path(__file__).parents[2]
SHARED = ("cli", "connector", "tasks", "workers", "simulator", "exchanges")
OWN = ("exchanges/ids.py",)
"""The list of ids."""
ALLOWED = {
    "connector/streams/market.py": "`PRICE_CONNECTOR_EXCHANGES` writes `binanceus` (contract 7.1)",
    "connector/streams/instruments.py": "`OKX_EU_ONLY` (contract 7.1)",
    "tasks/commands.py": "regions and spellings of intervals in commands (contract 1.3, 1.6)",
    "connector/api/accounts.py": "regions of a venue in requests (contract 1.3)",
    "simulator/demo.py": "what the demo trades on the paper server",
    "workers/local.py": "the paper accounts of the demo",
}
"""Where a name stands for a reason; none may be added without one."""
NAMES = KNOWN | (frozenset(venues()) - {"paper"})
"""The paper server is part of the platform."""


def modules() -> Iterator[Path]:
    for package in SHARED:
        for path in sorted((ROOT / package).rglob("*.py")):
            parts = path.relative_to(ROOT).parts
            of_a_venue = parts[0] == "exchanges" and len(parts) > 2
            if not of_a_venue and parts[:2] != ("simulator", "venues"):
                yield path


def named(path: Path) -> set[str]:
    """Texts of a module that are the name of a venue or the beginning of one of its ids."""
    tree = ast.parse(path.read_text())
    texts = {node.value for node in ast.walk(tree) if isinstance(node, ast.Constant) and isinstance(node.value, str)}
    return {text for text in texts if text in NAMES}


@pytest.mark.parametrize("name", [str(path.relative_to(ROOT)) for path in modules()])
def test_shared_code_names_no_venue(name: str) -> None:
    if name in OWN:
        return
    found = named(ROOT / name)
    if name in ALLOWED:
        assert found, f"{name} names no venue any more: take it off the list"
    else:
        assert not found
