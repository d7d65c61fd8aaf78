"""Starts and stops a worker process from Dramatiq's hooks.

Both boot hooks come after the fork. What can be wrong with the settings shows in `before_worker_boot`, before the first
consumer takes a command queue; `before_worker_shutdown` comes while AMQP and Redis are still usable.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import dramatiq

from connector.core.errors import InvalidSetting
from connector.core.log import get_logger
from connector.core.ports import Role
from workers import health
from workers._process import Process
from workers._refusal import CRASHED, leave, refuse

log = get_logger(__name__)


class Boot(dramatiq.Middleware):
    """Ties a `Process` to the life of a Dramatiq worker."""

    def __init__(self, role: Role, make: Callable[[], Process], end: Callable[[int], object] = leave) -> None:
        """`end` ends this process: Dramatiq logs what a hook raises and goes on without an engine, holding the command
        queue."""
        self._role, self._make, self._end = role, make, end
        self._process: Process | None = None

    @property
    def forks(self) -> list[Callable[[], int]]:
        return [health.user if self._role == "user" else health.price]

    def before_worker_boot(self, broker: dramatiq.Broker, worker: Any) -> None:
        del broker, worker
        self._or_end(self._made)

    def after_worker_boot(self, broker: dramatiq.Broker, worker: Any) -> None:
        del broker, worker
        if self._process is not None:
            self._or_end(self._process.start)

    def before_worker_shutdown(self, broker: dramatiq.Broker, worker: Any) -> None:
        del worker
        release = getattr(broker, "release_commands", None)
        if release is not None:
            release()
        if self._process is not None:
            self._process.stop()

    def _made(self) -> None:
        self._process = self._make()

    def _or_end(self, step: Callable[[], None]) -> None:
        try:
            step()
        except InvalidSetting as error:
            self._end(refuse(str(error)))
        except BaseException as error:
            log.exception("can't start", error=type(error).__name__)
            self._end(CRASHED)
            raise
