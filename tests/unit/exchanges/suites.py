"""Runs the shared suites for a venue that is none of ours: the template, as it is or with a mistake planted in it."""

from __future__ import annotations

import importlib.util
import itertools
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

from _pytest.mark import ParameterSet

import exchanges
import simulator.venues
from exchanges.ids import FAMILIES
from tests.unit.exchanges import every_venue, pair

ROOT = Path(__file__).parents[3]
TEMPLATE = ROOT / "tests" / "template"
NAME = "template"
ADAPTER, HALF = "exchanges/template", "simulator/template.py"
SUITES = (
    "exchanges/test_pair.py",
    "exchanges/test_pair_keys.py",
    "exchanges/test_pair_gaps.py",
    "exchanges/test_pair_prices.py",
    "exchanges/test_golden.py",
    "exchanges/test_every_venue.py",
    "simulator/test_every_half.py",
    "exchanges/test_books.py",
)


class Case(NamedTuple):
    """One test of a suite with its arguments."""

    suite: str
    test: Callable[..., None]
    arguments: Mapping[str, Any]

    def __str__(self) -> str:
        return f"{self.suite}: {self.test.__name__}[{', '.join(str(value)[:40] for value in self.arguments.values())}]"


@contextmanager
def registered(folder: Path) -> Iterator[None]:
    """The venue of a folder (`exchanges/template`, `simulator/template.py`, `golden.jsonl`) is one of ours meanwhile."""
    paths = ((exchanges.__path__, folder / "exchanges"), (simulator.venues.__path__, folder / "simulator"))
    golden = folder / "golden.jsonl"
    for path, entry in paths:
        path.append(str(entry))
    FAMILIES[NAME] = (NAME,)
    every_venue.FILES.append(golden)
    _forget()
    try:
        yield
    finally:
        for path, entry in paths:
            path.remove(str(entry))
        del FAMILIES[NAME]
        every_venue.FILES.remove(golden)
        _forget()


def _forget() -> None:
    """What was found by walking the packages is looked for anew."""
    exchanges.venues.cache_clear()
    exchanges._by_exchange.cache_clear()
    every_venue.golden.cache_clear()
    simulator.venues.halves.cache_clear()
    importlib.invalidate_caches()
    for name in [name for name in sys.modules if name.startswith(("exchanges.template", "simulator.venues.template"))]:
        del sys.modules[name]
    for package in (exchanges, simulator.venues):
        if hasattr(package, NAME):
            delattr(package, NAME)


def copied(folder: Path, where: str = "", text: str = "", planted: str = "") -> Path:
    """A copy of the template, with one text of one of its files exchanged for another."""
    shutil.copytree(TEMPLATE, folder, ignore=shutil.ignore_patterns("__pycache__"))
    if where:
        file = folder / where
        source = file.read_text()
        assert source.count(text) == 1, f"{where} has {source.count(text)} times: {text}"
        file.write_text(source.replace(text, planted))
    return folder


def cases() -> Iterator[Case]:
    """Every case of the shared suites that is about the template. Only while it is registered."""
    for suite in SUITES:
        module = _fresh(suite)
        for name, test in vars(module).items():
            if name.startswith("test_") and callable(test):
                yield from (Case(suite, test, arguments) for arguments in _arguments(test) if _about(arguments))


def _fresh(suite: str) -> ModuleType:
    """The suite, collected anew: its lists of venues are made when it is read."""
    path = ROOT / "tests" / "unit" / suite
    spec = importlib.util.spec_from_file_location(f"suite_of_the_template_{path.stem}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _arguments(test: Callable[..., None]) -> Iterator[dict[str, Any]]:
    """Every combination of a test's parameters."""
    tables = []
    for mark in getattr(test, "pytestmark", ()):
        if mark.name == "parametrize":
            names, rows = mark.args
            names = [name.strip() for name in names.split(",")] if isinstance(names, str) else list(names)
            values = [_row(row, len(names)) for row in rows]
            tables.append([dict(zip(names, row, strict=True)) for row in values])
    for rows in itertools.product(*tables):
        yield {name: value for row in rows for name, value in row.items()}


def _row(row: Any, count: int) -> Sequence[Any]:
    if isinstance(row, ParameterSet):
        return row.values
    return row if count > 1 else (row,)


def _about(arguments: Mapping[str, Any]) -> bool:
    for value in arguments.values():
        if isinstance(value, pair.Seat):
            value = value.exchange
        if value == NAME or (isinstance(value, bytes) and b'"exchange": "template"' in value):
            return True
    return False
