"""The changes that are tried on Python: what a slip of the pen, or a forgotten half of a condition, looks like.

Pure: a text in, a list of changes out, the same order each time. Left out is what no test should have to notice: log and
metric calls, error texts, annotations, docstrings; and class bodies and defaults, which a running process can't swap.
"""

from __future__ import annotations

import ast
import copy
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final, cast

LARGEST: Final = 1_000
LARGEST_CONSTANT: Final = 20
"""Of limits above these, one more or less is not tried: no test should sit on them. A module's own constant of that size,
or one with a point, is a bound that somebody chose; smaller whole ones are ranks, codes and counts."""
_COMPARE: Final[dict[type[ast.cmpop], type[ast.cmpop]]] = {
    ast.Eq: ast.NotEq, ast.NotEq: ast.Eq, ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt,
    ast.In: ast.NotIn, ast.NotIn: ast.In, ast.Is: ast.IsNot, ast.IsNot: ast.Is,
}  # fmt: skip
_ARITHMETIC: Final[dict[type[ast.operator], type[ast.operator]]] = {
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult, ast.FloorDiv: ast.Mult,
    ast.BitOr: ast.BitAnd, ast.BitAnd: ast.BitOr, ast.LShift: ast.RShift, ast.RShift: ast.LShift,
}  # fmt: skip
_CALLS: Final = {"min": "max", "max": "min", "any": "all", "all": "any"}
_LOGS: Final = frozenset({"log", "_log", "logger", "METRICS", "warnings"})
_TEXT_METHODS: Final = frozenset({"__repr__", "__str__"})

Place = tuple[str, int]
"""A function as its code object names itself: qualified name, first line (that of its first decorator)."""


@dataclass(frozen=True)
class Change:
    """One mutation of a Python text; `number` is its place in `changes(text)`."""

    number: int
    kind: str
    line: int
    before: str
    after: str
    functions: tuple[Place, ...]
    """From the outermost function to the innermost; empty for a module's constant."""
    name: str = ""
    """The constant, when it is one."""
    statement: int = 0
    """First line of the statement: that one is certainly seen to run."""


@dataclass(frozen=True)
class _Swap:
    kind: str
    node: ast.AST
    new: ast.AST
    functions: tuple[Place, ...]
    name: str
    line: int
    statement: int
    row: ast.AST | None = None
    """Of a table that loses it."""


def changes(text: str) -> list[Change]:
    """Every change of this text. Raises `SyntaxError` for what is no Python."""
    found = []
    for number, swap in enumerate(_Walk(ast.parse(text)).swaps()):
        before, after = (_shown(swap.node), _shown(swap.new)) if swap.row is None else (_shown(swap.row), "left out")
        found.append(Change(number, swap.kind, swap.line, before, after, swap.functions, swap.name, swap.statement))
    return found


def changed(text: str, number: int) -> ast.Module:
    """The tree with that change in it; line numbers are those of the original."""
    tree = ast.parse(text)
    for place, swap in enumerate(_Walk(tree).swaps()):
        if place == number:
            return cast(ast.Module, ast.fix_missing_locations(_Replace(swap).visit(tree)))
    raise IndexError(f"there is no change {number}")


def _shown(node: ast.AST) -> str:
    return " ".join(ast.unparse(node).split())


class _Replace(ast.NodeTransformer):
    def __init__(self, swap: _Swap) -> None:
        self._swap = swap

    def visit(self, node: ast.AST) -> ast.AST:
        if node is self._swap.node:
            return ast.copy_location(self._swap.new, node)
        return self.generic_visit(node)


