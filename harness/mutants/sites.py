"""Which changes are tried: some of each module's, drawn by the module's own text, so that they stay until it changes."""

from __future__ import annotations

import hashlib
import random
import re
import subprocess
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from harness.mutants.lua import LuaChange, lua_changed, lua_changes
from harness.mutants.python import Change, changes


@dataclass(frozen=True)
class Mutant:
    """One change of one file of the product."""

    file: str
    """Relative to the root, with slashes."""
    text: str
    """The line as it stands, without the space around it."""
    change: Change | LuaChange

    @property
    def shown(self) -> str:
        """What becomes what: with `text` it names the mutant in the file of judgements."""
        if isinstance(self.change, LuaChange):
            return f"{self.change.before.strip()} → {self.change.after.strip() or 'removed'}"
        after = "removed" if self.change.after == "pass" else self.change.after
        return f"{self.change.before} → {after}"

    def __str__(self) -> str:
        return f"{self.file}:{self.change.line} {self.shown}"

    def applied(self, source: str) -> str:
        """A Lua script with the change in it."""
        assert isinstance(self.change, LuaChange)
        return lua_changed(source, self.change)


@dataclass(frozen=True)
class Module:
    """Files with one score: one Python file, or all Lua scripts of a folder."""

    name: str
    mutants: tuple[Mutant, ...]
    """All of them, in the order in which they are tried."""


def files_of(root: Path, pattern: str) -> list[str]:
    return sorted(path.relative_to(root).as_posix() for path in root.glob(pattern) if path.is_file())


def mutants_of(root: Path, file: str) -> list[Mutant]:
    """Every mutant of the file, in the order of its text."""
    text = (root / file).read_text(encoding="utf-8")
    lines = text.splitlines()
    found: Iterable[Change | LuaChange] = lua_changes(text) if file.endswith(".lua") else changes(text)
    return [Mutant(file, lines[change.line - 1].strip(), change) for change in found]


def module(root: Path, pattern: str, only: Mapping[str, set[int]] | None = None) -> Module:
    """The mutants of all files that the pattern names; with `only`, of these lines of these files."""
    found: list[Mutant] = []
    digest = hashlib.sha256()
    for file in files_of(root, pattern):
        digest.update((root / file).read_bytes())
        wanted = None if only is None else only.get(file, set())
        found += [one for one in mutants_of(root, file) if wanted is None or one.change.line in wanted]
    random.Random(digest.hexdigest()).shuffle(found)
    return Module(pattern, tuple(found))


def changed_since(root: Path, revision: str) -> dict[str, set[int]]:
    """The lines that are other or new since that revision of git, by file. Raises `ValueError` for no revision."""
    command = ["git", "-C", str(root), "diff", "--unified=0", "--no-color", "--no-ext-diff", revision, "--"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    if done.returncode:
        raise ValueError(done.stderr.strip())
    return lines_of_diff(done.stdout)


def lines_of_diff(diff: str) -> dict[str, set[int]]:
    found: dict[str, set[int]] = {}
    file = ""
    for line in diff.splitlines():
        if line.startswith("+++ "):
            file = line.removeprefix("+++ ").removeprefix("b/").strip()
        elif match := re.match(r"@@ -\S+ \+(\d+)(?:,(\d+))? @@", line):
            first, count = int(match[1]), int(match[2] or "1")
            found.setdefault(file, set()).update(range(first, first + count))
    return found
