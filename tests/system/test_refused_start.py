"""`dramatiq workers.user` with a setting that can't be used: it ends at once, in words, and never takes the commands (E4)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.backend import USER_QUEUE
from harness.evidence import Evidence
from harness.stack import Stack
from workers._refusal import REFUSED

pytestmark = pytest.mark.system

ENDS_WITHIN_S = 30.0


@pytest.fixture(scope="module")
def deployment(evidence: Evidence) -> Iterator[Stack]:
    with Stack(evidence.apart(), venues=("binance",)) as running:
        yield running


@pytest.mark.parametrize("role", ["user", "price"])
@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("LEASE_TTL_S", "short"),
        ("ENVOKX", "demo"),
        ("VENUE_CA_FILE", "/nowhere/ca.pem"),
        ("VENUE_ENDPOINTS", '{"wss://a": "nowhere"}'),
        ("CREDENTIALS_KEYS", "not-a-fernet-key"),
        ("HEALTH_HOST", "203.0.113.77"),
        ("OUTBOX_DIR", __file__),
    ],
)
def test_a_service_that_cannot_start_ends_with_a_line_that_names_the_setting(
    deployment: Stack, role: str, name: str, value: str
) -> None:
    service = deployment.service(role, **{name: value})
    assert service.wait(ENDS_WITHIN_S) == REFUSED
    told = [line for line in Path(service.log).read_text().splitlines() if "can't start: " in line]
    assert len(told) == 1
    assert name in told[0]
    assert "Traceback" not in Path(service.log).read_text()
    with deployment.rabbit.connect("look") as connection:
        channel = connection.channel()
        channel.queue_declare(USER_QUEUE, durable=True)
        assert deployment.consumers(USER_QUEUE) == 0