class _Walk:
    """Goes through functions and module constants and yields the changes in the order of the text."""

    def __init__(self, tree: ast.Module) -> None:
        self._tree = tree
        self._functions: tuple[Place, ...] = ()
        self._name = ""
        self._line = 0

    def swaps(self) -> Iterator[_Swap]:
        yield from self._scope(self._tree.body, "")

    def _scope(self, body: list[ast.stmt], prefix: str) -> Iterator[_Swap]:
        """A module's or a class's statements."""
        for node in body:
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                yield from self._function(node, prefix)
            elif isinstance(node, ast.ClassDef):
                yield from self._scope(node.body, f"{prefix}{node.name}.")
            elif not prefix:
                yield from self._constant(node)

    def _function(self, node: ast.FunctionDef | ast.AsyncFunctionDef, prefix: str) -> Iterator[_Swap]:
        if node.name in _TEXT_METHODS:
            return
        first = min([node.lineno, *(one.lineno for one in node.decorator_list)])
        outer = self._functions
        self._functions = (*outer, (f"{prefix}{node.name}", first))
        yield from self._block(node.body, f"{prefix}{node.name}.<locals>.")
        self._functions = outer

    def _constant(self, node: ast.stmt) -> Iterator[_Swap]:
        target: ast.expr | None = node.target if isinstance(node, ast.AnnAssign) else None
        if isinstance(node, ast.Assign) and len(node.targets) == 1:
            target = node.targets[0]
        value = getattr(node, "value", None)
        if isinstance(target, ast.Name) and isinstance(value, ast.expr) and not target.id.startswith("__"):
            self._name, self._line = target.id, node.lineno
            yield from self._rows(value)
            yield from self._expression(value)
            self._name = ""

    def _rows(self, value: ast.expr) -> Iterator[_Swap]:
        """A table without one of its rows."""
        table = value.args[0] if isinstance(value, ast.Call) and value.args else value
        if isinstance(table, ast.Dict):
            for place in range(len(table.keys)):
                without = ast.Dict(_left_out(table.keys, place), _left_out(table.values, place))
                shown = table.keys[place] or table.values[place]
                yield self._swap("table row", table, without, row=shown)
        elif isinstance(table, ast.Set | ast.Tuple | ast.List) and len(table.elts) > 1:
            for place, shown in enumerate(table.elts):
                without_it = copy.copy(table)
                without_it.elts = _left_out(table.elts, place)
                yield self._swap("table row", table, without_it, row=shown)

    def _swap(self, kind: str, node: ast.AST, new: ast.AST, row: ast.AST | None = None) -> _Swap:
        line = cast(int, getattr(row or node, "lineno", self._line))
        return _Swap(kind, node, new, self._functions, self._name, line, self._line, row)

    def _block(self, body: list[ast.stmt], prefix: str) -> Iterator[_Swap]:
        for node in body:
            self._line = node.lineno
            yield from self._statement(node, prefix)

    def _statement(self, node: ast.stmt, prefix: str) -> Iterator[_Swap]:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield from self._function(node, prefix)
        elif isinstance(node, ast.ClassDef):
            yield from self._scope(node.body, f"{prefix}{node.name}.")
        elif isinstance(node, ast.Assert | ast.Import | ast.ImportFrom) or _is_log(node) or _is_docstring(node):
            return
        elif isinstance(node, ast.Raise):
            yield self._swap("removed statement", node, ast.Pass())
        else:
            yield from self._whole(node)
            for field in ("test", "iter", "target", "value", "subject"):
                part = getattr(node, field, None)
                if isinstance(part, ast.expr) and not (field == "target" and isinstance(part, ast.Name)):
                    yield from self._expression(part)
            for target in getattr(node, "targets", ()):
                yield from self._expression(target)
            yield from self._inner(node, prefix)

    def _inner(self, node: ast.stmt, prefix: str) -> Iterator[_Swap]:
        """Blocks within a statement: bodies, `with` items, handlers, cases."""
        for item in getattr(node, "items", ()):
            yield from self._expression(item.context_expr)
        for field in ("body", "orelse", "finalbody"):
            yield from self._block(getattr(node, field, []), prefix)
        for handler in getattr(node, "handlers", ()):
            yield from self._block(handler.body, prefix)
        for case in getattr(node, "cases", ()):
            yield from self._block(case.body, prefix)

    def _whole(self, node: ast.stmt) -> Iterator[_Swap]:
        """Changes of the statement as such: gone, another sign, nothing returned, the other branch."""
        if _can_go(node):
            yield self._swap("removed statement", node, ast.Pass())
        if isinstance(node, ast.AugAssign) and type(node.op) in _ARITHMETIC:
            other = copy.copy(node)
            other.op = _ARITHMETIC[type(node.op)]()
            yield self._swap("arithmetic", node, other)
        if isinstance(node, ast.Return) and node.value is not None and not isinstance(node.value, ast.Constant):
            yield self._swap("return None", node, ast.Return(ast.Constant(None)))
        if isinstance(node, ast.If | ast.While):
            yield from self._condition(node.test)

    def _condition(self, test: ast.expr) -> Iterator[_Swap]:
        if not isinstance(test, ast.Compare | ast.BoolOp | ast.Constant | ast.UnaryOp):
            yield self._swap("not", test, ast.UnaryOp(ast.Not(), test))

    def _expression(self, node: ast.expr) -> Iterator[_Swap]:
        yield from _EXPRESSIONS.get(type(node), _nothing)(self, node)
        if isinstance(node, ast.JoinedStr):
            return
        for child in _parts(node):
            yield from self._expression(child)

    def _compare(self, node: ast.Compare) -> Iterator[_Swap]:
        for place, operator in enumerate(node.ops):
            other = copy.copy(node)
            other.ops = list(node.ops)
            other.ops[place] = _COMPARE[type(operator)]()
            yield self._swap("comparison", node, other)

    def _bool(self, node: ast.BoolOp) -> Iterator[_Swap]:
        other = ast.BoolOp(ast.Or() if isinstance(node.op, ast.And) else ast.And(), node.values)
        yield self._swap("and/or", node, other)
        for place in range(len(node.values)):
            left = _left_out(node.values, place)
            if isinstance(node.values[place], ast.Constant):  # `or ""`: nothing depends on it
                continue
            yield self._swap("dropped operand", node, left[0] if len(left) == 1 else ast.BoolOp(node.op, left))

    def _unary(self, node: ast.UnaryOp) -> Iterator[_Swap]:
        if isinstance(node.op, ast.Not | ast.USub):
            yield self._swap("not" if isinstance(node.op, ast.Not) else "arithmetic", node, node.operand)

    def _binary(self, node: ast.BinOp) -> Iterator[_Swap]:
        texts = (ast.JoinedStr, ast.Tuple, ast.List)
        plain = not any(isinstance(side, texts) or _is_text(side) for side in (node.left, node.right))
        if plain and type(node.op) in _ARITHMETIC:
            yield self._swap("arithmetic", node, ast.BinOp(node.left, _ARITHMETIC[type(node.op)](), node.right))

    def _call(self, node: ast.Call) -> Iterator[_Swap]:
        if isinstance(node.func, ast.Name) and node.func.id in _CALLS:
            other = ast.Call(ast.Name(_CALLS[node.func.id], ast.Load()), node.args, node.keywords)
            yield self._swap("min/max", node, other)

    def _if(self, node: ast.IfExp) -> Iterator[_Swap]:
        yield from self._condition(node.test)

    def _worth_it(self, value: object) -> bool:
        if isinstance(value, int):
            return abs(value) <= (LARGEST_CONSTANT if self._name else LARGEST)
        return isinstance(value, float) and not self._name and abs(value) <= LARGEST

    def _literal(self, node: ast.Constant) -> Iterator[_Swap]:
        value = node.value
        if isinstance(value, bool):
            yield self._swap("boolean constant", node, ast.Constant(not value))
        elif isinstance(value, int | float) and self._worth_it(value):
            yield self._swap("number", node, ast.Constant(value + 1))
            yield self._swap("number", node, ast.Constant(value - 1))
        elif isinstance(value, str | bytes) and value:
            yield self._swap("text", node, ast.Constant(value + "_" if isinstance(value, str) else value + b"_"))


