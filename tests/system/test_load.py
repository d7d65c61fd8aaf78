"""Many pairs of opens and closes, handled by eight threads: nothing overtakes, nothing is left behind (contract 1.7)."""

from __future__ import annotations

import random
from collections.abc import Iterator

import psutil
import pytest
import redis

from harness.servers import wait_for
from harness.stack import Stack
from tests.system.support import WAIT_S, Accounts, Stream

pytestmark = pytest.mark.system

PAIRS = 300
EXCHANGES = ("paperOkx", "kucoin", "okx", "paperKucoin", "bybit", "binance", "bitget", "coinbase")


def _sizes(stack: Stack) -> tuple[int, int]:
    """Threads and open files of the account service's worker."""
    service = next(one for one in stack.services if one.role == "user")
    (pid,) = service.worker_pids()
    worker = psutil.Process(pid)
    return worker.num_threads(), worker.num_fds()


def _account_sockets(stack: Stack) -> int:
    return sum(count for name, count in stack.simulator.stats()["open"].items() if name.endswith((":user", ":new")))


def _pairs(streams: list[Stream], count: int, source: random.Random) -> None:
    """Pairs over all streams in random order: most are closed at once, some after a while, when they are live."""
    waiting: list[Stream] = []
    for number in range(count):
        stream = streams[number % len(streams)]
        stream.open()
        if source.random() < 0.7:
            stream.close()
        else:
            waiting.append(stream)
        if len(waiting) > 40:
            waiting.pop(source.randrange(len(waiting))).close()
    if waiting:
        waiting[0].wait_live()
    while waiting:
        waiting.pop(source.randrange(len(waiting))).close()


def test_three_hundred_pairs_leave_nothing_behind(stack: Stack, accounts: Accounts) -> None:
    source = random.Random(7)
    streams = [accounts(EXCHANGES[number % len(EXCHANGES)]) for number in range(120)]
    # Once before the measurement: pools have their threads and idle connections afterwards.
    _pairs(streams, PAIRS, source)
    _wait_idle(stack, accounts)
    threads, files = _sizes(stack)
    _pairs(streams, PAIRS, source)
    _wait_idle(stack, accounts)
    # What leaks per stream or connection would show in hundreds. Pools fill up by and by: the scheduler has ten threads, the
    # dialler sixteen, each venue some for REST.
    wait_for(lambda: _sizes(stack)[0] <= threads + 20 and _sizes(stack)[1] <= files + 20, WAIT_S, "no growth")
    assert all(stack.score(stream.uuid) is None for stream in streams)


def _wait_idle(stack: Stack, accounts: Accounts) -> None:
    """Until all commands took effect and no account has a connection or an owner."""
    last = accounts.live("paperBybit")
    last.close()
    last.wait_closed()
    with stack.redis.client() as client:
        wait_for(lambda: not client.scard("wsc:streams"), WAIT_S, "nothing wanted")
        wait_for(lambda: not any(_leases(client)), WAIT_S, "no lease left", 0.1)
    wait_for(lambda: _account_sockets(stack) == 0, WAIT_S, "no account socket left", 0.1)


def _leases(client: redis.Redis) -> Iterator[bytes]:
    """Leases of account streams; those of price feeds have names like `ticker:okx`."""
    return (key for key in client.scan_iter("wsc:lease:*") if key.count(b":") == 2)


def test_a_stream_that_stays_open_keeps_its_count_under_load(stack: Stack, accounts: Accounts) -> None:
    """One open more than closes, whatever the order of the threads: the stream is there at the end, and only once."""
    stayers = [accounts(exchange) for exchange in ("paperOkx", "okx", "kucoin")]
    source = random.Random(11)
    for stream in stayers:
        stream.open()
    _pairs(stayers, 60, source)
    for stream in stayers:
        stream.wait_live()
        stream.prove_live()
        assert len(stream.links()) == 1
        assert stream.infos == 1
