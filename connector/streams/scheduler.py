"""The jobs of a deployment: APScheduler's pool of threads, by the monotonic clock.

APScheduler asks one thing for the time: `datetime.now(its time zone)`. The zone here answers with the monotonic clock, so a
step of the wall clock (NTP, a virtual machine that was resumed) neither fires a job nor delays one.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import datetime, timedelta, tzinfo
from typing import Any, Final

from apscheduler.jobstores.base import JobLookupError
from apscheduler.schedulers.background import BackgroundScheduler
from apscheduler.triggers.base import BaseTrigger

from connector.core.clock import Chance
from connector.core.log import get_logger
from connector.core.ports import Clock

log = get_logger(__name__)

STOP_TIMEOUT_S: Final = 5.0
"""A job that still runs at the end gets this long: the longest wait for two answers of the state."""


NEVER: Final = timedelta(days=36_500)


class _MonotonicZone(tzinfo):
    """`datetime.now(zone)` is the monotonic clock, counted from an arbitrary day."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._start = datetime(2000, 1, 1, tzinfo=self)

    def fromutc(self, _wall: datetime) -> datetime:
        return self._start + timedelta(seconds=self._clock.mono())

    def utcoffset(self, _moment: datetime | None) -> timedelta:
        return timedelta(0)

    def dst(self, _moment: datetime | None) -> timedelta:
        return timedelta(0)

    def tzname(self, _moment: datetime | None) -> str:
        return "monotonic"


class _Every(BaseTrigger):  # type: ignore[misc]
    """Each `period_s`; after a pause of the whole process once, not once for each period that was missed."""

    def __init__(self, period_s: float, jitter_s: float, chance: Chance) -> None:
        self._period_s, self._jitter_s, self._chance = period_s, jitter_s, chance

    def get_next_fire_time(self, previous: datetime | None, now: datetime) -> datetime:
        jitter_s = self._chance.uniform(0.0, self._jitter_s) if self._jitter_s else 0.0
        following: datetime = (previous or now) + timedelta(seconds=self._period_s + jitter_s)
        return max(following, now)


class _Once(BaseTrigger):  # type: ignore[misc]
    """After `delay_s`. Never "no more": APScheduler's thread would remove the job itself then, and dies if it is shut down
    in that moment. The job removes itself."""

    def __init__(self, delay_s: float) -> None:
        self._delay_s = delay_s

    def get_next_fire_time(self, previous: datetime | None, now: datetime) -> datetime:
        return now + (timedelta(seconds=self._delay_s) if previous is None else NEVER)


class SchedulerJobs:
    """The `Jobs` of a deployment. Any thread; jobs run on APScheduler's pool."""

    def __init__(self, clock: Clock, chance: Chance) -> None:
        self._chance = chance
        self._scheduler = BackgroundScheduler(
            job_defaults={"misfire_grace_time": None, "coalesce": True, "max_instances": 1},
            timezone=_MonotonicZone(clock),
        )
        self._running = 0
        self._once: dict[str, object] = {}
        """Jobs that come once, by name: what tells one from a later one of the same name."""
        self._idle = threading.Condition()

    def start(self) -> None:
        self._scheduler.start()

    def every(self, name: str, period_s: float, work: Callable[[], Any], *, jitter_s: float = 0.0) -> None:
        self._add(name, _Every(period_s, jitter_s, self._chance), work)

    def after(self, name: str, delay_s: float, work: Callable[[], Any]) -> None:
        this = object()

        def run() -> None:
            with self._idle:
                current = self._once.get(name) is this
            if current:
                self.cancel(name)
                work()

        with self._idle:
            self._once[name] = this
        self._add(name, _Once(delay_s), run)

    def _add(self, name: str, trigger: BaseTrigger, work: Callable[[], Any]) -> None:
        def run() -> None:
            with self._idle:
                self._running += 1
            try:
                work()
            finally:
                with self._idle:
                    self._running -= 1
                    self._idle.notify_all()

        self._scheduler.add_job(run, trigger, id=name, name=name, replace_existing=True)

    def cancel(self, name: str) -> None:
        with self._idle:
            self._once.pop(name, None)
        try:
            self._scheduler.remove_job(name)
        except JobLookupError:
            log.debug("there is no such job", job=name)

    def stop(self) -> None:
        if self._scheduler.running:
            self._scheduler.shutdown(wait=False)
        with self._idle:
            if not self._idle.wait_for(lambda: self._running == 0, STOP_TIMEOUT_S):
                log.warning("a job still runs at the end", jobs=self._running)
