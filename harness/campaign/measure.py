"""What a service process costs: threads, file descriptors, memory; before, during and after."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import psutil

from connector.streams.rest import IN_FLIGHT
from harness.campaign.stack import Stack


@dataclass(frozen=True)
class Level:
    """One look at one worker process."""

    pid: int
    threads: int
    files: int
    """Open file descriptors beside connections to venues: those are looked at from the other end (`doubled`)."""
    rss_mib: float
    streams: int


def levels(stack: Stack) -> list[Level]:
    """Every worker process that beats. A process that ends meanwhile is left out."""
    found = []
    for worker in stack.workers:
        if not worker.running:
            continue
        held = {info.pid: info.streams for info in worker.service.status().workers}
        for pid in worker.pids():
            try:
                process = psutil.Process(pid)
                venue = sum(
                    bool(one.raddr) and one.raddr.port == stack.sim.port for one in process.net_connections("tcp")
                )
                files, rss = process.num_fds() - venue, process.memory_info().rss / 2**20
                found.append(Level(pid, process.num_threads(), files, rss, held.get(pid, 0)))
            except psutil.NoSuchProcess:
                continue
    return found


@dataclass
class Ceiling:
    """The highest figures of a set of looks."""

    threads: int = 0
    files: int = 0
    rss_mib: float = 0.0

    def see(self, looks: list[Level]) -> None:
        for look in looks:
            self.threads = max(self.threads, look.threads)
            self.files = max(self.files, look.files)
            self.rss_mib = max(self.rss_mib, look.rss_mib)

    def __str__(self) -> str:
        return f"{self.threads} threads, {self.files} files beside venue connections, {self.rss_mib:.0f} MiB"


CONNECT_THREADS = 16
JOB_THREADS = 10
"""Sizes of the pools that every process has: CONNECT_THREADS of the settings, and APScheduler's."""
FILES_MORE = 8
RSS_MORE_MIB = 48.0


def doubled(stack: Stack) -> list[str]:
    """Accounts that more than one connection follows although nothing is going on."""
    followers = Counter(account for row in stack.sim.connections() for account in row["accounts"])
    return [f"{count} connections of account {account}" for account, count in followers.items() if count > 1]


def pooled(venues: int) -> int:
    """Threads of all pools when they are full. They fill up as they are used and are never more: that is no leak, however
    few of them there were at first."""
    return CONNECT_THREADS + JOB_THREADS + IN_FLIGHT * venues


def leaks(before: Ceiling, looks: list[Level], venues: int) -> list[str]:
    """Processes that hold more than the level before, beyond what pools explain."""
    found = []
    for look in looks:
        if look.threads > before.threads + pooled(venues):
            found.append(f"process {look.pid}: {look.threads} threads, before {before.threads}")
        if look.files > before.files + FILES_MORE:
            found.append(f"process {look.pid}: {look.files} files, before {before.files}")
        if look.rss_mib > before.rss_mib + RSS_MORE_MIB:
            found.append(f"process {look.pid}: {look.rss_mib:.0f} MiB, before {before.rss_mib:.0f}")
    return found
