"""The Redis sink's connection to a Cluster, where the platform's keys live on two nodes and messages are published on any.

`orders` and all PUBLISH go through one connection, so that they keep their order; the scores of `stream:lastEventTime` go
through another. Whatever happens to that one is told as an error reply: the events themselves went out.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from functools import partial

from redis.exceptions import BusyLoadingError, RedisError, ResponseError

from connector.core.channels import LAST_EVENT_TIME, ORDERS
from connector.core.places import RedisPlace
from connector.servers.redis import Wire, one_by_one, wire

_SCRIPTS = (b"EVALSHA", b"SCRIPT")


class ClusterWire:
    """A `Wire` over two. Publisher thread only."""

    def __init__(self, make: Callable[[str], Wire]) -> None:
        """`make` a wire to the node of a key; nothing is connected yet."""
        self._home, self._scores = make(ORDERS), make(LAST_EVENT_TIME)
        self._broken = ""
        """Why the scores can't be written; until the connections are made anew."""
        self._order: deque[bool] = deque()
        """Of each reply that is to come: whether it is one of the scores."""

    def connect(self) -> None:
        self._home.connect()
        self._broken = ""
        self._order.clear()
        try:
            self._scores.connect()
        except RedisError:
            self._home.disconnect()
            raise

    def disconnect(self) -> None:
        self._home.disconnect()
        self._scores.disconnect()

    def send_packed_command(self, command: Sequence[bytes], check_health: bool = True) -> None:
        """A script goes alone; other commands may come many at a time."""
        home: list[bytes] = []
        scores: list[bytes] = []
        for one in _split(b"".join(command)):
            of_scores = _bulks(one, 2)[1] == _SCORES
            (scores if of_scores else home).append(one)
            self._order.append(of_scores)
        if home:
            self._home.send_packed_command([b"".join(home)], check_health)
        if scores and not self._broken:
            self._try(partial(self._scores.send_packed_command, [b"".join(scores)], check_health))

    def can_read(self, timeout: float) -> bool:
        if not self._order or not self._order[0]:
            return self._home.can_read(timeout)
        return bool(self._broken) or bool(self._try(partial(self._scores.can_read, timeout))) or bool(self._broken)

    def read_response(self) -> object:
        if not self._order.popleft():
            return self._home.read_response()
        reply = self._broken or self._try(self._scores.read_response)
        if self._broken:
            raise ResponseError(f"{LAST_EVENT_TIME}: {self._broken}")
        return reply

    def read_counts(self, count: int) -> Sequence[Exception]:
        """Of commands that went to the node of `orders`: messages."""
        for _ in range(count):
            self._order.popleft()
        return self._home.read_counts(count)

    def read_numbers(self, count: int, replies: list[object], left_s: Callable[[], float], reply_s: float) -> None:
        one_by_one(self, count, replies, left_s, reply_s)

    def _try(self, work: Callable[[], object]) -> object:
        """Of the scores: an error reply is raised, the loss of the connection is kept."""
        try:
            return work()
        except BusyLoadingError as error:  # redis-py closes the connection over it
            self._broken = str(error)
        except ResponseError:
            raise
        except (RedisError, OSError) as error:
            self._broken = str(error) or type(error).__name__
        return None


_SCORES = LAST_EVENT_TIME.encode()


def _split(packed: bytes) -> list[bytes]:
    """Commands that were packed one behind the other."""
    if _bulks(packed, 1)[0] in _SCRIPTS:
        return [packed]
    found, start = [], 0
    while start < len(packed):
        end = packed.index(b"\r\n", start) + 2
        for _ in range(int(packed[start + 1 : end - 2])):
            line = packed.index(b"\r\n", end)
            end = line + 2 + int(packed[end + 1 : line]) + 2
        found.append(packed[start:end])
        start = end
    return found


def _bulks(packed: bytes, count: int) -> list[bytes]:
    """The first words of a packed command; empty ones where it has fewer."""
    words, at = [], packed.index(b"\r\n") + 2
    for _ in range(min(count, int(packed[1 : at - 2]))):
        line = packed.index(b"\r\n", at)
        size = int(packed[at + 1 : line])
        words.append(packed[line + 2 : line + 2 + size])
        at = line + 2 + size + 2
    return words + [b""] * (count - len(words))


def cluster_wire(place: RedisPlace, *, connect_timeout_s: float, reply_timeout_s: float) -> Wire:
    """Nothing is connected yet."""

    def make(key: str) -> Wire:
        return wire(place, key=key, connect_timeout_s=connect_timeout_s, reply_timeout_s=reply_timeout_s)

    return ClusterWire(make)
