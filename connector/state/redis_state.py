"""`State` on Redis: shared by all processes; nothing in it that its owners can't write again."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, Final

import msgspec

from connector.core.channels import LAST_EVENT_TIME
from connector.core.copies import Copy
from connector.core.errors import StateUnavailable
from connector.core.log import get_logger
from connector.core.places import RedisPlace, tagged
from connector.core.ports import Applied, Clock, Gate, Glance, Wanted
from connector.core.stamps import Stamped
from connector.core.window import ahead_ms, period_ms, slice_ms
from connector.state import _scripts as lua
from connector.state._candles import CandleSubscriptions
from connector.state._client import Commands, Connection, connect
from connector.state._entry import Keyring, decode, options_of
from connector.state._listener import Listener
from connector.state._marks import MarksOnRedis, arguments_of
from connector.state._ownership import Ownership
from connector.state._texts import Texts
from connector.state._values import as_ms, chunks, decoded, owner_of
from connector.state.vault import Vault
from exchanges.credentials import Credentials

_log = get_logger("state.redis")

TOMBSTONE_S: Final = 3600
"""For so long a closed stream can't be remembered by an owner that has not noticed yet; it will within a heartbeat."""
NONCE_MS: Final = 10 * 60 * 1000
"""For so long a command that is sent again finds the answer to the first time. Tried again at least every 5 s."""
OWED_S: Final = 600
"""For so long a close of a stream that Redis forgot waits for the owner, who still counts that subscriber."""
KEEP_BUCKET_MS: Final = 3600 * 1000
"""Least life of a bucket beyond its period and its ban: the callers' clocks may differ from the server's."""
ADMIN_PREFIX: Final = "gainium:admin:"
"""Contract 3.2."""


