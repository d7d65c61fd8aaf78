"""Which test runs which line: a plugin for pytest (`-p harness.mutants.trace`) and the map that comes of it.

Known limits: what a test finds in a cache, or in a fixture that another test has made, counts as run by the first one only.
"""

from __future__ import annotations

import ast
import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import pytest

FOLDER: Final = "MUTANTS_FOLDER"
"""Environment: where each process of pytest leaves its part."""
ROOT: Final = "MUTANTS_ROOT"
PRODUCT: Final = ("connector", "exchanges", "tasks", "workers")
TRACE_S: Final = 1_800.0


class Recorder:
    """Runs coverage over the whole session, with one context for each test."""

    def __init__(self, root: Path, folder: Path) -> None:
        import coverage

        self._root, self._folder = root, folder
        include = [str(root / name / "*") for name in PRODUCT]
        self._coverage = coverage.Coverage(data_file=None, include=include, config_file=False, messages=False)
        self._coverage.start()
        self._times: dict[str, float] = defaultdict(float)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Iterator[None]:
        self._coverage.switch_context(item.nodeid)
        result = yield
        self._coverage.switch_context("")
        return result

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self._times[report.nodeid] += report.duration

    def pytest_sessionfinish(self) -> None:
        self._coverage.stop()
        data = self._coverage.get_data()
        lines: dict[str, dict[int, list[str]]] = {}
        for path in data.measured_files():
            name = Path(path).resolve().relative_to(self._root.resolve()).as_posix()
            lines[name] = {
                line: [one for one in contexts if one] for line, contexts in data.contexts_by_lineno(path).items()
            }
        part = self._folder / f"part-{os.environ.get('PYTEST_XDIST_WORKER', 'main')}-{os.getpid()}.json"
        part.write_text(json.dumps({"times": self._times, "lines": lines}))


def pytest_configure(config: pytest.Config) -> None:
    calm_hypothesis()
    # With xdist the first process only hands out: what it sees runs elsewhere.
    if hasattr(config, "workerinput") or not getattr(config.option, "numprocesses", None):
        config.pluginmanager.register(Recorder(Path(os.environ[ROOT]), Path(os.environ[FOLDER])))


def calm_hypothesis() -> None:
    """The same examples each time, and no time spent on making a failing one smaller."""
    from hypothesis import HealthCheck, Phase, settings

    phases = (Phase.explicit, Phase.generate)
    settings.register_profile(
        "mutants",
        derandomize=True,
        database=None,
        deadline=None,
        phases=phases,
        suppress_health_check=list(HealthCheck),
    )
    settings.load_profile("mutants")


@dataclass
class Map:
    """What the traced run has shown."""

    times: dict[str, float] = field(default_factory=dict)
    """Seconds of each test."""
    lines: dict[str, dict[int, set[str]]] = field(default_factory=dict)
    """File → line → tests."""

    def add(self, part: dict[str, Any]) -> None:
        self.times.update(part["times"])
        for file, lines in part["lines"].items():
            known = self.lines.setdefault(file, defaultdict(set))
            for line, tests in lines.items():
                known[int(line)].update(tests)

    def tests(self, file: str, lines: Iterable[int]) -> set[str]:
        known = self.lines.get(file, {})
        return {test for line in lines for test in known.get(line, ())}


def digest(root: Path, tests: str) -> str:
    """Of everything that decides what a test runs."""
    found = hashlib.sha256(tests.encode())
    for folder in (*PRODUCT, "simulator", "harness", "tests"):
        for path in sorted((root / folder).rglob("*")):
            if path.suffix in {".py", ".lua", ".jsonl"}:
                found.update(path.relative_to(root).as_posix().encode() + b"\0" + path.read_bytes())
    return found.hexdigest()[:16]


def traced(root: Path, tests: str, folder: Path, workers: int) -> Map:
    """The map of this state of the tree, from `folder` if it is there. Raises `RuntimeError` when a test fails."""
    kept = folder / f"map-{digest(root, tests)}"
    if not kept.is_dir():
        part = folder / f"making-{os.getpid()}"
        part.mkdir(parents=True)
        path = os.pathsep.join([str(root), str(Path(__file__).parents[2]), os.environ.get("PYTHONPATH", "")])
        environ = {**os.environ, FOLDER: str(part), ROOT: str(root), "PYTHONPATH": path.rstrip(os.pathsep)}
        pytest_command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "harness.mutants.trace"]
        command = [*pytest_command, "-n", str(workers), *tests.split()]
        done = subprocess.run(
            command, cwd=root, env=environ, capture_output=True, text=True, timeout=TRACE_S, check=False
        )
        if done.returncode:
            shutil.rmtree(part)
            raise RuntimeError(f"without any change the tests fail:\n{done.stdout[-3_000:]}{done.stderr[-1_000:]}")
        for old in folder.glob("map-*"):
            shutil.rmtree(old)
        part.rename(kept)
    found = Map()
    for one in sorted(kept.glob("part-*.json")):
        found.add(json.loads(one.read_text()))
    return found


def references(root: Path) -> dict[str, dict[str, set[int]]]:
    """Name → file → lines inside functions that use it, with the first line of their statement. For constants."""
    found: dict[str, dict[str, set[int]]] = defaultdict(lambda: defaultdict(set))
    for folder in PRODUCT:
        for path in sorted((root / folder).rglob("*.py")):
            file = path.relative_to(root).as_posix()
            for function in ast.walk(ast.parse(path.read_text())):
                if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef):
                    for statement in ast.walk(function):
                        if isinstance(statement, ast.stmt) and statement is not function:
                            for name, line in _names(statement):
                                found[name][file] |= {line, statement.lineno}
    return found


def _names(statement: ast.stmt) -> Iterator[tuple[str, int]]:
    """The names that the statement itself uses, not those of the statements in it."""
    todo = [child for child in ast.iter_child_nodes(statement) if not isinstance(child, ast.stmt)]
    while todo:
        node = todo.pop()
        if isinstance(node, ast.Name):
            yield node.id, node.lineno
        elif isinstance(node, ast.Attribute):
            yield node.attr, node.lineno
        todo += [child for child in ast.iter_child_nodes(node) if not isinstance(child, ast.stmt)]
