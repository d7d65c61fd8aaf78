"""A deployment that sets no CREDENTIALS_KEYS: the broker's password seals the keys, and its change loses nothing for good."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator

import pytest

from harness.evidence import Evidence
from harness.servers import wait_for
from harness.stack import Stack
from tests.system.support import WAIT_S, Accounts
from tests.system.test_announcements import all_joined, announced, nothing_more, restarts

pytestmark = pytest.mark.system

UNREADABLE = "keys at rest can't be read and are asked for again"


@pytest.fixture
def deployment(evidence: Evidence) -> Iterator[Stack]:
    with Stack(evidence.apart(), venues=("binance",)) as running:
        yield running


def test_accounts_move_between_processes_by_default_and_a_new_password_has_them_asked_for_again(
    deployment: Stack,
) -> None:
    user, password, changed = f"connector-{os.getpid()}", secrets.token_hex(10), secrets.token_hex(10)
    if not deployment.rabbit.allow(user, password):
        pytest.skip("rabbitmqctl can make no user on this broker")
    first, second = (deployment.service("user", RABBIT_USER=user, RABBIT_PASSWORD=password) for _ in range(2))
    deployment.ready()
    announced(deployment, 1)
    all_joined(first, second)
    accounts = Accounts(deployment)
    streams = [accounts.live("binance") for _ in range(6)]
    first.kill()
    for stream in streams:
        stream.wait(lambda stream=stream: len(stream.links()) == 1, "live again")
        stream.prove_live()
    nothing_more(deployment, 1)
    second.stop()

    assert deployment.rabbit.allow(user, changed)
    third = deployment.service("user", RABBIT_USER=user, RABBIT_PASSWORD=changed)
    third.wait_ready()
    announced(deployment, 2)
    wait_for(lambda: UNREADABLE in third.log.read_text(), WAIT_S, "told in words")
    for stream in streams:
        stream.open()
    for stream in streams:
        stream.prove_live()
    assert third.process.poll() is None
    assert len(restarts(deployment)) == 2
    assert third.log.read_text().count(UNREADABLE) == 1
