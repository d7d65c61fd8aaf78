"""What comes again and what comes later in one engine, guarded: an error costs that run only."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from functools import partial
from typing import Any, Final

from connector.core.errors import StateUnavailable
from connector.core.log import get_logger
from connector.core.metrics import METRICS
from connector.core.ports import Jobs

log = get_logger(__name__)

RETRY_S: Final = 5.0


class Routine:
    """Any thread; the work runs where the jobs run."""

    def __init__(self, jobs: Jobs) -> None:
        self._jobs = jobs
        self._numbers = itertools.count(1)

    def once_after(self, seconds: float, job: Callable[[], Any]) -> None:
        """Run `job` once, as a job; again a little later while the state is unavailable."""

        def run() -> None:
            try:
                job()
            except StateUnavailable as error:
                log.warning("a job waits: the state is unavailable", error=str(error))
                self.once_after(RETRY_S, job)

        name = _name(job)
        self._jobs.after(f"{name} {next(self._numbers)}", seconds, partial(_guarded, name, run))

    def every(self, seconds: float, job: Callable[[], Any]) -> None:
        """Run `job` periodically; it must be quick (it posts work)."""
        name = _name(job)
        self._jobs.every(name, seconds, partial(_guarded, name, job))


def _name(job: Callable[[], Any]) -> str:
    inner = job.func if isinstance(job, partial) else job
    return getattr(inner, "__qualname__", repr(inner))


def _guarded(name: str, job: Callable[[], Any]) -> None:
    """An exception in a job never leaves the job (bug A6)."""
    try:
        job()
    except Exception:
        METRICS.count("scheduler_job_errors_total", job=name)
        log.exception("a scheduler job failed", job=name)
