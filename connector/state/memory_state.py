"""`State` in one process: for `make run`, tests, and as the measure of what `RedisState` must do."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final

import msgspec

from connector.core.clock import SystemClock
from connector.core.copies import Copy
from connector.core.ports import Applied, CandleKey, Clock, Gate, Glance, Wanted
from connector.core.stamps import Stamped
from connector.core.window import period_ms
from connector.state._entry import merged
from connector.state._marks import Marks
from connector.state._memory import Deliver, Delivered, Expiring, Inbox, Listening
from connector.state._memory_ownership import MemoryOwnership
from connector.state.bucket import Bucket
from exchanges.credentials import Credentials

TOMBSTONE_S: Final = 3600.0
OWED_S: Final = 600.0
NONCE_S: Final = 600.0


class MemoryState(MemoryOwnership):
    """The `State` of `connector.core.ports` for one process. Any thread; never `StateUnavailable`.

    Credentials are kept as the objects that came in. Notifications are called back from a thread of each listener, as with
    Redis: a caller that holds a lock can't deadlock with its own callback. `deliver` brings them in another way.
    """

    def __init__(self, clock: Clock | None = None, deliver: Deliver | None = None) -> None:
        super().__init__(clock or SystemClock())
        self._deliver = deliver
        self._inboxes: dict[Listening, None] = {}
        self._enabled: frozenset[str] | None = None
        self.last_events: dict[str, int] = {}
        self._births = 1
        self._clear()

    def _clear(self) -> None:
        self._entries: dict[str, Wanted] = {}
        self._closed: Expiring[int] = Expiring(self._clock)
        self._since: dict[str, int] = {}
        """Birth since which a stream's subscribers are known here; 0 = all are. Tombstones hold the same."""
        self._owed: Expiring[int] = Expiring(self._clock)
        """Closes of streams that are not known: their owner may still remember them."""
        self._done: Expiring[bool] = Expiring(self._clock)
        """Nonces of the commands of the last minutes → whether they changed something."""
        self._marks = Marks(self._clock, NONCE_S)
        self._epoch = 0
        self._candles: set[CandleKey] = set()
        self._asked_candles: set[CandleKey] | None = None
        self._forget_owners()
        self._gates: Expiring[Gate] = Expiring(self._clock)
        self._positions: Expiring[bytes] = Expiring(self._clock)
        self._buckets: dict[str, Bucket] = {}
        self._once: Expiring[str] = Expiring(self._clock)
        self._texts: Expiring[str] = Expiring(self._clock)

    def flush(self) -> None:
        """Forget everything, as a Redis that restarts without a disk does. For drills and tests."""
        with self._lock:
            self._clear()

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
        with self._lock:
            if (again := self._answered(nonce, stream_id, copy)) is not None:
                return again
            before = self._entries.get(stream_id)
            self._epoch = max(self._epoch, before.epoch if before else 0)
            same_key = before is not None and before.digest == credentials.digest
            counts_on = before is not None and before.epoch >= self._epoch
            wanted = Wanted(
                stream_id=stream_id,
                exchange=before.exchange if before and same_key else exchange,
                user_id=before.user_id if before and same_key else user_id,
                count=before.count + 1 if before and counts_on else 1,
                generation=before.generation if before else 0,
                digest=credentials.digest,
                credentials=merged(credentials, before.credentials if before and same_key else None),
                epoch=self._epoch,
                born=before.born if before else self._born(stream_id),
            )
            self._entries[stream_id] = wanted
            self._closed.drop(stream_id)
            self._found(stream_id)
            return self._carried_out(nonce, stream_id, wanted, copy, changed=not (same_key and counts_on))

    def close(self, stream_id: str, *, everybody: bool = False, nonce: str = "", copy: Copy | None = None) -> Applied:
        """Count - 1. After `begin_epoch` it counts down from the old number until the first new open."""
        with self._lock:
            if (again := self._answered(nonce, stream_id, copy)) is not None:
                return again
            wanted = self._entries.get(stream_id)
            if wanted is None:
                if self._closed.get(stream_id) != 0:
                    self._owed.set(stream_id, (self._owed.get(stream_id) or 0) + 1, OWED_S)
                return self._carried_out(nonce, stream_id, None, copy, changed=False)
            if wanted.count <= 1 or everybody:
                self._forget(stream_id, since=0 if everybody else self._since.get(stream_id, 0))
                return self._carried_out(nonce, stream_id, None, copy, changed=True)
            wanted = self._entries[stream_id] = msgspec.structs.replace(wanted, count=wanted.count - 1)
            return self._carried_out(nonce, stream_id, wanted, copy, changed=False)

    def restart(self, stream_id: str, *, nonce: str = "") -> Applied:
        """Generation + 1."""
        with self._lock:
            wanted = self._entries.get(stream_id)
            if wanted is None:
                return self._applied(stream_id, None, changed=False)
            if (again := self._answered(nonce, stream_id)) is not None:
                return again
            wanted = self._entries[stream_id] = msgspec.structs.replace(wanted, generation=wanted.generation + 1)
            return self._carried_out(nonce, stream_id, wanted, changed=True)

    def _answered(self, nonce: str, stream_id: str, copy: Copy | None = None) -> Applied | None:
        """The answer to a command that was carried out before, with the entry as it is."""
        changed = self._done.get(nonce)
        if changed is None and (changed := self._marks.carried_out_elsewhere(copy)) is not None:
            return self._carried_out(nonce, stream_id, self._entries.get(stream_id), copy, changed=changed)
        return None if changed is None else self._applied(stream_id, self._entries.get(stream_id), changed=changed)

    def _carried_out(
        self, nonce: str, stream_id: str, wanted: Wanted | None, copy: Copy | None = None, *, changed: bool
    ) -> Applied:
        if nonce:
            self._done.set(nonce, changed, NONCE_S)
        self._marks.leave(copy, nonce, changed=changed)
        return self._applied(stream_id, wanted, changed=changed)

    def _applied(self, stream_id: str, wanted: Wanted | None, *, changed: bool) -> Applied:
        lease = self._leases.get(stream_id)
        return Applied(wanted=wanted, owner=lease[0] if lease else None, changed=changed)

    def drop_marks(self, marks: Sequence[tuple[Copy, str]]) -> None:
        with self._lock:
            self._marks.drop(marks)

    def _born(self, stream_id: str) -> int:
        """A number for a new entry."""
        self._births += 1
        closed = self._closed.get(stream_id)
        self._since[stream_id] = self._births if closed is None else closed
        return self._births

    def _forget(self, stream_id: str, since: int = 0) -> None:
        self._free.discard(stream_id)
        self._entries.pop(stream_id, None)
        self._since.pop(stream_id, None)
        self._closed.set(stream_id, since, TOMBSTONE_S)

    def wanted(self, stream_ids: Sequence[str]) -> dict[str, Wanted]:
        with self._lock:
            self._free.difference_update(name for name in stream_ids if name not in self._entries)
            return {name: self._entries[name] for name in stream_ids if name in self._entries}

    def glance(self, stream_ids: Sequence[str]) -> dict[str, Glance]:
        return {
            name: Glance(wanted.count, wanted.generation, wanted.digest, wanted.epoch)
            for name, wanted in self.wanted(stream_ids).items()
        }

    def wanted_ids(self) -> set[str]:
        with self._lock:
            return set(self._entries)

    def remember(self, wanted: Wanted) -> bool:
        """Write the entry if it was flushed; not if it was closed within the last hour. See `remember.lua`."""
        with self._lock:
            self._epoch = max(self._epoch, wanted.epoch)
            stream_id, closed = wanted.stream_id, self._closed.get(wanted.stream_id)
            if wanted.count < 1 or (closed is not None and wanted.born >= closed):
                return False
            self._found(stream_id)
            left = max(0, wanted.count - (self._owed.get(stream_id) or 0))
            present = self._entries.get(stream_id)
            if present is not None:
                self._merge(present, wanted, left)
                return True
            self._owed.drop(stream_id)
            if not left:
                self._forget(stream_id)
                return False
            self._closed.drop(stream_id)
            self._since[stream_id] = 0
            self._entries[stream_id] = msgspec.structs.replace(wanted, count=left)
            return True

    def _merge(self, present: Wanted, wanted: Wanted, left: int) -> None:
        """An open came before the owner remembered the stream."""
        # Its generation started at 0 again, and a restart would not exceed the session's.
        merged = msgspec.structs.replace(present, generation=max(present.generation, wanted.generation))
        if wanted.born < self._since.get(present.stream_id, 0):
            if wanted.epoch >= present.epoch:
                merged = msgspec.structs.replace(merged, count=present.count + left, epoch=wanted.epoch)
            self._since[present.stream_id] = 0
            self._owed.drop(present.stream_id)
        self._entries[present.stream_id] = merged

    def begin_epoch(self, now_ms: int) -> int:
        """An entry keeps its count until its first open in the new epoch, which sets it to 1."""
        with self._lock:
            self._epoch = max(self._epoch + 1, now_ms)
            return self._epoch

    def close_stale(self, epoch: int) -> list[str]:
        with self._lock:
            stale = [name for name, wanted in self._entries.items() if wanted.epoch < epoch]
            for stream_id in stale:
                self._forget(stream_id)
            return stale

    # --- candles ---

    def add_candle(self, key: CandleKey, *, asked: bool = True) -> bool:
        with self._lock:
            new = key not in self._candles
            self._candles.add(key)
            if asked and self._asked_candles is not None:
                self._asked_candles.add(key)
            return new

    def begin_candles(self) -> None:
        with self._lock:
            self._asked_candles = set()

    def drop_candles(self, name: str) -> set[CandleKey]:
        with self._lock:
            asked, self._asked_candles = self._asked_candles, None
            unasked = self._candles - asked if asked is not None else set()
            self._candles -= unasked
            if unasked:
                self._texts.set("candles:dropped", name, None)
            return unasked

    def remove_candle(self, key: CandleKey) -> None:
        with self._lock:
            self._candles.discard(key)

    def candles(self) -> set[CandleKey]:
        with self._lock:
            return set(self._candles)

    # --- auth gates ---

    def gate(self, stream_id: str) -> Gate | None:
        with self._lock:
            return self._gates.get(stream_id)

    def set_gate(self, stream_id: str, gate: Gate, keep_ms: int, owner: str | None = None) -> None:
        with self._lock:
            if not self._others(stream_id, owner):
                self._gates.set(stream_id, gate, keep_ms / 1000)

    def clear_gate(self, stream_id: str, digest: str) -> None:
        with self._lock:
            gate = self._gates.get(stream_id)
            if gate is not None and gate.digest == digest:
                self._gates.drop(stream_id)

    # --- positions ---

    def save_positions(self, positions: Mapping[str, bytes], keep_s: int, owner: str | None = None) -> None:
        with self._lock:
            for stream_id, position in positions.items():
                if not self._others(stream_id, owner):
                    self._positions.set(stream_id, position, keep_s)

    def positions(self, stream_ids: Sequence[str]) -> dict[str, bytes]:
        with self._lock:
            found = {stream_id: self._positions.get(stream_id) for stream_id in stream_ids}
            return {stream_id: position for stream_id, position in found.items() if position is not None}

    def drop_position(self, stream_id: str) -> None:
        with self._lock:
            self._positions.drop(stream_id)

    # --- budgets ---

    def take(self, bucket: str, cost: int, count: int, per_s: float, now_ms: int) -> int:
        """Raises `ValueError` if `cost` exceeds `count`: no wait would be long enough."""
        period = period_ms(cost, count, per_s)
        with self._lock:
            return self._buckets.setdefault(bucket, Bucket()).take(cost, count, period, now_ms)

    def block(self, bucket: str, until_ms: int) -> None:
        """The longest ban counts."""
        with self._lock:
            self._buckets.setdefault(bucket, Bucket()).block(until_ms)

    # --- once, texts, admin config ---

    def once(self, name: str, owner: str, ttl_s: float) -> bool:
        with self._lock:
            if self._once.get(name) is not None:
                return False
            self._once.set(name, owner, ttl_s)
            return True

    def get(self, name: str) -> str | None:
        with self._lock:
            return self._texts.get(name)

    def put(self, name: str, value: str, ttl_s: float | None = None) -> None:
        with self._lock:
            self._texts.set(name, value, ttl_s)

    def put_all(self, texts: Mapping[str, str], ttl_s: float) -> None:
        with self._lock:
            for name, value in texts.items():
                self._texts.set(name, value, ttl_s)

    def get_all(self, names: Sequence[str]) -> list[str | None]:
        with self._lock:
            return [self._texts.get(name) for name in names]

    def swap(self, name: str, before: str | None, after: str | None, ttl_s: float | None = None) -> bool:
        with self._lock:
            if self._texts.get(name) != before:
                return False
            self._texts.drop(name) if after is None else self._texts.set(name, after, ttl_s)
            return True

    def last_event_ms(self, stream_id: str) -> int:
        """What tests put there: no Redis, no events on it."""
        return self.last_events.get(stream_id, 0)

    def enabled_exchanges(self) -> frozenset[str] | None:
        with self._lock:
            return self._enabled

    def set_enabled_exchanges(self, enabled: frozenset[str] | None) -> None:
        """What the platform's admin page does: set the ids (None = everything) and tell every listener."""
        with self._lock:
            self._enabled = enabled
            for inbox in self._inboxes:
                inbox.put("admin-config")

    # --- notifications ---

    def notify(self, owner: str, text: str) -> None:
        with self._lock:
            for inbox in self._inboxes:
                if owner in ("*", inbox.owner):
                    inbox.put(text)

    def listen(self, owner: str, callback: Callable[[str], None]) -> Callable[[], None]:
        inbox: Listening = (
            Inbox(owner, callback) if self._deliver is None else Delivered(owner, callback, self._deliver)
        )
        with self._lock:
            self._inboxes[inbox] = None

        def stop() -> None:
            with self._lock:
                self._inboxes.pop(inbox, None)
            inbox.stop()

        return stop

    def listening(self) -> set[str]:
        with self._lock:
            return {inbox.owner for inbox in self._inboxes}

    # --- connection ---

    def threads(self) -> Sequence[Stamped]:
        """None: what is brought within a process can't be lost on the way."""
        return []

    def ping(self) -> bool:
        """Always True."""
        return True

    def close_connections(self) -> None:
        """Stop the listeners."""
        with self._lock:
            inboxes, self._inboxes = self._inboxes, {}
        for inbox in inboxes:
            inbox.stop()
