"""Two deployments on one Redis by mistake, with real servers: another virtual host, and the same prefix."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from harness.evidence import Evidence
from harness.servers import Rabbit
from harness.stack import Stack
from tests.system.test_announcements import announced
from workers._refusal import REFUSED

pytestmark = pytest.mark.system


@pytest.fixture
def deployment(evidence: Evidence) -> Iterator[Stack]:
    with Stack(evidence.apart(), venues=("binance",)) as running:
        yield running


@pytest.mark.parametrize("role", ["user", "price"])
def test_the_second_deployment_refuses_to_start_until_the_first_is_gone_or_has_another_prefix(
    deployment: Stack, role: str
) -> None:
    first = deployment.service("user")
    first.wait_ready()
    announced(deployment, 1)
    other = Rabbit()
    try:
        if other.vhost == deployment.rabbit.vhost:
            pytest.skip("no virtual host can be made here")
        second = deployment.service(role, **other.env())
        assert second.wait(60.0) == REFUSED
        told = [line for line in second.log.read_text().splitlines() if "can't start: " in line]
        assert len(told) == 1
        assert "STATE_PREFIX" in told[0]
        assert "RABBIT_VHOST" in told[0]
        beside = deployment.service(role, **other.env(), STATE_PREFIX="other:")
        beside.wait_ready()
        beside.stop()
        more = deployment.service("user")
        more.wait_ready()
        first.stop()
        more.stop()
        moved = deployment.service(role, **other.env())
        moved.wait_ready()
        moved.stop()
    finally:
        other.stop()
