"""Where all readers and logs stood at some moment, and what came since."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

from harness.campaign.accounts import Account
from harness.campaign.check import Seen
from harness.campaign.readers import Reader, Service
from harness.campaign.stack import Stack

TRACE = b"Traceback (most recent call last)"


class Marks:
    """Taken on creation."""

    def __init__(self, stack: Stack) -> None:
        self._stack = stack
        self.at = time.time()
        self._rabbit, self._redis = len(stack.rabbit_reader.events), len(stack.redis_reader.events)
        self._services = len(stack.rabbit_reader.services)
        self._outages = len(stack.redis_reader.outages)
        self._leaks = [len(reader.leaks) for reader in self._readers()]
        self._logs = {worker.log: _size(worker.log) for worker in stack.workers}

    def _readers(self) -> tuple[Reader, ...]:
        return (self._stack.rabbit_reader, self._stack.redis_reader)

    def rabbit_events(self) -> list[Seen]:
        return self._stack.rabbit_reader.events[self._rabbit :]

    def redis_events(self) -> list[Seen]:
        return self._stack.redis_reader.events[self._redis :]

    def services(self) -> list[Service]:
        return self._stack.rabbit_reader.services[self._services :]

    def redis_outage(self) -> bool:
        """Whether the reader on Redis was away meanwhile."""
        return len(self._stack.redis_reader.outages) > self._outages

    def told_gaps(self, accounts: Sequence[Account]) -> dict[str, list[tuple[float, float]]]:
        """Announced gaps, seconds, of accounts whose venue keeps no history."""
        silent = {account.stream for account in accounts if not account.history}
        gaps: dict[str, list[tuple[float, float]]] = {}
        for notice in self.services():
            gap = notice.body.get("streamGap")
            if gap and gap.get("missing") and gap["stream"] in silent:
                gaps.setdefault(gap["stream"], []).append((gap["from"] / 1000, gap["to"] / 1000 + 0.5))
        return gaps

    def log(self, path: Path) -> bytes:
        """What a service logged since."""
        return _read(path, self._logs.get(path, 0))

    def leaks(self) -> list[str]:
        """Secrets in messages and logs."""
        found = [
            f"secret on {leak}"
            for reader, known in zip(self._readers(), self._leaks, strict=True)
            for leak in reader.leaks[known:]
        ]
        for log in self._logs:
            leak = self._stack.canaries.found(self.log(log))
            if leak is not None:
                found.append(f"secret in {log.name}: {leak}")
        return found

    def traces(self) -> list[str]:
        """Exceptions that the services logged: each is a defect."""
        return [
            f"{log.name}: {count} unexpected exceptions logged"
            for log in self._logs
            if (count := _exceptions(self.log(log)))
        ]


def _exceptions(text: bytes) -> int:
    """Tracebacks beside those of Dramatiq's master, which can't log any more once its worker was killed."""
    return text.count(TRACE) - text.count(b"--- Logging error ---")


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _read(path: Path, start: int) -> bytes:
    if not path.exists():
        return b""
    with path.open("rb") as file:
        file.seek(start)
        return file.read()
