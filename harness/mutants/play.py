"""Tries the mutants: pytest collects once, then forks a child for each, which swaps the change in and runs its tests.

The fork is why it takes a second a mutant and not a minute. Only children run tests, so none sees another's change.
"""

from __future__ import annotations

import json
import os
import random
import selectors
import shutil
import signal
import sys
import tempfile
import traceback
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any, Final

import pytest
from _pytest.runner import runtestprotocol

from harness.mutants.python import Change
from harness.mutants.sites import Module, Mutant
from harness.mutants.swap import BreaksImport, Swapper, Unswappable, scripts
from harness.mutants.trace import Map, calm_hypothesis

TEST_S: Final = 20
"""How long one test may take before it counts as an endless loop; much slower ones get ten times what they took before."""


class Outcome(StrEnum):
    KILLED = "killed"
    SURVIVED = "survived"
    UNSWAPPABLE = "unswappable"


@dataclass(frozen=True)
class Verdict:
    """What became of one mutant."""

    mutant: Mutant
    outcome: Outcome
    tests: int
    """How many run its line."""
    killer: str = ""
    """The first test that failed, or what else ended it."""


@dataclass
class _Job:
    mutant: Mutant | None
    """None: only look whether the test passes without any change."""
    tests: list[str]
    module: _Progress
    after: Verdict | None = None
    """What holds if this look succeeds."""


@dataclass
class _Progress:
    """One module's way through its mutants."""

    module: Module
    count: int
    waiting: deque[Mutant]
    verdicts: list[Verdict] = field(default_factory=list)
    running: int = 0
    killers: list[str] = field(default_factory=list)
    """Newest first: what killed one mutant of a module often kills the next."""

    @property
    def tried(self) -> int:
        return sum(one.outcome is not Outcome.UNSWAPPABLE for one in self.verdicts)


@dataclass
class _Child:
    pid: int
    job: _Job
    scratch: Path
    answer: bytes = b""


