"""Servers and threads of the session tests."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.streams.rig import Rig
from tests.integration.streams.ws_server import WsServer, certificate


@pytest.fixture(scope="session")
def pem(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return certificate(tmp_path_factory.mktemp("tls"))


@pytest.fixture(params=["plain", "tls"])
def server(request: pytest.FixtureRequest, pem: Path) -> Iterator[WsServer]:
    """Once over TCP, once over TLS: the two differ in how they say that nothing is there to read."""
    server = WsServer(pem if request.param == "tls" else None)
    yield server
    server.stop()


@pytest.fixture
def rig(pem: Path) -> Iterator[Rig]:
    rig = Rig(ca_file=str(pem))
    yield rig
    assert rig.stop()
