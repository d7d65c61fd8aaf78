"""Listens to Redis and notes when raw bytes came; they are read only afterwards: a reader's own speed does not count."""

from __future__ import annotations

import bisect
import re
import socket
import time
from collections.abc import Callable, Iterator

Chunks = list[tuple[float, bytes]]
"""What one `recv` gave, and when."""


def listen(
    host: str, port: int, pattern: str, clock: Callable[[], float], ready: Callable[[], None], ended: Callable[[], bool]
) -> Chunks:
    """Everything that was published to channels of a pattern from `ready` to `ended`, by `clock`."""
    chunks: Chunks = []
    with socket.create_connection((host, port), 5.0) as sock:
        sock.sendall(b"PSUBSCRIBE %b\r\n" % pattern.encode())
        sock.settimeout(0.5)
        ready()
        while not ended():
            try:
                data = sock.recv(1 << 20)
            except TimeoutError:
                continue
            chunks.append((clock(), data))
    return chunks


def messages(chunks: Chunks, pattern: str) -> Iterator[tuple[float, str, bytes]]:
    """Time, channel and payload: each came with the chunk in which it ended. None holds a line end."""
    head = rb"\*4\r\n\$8\r\npmessage\r\n\$%d\r\n%b\r\n" % (len(pattern), re.escape(pattern.encode()))
    pushed = re.compile(head + rb"\$\d+\r\n([^\r]+)\r\n\$\d+\r\n([^\r]+)\r\n")
    ends, end = [], 0
    for _, data in chunks:
        end += len(data)
        ends.append(end)
    for match in pushed.finditer(b"".join(data for _, data in chunks)):
        yield chunks[bisect.bisect_left(ends, match.end())][0], match[1].decode(), match[2]


def wall_ms() -> float:
    return time.time() * 1000
