"""Where a venue's documented URL really goes: gateway, single origins, or as written. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import urlsplit, urlunsplit

from connector.core.errors import InvalidSetting

_PLAIN = {"wss": "ws", "ws": "ws", "https": "http", "http": "http"}


class Endpoints:
    """Resolves URLs. `gateway` is `host:port`; `overrides` maps an origin (`wss://host:port`) to another origin."""

    def __init__(self, gateway: str = "", overrides: Mapping[str, str] | None = None) -> None:
        self._gateway = gateway.split("://", 1)[-1].rstrip("/")
        self._overrides: dict[str, str] = {}
        for origin, target in (overrides or {}).items():
            for text in (origin, target):
                parts = urlsplit(text)
                if parts.scheme not in _PLAIN or not parts.netloc:
                    raise InvalidSetting(f"VENUE_ENDPOINTS: {text!r} is not an origin like wss://host:port")
            self._overrides[origin.rstrip("/")] = target.rstrip("/")

    def resolve(self, url: str) -> str:
        """The URL to open for a documented URL.

        `wss://stream.binance.com:9443/ws?x=1` behind the gateway is `ws://host:port/stream.binance.com:9443/ws?x=1`.
        """
        parts = urlsplit(url)
        target = self._overrides.get(f"{parts.scheme}://{parts.netloc}")
        if target is not None:
            to = urlsplit(target)
            return urlunsplit((to.scheme, to.netloc, to.path + parts.path, parts.query, parts.fragment))
        if self._gateway and parts.netloc != self._gateway:
            path = f"/{parts.netloc}{parts.path}"
            return urlunsplit((_PLAIN[parts.scheme], self._gateway, path, parts.query, parts.fragment))
        return url
