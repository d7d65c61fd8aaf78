"""Each operational log line has a code, and each code a section in the runbook: what it means, what to do."""

from __future__ import annotations

import ast
import functools
import io
import json
import logging
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from connector.core.log import configure, get_logger
from connector.core.log_codes import CODES, LIBRARY

ROOT: Final = Path(__file__).parents[3]
LEVELS: Final = {"warning", "error", "exception", "critical"}
LOGGERS: Final = re.compile(r"_?log(ger)?|logging\.getLogger\('uncaught'\)")


@functools.cache
def lines() -> tuple[tuple[str, ast.Call], ...]:
    """Calls that write an operational line, with their place; `{…}.get(…)(text, code=…)` is one, too."""
    return tuple(_found())


def _found() -> Iterator[tuple[str, ast.Call]]:
    for folder in ("connector", "exchanges", "tasks", "workers"):
        for path in sorted((ROOT / folder).rglob("*.py")):
            for node in ast.walk(ast.parse(path.read_text())):
                if not isinstance(node, ast.Call):
                    continue
                name = node.func
                if (
                    isinstance(name, ast.Attribute)
                    and name.attr in LEVELS
                    and LOGGERS.fullmatch(ast.unparse(name.value))
                ) or str(code_in(node)).startswith("WSC-"):
                    yield f"{path.relative_to(ROOT)}:{node.lineno}", node


def code_in(call: ast.Call) -> str | None:
    for word in call.keywords:
        if word.arg == "code" and isinstance(word.value, ast.Constant):
            return str(word.value.value)
    return None


def text_in(call: ast.Call) -> str | None:
    return call.args[0].value if call.args and isinstance(call.args[0], ast.Constant) else None


def sections() -> list[str]:
    return re.findall(r"^### (WSC-[A-Z-]+)$", (ROOT / "docs" / "runbook.md").read_text(), re.MULTILINE)


def test_every_warning_and_error_has_a_code() -> None:
    known = {text for texts in CODES.values() for text in texts}
    bare = [where for where, call in lines() if code_in(call) not in CODES and text_in(call) not in known]
    assert bare == [], "give the text a code in connector/core/log_codes.py"


def test_no_code_is_left_of_a_line_that_is_gone() -> None:
    said = {text_in(call) for _, call in lines()}
    used = {code_in(call) for _, call in lines()}
    assert [text for texts in CODES.values() for text in texts if text not in said] == []
    assert [code for code, texts in CODES.items() if not texts and code not in used | {LIBRARY}] == []


def test_every_code_has_a_section_and_every_section_a_code() -> None:
    assert sorted(sections()) == sorted(CODES)
    assert len(set(sections())) == len(sections())


def test_a_text_has_one_code() -> None:
    texts = [text for texts in CODES.values() for text in texts]
    assert len(set(texts)) == len(texts)


@pytest.fixture
def written() -> Iterator[io.StringIO]:
    out = io.StringIO()
    undo = configure(json=True, stream=out)
    yield out
    undo()


def test_the_code_stands_in_the_line(written: io.StringIO) -> None:
    get_logger("connector.x").warning("session lost", reason="gone")
    get_logger("connector.x").warning("unknown topic 7", code="WSC-VENUE-NOTE")
    get_logger("connector.x").info("session live")
    logging.getLogger("dramatiq.WorkerProcess").warning("whatever %s", "a library says")
    codes = [json.loads(line).get("code") for line in written.getvalue().splitlines()]
    assert codes == ["WSC-SESSION-LOST", "WSC-VENUE-NOTE", None, "WSC-LIBRARY"]
