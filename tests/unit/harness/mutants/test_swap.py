"""A change reaches everybody who holds the function, the table or the constant."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from harness.mutants.sites import mutants_of
from harness.mutants.swap import BreaksImport, Swapper, Unswappable, scripts

TEXT = '''
import functools
import re

LIMIT = 5
RANK = {"a": 1}
NAMES = frozenset({"x", "y"})
PATTERN = re.compile("[a]")
SCRIPT = """local a = 1
return a
"""


def below(number):
    return number < LIMIT


def cached(function):
    @functools.wraps(function)
    def wrapper(*arguments):
        return function(*arguments) == 7
    return wrapper


class Thing:
    @property
    def seven(self):
        return 3 + 4

    @classmethod
    def make(cls):
        return cls() is None

    def kept(self):
        return super().__init__() is None


@cached
def seven():
    return 7
'''


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    (tmp_path / "swapped_one.py").write_text(TEXT)
    (tmp_path / "swapped_two.py").write_text("from swapped_one import LIMIT, NAMES, below\n")
    (tmp_path / "one.lua").write_text("local a = 1\nreturn a\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    importlib.import_module("swapped_two")
    yield sys.modules["swapped_one"]
    for name in ("swapped_one", "swapped_two"):
        del sys.modules[name]


@pytest.fixture
def swapper(module: ModuleType, tmp_path: Path) -> Swapper:
    """One a test: to find the living functions it looks at every object of the process."""
    return Swapper(tmp_path)


def apply(swapper: Swapper, root: Path, shown: str, file: str = "swapped_one.py") -> None:
    (mutant,) = [one for one in mutants_of(root, file) if one.shown == shown]
    swapper.apply(mutant)


def test_a_function_changes_wherever_it_is_held(module: ModuleType, swapper: Swapper, tmp_path: Path) -> None:
    held = sys.modules["swapped_two"].below
    assert not held(5)
    apply(swapper, tmp_path, "number < LIMIT → number <= LIMIT")
    assert held(5)


def test_methods_and_decorated_functions_change(module: ModuleType, swapper: Swapper, tmp_path: Path) -> None:
    thing, seven = module.Thing(), module.seven
    apply(swapper, tmp_path, "3 + 4 → 3 - 4")
    assert thing.seven == -1
    apply(swapper, tmp_path, "cls() is None → cls() is not None")
    assert module.Thing.make()
    assert seven()
    apply(swapper, tmp_path, "function(*arguments) == 7 → function(*arguments) != 7")
    assert not seven()


def test_a_table_changes_in_place_and_a_constant_with_all_who_imported_it(
    module: ModuleType, swapper: Swapper, tmp_path: Path
) -> None:
    rank, two = module.RANK, sys.modules["swapped_two"]
    apply(swapper, tmp_path, "'a' → left out")
    assert rank == {}
    apply(swapper, tmp_path, "5 → 6")
    assert (module.LIMIT, two.LIMIT, module.below(5)) == (6, 6, True)
    apply(swapper, tmp_path, "'x' → left out")
    assert two.NAMES == module.NAMES == frozenset({"y"})


def test_a_constant_that_can_not_be_made_is_noticed_by_everybody(
    module: ModuleType, swapper: Swapper, tmp_path: Path
) -> None:
    source = TEXT.replace('"[a]"', "5")
    (tmp_path / "swapped_one.py").write_text(source)
    mutant = next(one for one in mutants_of(tmp_path, "swapped_one.py") if one.text.startswith("PATTERN"))
    with pytest.raises(BreaksImport):
        swapper.apply(mutant)


def test_a_script_changes_in_the_constants_that_hold_it(module: ModuleType, swapper: Swapper, tmp_path: Path) -> None:
    assert "SCRIPT" in scripts(tmp_path, "one.lua")
    apply(swapper, tmp_path, "local a = 1 → local a = 2", "one.lua")
    assert module.SCRIPT == "local a = 2\nreturn a\n"


def test_what_does_not_live_can_not_be_swapped(module: ModuleType, swapper: Swapper, tmp_path: Path) -> None:
    (tmp_path / "other.py").write_text("LIMIT = 1\n\n\ndef f():\n    return 1 < 2\n")
    for mutant in mutants_of(tmp_path, "other.py"):
        with pytest.raises(Unswappable):
            swapper.apply(mutant)
    with pytest.raises(Unswappable):  # without super() the method needs its class no more
        apply(swapper, tmp_path, "return super().__init__() is None → return None")
