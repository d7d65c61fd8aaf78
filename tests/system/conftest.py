"""One deployment for most tests: both services, every simulated venue, a stand-in backend. It starts once per run."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.backend import USER_QUEUE
from harness.evidence import Canaries, Evidence
from harness.stack import Stack
from tests.system.support import Accounts, Startup


@pytest.fixture(scope="session")
def evidence(tmp_path_factory: pytest.TempPathFactory) -> Evidence:
    """Everything that all deployments of this run put out."""
    folder: Path = tmp_path_factory.mktemp("evidence")
    return Evidence(Canaries(), folder)


@pytest.fixture(scope="session")
def startup() -> Startup:
    """What was seen while the services started."""
    return Startup()


@pytest.fixture(scope="session")
def stack(evidence: Evidence, startup: Startup) -> Iterator[Stack]:
    env = {"PRICEROLE": "all", "ADMIN_CONFIG_ENABLED": "1", "ADMIN_CONFIG_REFRESH_MS": "1000", "IO_THREADS": "2"}
    with Stack(evidence, env=env) as running:
        # One queue as an installation of the old connector leaves it, the other one new.
        with running.rabbit.connect("old connector") as old:
            channel = old.channel()
            channel.exchange_declare("gainium", "direct", durable=True)
            channel.queue_declare(USER_QUEUE, durable=True)
            channel.queue_bind(USER_QUEUE, "gainium", USER_QUEUE)
        running.backend.on_message = startup.watch(running)
        running.service("user")
        running.service("price")
        running.ready()
        yield running


@pytest.fixture
def accounts(stack: Stack) -> Iterator[Accounts]:
    """Makes accounts and streams; whatever a test leaves open is closed after it."""
    made = Accounts(stack)
    yield made
    made.close()
