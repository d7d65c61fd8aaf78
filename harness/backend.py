"""A stand-in for the trading backend: publishes commands as its AMQP library does (no properties) and listens on Redis."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from typing import Any

import redis

from harness.servers import PrivateRedis, Rabbit, wait_for

USER_QUEUE, CANDLE_QUEUE = "usersStreamAction", "candlesRequests"


class Backend:
    """`open`/`close`/`restart`/`candle` from one thread; `messages` grows on a listener thread of its own."""

    def __init__(self, rabbit: Rabbit, private_redis: PrivateRedis, patterns: tuple[str, ...] = ("*",)) -> None:
        self._rabbit, self._redis = rabbit, private_redis
        self._connection = rabbit.connect(heartbeat=0)  # a test may do nothing for minutes
        self._channel = self._connection.channel()
        # The backend declares the exchange and nothing else (contract 1.1).
        self._channel.exchange_declare("gainium", "direct", durable=True)
        self.messages: list[tuple[str, str]] = []
        self.on_message: Callable[[str, str], None] | None = None
        """Called on the listener thread with each channel and text, at once."""
        self._stop = threading.Event()
        self._listening = threading.Event()
        self._patterns = patterns
        self._thread = threading.Thread(target=self._listen, name="backend-listener", daemon=True)
        self._thread.start()
        self._listening.wait(10.0)

    def _listen(self) -> None:
        while not self._stop.is_set():
            try:
                with self._redis.client() as client, client.pubsub(ignore_subscribe_messages=False) as pubsub:
                    pubsub.psubscribe(*self._patterns)
                    while not self._stop.is_set():
                        message = pubsub.get_message(timeout=0.2)
                        if message is None:
                            continue
                        if message["type"] == "psubscribe":
                            self._listening.set()
                        elif message["type"] == "pmessage":
                            channel, text = message["channel"].decode(), message["data"].decode()
                            if self.on_message is not None:
                                self.on_message(channel, text)
                            self.messages.append((channel, text))
            except redis.RedisError:
                self._stop.wait(0.1)

    # --- commands ---

    def publish(self, queue: str, payload: object, **envelope: object) -> None:
        body = json.dumps({"payload": payload, **envelope}).encode()
        self._channel.basic_publish("gainium", queue, body)

    def raw(self, queue: str, body: bytes) -> None:
        self._channel.basic_publish("gainium", queue, body)

    def open(self, uuid: str, provider: str, key: str, secret: str, **api: object) -> None:
        self.publish(
            USER_QUEUE,
            {
                "event": "open stream",
                "uuid": uuid,
                "data": {
                    "userId": "64f0c2a9b1d3e4f5a6b7c8d9",
                    "api": {
                        "provider": provider, "key": key, "secret": secret, "passphrase": None, "bybitHost": None,
                        "keysType": None, "okxSource": None, "subaccount": False, **api,
                    },
                },
            },
        )  # fmt: skip

    def close_stream(self, uuid: str) -> None:
        self.publish(USER_QUEUE, {"event": "close stream", "uuid": uuid})

    def restart(self, uuid: str | None) -> None:
        """Force a restart; of all streams without `uuid`."""
        self.publish(USER_QUEUE, {"event": "force restart stream"} | ({"uuid": uuid} if uuid is not None else {}))

    def candle(self, symbol: str, exchange: str, interval: str) -> None:
        self.publish(CANDLE_QUEUE, {"symbol": symbol, "exchange": exchange, "interval": interval})

    # --- what arrived ---

    def on(self, channel: str) -> list[str]:
        """Payloads that arrived on a channel so far."""
        return [data for name, data in list(self.messages) if name == channel]

    def events(self, channel: str) -> list[dict[str, Any]]:
        return [json.loads(data) for data in self.on(channel)]

    def infos(self, uuid: str) -> int:
        """How often `Subscribed to user <uuid>` arrived."""
        return self.on(f"userStreamInfo{uuid}").count(f"Subscribed to user {uuid}")

    def wait(self, condition: Callable[[], object], what: str, timeout_s: float = 15.0) -> object:
        return wait_for(condition, timeout_s, what)

    def wait_live(self, *uuids: str, timeout_s: float = 30.0) -> None:
        wait_for(lambda: all(self.infos(uuid) for uuid in uuids), timeout_s, f"live streams {uuids[:3]}")

    def close(self) -> None:
        self._stop.set()
        self._thread.join(5.0)
        if self._connection.is_open:
            self._connection.close()

    def pause(self, seconds: float) -> None:
        """Let time pass while heartbeats go on."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            self._connection.process_data_events(time_limit=0.1)
