"""Brings unmodified SDKs to the simulator: the venues' names lead to it, its certificates are trusted, nothing else is there.

The SDKs keep their own URLs, ports and TLS checks. Only name resolution of this process is replaced: a venue's host means the
simulator's address, and any other host does not exist, so that no test can reach a real venue by accident.
"""

from __future__ import annotations

import socket
import ssl
from typing import Any

import pytest

from simulator.simulator import Simulator

LOCAL = frozenset({"127.0.0.1", "localhost", "::1"})


class Network:
    """Replaces name resolution while it is installed. `missed` holds the hosts that somebody wanted and nobody plays."""

    def __init__(self, sim: Simulator) -> None:
        self.sim = sim
        self.missed: set[str] = set()
        self._real = socket.getaddrinfo

    def install(self, patch: pytest.MonkeyPatch) -> None:
        patch.setattr(socket, "getaddrinfo", self._lookup)
        authority = str(self.sim.ca_file)
        for variable in ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "WEBSOCKET_CLIENT_CA_BUNDLE"):
            patch.setenv(variable, authority)
        for variable in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"):
            patch.delenv(variable, raising=False)
        _trust(patch, authority)

    def _lookup(self, host: Any, port: Any, *more: Any, **named: Any) -> Any:
        name = host.decode() if isinstance(host, bytes) else host
        if name in self.sim.hub.hosts:
            return self._real("127.0.0.1", self.sim.port, *more, **named)
        if name is None or name in LOCAL:
            return self._real(host, port, *more, **named)
        self.missed.add(str(name))
        raise socket.gaierror(socket.EAI_NONAME, f"{name} is not played by the simulator")


def _trust(patch: pytest.MonkeyPatch, authority: str) -> None:
    """For libraries that bring their own list of authorities, or read the system's when they are imported."""
    try:
        import certifi
    except ImportError:
        pass
    else:
        patch.setattr(certifi, "where", lambda: authority)
    import aiohttp.connector

    context = getattr(aiohttp.connector, "_SSL_CONTEXT_VERIFIED", None)
    if isinstance(context, ssl.SSLContext):
        context.load_verify_locations(authority)
