"""`Connector`: exchange accounts in a program of one's own. The engine is the service's: same repair, same limits."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Mapping
from typing import Any, Final

import msgspec

from connector.api._events import ACCOUNT_NAMES, Event
from connector.api._running import QUEUE_LIMIT, Running
from connector.api._values import KeyRejected, StreamInfo, UnknownStream
from connector.core.errors import ConnectorError, InvalidCommand
from connector.core.messages import AccountMessage, InfoMessage, Message, ServiceMessage
from connector.core.ports import State
from connector.core.settings import Settings
from connector.core.traces import TRACES
from connector.streams.lifecycle import CONNECTED_STATES, StreamState
from exchanges import venue_of, venues
from exchanges.credentials import Credentials, credentials
from exchanges.ids import family_of

LOOK_S: Final = 0.2
"""While somebody waits for a stream: its state is looked at this often, and with each message of it."""
FIELDS: Final = frozenset(
    {"provider", "key", "secret", "passphrase", "keysType", "okxSource", "bybitHost", "environment"}
)


class Connector(Running):
    """Account streams (docs/python.md). Any thread. Starts with the first stream, with `start`, or as a context manager."""

    def __init__(
        self,
        settings: Settings | Mapping[str, str] | None = None,
        *,
        gateway: str = "",
        state: State | str | None = None,
        queue_limit: int = QUEUE_LIMIT,
    ) -> None:
        """`settings`: as docs/settings.md, by variable name; the process's environment is not read. `gateway`: `host:port`
        that plays all exchanges (`Simulator().gateway`). `state`: None = memory; `redis://…` = streams, positions and
        limits outlive the program. `queue_limit`: account events that wait for callbacks before streams are held up.

        Raises `InvalidSetting` naming the setting that can't be used.
        """
        super().__init__("user", ACCOUNT_NAMES, settings, gateway, state, queue_limit, {})
        self._users: dict[str, tuple[str, str]] = {}
        self._closed: set[str] = set()
        """By this program, and perhaps still at it."""
        self._moved = threading.Condition()

    def open_stream(self, *, user_id: str, api: Mapping[str, str], stream_id: str = "") -> str:
        """Keep this account's stream open; returns its id at once (`wait_live` waits).

        `api`: `provider` (an exchange id), `key`, `secret`, and where the exchange has them `passphrase`, `keysType`,
        `okxSource`, `bybitHost`, `environment` (`live` or `sandbox`). Without `stream_id` the id is made of user, exchange
        and key. The same id again with another key reconnects with that. Raises `InvalidCommand` naming what is wrong,
        `StateUnavailable` if Redis is away.
        """
        exchange, keys = _checked(user_id, api)
        if not self._engine.enabled(exchange):
            raise InvalidCommand(f"api.provider: {exchange} is switched off by the admin config")
        stream = stream_id or _id_of(user_id, exchange, keys)
        self.start()
        self._closed.discard(stream)
        self._users[stream] = (user_id, exchange)
        with TRACES.command("open", stream):
            applied = self._state.open(stream, exchange, user_id, keys, self._engine.clock.wall_ms())
            if applied.changed:
                self._wake(stream, applied.owner)
        return stream

    def close_stream(self, of: str) -> None:
        """Close a stream, or all of a user. Raises `UnknownStream`."""
        for stream in self._of(of):
            with TRACES.command("close", stream):
                applied = self._state.close(stream, everybody=True)
                self._closed.add(stream)
                self._users.pop(stream, None)
                self._wake(stream, applied.owner)

    def reconnect(self, of: str) -> None:
        """Replace the connection of a stream, or of all of a user; what happened meanwhile is repaired. Raises
        `UnknownStream`."""
        for stream in self._of(of):
            with TRACES.command("restart", stream):
                self._wake(stream, self._state.restart(stream).owner)

    def streams(self) -> list[StreamInfo]:
        """The streams that this connector runs or was asked for."""
        states = self._engine.supervisor.states()
        self._closed &= states.keys()
        for stream in states:
            self._user_of(stream)
        return [
            StreamInfo(
                stream_id=stream,
                user_id=user_id,
                exchange=exchange,
                state=states.get(stream, StreamState.WAITING).value,
            )
            for stream, (user_id, exchange) in sorted(dict(self._users).items())
        ]

    def wait_live(self, stream_id: str, timeout_s: float, *, given_up: threading.Event | None = None) -> None:
        """Wait until the account's events flow and what was missed is told. Not from a callback.

        Raises `KeyRejected` as soon as the exchange refuses the key, `TimeoutError`, `UnknownStream` (also if it is closed
        meanwhile), `ConnectorError` if the connector is stopped. Returns early once `given_up` is set.
        """
        clock = self._engine.clock
        deadline = clock.mono() + timeout_s
        with self._moved:
            while (state := self._state_of(stream_id)) not in CONNECTED_STATES:
                if given_up is not None and given_up.is_set():
                    return
                if state is StreamState.COOLING:
                    gate = self._state.gate(stream_id)
                    raise KeyRejected(gate.reason if gate is not None else "the exchange refuses the key")
                left_s = deadline - clock.mono()
                if left_s <= 0:
                    raise TimeoutError(f"{stream_id} is {state.value if state else 'not begun'} after {timeout_s} s")
                self._moved.wait(min(left_s, LOOK_S))

    def _state_of(self, stream_id: str) -> StreamState | None:
        """None: not begun. Raises `UnknownStream`, and `ConnectorError` once this connector was stopped."""
        if self._ended:
            raise ConnectorError("this connector was stopped")
        self._of(stream_id)
        return self._engine.supervisor.states().get(stream_id)

    def _of(self, of: str) -> list[str]:
        """The ids of a stream, or of a user's streams."""
        if of in self._users or (of not in self._closed and self._engine.supervisor.has(of)):
            return [of]
        mine = [stream for stream, (user_id, _) in dict(self._users).items() if user_id == of]
        if not mine:
            raise UnknownStream(f"no open stream has the id {of!r} or belongs to a user of this name")
        return mine

    def _user_of(self, stream_id: str) -> str:
        """Also of a stream that another program opened, or this one in an earlier life."""
        if stream_id not in self._users:
            spec = self._engine.supervisor.spec(stream_id)
            if spec is None:
                return ""
            if stream_id in self._closed:
                return spec.user_id
            self._users[stream_id] = (spec.user_id, spec.exchange)
        return self._users[stream_id][0]

    def _wake(self, stream_id: str, owner: str | None) -> None:
        self._state.notify(owner or "*", json.dumps({"t": "reconcile", "id": stream_id, **TRACES.carried(stream_id)}))

    def _deliver(self, message: Message) -> None:
        if not isinstance(message, AccountMessage) and isinstance(message, InfoMessage | ServiceMessage):
            with self._moved:
                self._moved.notify_all()
        super()._deliver(message)

    def _completed(self, event: Event[Any]) -> Event[Any]:
        return msgspec.structs.replace(event, user_id=self._user_of(event.stream_id)) if event.stream_id else event