class RedisState(Ownership, Texts, CandleSubscriptions, MarksOnRedis):
    """The `State` of `connector.core.ports` on Redis. Any thread.

    Every command and script names keys with the prefix only, so that a prefix with a hash tag (`{wsc:}`) puts all of them
    into one slot of a Redis Cluster; scripts build key names from it. `gainium:admin:…` is read key by key.

    Every Redis error arrives as `StateUnavailable`, except that `ping` answers False and `notify`, whose loss is harmless,
    logs it. Without a vault, credentials stay in the process that got the command; everyone else reads None.

    Redis may evict or lose keys at any time. Owners call `remember` for streams that `wanted` no longer knows, and `renew`
    takes missing leases back.
    """

    def __init__(
        self,
        connection: Connection,
        *,
        prefix: str = "wsc:",
        vault: Vault | None = None,
        socket_timeout_s: float = 2.0,
        connect_timeout_s: float = 2.0,
        admin_prefix: str = ADMIN_PREFIX,
        clock: Clock | None = None,
    ) -> None:
        """Nothing is connected yet. A factory of clients keeps its own timeouts.

        In a cluster a prefix without a hash tag becomes one (`{wsc:}`): all keys live in one slot, at one node.
        """
        self._admin_prefix = admin_prefix
        cluster = isinstance(connection, RedisPlace) and connection.cluster
        self._prefix = prefix = tagged(prefix) if cluster else prefix
        self._client = self._admin_client = connect(connection, prefix, socket_timeout_s, connect_timeout_s)
        self._scores_client = self._client
        if cluster:  # the platform's own keys have no tag
            self._admin_client = connect(connection, self._enabled_key, socket_timeout_s, connect_timeout_s)
            self._scores_client = connect(connection, LAST_EVENT_TIME, socket_timeout_s, connect_timeout_s)
        self._timeout_s = socket_timeout_s + connect_timeout_s
        self._redis = Commands(self._client)
        self._clock = clock
        self._keyring = Keyring(vault)
        self._lock = threading.Lock()
        self._epoch = 0
        self._listeners: set[Listener] = set()
        if vault is None:
            _log.warning(
                "without CREDENTIALS_KEYS or a strong RABBIT_PASSWORD streams can't be taken over by other processes, "
                "nor survive a restart"
            )

    def __repr__(self) -> str:
        return f"RedisState(prefix={self._prefix!r})"

    def _key(self, kind: str, name: str = "") -> str:
        return f"{self._prefix}{kind}:{name}" if name else f"{self._prefix}{kind}"

    # --- commands ---

    def open(
        self,
        stream_id: str,
        exchange: str,
        user_id: str,
        credentials: Credentials,
        now_ms: int,  # noqa: ARG002 - epochs order opens here, no clock does
        *,
        nonce: str = "",
        copy: Copy | None = None,
    ) -> Applied:
        """Count + 1. Options (region, key type) that a command leaves out keep their value while the key stays the same."""
        sealed = self._keyring.seal(credentials)
        keys = [
            self._key("stream", stream_id),
            self._key("streams"),
            self._key("closed", stream_id),
            self._key("epoch"),
            self._key("lease", stream_id),
            self._nonce(nonce),
            self._key("free"),
            self._mark(copy),
        ]
        arguments = [stream_id, exchange, user_id, credentials.digest, sealed, self._epoch, *options_of(credentials)]
        arguments += [NONCE_MS, *arguments_of(copy, nonce)]
        answer = self._redis.run(lua.OPEN, keys, arguments)
        self._keyring.hold(stream_id, credentials)
        return self._applied(stream_id, answer)

    def _nonce(self, nonce: str) -> str:
        return self._key("done", nonce) if nonce else self._key("done:")

    def close(self, stream_id: str, *, everybody: bool = False, nonce: str = "", copy: Copy | None = None) -> Applied:
        """Count - 1. After `begin_epoch` it counts down from the old number until the first new open."""
        keys = [
            self._key("stream", stream_id),
            self._key("streams"),
            self._key("closed", stream_id),
            self._key("lease", stream_id),
            self._nonce(nonce),
            self._key("owed", stream_id),
            self._key("free"),
            self._mark(copy),
        ]
        arguments = [stream_id, TOMBSTONE_S, int(everybody), NONCE_MS, OWED_S, *arguments_of(copy, nonce)]
        applied = self._applied(stream_id, self._redis.run(lua.CLOSE, keys, arguments))
        if applied.changed:
            self._keyring.drop(stream_id)
        return applied

    def restart(self, stream_id: str, *, nonce: str = "") -> Applied:
        """Generation + 1."""
        keys = [self._key("stream", stream_id), self._key("lease", stream_id), self._nonce(nonce)]
        return self._applied(stream_id, self._redis.run(lua.RESTART, keys, [NONCE_MS]))

    def _applied(self, stream_id: str, answer: Sequence[Any]) -> Applied:
        changed, lease, row = answer
        wanted = self._seen(decode(stream_id, row, self._keyring))
        return Applied(wanted=wanted, owner=owner_of(lease), changed=bool(changed))

    def _seen(self, wanted: Wanted | None) -> Wanted | None:
        """Note the newest epoch: this process can restore it when Redis forgot it."""
        if wanted is not None:
            self._note_epoch(wanted.epoch)
        return wanted

    def _note_epoch(self, epoch: int) -> None:
        with self._lock:
            self._epoch = max(self._epoch, epoch)

    def wanted(self, stream_ids: Sequence[str]) -> dict[str, Wanted]:
        """The known ones among them, in one round trip."""
        batches = [
            (
                [self._key("streams"), self._key("free"), *(self._key("stream", stream_id) for stream_id in chunk)],
                chunk,
            )
            for chunk in chunks(stream_ids)
        ]
        rows = [row for answer in self._redis.run_all(lua.WANTED, batches) for row in answer]
        found: dict[str, Wanted] = {}
        for stream_id, row in zip(stream_ids, rows, strict=True):
            wanted = self._seen(decode(stream_id, row, self._keyring))
            if wanted is not None:
                found[stream_id] = wanted
        return found

    def glance(self, stream_ids: Sequence[str]) -> dict[str, Glance]:
        batches = [
            ([self._key("streams"), *(self._key("stream", stream_id) for stream_id in chunk)], chunk)
            for chunk in chunks(stream_ids)
        ]
        rows = [row for answer in self._redis.run_all(lua.GLANCE, batches) for row in answer]
        return {
            stream_id: Glance(int(row[0]), int(row[1]), row[2].decode(), int(row[3]))
            for stream_id, row in zip(stream_ids, rows, strict=True)
            if row
        }

    def wanted_ids(self) -> set[str]:
        return {member.decode() for member in self._redis.call("SMEMBERS", self._key("streams"))}

    def remember(self, wanted: Wanted) -> bool:
        """Write the entry if Redis forgot it; not if it was closed within the last hour. Costs one round trip: call it
        for the streams that `wanted` did not return."""
        if wanted.count < 1:
            return False
        self._seen(wanted)
        sealed = self._keyring.seal(wanted.credentials)
        keys = [
            self._key("stream", wanted.stream_id),
            self._key("streams"),
            self._key("closed", wanted.stream_id),
            self._key("epoch"),
            self._key("owed", wanted.stream_id),
            self._key("lease", wanted.stream_id),
            self._key("free"),
        ]
        arguments = [wanted.stream_id, wanted.exchange, wanted.user_id, wanted.digest, sealed, self._epoch]
        arguments += [*options_of(wanted.credentials), wanted.count, wanted.generation, wanted.epoch]
        arguments += [wanted.born, TOMBSTONE_S]
        if not self._redis.run(lua.REMEMBER, keys, arguments):
            return False
        self._keyring.hold(wanted.stream_id, wanted.credentials, replace_other=False)
        return True

    def begin_epoch(self, now_ms: int) -> int:
        """The new epoch rises even over a Redis that forgot the last one. An entry keeps its count until its first open
        in the new epoch, which sets it to 1."""
        epoch = int(self._redis.run(lua.BEGIN_EPOCH, [self._key("epoch")], [self._epoch, now_ms]))
        self._note_epoch(epoch)
        return epoch

    def close_stale(self, epoch: int) -> list[str]:
        arguments = [epoch, self._key("stream:"), self._key("closed:"), TOMBSTONE_S]
        closed = [
            stream_id.decode()
            for stream_id in self._redis.run(lua.CLOSE_STALE, [self._key("streams"), self._key("free")], arguments)
        ]
        for stream_id in closed:
            self._keyring.drop(stream_id)
        return closed

    def _read(self, kind: str, names: Sequence[str]) -> list[bytes | None]:
        """The values of many keys, in one round trip."""
        commands = [("MGET", *(self._key(kind, name) for name in chunk)) for chunk in chunks(names)]
        return [value for answer in self._redis.pipeline(commands) for value in answer]

    # --- auth gates ---

    def gate(self, stream_id: str) -> Gate | None:
        text = self._redis.call("GET", self._key("gate", stream_id))
        return None if text is None else decoded(text, Gate, "gate")

    def set_gate(self, stream_id: str, gate: Gate, keep_ms: int, owner: str | None = None) -> None:
        self._set_fenced("gate", {stream_id: msgspec.json.encode(gate)}, max(1, keep_ms), owner)

    def clear_gate(self, stream_id: str, digest: str) -> None:
        self._redis.run(lua.CLEAR_GATE, [self._key("gate", stream_id)], [digest])

    # --- positions ---

    def save_positions(self, positions: Mapping[str, bytes], keep_s: int, owner: str | None = None) -> None:
        """One round trip for all."""
        self._set_fenced("position", positions, max(1, keep_s) * 1000, owner)

    def _set_fenced(self, kind: str, values: Mapping[str, bytes], keep_ms: int, owner: str | None) -> None:
        batches = [
            (
                [self._key(each, name) for name in chunk for each in ("lease", kind)],
                [owner or "", keep_ms, *(values[name] for name in chunk)],
            )
            for chunk in chunks(list(values))
        ]
        self._redis.run_all(lua.SET_FENCED, batches)

    def positions(self, stream_ids: Sequence[str]) -> dict[str, bytes]:
        values = self._read("position", stream_ids)
        return {name: value for name, value in zip(stream_ids, values, strict=True) if value is not None}

    def drop_position(self, stream_id: str) -> None:
        self._redis.call("DEL", self._key("position", stream_id))

    # --- budgets ---

    def take(self, bucket: str, cost: int, count: int, per_s: float, now_ms: int) -> int:
        """Raises `ValueError` if `cost` exceeds `count`: no wait would be long enough."""
        period = period_ms(cost, count, per_s)
        arguments = [cost, count, period, now_ms, slice_ms(period), ahead_ms(period), KEEP_BUCKET_MS]
        return int(self._redis.run(lua.TAKE, [self._key("bucket", bucket)], arguments))

    def block(self, bucket: str, until_ms: int) -> None:
        """The longest ban counts."""
        self._redis.run(lua.BLOCK, [self._key("bucket", bucket)], [until_ms, KEEP_BUCKET_MS])

    # --- admin config (once and texts: `Texts`, candles: `CandleSubscriptions`) ---

    def put_all(self, texts: Mapping[str, str], ttl_s: float) -> None:
        self._redis.pipeline(
            [("SET", self._key("text", name), value, "PX", as_ms(ttl_s)) for name, value in texts.items()]
        )

    def get_all(self, names: Sequence[str]) -> list[str | None]:
        return [None if value is None else value.decode() for value in self._read("text", names)]

    def last_event_ms(self, stream_id: str) -> int:
        score = Commands(self._scores_client).call("ZSCORE", LAST_EVENT_TIME, stream_id)
        return 0 if score is None else int(float(score))

    def enabled_exchanges(self) -> frozenset[str] | None:
        text = Commands(self._admin_client).call("GET", self._enabled_key)
        if text is None:
            return None
        try:
            items = msgspec.json.decode(text)
        except (msgspec.MsgspecError, UnicodeDecodeError):
            return None
        return frozenset(item for item in items if isinstance(item, str)) if isinstance(items, list) else None

    @property
    def _enabled_key(self) -> str:
        return f"{self._admin_prefix}enabled_exchanges"

    # --- notifications ---

    def _channel(self, owner: str) -> str:
        return self._key("notify:") + ("*all" if owner == "*" else owner)

    def notify(self, owner: str, text: str) -> None:
        """Best effort: never raises, for the command it tells of has already been applied."""
        try:
            self._redis.call("PUBLISH", self._channel(owner), text)
        except StateUnavailable as error:
            _log.warning("notification lost; the next sweep makes up for it", owner=owner, reason=str(error))

    def listen(self, owner: str, callback: Callable[[str], None]) -> Callable[[], None]:
        """Subscribed when it returns, if Redis can be reached; else it keeps trying and calls `resync` once it succeeds."""
        channels = {self._channel(owner): None, self._channel("*"): None, f"{self._admin_prefix}config": "admin-config"}
        listener = Listener(self._client, channels, callback, name=f"state-listener:{owner}", clock=self._clock)
        with self._lock:
            self._listeners.add(listener)
        listener.start(self._timeout_s)

        def stop() -> None:
            listener.stop()
            with self._lock:
                self._listeners.discard(listener)

        return stop

    def listening(self) -> set[str]:
        start = self._channel("")
        found = self._redis.call("PUBSUB", "CHANNELS", f"{_literally(start)}*")
        return {channel.decode()[len(start) :] for channel in found} - {"*all"}

    # --- connection ---

    def threads(self) -> Sequence[Stamped]:
        with self._lock:
            listeners = list(self._listeners)
        return [Stamped(one.thread.name, one.thread, partial(getattr, one, "alive_mono")) for one in listeners]

    def ping(self) -> bool:
        """Whether Redis answers now."""
        try:
            return bool(self._redis.call("PING"))
        except StateUnavailable:
            return False

    def close_connections(self) -> None:
        """Stop the listeners and close the pools. A later call would connect again."""
        with self._lock:
            listeners, self._listeners = self._listeners, set()
        for listener in listeners:
            listener.stop()
        self._client.connection_pool.disconnect()
        self._admin_client.connection_pool.disconnect()
        self._scores_client.connection_pool.disconnect()


def _literally(text: str) -> str:
    """A pattern of Redis that matches this text alone."""
    return "".join(f"\\{letter}" if letter in "*?[]^\\" else letter for letter in text)
