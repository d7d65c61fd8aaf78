"""What comes again in one engine, guarded: an error costs that run only."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from connector.core.log import get_logger
from connector.core.metrics import METRICS
from connector.core.ports import Jobs

log = get_logger(__name__)


class Routine:
    """Any thread; the work runs where the jobs run."""

    def __init__(self, jobs: Jobs) -> None:
        self._jobs = jobs

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
