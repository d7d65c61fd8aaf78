"""Starts and stops a worker process from Dramatiq's hooks.

`after_worker_boot` comes after the fork, `before_worker_shutdown` while AMQP and Redis are still usable.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import dramatiq

from connector.core.ports import Role
from workers import health
from workers._process import Process


class Boot(dramatiq.Middleware):
    """Ties a `Process` to the life of a Dramatiq worker."""

    def __init__(self, role: Role, make: Callable[[], Process]) -> None:
        self._role, self._make = role, make
        self._process: Process | None = None

    @property
    def forks(self) -> list[Callable[[], int]]:
        return [health.user if self._role == "user" else health.price]

    def after_worker_boot(self, broker: dramatiq.Broker, worker: Any) -> None:
        del broker, worker
        self._process = self._make()
        self._process.start()

    def before_worker_shutdown(self, broker: dramatiq.Broker, worker: Any) -> None:
        del worker
        release = getattr(broker, "release_commands", None)
        if release is not None:
            release()
        if self._process is not None:
            self._process.stop()
