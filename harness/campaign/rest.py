"""Secrets at rest: what a run left in Redis, on the status pages and on disk, searched for the canaries."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from harness.campaign.stack import Stack

PAGES = ("/", "/health", "/ready", "/metrics", "/status.json")


def at_rest(stack: Stack) -> list[str]:
    """Places where a secret was found; empty = nowhere."""
    found = []
    for name, data in [*_keys(stack), *_pages(stack), *_files(stack.folder)]:
        leak = stack.canaries.found(data)
        if leak is not None:
            found.append(f"secret in {name}: {leak}")
    return found


def _keys(stack: Stack) -> list[tuple[str, bytes]]:
    """Every key of Redis with its value, whatever its type."""
    rows = []
    with stack.redis.client() as client:
        for key in client.scan_iter(count=1000):
            parts = _value(client, key)
            rows.append((f"Redis key {key.decode('utf-8', 'replace')}", b"\n".join([key, *parts])))
    return rows


def _value(client: Any, key: bytes) -> list[bytes]:
    match client.type(key):
        case b"string":
            return [client.get(key) or b""]
        case b"hash":
            return [part for pair in client.hgetall(key).items() for part in pair]
        case b"set":
            return list(client.smembers(key))
        case b"zset":
            return list(client.zrange(key, 0, -1))
        case b"list":
            return list(client.lrange(key, 0, -1))
        case _:
            return []


def _pages(stack: Stack) -> list[tuple[str, bytes]]:
    return [
        (f"page {page} of {worker.name}", worker.service.get(page)[1])
        for worker in stack.workers
        if worker.running
        for page in PAGES
    ]


def _files(folder: Path) -> list[tuple[str, bytes]]:
    """Logs and outboxes."""
    return [(str(path.relative_to(folder)), path.read_bytes()) for path in folder.rglob("*") if path.is_file()]
