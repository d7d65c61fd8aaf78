"""Which changes are tried on Python, and that each is what it says."""

from __future__ import annotations

import ast
import textwrap

import pytest

from harness.mutants.python import changed, changes


def shown(body: str) -> set[str]:
    """The changes of a function with this body."""
    text = "def function(a, b, self=None, log=None):\n" + textwrap.indent(textwrap.dedent(body).strip(), "    ") + "\n"
    return {f"{one.before} → {one.after}" for one in changes(text)}


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("return a < b", {"a < b → a <= b", "return a < b → return None"}),
        ("return a is not b", {"a is not b → a is b", "return a is not b → return None"}),
        ("if a and b: raise a", {"a and b → a or b", "a and b → b", "a and b → a", "raise a → pass"}),
        ("if not a: self.b = 1", {"not a → a", "self.b = 1 → pass", "1 → 2", "1 → 0"}),
        ("if a: self.go()", {"a → not a", "self.go() → pass"}),
        ("a += b", {"a += b → a -= b"}),
        ("self.a += b", {"self.a += b → self.a -= b", "self.a += b → pass"}),
        ("del a[b]", {"del a[b] → pass"}),
        ("for one in a: continue", {"continue → pass"}),
        ("return True", {"True → False"}),
        ("b = min(a, 'x')", {"min(a, 'x') → max(a, 'x')", "'x' → 'x_'"}),
        ("b = a or ''", {"a or '' → a and ''", "a or '' → ''"}),
        ("b = -a * b", {"-a * b → -a / b", "-a → a"}),
        ("b = [one for one in a if one]", set()),
        ("b = 5000", set()),
        ("b = f'{a} items'", set()),
        ("b = 'x' + a", {"'x' → 'x_'"}),
        ("b = 1 if a else 2", {"a → not a", "1 → 2", "1 → 0", "2 → 3", "2 → 1"}),
        ("with a(1): b()", {"1 → 2", "1 → 0", "b() → pass"}),
        ("try: a()\nexcept E: b()", {"a() → pass", "b() → pass"}),
        ("match a:\n    case 1: b()", {"b() → pass"}),
        ("b = lambda: a < 3", {"a < 3 → a <= 3", "3 → 4", "3 → 2"}),
    ],
)
def test_a_statement_has_these_changes(body: str, expected: set[str]) -> None:
    assert shown(body) == expected


@pytest.mark.parametrize(
    "body",
    [
        "'''Only words.'''\nreturn",
        "log.warning('a %s', 1)",
        "self._log.info('one', 2)",
        "METRICS.count('frames_total', venue=a)",
        "assert a == 1",
        "a.b: int\n'Words below an attribute.'",
        "b: 'Text | None' = a",
        "from a import b",
        "b = cast('int', a)",
    ],
)
def test_what_no_test_should_notice_is_left_alone(body: str) -> None:
    assert shown(body) == set()


def test_the_text_of_an_error_is_left_alone_but_not_the_error() -> None:
    assert shown("raise ValueError('no 5')") == {"raise ValueError('no 5') → pass"}


def test_class_bodies_defaults_and_texts_of_objects_are_left_alone() -> None:
    text = """
class A:
    limit = 3

    def __repr__(self):
        return "A" + str(1)

    def go(self, number=4):
        return number
"""
    assert {one.before for one in changes(text)} == {"return number"}


def test_tables_lose_a_row_and_constants_change() -> None:
    text = 'RANK = {\n    "NEW": 0,\n    "FILLED": 1,\n}\nIDS: Final = frozenset({"a", "b"})\nVERSION = 5\n'
    found = {(one.kind, one.line, one.before, one.after, one.name) for one in changes(text)}
    assert ("table row", 2, "'NEW'", "left out", "RANK") in found
    assert ("table row", 3, "'FILLED'", "left out", "RANK") in found
    assert ("table row", 5, "'b'", "left out", "IDS") in found
    assert ("number", 6, "5", "6", "VERSION") in found


def test_a_bound_that_somebody_chose_is_not_tried_by_one() -> None:
    assert changes("MAX = 300\nPAUSE_S = 5.0\n") == []
    assert len(changes("RANK = 3\n")) == 2
    assert len(changes("def f(a):\n    a.wait(300)\n")) == 3


def test_functions_are_named_as_their_code_is() -> None:
    text = """
class A:
    @property
    def go(self):
        def inner():
            return self.a < 1
        return inner
"""
    (found,) = [one for one in changes(text) if one.kind == "comparison"]
    assert found.functions == (("A.go", 3), ("A.go.<locals>.inner", 5))


def test_every_change_is_carried_out_as_it_is_told() -> None:
    text = 'T = {"x": 1, "y": -2}\n\n\ndef f(a, b):\n    if a < 1 and not b:\n        a.b = 2\n    return a\n'
    plain = ast.unparse(ast.parse(text))
    seen = set()
    for change in changes(text):
        other = ast.unparse(changed(text, change.number))
        assert other != plain
        seen.add(other)
        compile(other, "text", "exec")
    assert len(seen) == len(changes(text))


def test_a_change_that_is_not_there_is_an_error() -> None:
    with pytest.raises(IndexError):
        changed("def f():\n    return 1 < 2\n", 99)