def _nothing(_walk: _Walk, _node: ast.expr) -> Iterator[_Swap]:
    return iter(())


_EXPRESSIONS: Final = cast(
    "dict[type[ast.expr], Callable[[_Walk, ast.expr], Iterator[_Swap]]]",
    {
        ast.Compare: _Walk._compare, ast.BoolOp: _Walk._bool, ast.UnaryOp: _Walk._unary, ast.BinOp: _Walk._binary,
        ast.Call: _Walk._call, ast.IfExp: _Walk._if, ast.Constant: _Walk._literal,
    },
)  # fmt: skip


def _parts(node: ast.expr) -> Iterator[ast.expr]:
    """The expressions inside one that are worth a change."""
    if isinstance(node, ast.Call) and _shown(node.func).rpartition(".")[2] in {"cast", "getattr", "get_logger"}:
        yield from node.args[1:2]
        return
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.expr):
            yield child
        elif isinstance(child, ast.keyword):
            yield child.value
        elif isinstance(child, ast.comprehension):
            yield from (child.iter, *child.ifs)


def _left_out(rows: list[Any], place: int) -> list[Any]:
    return rows[:place] + rows[place + 1 :]


def _is_text(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and isinstance(node.value, str | bytes)


def _is_docstring(node: ast.stmt) -> bool:
    """Of a function, or of the attribute above it."""
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)


def _is_log(node: ast.stmt) -> bool:
    """Whether the statement is nothing but a call for the log or a metric."""
    if not (isinstance(node, ast.Expr) and isinstance(node.value, ast.Call)):
        return False
    words = _shown(node.value.func).split("(")[0].split(".")
    return bool(_LOGS & set(words))


def _can_go(node: ast.stmt) -> bool:
    if isinstance(node, ast.Expr):
        return isinstance(node.value, ast.Call | ast.Await | ast.Yield | ast.YieldFrom)
    if isinstance(node, ast.Assign | ast.AugAssign | ast.AnnAssign):
        targets = node.targets if isinstance(node, ast.Assign) else [node.target]
        return node.value is not None and all(isinstance(target, ast.Attribute | ast.Subscript) for target in targets)
    return isinstance(node, ast.Delete | ast.Continue | ast.Break)
