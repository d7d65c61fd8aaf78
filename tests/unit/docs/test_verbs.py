"""docs/verbs.md: every method that it names exists, and no other carries one of its verbs."""

from __future__ import annotations

import ast
import importlib
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs" / "verbs.md").read_text()
NAMED = sorted(set(re.findall(r"`(connector\.[a-z_.]+\.[A-Z]\w+\.\w+)`", PAGE)))
STRICT = {
    "abandon", "cut", "drop", "forget", "give", "keep", "leave", "let_through", "release", "retire", "revoke", "seal", "take",
    "unwant",
}  # fmt: skip
"""Verbs that mean one thing wherever they stand."""
OF_THE_SAME_PART = {
    "connector.streams.poller.SocketPoller.forget": "connector.streams.poller.Poller.forget",
    "connector.core.ports.PositionKeeper.forget": "its copies of what `PositionStore.drop_position` deletes",
    "connector.streams.paced.PacedQueue.take": "what comes next: a queue's own word",
    "connector.streams.rest.RestQueue.take": "connector.streams.paced.PacedQueue.take",
    "connector.streams.budget.Budget.take": "connector.core.ports.State.take",
}


def methods() -> set[str]:
    """Every public method of a class in the engine's room and of the ports."""
    found = set()
    for path in [*(ROOT / "connector" / "streams").glob("*.py"), ROOT / "connector" / "core" / "ports.py"]:
        module = ".".join(path.relative_to(ROOT).with_suffix("").parts)
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, ast.ClassDef):
                found |= {f"{module}.{node.name}.{one.name}" for one in node.body if isinstance(one, ast.FunctionDef)}
    return found


@pytest.mark.parametrize("name", NAMED)
def test_what_the_page_names_exists(name: str) -> None:
    module, kind, method = name.rsplit(".", 2)
    assert callable(getattr(getattr(importlib.import_module(module), kind), method))


def test_no_other_method_carries_one_of_the_verbs() -> None:
    carrying = {name for name in methods() if name.rsplit(".", 1)[1] in STRICT}
    assert carrying - set(NAMED) - OF_THE_SAME_PART.keys() == set()
