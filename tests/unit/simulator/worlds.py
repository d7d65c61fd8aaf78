"""Builders for tests that drive the simulator's pure cores."""

from __future__ import annotations

import hashlib
import hmac
import json
from decimal import Decimal
from typing import Any

from simulator import controls
from simulator._link import Link
from simulator._venue import Frame, Instant, Refuse, Reply, Request, WorldSettings
from simulator.engine import NewOrder
from simulator.hub import Hub

START_MS = 1_795_000_000_000


class Clock:
    """Both clocks, moved by hand."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def __call__(self) -> Instant:
        return Instant(1000.0 + self.seconds, START_MS + round(self.seconds * 1000))

    def move(self, seconds: float) -> Instant:
        self.seconds += seconds
        return self()


class World:
    """A hub with a clock, and short ways to do things."""

    def __init__(self, venues: tuple[str, ...] = ("binance", "paper"), **settings: Any) -> None:
        self.clock = Clock()
        self.hub = Hub(WorldSettings(**{"symbols": 3, **settings}), venues)

    def account(self, venue: str = "binance", key: str = "K", secret: str = "S", **more: Any) -> str:
        return controls.add_account(self.hub, venue, controls.api_key(key, secret), **more).account_id

    def connect(self, venue: str, host: str, path: str, query: str = "") -> Link:
        link = self.try_connect(venue, host, path, query)
        assert isinstance(link, Link), link
        self.hub.opened(link, self.clock())
        return link

    def try_connect(self, venue: str, host: str, path: str, query: str = "") -> Link | Refuse | None:
        request = Request(method="GET", host=host, path=path, query=query)
        return self.hub.connect(venue, request, self.clock())

    def send(self, link: Link, message: object) -> list[Any]:
        """Send a JSON (or text) frame; returns the decoded frames that are due now."""
        text = message if isinstance(message, str) else json.dumps(message)
        self.hub.received(link, text, self.clock())
        return self.frames(link)

    def frames(self, link: Link) -> list[Any]:
        """Every text frame that is due now, decoded where it is JSON."""
        found = []
        for action in link.take(self.clock().mono):
            if isinstance(action, Frame):
                text = action.data if isinstance(action.data, str) else action.data.decode()
                try:
                    found.append(json.loads(text))
                except ValueError:
                    found.append(text)
        return found

    def actions(self, link: Link) -> list[Any]:
        return list(link.take(self.clock().mono))

    def place(self, account: str, exchange: str = "binance", **fields: Any) -> Any:
        values = {"symbol": "BTCUSDT", "side": "BUY", "quantity": "0.25", "price": "61000", "client_id": ""} | fields
        hold = bool(values.pop("hold", False))
        for name in ("quantity", "price", "stop_price", "quote_quantity"):
            if name in values:
                values[name] = Decimal(values[name])
        return controls.place(self.hub, account, exchange, NewOrder(**values), self.clock(), hold=hold)

    def rest(self, method: str, host: str, path: str, query: str = "", key: str = "", body: bytes = b"") -> Reply:
        headers = {"x-mbx-apikey": key} if key else {}
        request = Request(method=method, host=host, path=path, query=query, headers=headers, body=body)
        result = self.hub.rest("binance", request, self.clock())
        assert result.reply is not None
        return result.reply

    def signed(self, method: str, host: str, path: str, query: str = "", key: str = "K", secret: str = "S") -> Any:
        """A signed Binance call; returns the decoded body."""
        text = f"{query}&" if query else ""
        text += f"recvWindow=5000&timestamp={self.clock().wall_ms}"
        return json.loads(self.rest(method, host, path, f"{text}&signature={sign(secret, text)}", key).body)


def sign(secret: str, text: str) -> str:
    return hmac.new(secret.encode(), text.encode(), hashlib.sha256).hexdigest()


def subscribe(world: World, link: Link, key: str = "K", secret: str = "S", request_id: str = "u1") -> list[Any]:
    """Subscribe an account on the WebSocket API."""
    params: dict[str, Any] = {"apiKey": key, "recvWindow": 5000, "timestamp": world.clock().wall_ms}
    params["signature"] = sign(secret, "&".join(f"{name}={params[name]}" for name in sorted(params)))
    return world.send(link, {"id": request_id, "method": "userDataStream.subscribe.signature", "params": params})


def ws_api(world: World) -> Link:
    return world.connect("binance", "ws-api.binance.com", "/ws-api/v3")
