"""The changes that are tried on the Lua scripts, line by line. Pure, the same order each time."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

_WORDS: Final = {
    "==": "~=", "~=": "==", "<": "<=", "<=": "<", ">": ">=", ">=": ">", " and ": " or ", " or ": " and ",
    "+": "-", "-": "+", "*": "/", "true": "false", "false": "true", "not ": "",
    "math.max": "math.min", "math.min": "math.max",
}  # fmt: skip
_KINDS: Final = {"==": "comparison", "~=": "comparison", " and ": "and/or", " or ": "and/or", "not ": "not"}
_TOKEN: Final = re.compile(
    r"(?P<text>'[^']*')|(?P<word>==|~=|<=|>=|<|>| and | or |math\.max|math\.min|\btrue\b|\bfalse\b|\bnot |"
    r"(?<= )[+*-](?= ))|(?P<number>(?<![\w.])\d+(?![\w.]))|(?P<name>(?<![\w.'])[a-z_]+\b(?!\s*[(=.\w]))"
)
_CALL: Final = re.compile(r"^\s*(redis\.call\(.*\)|\w+\(.*\)|[\w.#\[\] +]+ = .*)$")
_IF: Final = re.compile(r"\b(?:if|elseif) (.+?) then\b")
LARGEST: Final = 1_000


@dataclass(frozen=True)
class LuaChange:
    """One mutation of a Lua text: the line as it was and as it is."""

    kind: str
    line: int
    before: str
    after: str


def lua_changes(text: str) -> list[LuaChange]:
    """Every change of this script."""
    names = sorted(set(re.findall(r"^\s*local (\w+) =", text, re.MULTILINE)) | _parameters(text))
    found: list[LuaChange] = []
    for number, line in enumerate(text.splitlines(), 1):
        code = line.split("--")[0].rstrip()
        if code.strip():
            found += [LuaChange(kind, number, line, after) for kind, after in _of_line(code, names) if after != code]
    return list(dict.fromkeys(found))


def lua_changed(text: str, change: LuaChange) -> str:
    """The script with that change in it."""
    lines = text.splitlines(keepends=True)
    lines[change.line - 1] = lines[change.line - 1].replace(change.before, change.after)
    return "".join(lines)


def _parameters(text: str) -> set[str]:
    lists = re.findall(r"function \w+\(([^)]*)\)", text)
    return {name.strip() for one in lists for name in one.split(",") if name.strip()}


def _of_line(code: str, names: list[str]) -> Iterator[tuple[str, str]]:
    if _CALL.match(code) and not code.lstrip().startswith("local "):
        yield "removed statement", ""
    for match in _IF.finditer(code):
        for other in ("true", "false"):
            yield "condition", code[: match.start(1)] + other + code[match.end(1) :]
    for match in _TOKEN.finditer(code):
        for kind, new in _of_token(match, names):
            yield kind, code[: match.start()] + new + code[match.end() :]


def _of_token(match: re.Match[str], names: list[str]) -> Iterator[tuple[str, str]]:
    token = match.group()
    if match["text"]:
        if not re.fullmatch(
            r"'[A-Z]{3,}'|''|'%\.0f'", token
        ):  # commands and formats: any change is an error of the server
            yield "text", f"{token[:-1]}_'"
    elif match["word"]:
        yield _KINDS.get(token, "arithmetic" if token in "+-*" else "comparison"), _WORDS[token]
    elif match["number"]:
        if int(token) <= LARGEST:
            yield "number", str(int(token) + 1)
            yield "number", str(int(token) - 1)
    elif token in names and len(names) > 1:
        yield "other variable", names[(names.index(token) + 1) % len(names)]
