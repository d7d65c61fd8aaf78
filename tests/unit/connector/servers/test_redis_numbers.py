"""Replies that are numbers, read line by line off a real socket: each in its place, whatever is cut off where."""

from __future__ import annotations

import math
import socket
import threading
from collections.abc import Iterator

import pytest
from redis.exceptions import BusyLoadingError, ResponseError
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError

from connector.core.places import Host
from connector.servers.redis import PlainConnection

Wire = tuple[PlainConnection, socket.socket]


@pytest.fixture
def wire() -> Iterator[Wire]:
    """A connection as it is after its connect, and the server's end of it."""
    mine, theirs = socket.socketpair()
    mine.settimeout(10.0)
    connection = PlainConnection(locate=lambda: Host("nowhere", 1))
    connection._raw, connection._unread = mine, b""
    yield connection, theirs
    for sock in (mine, theirs):
        sock.close()


def numbers(connection: PlainConnection, count: int, left_s: float = math.inf) -> list[object]:
    replies: list[object] = []
    connection.read_numbers(count, replies, lambda: left_s, 5.0)
    return replies


def test_an_error_stands_in_its_place_and_a_list_of_one_is_its_number(wire: Wire) -> None:
    connection, theirs = wire
    theirs.send(b":0\r\n-ERR no\r\n*1\r\n:1\r\n:12\r\n:7\r\n")
    first, second, third, fourth = numbers(connection, 4)
    assert (first, third, fourth) == (0, 1, 12)
    assert isinstance(second, ResponseError)
    assert numbers(connection, 1) == [7]


def test_replies_are_whole_wherever_the_network_cuts_them(wire: Wire) -> None:
    connection, theirs = wire
    text = b":1\r\n*1\r\n:2\r\n-WRONGTYPE x\r\n:3\r\n"

    def drip() -> None:
        for byte in text:
            theirs.send(bytes([byte]))

    sender = threading.Thread(target=drip)
    sender.start()
    replies = numbers(connection, 4, left_s=30.0)
    sender.join()
    assert [reply for reply in replies if isinstance(reply, int)] == [1, 2, 3]
    assert isinstance(replies[2], ResponseError)


def test_what_arrived_before_time_was_up_is_known(wire: Wire) -> None:
    connection, theirs = wire
    for left_s in (0.0, 0.05):
        theirs.send(b":1\r\n:2\r\n")
        replies: list[object] = []
        with pytest.raises(RedisTimeoutError, match="no answer in time"):
            connection.read_numbers(3, replies, lambda wait_s=left_s: wait_s, 5.0)  # type: ignore[misc]
        assert replies == [1, 2]
        assert connection._raw.gettimeout() == 10.0


def test_a_lost_connection_leaves_what_was_answered(wire: Wire) -> None:
    connection, theirs = wire
    theirs.send(b":1\r\n:2")
    theirs.shutdown(socket.SHUT_WR)
    replies: list[object] = []
    with pytest.raises(RedisConnectionError):
        connection.read_numbers(2, replies, lambda: math.inf, 5.0)
    assert replies == [1]


def test_a_server_that_loads_did_nothing(wire: Wire) -> None:
    connection, theirs = wire
    theirs.send(b":1\r\n-LOADING Redis is loading the dataset in memory\r\n:3\r\n")
    replies: list[object] = []
    with pytest.raises(BusyLoadingError):
        connection.read_numbers(3, replies, lambda: math.inf, 5.0)
    assert replies[0] == 1
    assert [type(reply) for reply in replies[1:]] == [ResponseError]


def test_anything_but_a_number_ends_the_connection(wire: Wire) -> None:
    connection, theirs = wire
    theirs.send(b"+OK\r\n")
    with pytest.raises(RedisConnectionError, match="no number"):
        numbers(connection, 1)
