"""The figures of docs/back-pressure.md are those of the code."""

from __future__ import annotations

import importlib
import inspect
import re
from pathlib import Path

import pytest

from connector.core.settings import Settings

PAGE = (Path(__file__).parents[3] / "docs" / "back-pressure.md").read_text()
FIGURES = re.findall(r"\| (\d+)[^|]*\(`([\w.:]+)`\)", PAGE)


def value(name: str) -> object:
    """`module.CONSTANT`, `module.Class:parameter`, or the variable of a setting."""
    for field in Settings.model_fields.values():
        if field.alias == name:
            return field.default
    path, _, parameter = name.partition(":")
    module, attribute = path.rsplit(".", 1)
    found = getattr(importlib.import_module(module), attribute)
    if parameter:
        return inspect.signature(found).parameters[parameter].default
    return next(iter(found.values())).prefetch if isinstance(found, dict) else found


@pytest.mark.parametrize(("figure", "name"), FIGURES, ids=[name for _, name in FIGURES])
def test_a_bound_is_the_one_described(figure: str, name: str) -> None:
    assert value(name) == int(figure)


def test_every_row_has_a_bound_and_a_rule() -> None:
    rows = [line for line in PAGE.splitlines() if line.startswith("| ") and not line.startswith(("| Queue", "|---"))]
    assert len(rows) > 30
    for line in rows:
        cells = [cell.strip() for cell in line.strip("| ").split(" | ")]
        assert len(cells) == 3, line
        assert all(cells), line