class Player:
    """A plugin for pytest that takes the place of its loop over the tests. Its `verdicts` are complete afterwards."""

    def __init__(
        self, root: Path, map_: Map, references: dict[str, dict[str, set[int]]], modules: Iterable[Module],
        *, count: int, workers: int, patience: int = TEST_S, seen: Any = None,
    ) -> None:  # fmt: skip
        self._root, self._map, self._references, self._workers = root, map_, references, workers
        self._progress = [_Progress(one, count, deque(one.mutants)) for one in modules]
        self._patience, self._told = patience, seen
        self._followups: deque[_Job] = deque()
        self._steady: set[str] = set()
        """Killers that pass without a change."""
        self._flaky: set[str] = set()
        self._items: dict[str, pytest.Item] = {}
        self._swapper: Swapper | None = None

    @property
    def verdicts(self) -> dict[str, list[Verdict]]:
        """By module, without those that could not be tried."""
        return {
            one.module.name: [verdict for verdict in one.verdicts if verdict.outcome is not Outcome.UNSWAPPABLE]
            for one in self._progress
        }

    @property
    def flaky(self) -> set[str]:
        """Tests that failed without any change: their verdicts don't count."""
        return set(self._flaky)

    def pytest_configure(self) -> None:
        calm_hypothesis()

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        if session.testsfailed:
            raise session.Interrupted("tests can't be collected")
        self._items = {item.nodeid: item for item in session.items}
        self._swapper = Swapper(self._root)
        self._all()
        return True

    def _all(self) -> None:
        selector = selectors.DefaultSelector()
        running = 0
        try:
            while True:
                while running < self._workers and (job := self._next()) is not None:
                    child, reader = self._start(job)
                    selector.register(reader, selectors.EVENT_READ, child)
                    running += 1
                if not running:
                    return
                for key, _ in selector.select(timeout=5.0):
                    child = key.data
                    data = os.read(key.fd, 65_536)
                    child.answer += data
                    if not data:
                        selector.unregister(key.fileobj)
                        os.close(key.fd)
                        running -= 1
                        self._ended(child)
        finally:
            for key in list(selector.get_map().values()):
                os.kill(key.data.pid, signal.SIGKILL)
                os.waitpid(key.data.pid, 0)
                shutil.rmtree(key.data.scratch, ignore_errors=True)
            selector.close()

    def _next(self) -> _Job | None:
        if self._followups:
            return self._followups.popleft()
        for progress in self._progress:
            while progress.waiting and progress.tried + progress.running < progress.count:
                mutant = progress.waiting.popleft()
                tests = self._tests(mutant, progress)
                if not tests and isinstance(mutant.change, Change) and not mutant.change.functions:
                    continue  # a constant that no function reads: only another constant is made of it
                if not tests:
                    self._decide(progress, Verdict(mutant, Outcome.SURVIVED, 0))
                    continue
                progress.running += 1
                return _Job(mutant, tests, progress)
        return None

    def _tests(self, mutant: Mutant, progress: _Progress) -> list[str]:
        """The tests that run the line, those first that are likely to fail, then the fast ones."""
        change = mutant.change
        if isinstance(change, Change) and change.functions:
            found = self._map.tests(mutant.file, {change.line, change.statement})
        elif isinstance(change, Change):
            found = self._using({change.name})
        else:
            found = self._using(scripts(self._root, mutant.file))
        places = {test: place for place, test in enumerate(progress.killers)}
        known = [test for test in found if test in self._items and test not in self._flaky]
        return sorted(known, key=lambda test: (places.get(test, len(places)), self._map.times.get(test, 0.0), test))

    def _using(self, names: set[str]) -> set[str]:
        found: set[str] = set()
        for name in names:
            for file, lines in self._references.get(name, {}).items():
                found |= self._map.tests(file, lines)
        return found

    def _start(self, job: _Job) -> tuple[_Child, int]:
        reader, writer = os.pipe()
        scratch = Path(tempfile.mkdtemp(prefix="mutant-"))
        sys.stdout.flush()
        sys.stderr.flush()
        pid = os.fork()
        if pid == 0:
            os.close(reader)
            self._child(job, writer, scratch)
        os.close(writer)
        return _Child(pid, job, scratch), reader

    def _child(self, job: _Job, writer: int, scratch: Path) -> None:
        """In the child; does not come back."""
        try:
            with open(os.devnull, "r+b") as null:
                for number in (0, 1, 2):
                    os.dup2(null.fileno(), number)
            os.environ["PYTEST_DEBUG_TEMPROOT"] = os.environ["TMPDIR"] = tempfile.tempdir = str(scratch)
            os.environ["OUTBOX_DIR"] = str(scratch / "outbox")
            random.seed(1)
            answer = self._run(job)
        except BaseException:  # noqa: BLE001  (a forked child must end here, whatever a test raises; the parent tells it)
            answer = {"outcome": "error", "killer": traceback.format_exc()[-2_000:]}
        try:
            os.write(writer, json.dumps(answer).encode())
        finally:
            os._exit(0)

    def _run(self, job: _Job) -> dict[str, str]:
        if job.mutant is not None:
            assert self._swapper is not None
            try:
                self._swapper.apply(job.mutant)
            except Unswappable as why:
                return {"outcome": Outcome.UNSWAPPABLE, "killer": str(why)}
            except BreaksImport as why:
                return {"outcome": Outcome.KILLED, "killer": f"import: {why}"}
        items = [self._items[test] for test in job.tests]
        for item, following in zip(items, [*items[1:], None], strict=True):
            # An endless loop ends here, whatever it does: the default action of the signal is death.
            signal.signal(signal.SIGALRM, signal.SIG_DFL)
            signal.alarm(max(self._patience, int(10 * self._map.times.get(item.nodeid, 0.0))))
            reports = runtestprotocol(item, nextitem=following, log=False)
            signal.alarm(0)
            if any(report.failed for report in reports):
                return {"outcome": Outcome.KILLED, "killer": item.nodeid}
        return {"outcome": Outcome.SURVIVED, "killer": ""}

    def _ended(self, child: _Child) -> None:
        _, status = os.waitpid(child.pid, 0)
        shutil.rmtree(child.scratch, ignore_errors=True)
        job, progress = child.job, child.job.module
        if child.answer:
            answer = json.loads(child.answer)
        elif os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGALRM:
            answer = {"outcome": Outcome.KILLED, "killer": "time limit"}
        else:
            answer = {"outcome": Outcome.KILLED, "killer": f"the process ended with status {status}"}
        if answer["outcome"] == "error":
            raise RuntimeError(f"{job.mutant}: {answer['killer']}")
        outcome, killer = Outcome(answer["outcome"]), answer["killer"]
        if job.mutant is None:
            self._looked(job, passed=outcome is Outcome.SURVIVED)
            return
        verdict = Verdict(job.mutant, outcome, len(job.tests), killer)
        if outcome is Outcome.KILLED and killer in self._items and killer not in self._steady:
            self._followups.append(_Job(None, [killer], progress, verdict))
            return
        progress.running -= 1
        self._decide(progress, verdict)

    def _looked(self, job: _Job, *, passed: bool) -> None:
        """A killer was run without the mutant: a test that fails then, too, has shown nothing."""
        assert job.after is not None
        (test,) = job.tests
        if passed:
            self._steady.add(test)
            job.module.running -= 1
            self._decide(job.module, job.after)
            return
        self._flaky.add(test)
        others = self._tests(job.after.mutant, job.module)
        if others:
            self._followups.append(_Job(job.after.mutant, others, job.module))
            return
        job.module.running -= 1
        self._decide(job.module, Verdict(job.after.mutant, Outcome.SURVIVED, 0))

    def _decide(self, progress: _Progress, verdict: Verdict) -> None:
        progress.verdicts.append(verdict)
        if verdict.killer in self._items:
            if verdict.killer in progress.killers:
                progress.killers.remove(verdict.killer)
            progress.killers.insert(0, verdict.killer)
        if self._told is not None:
            self._told(verdict)


def play(player: Player, root: Path, tests: Sequence[str]) -> int:
    """Run it in this process; pytest's exit status (0 and 5 are right: no test ran here)."""
    arguments = ["-q", "-q", "-s", "-p", "no:cacheprovider", "-p", "no:xdist", "--rootdir", str(root), *tests]
    os.chdir(root)
    sys.path.insert(0, str(root))
    return int(pytest.main(arguments, plugins=[player]))
