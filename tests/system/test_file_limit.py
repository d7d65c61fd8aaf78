"""The limit of open files is reached while accounts are followed: a clear line, and everything that is open goes on."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator

import psutil
import pytest

from harness.evidence import Evidence
from harness.servers import wait_for
from harness.stack import Stack
from tests.system.support import WAIT_S, Accounts

pytestmark = pytest.mark.system


@pytest.fixture
def stack(evidence: Evidence) -> Iterator[Stack]:
    with Stack(evidence, venues=("okx", "bybit")) as running:
        running.service("user")
        running.ready()
        yield running


def first_free(process: psutil.Process) -> int:
    """The file descriptor that the process would get next."""
    used = {int(name) for name in os.listdir(f"/proc/{process.pid}/fd")}
    return next(number for number in itertools.count() if number not in used)


def test_no_file_descriptor_left_costs_only_the_account_that_needs_one(stack: Stack) -> None:
    accounts = Accounts(stack)
    first, second = accounts.live("okx"), accounts.live("bybit")
    late = accounts("okx")
    (service,) = stack.services
    worker = psutil.Process(service.worker_pids()[0])
    soft, hard = worker.rlimit(psutil.RLIMIT_NOFILE)
    worker.rlimit(psutil.RLIMIT_NOFILE, (first_free(worker), hard))

    late.open()
    wait_for(lambda: "no file descriptor left" in service.log.read_text(), WAIT_S, "the reason in the log")
    for stream in (first, second):
        order = stream.place()
        stack.simulator.fill(order.order_id)
        stream.wait(lambda stream=stream, order=order: stream.order_events(order.client_id)[1:], "both order events")
        assert [event["orderStatus"] for event in stream.order_events(order.client_id)] == ["NEW", "FILLED"]
    assert late.infos == 0
    assert worker.is_running()

    worker.rlimit(psutil.RLIMIT_NOFILE, (soft, hard))
    late.wait_live()
    late.prove_live()
    accounts.close()
