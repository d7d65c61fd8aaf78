"""A Redis subscription that heals itself."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from typing import Any

import redis
from redis.client import PubSub
from redis.exceptions import RedisError

from connector.core.clock import SystemClock
from connector.core.log import get_logger
from connector.core.ports import Clock
from connector.core.stamps import NOT_NOW

_log = get_logger("state.listener")

POLL_S = 0.5
"""How long a stop may go unnoticed."""
PING_S = 10.0
"""A PING is sent this often; no answer by the next one means that the connection is dead, whatever TCP says."""
BACKOFF_S = (0.1, 0.3, 1.0, 3.0)
"""Pauses before reconnecting; the last one repeats (contract 4.1: every 3 s)."""

Texts = Mapping[str, str | None]
"""Channel → the text to call back with, or None for the message's own."""


class Listener:
    """Subscribes to channels in an own thread and calls back for each message.

    Subscribing again after a loss is followed by the text `resync`: messages may have been missed. A callback that raises
    is logged and costs its message only.
    """

    def __init__(
        self,
        client: redis.Redis,
        channels: Texts,
        callback: Callable[[str], None],
        *,
        name: str,
        ping_s: float = PING_S,
        clock: Clock | None = None,
    ) -> None:
        self._clock = clock or SystemClock()
        self._client: Any = client  # pubsub() has no annotations
        self._channels = channels
        self._callback = callback
        self._ping_s = ping_s
        self.alive_mono = NOT_NOW
        """When the thread last looked for a message; not judged while it connects."""
        self._stopping = threading.Event()
        self._first_try = threading.Event()
        self.thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self, timeout_s: float) -> None:
        """Start the thread and wait until it subscribed or failed once. It goes on trying by itself."""
        self.thread.start()
        self._first_try.wait(timeout_s)

    def stop(self, timeout_s: float = 5.0) -> None:
        """End the thread; no callback begins after this returned. May be called twice, and from a callback."""
        self._stopping.set()
        if threading.current_thread() is not self.thread:
            self.thread.join(timeout_s)

    def _run(self) -> None:
        failures = 0
        missed = False
        while not self._stopping.is_set():
            self.alive_mono = NOT_NOW
            pubsub: PubSub = self._client.pubsub()
            try:
                self._subscribe(pubsub)
                failures = 0
                self._first_try.set()
                if missed:
                    self._call("resync")
                missed = True
                self._receive(pubsub)
            except (RedisError, OSError) as error:
                missed = True
                if not failures:
                    _log.warning("notifications interrupted", reason=f"{type(error).__name__}: {error}")
                pause = BACKOFF_S[min(failures, len(BACKOFF_S) - 1)]
                failures += 1
                self._first_try.set()
                self._stopping.wait(pause)
            finally:
                pubsub.close()

    def _subscribe(self, pubsub: PubSub) -> None:
        pubsub.subscribe(*self._channels)
        waiting = set(self._channels)
        deadline = self._clock.mono() + self._ping_s
        while waiting and not self._stopping.is_set():
            message = pubsub.get_message(timeout=POLL_S)
            if message and message["type"] == "subscribe":
                waiting.discard(message["channel"].decode())
            elif message:
                self._handle(message)
            elif self._clock.mono() > deadline:
                raise TimeoutError("no answer to SUBSCRIBE")

    def _receive(self, pubsub: PubSub) -> None:
        heard = pinged = self._clock.mono()
        while not self._stopping.is_set():
            message = pubsub.get_message(timeout=POLL_S)
            now = self.alive_mono = self._clock.mono()
            if message:
                heard = now
                self._handle(message)
            elif now - pinged >= self._ping_s:
                if heard < pinged:
                    raise TimeoutError("no answer to PING")
                pubsub.ping()
                pinged = now

    def _handle(self, message: Mapping[str, object]) -> None:
        channel, data = message["channel"], message["data"]
        if message["type"] == "message" and isinstance(channel, bytes) and isinstance(data, bytes):
            text = self._channels[channel.decode()]
            self._call(data.decode("utf-8", "replace") if text is None else text)

    def _call(self, text: str) -> None:
        if self._stopping.is_set():
            return
        try:
            self._callback(text)
        except Exception:  # noqa: BLE001 - top of the callback; the subscription must live on
            _log.exception("a notification callback failed", text=text)
