"""The end of a lease on a real Redis: a renewed one must not live for a day."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.integration.state.test_redis_server import ServerBacking
from tests.unit.connector.state.ending import EndPromises

pytestmark = pytest.mark.integration


@pytest.fixture
def backing() -> Iterator[ServerBacking]:
    backing = ServerBacking()
    yield backing
    backing.end()


class TestOnAServer(EndPromises):
    """Over the real server."""