def _checked(user_id: str, api: Mapping[str, str]) -> tuple[str, Credentials]:
    """Exchange id and keys. A program's mistake is told, where the service puts up with what its backend sends."""
    if not user_id:
        raise InvalidCommand("user_id: is empty")
    for name, value in api.items():
        if name not in FIELDS:
            raise InvalidCommand(f"api: has no {name}; it takes {', '.join(sorted(FIELDS))}")
        if not isinstance(value, str):
            raise InvalidCommand(f"api.{name}: must be text")
    exchange = api.get("provider", "")
    venue = venue_of(exchange)
    if venue is None or "user" not in venue.feeds:
        known = sorted(one for each in venues().values() if "user" in each.feeds for one in each.exchanges)
        raise InvalidCommand(f"api.provider: takes one of {', '.join(known)}")
    for name, allowed in _choices(exchange).items():
        if name in api and api[name] not in allowed:
            raise InvalidCommand(f"api.{name}: takes {' or '.join(sorted(allowed)) or 'nothing on this exchange'}")
    refusal = venue.sandbox_refusal(exchange) if api.get("environment") == "sandbox" else None
    if refusal is not None:
        raise InvalidCommand(f"api.environment: {refusal}")
    keys = credentials(
        api.get("key"),
        api.get("secret"),
        api.get("passphrase"),
        keys_type=api.get("keysType"),
        okx_source=api.get("okxSource"),
        bybit_host=api.get("bybitHost"),
        environment=api.get("environment"),
    )
    return exchange, keys


def _choices(exchange: str) -> dict[str, frozenset[str]]:
    sites = {"okx": "okxSource", "bybit": "bybitHost"}
    found = {"environment": frozenset({"live", "sandbox"}), "keysType": frozenset({"legacy", "cloud"})}
    for family, name in sites.items():
        found[name] = venues()[family].regions if family_of(exchange) == family else frozenset()
    return found


def _id_of(user_id: str, exchange: str, keys: Credentials) -> str:
    return hashlib.sha256("\x00".join((user_id, exchange, keys.digest)).encode()).hexdigest()[:32]
