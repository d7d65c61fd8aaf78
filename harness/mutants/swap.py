"""Puts a change into the running process: the code of living functions, the value of a constant, the text of a script."""

from __future__ import annotations

import ast
import gc
import sys
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from types import CodeType, FunctionType, ModuleType
from typing import Any

from harness.mutants.python import Change, Place, changed
from harness.mutants.sites import Mutant


class Unswappable(Exception):
    """The change can't be put into a process that runs already."""


class BreaksImport(Exception):
    """With the change its module can't even be imported: everybody would notice."""


class Swapper:
    """Knows the functions that live now. Make it once everything is imported, then fork."""

    def __init__(self, root: Path) -> None:
        self._root = root.resolve()
        self._functions: dict[tuple[str, str, int], list[FunctionType]] = defaultdict(list)
        for thing in gc.get_objects():
            if isinstance(thing, FunctionType):
                code = thing.__code__
                self._functions[code.co_filename, code.co_qualname, code.co_firstlineno].append(thing)

    def apply(self, mutant: Mutant) -> None:
        """For the rest of this process. Raises `Unswappable` and `BreaksImport`."""
        path = self._root / mutant.file
        source = path.read_text(encoding="utf-8")
        if not isinstance(mutant.change, Change):
            self._text(source, mutant.applied(source))
        elif mutant.change.functions:
            self._code(path, source, mutant.change)
        else:
            self._constant(path, source, mutant.change)

    def _code(self, path: Path, source: str, change: Change) -> None:
        made = compile(changed(source, change.number), str(path), "exec", dont_inherit=True)
        codes = {(code.co_qualname, code.co_firstlineno): code for code in _codes(made)}
        swapped = 0
        for place in change.functions:
            swapped += self._swap(path, place, codes[place])
        if not swapped:
            raise Unswappable("no function of that name lives")

    def _swap(self, path: Path, place: Place, code: CodeType) -> int:
        living = self._functions.get((str(path), *place), [])
        for function in living:
            try:
                function.__code__ = code
            except ValueError as error:  # the change drops the only use of an outer variable
                raise Unswappable(str(error)) from error
        return len(living)

    def _constant(self, path: Path, source: str, change: Change) -> None:
        home = next((module for module in _modules() if getattr(module, "__file__", None) == str(path)), None)
        if home is None or change.name not in vars(home):
            raise Unswappable("its module is not imported")
        old = vars(home)[change.name]
        new = _value(changed(source, change.number), change, vars(home))
        if type(new) is type(old) and new == old:
            raise Unswappable("the value stays the same")
        if isinstance(old, dict | set) and type(new) is type(old):
            old.clear()
            old.update(new)
            return
        for module in _modules():
            if vars(module).get(change.name) is old:
                setattr(module, change.name, new)

    @staticmethod
    def _text(old: str, new: str) -> None:
        swapped = 0
        for module in _modules():
            for name, value in list(vars(module).items()):
                if isinstance(value, str) and old in value:
                    setattr(module, name, value.replace(old, new))
                    swapped += 1
        if not swapped:
            raise Unswappable("no module holds this script")


def _value(tree: ast.Module, change: Change, names: dict[str, Any]) -> Any:
    for node in tree.body:
        targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
        value = getattr(node, "value", None)
        if node.lineno == change.statement and value is not None:
            assert any(isinstance(target, ast.Name) and target.id == change.name for target in targets)
            try:
                return eval(compile(ast.Expression(value), "<constant>", "eval"), dict(names))
            except Exception as error:
                raise BreaksImport(str(error)) from error
    raise Unswappable("its statement is not found")


def scripts(root: Path, file: str) -> set[str]:
    """The names of the constants that hold this script."""
    text = (root / file).read_text(encoding="utf-8")
    return {
        name
        for module in _modules()
        for name, value in list(vars(module).items())
        if isinstance(value, str) and text in value
    }


def _modules() -> list[ModuleType]:
    return [module for module in list(sys.modules.values()) if type(module) is ModuleType]


def _codes(code: CodeType) -> Iterator[CodeType]:
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield constant
            yield from _codes(constant)
