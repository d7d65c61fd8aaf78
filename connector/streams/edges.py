"""What an engine is handed of the world outside: time, chance, connections, REST, and who turns its loops."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from dataclasses import dataclass, field

from connector.core.clock import Chance, SystemClock
from connector.core.jobs import LoopJobs
from connector.core.loop import Loop
from connector.core.ports import Clock, Jobs, PositionKeeper
from connector.streams.alive import end_process
from connector.streams.dial import Opener
from connector.streams.egress import Egresses
from connector.streams.endpoints import Endpoints
from connector.streams.http_client import HttpClient, RestPool
from connector.streams.poller import Poller, SocketPoller
from connector.streams.rest import LoopRest, Perform, Rest, RestQueue
from connector.streams.scheduler import SchedulerJobs
from connector.streams.session import Session


def service_name() -> str:
    """Dramatiq starts the worker processes and the health process of a service as children of one master."""
    return f"{socket.gethostname()}:{os.getppid()}"


@dataclass(frozen=True, kw_only=True)
class Edges:
    """Without arguments: those of a deployment. A world (docs/worlds.md) hands in its own, and turns everything itself.

    `threaded`: the engine's loops have threads of their own. Otherwise `start` makes none.
    """

    clock: Clock = field(default_factory=SystemClock)
    chance: Chance = field(default_factory=Chance)
    host: str = field(default_factory=socket.gethostname)
    pid: int = field(default_factory=os.getpid)
    service: str = field(default_factory=service_name)
    """What this process shares with those that were started together with it."""
    threaded: bool = True
    opener: Opener | None = None
    """Opens connections; None = over sockets, on a pool of threads."""
    poller: Callable[[], Poller[Session]] = SocketPoller
    """One for each I/O thread."""
    perform: Perform | None = None
    """Makes REST calls; None = over HTTP, on pools of threads."""
    jobs: Jobs | None = None
    """What comes again and what comes later; None = a pool of threads, or without threads a loop of its own."""
    positions: PositionKeeper | None = None
    """Keeps positions of account streams beside the state's; opened and closed by the engine. None = nothing does."""
    end_process: Callable[[int], None] = end_process
    """What ends a process that has a thread which died or hangs; the exit code is its argument."""
    owner: str = ""
    """Name of this process among the others of a deployment; empty = made of host, process id and chance."""

    def loop(self, name: str) -> Loop:
        return Loop(name, self.clock, threaded=self.threaded)

    def make_rest(
        self, queue: RestQueue, endpoints: Endpoints, ca_file: str, egresses: Egresses, loop: Callable[[str], Loop]
    ) -> Rest:
        if self.perform is not None:
            return LoopRest(queue, loop("rest"), self.perform)
        return RestPool(queue, HttpClient(endpoints, self.clock, egresses, ca_file), loop("rest"))

    def make_jobs(self, loop: Callable[[str], Loop]) -> Jobs:
        if self.jobs is not None:
            return self.jobs
        return SchedulerJobs(self.clock, self.chance) if self.threaded else LoopJobs(loop("jobs"), self.chance)

    def owner_name(self) -> str:
        return self.owner or f"{self.host}-{self.pid}-{self.chance.new_id()[:8]}"
