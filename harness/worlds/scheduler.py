"""The job scheduler of a process, as APScheduler's: by the wall clock of its host, each job on a thread of a pool."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from apscheduler.triggers.interval import IntervalTrigger

from harness.worlds.blocking import Condition, Thread, host, kernel
from harness.worlds.kernel import Host

INTERVAL = IntervalTrigger(seconds=1)
"""What tells an interval job from a date job; nobody asks it for times here."""


class Job:
    def __init__(self, scheduler: Scheduler, work: Callable[[], Any], every_s: float | None, due_ms: float) -> None:
        self._scheduler, self.work, self.every_s, self.due_ms = scheduler, work, every_s, due_ms
        self.trigger = INTERVAL if every_s is not None else None
        self.running = False

    def modify(self, *, next_run_time: datetime) -> None:
        self.due_ms = next_run_time.timestamp() * 1000
        self._scheduler.wake()


class Scheduler:
    """`BackgroundScheduler`, as far as it is used: misfires run, missed runs are one, an instance at a time."""

    def __init__(self, **_: object) -> None:
        self._host: Host = host()
        self._jobs: list[Job] = []
        self._changed = Condition()
        self._thread = Thread(target=self._run, name="scheduler")
        self.running = False

    def _wall_ms(self) -> float:
        return self._host.wall_ms(kernel().now)

    def add_job(
        self,
        work: Callable[[], Any],
        trigger: str,
        *,
        seconds: float = 0.0,
        run_date: datetime | None = None,
        **_: object,
    ) -> Job:
        due_ms = run_date.timestamp() * 1000 if run_date is not None else self._wall_ms() + seconds * 1000
        job = Job(self, work, seconds if trigger == "interval" else None, due_ms)
        self._jobs.append(job)
        self.wake()
        return job

    def get_jobs(self) -> list[Job]:
        return list(self._jobs)

    def start(self) -> None:
        self.running = True
        self._thread.start()

    def shutdown(self, wait: bool = True) -> None:
        del wait
        self.running = False
        self.wake()

    def wake(self) -> None:
        with self._changed:
            self._changed.notify_all()

    def _run(self) -> None:
        while self.running:
            now_ms = self._wall_ms()
            for job in [job for job in self._jobs if job.due_ms <= now_ms]:
                self._begin(job, now_ms)
            due_ms = min((job.due_ms for job in self._jobs), default=None)
            with self._changed:
                if self.running:
                    self._changed.wait(None if due_ms is None else max(0.0, due_ms - now_ms) / 1000)

    def _begin(self, job: Job, now_ms: float) -> None:
        if job.every_s is None:
            self._jobs.remove(job)
        else:
            period_ms = job.every_s * 1000
            job.due_ms += period_ms * max(1, (now_ms - job.due_ms) // period_ms + 1)
        if job.running:
            return
        job.running = True

        def work() -> None:
            try:
                job.work()
            finally:
                job.running = False

        kernel().spawn(work, self._host, "scheduler-job")


def wall_datetime(tz: object = UTC) -> datetime:
    """The wall clock of the process that asks."""
    del tz
    return datetime.fromtimestamp(host().wall_ms(kernel().now) / 1000, UTC)
