"""The order of everything that must reach the broker: what is sent next, what waits on disk, what waits in memory.

::

    submit → tail (memory) ──────────────────────→ head → in flight → confirmed
                └─ spill → outbox (disk) ─ load ─→

Oldest first: in flight, head, outbox, tail. The tail goes to disk when it is longer than `memory_messages`, and nothing
of it may overtake the outbox. The head is what was taken to be sent: from the tail, a loaded portion, or a lost
connection.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Collection, Iterable, Sequence
from itertools import islice
from typing import Final

import msgspec

from connector.core.log import get_logger
from connector.core.messages import AccountMessage, InfoMessage, Spoiled
from connector.core.metrics import METRICS
from connector.core.ports import Clock
from connector.sinks._amqp_messages import InMemory, Outgoing, in_memory, restored, stored
from connector.sinks._common import Elsewhere, Permitted, Progress, Throttle, always, call_back
from connector.sinks._stores import Portion
from connector.sinks.outbox import Outbox, OutboxFull, OutboxUnusable

log = get_logger(__name__)

SPILL_RECORDS: Final = 1_000
"""Records per write and fsync."""
TAKE: Final = 500
DISK_RETRY_S: Final = 1.0
ANSWER_GOOD_FOR_S: Final = 1.0
"""How long an answer about the owners of leftovers is good for."""


class DurableLane:
    """Methods marked *lock* are called with the sink's lock held, all others from the publisher thread without it."""

    def __init__(
        self, lock: threading.Lock, *, memory_messages: int, outbox: Outbox | None, name: str, clock: Clock
    ) -> None:
        self._clock = clock
        self.progress = Progress()
        self.tail: deque[Outgoing] = deque()
        self.lost = 0
        """Account messages that were taken and can't be published: the broker's or our own encoder refuses them."""
        self.leftovers = 0
        """Records of earlier processes that are not confirmed yet."""
        self.trouble = ""
        """What is wrong with the disk, for the status."""
        self.on_spoiled: Spoiled | None = None
        """Told of what this process wrote to disk and can't read any more. What an earlier one left is older than the
        position that its streams go on from, so gap repair has it."""
        self.owned_elsewhere: Elsewhere | None = None
        """Asked about what an earlier process left behind."""
        self.permitted: Permitted = always
        self.held_back = False
        """`next` found a message that may not go out now."""
        self.alive_mono = 0.0
        """When `owned_elsewhere` was last asked: each answer may take seconds, and there may be many questions."""
        self._elsewhere: Collection[str] = ()
        self._asked: set[str] = set()
        self._answered_at = 0.0
        self._revoked: dict[str, float] = {}
        """Stream → when it went to another process with events still unconfirmed here."""
        self._left: dict[str, float] = {}
        """Stream → when its last subscriber left with events still unconfirmed here."""
        self._lock = lock
        self._memory_messages = memory_messages
        self._name = name
        self._outbox = outbox
        self._head: deque[Outgoing] = deque()
        self._loaded: set[Portion] = set()
        self._write_again_at = self._read_again_at = 0.0
        self._may_log = Throttle(clock)

    # --- lock ---

    def room(self, count: int) -> bool:
        """Whether `count` more may be taken: twice the spill threshold gives the publisher time to write."""
        return len(self.tail) + count <= 2 * self._memory_messages

    @property
    def overlong(self) -> bool:
        return len(self.tail) > self._memory_messages

    def revoke(self, stream_id: str) -> None:
        """Order events of this stream that are not sent yet will not be: another process publishes them.

        Changes of balances by a difference stay, also when the stream was taken from a process that was cut off: gap repair
        can't tell them, their order does not matter, and if the next owner told one too, it has the same message id.
        """
        self._revoked[stream_id] = self._clock.mono()

    def leave(self, stream_id: str) -> None:
        """The stream ended with events still unconfirmed here: when the broker takes them, another process may run it that
        was asked for it since. That one has found them by gap repair, and may have told newer ones."""
        self._left[stream_id] = self._clock.mono()

    def push(self, outgoing: Outgoing) -> None:
        self.tail.append(outgoing)
        self.progress.added += 1

    # --- publisher thread ---

    def open(self) -> None:
        """Adopt what earlier processes left behind; a directory that can't be used costs the disk, not the sink."""
        if self._outbox is None:
            return
        try:
            self.leftovers = self._outbox.open()
        except OutboxUnusable as error:
            self.trouble = f"outbox unusable: {error}"
            log.error("outbox unusable, account events wait in memory only", sink=self._name, why=str(error))
            self._outbox = None
            return
        if self.leftovers:
            log.warning("messages of an earlier process will be sent first", sink=self._name, messages=self.leftovers)

    @property
    def on_disk(self) -> bool:
        """Whether what is left at the end can be kept."""
        return self._outbox is not None

    @property
    def waiting(self) -> bool:
        """Whether `next` may find something. A guess for any thread: the tail may change."""
        return bool(self._head or self.tail) or self.waiting_on_disk

    @property
    def waiting_on_disk(self) -> bool:
        """Whether the outbox holds messages that were not taken yet (it can't be read, if `next` gave none)."""
        return self._outbox is not None and not self._outbox.empty

    def next(self) -> Outgoing | None:
        """The oldest message that is not in flight; None also while it may not go out (`held_back`)."""
        self.held_back = False
        while (item := self._oldest()) is not None:
            if self._is_revoked(item):
                self.settle([item])
                continue
            theirs = self._left_to_others(item) if self._may_go(item) else None
            if theirs is None:
                self._head.appendleft(item)
                self.held_back = True
                return None
            if not theirs:
                return item
            self.settle([item])
        return None

    def _may_go(self, item: Outgoing) -> bool:
        return not isinstance(item.message, AccountMessage | InfoMessage) or self.permitted() > 0

    def _left_to_others(self, item: Outgoing) -> bool | None:
        """Whether this event is left from before (an earlier process, or a subscription that ended), and another process has
        published later ones of its stream since. None: that can't be told now."""
        message = item.message
        if not isinstance(message, AccountMessage) or not self._from_before(item, message):
            return False
        if self.owned_elsewhere is None:
            return False
        now = self._clock.mono()
        old = message.stream_id not in self._asked or now - self._answered_at >= ANSWER_GOOD_FOR_S
        if old and not self._ask_for_owners(self.owned_elsewhere, [item, *self._head]):
            return None
        return message.stream_id in self._elsewhere

    def _from_before(self, item: Outgoing, message: AccountMessage) -> bool:
        return message.repeatable and (not item.counted or item.born <= self._left.get(message.stream_id, -1.0))

    def _ask_for_owners(self, ask: Elsewhere, items: Iterable[Outgoing]) -> bool:
        """About all streams of these leftovers at once: the state may take seconds for an answer. False if it gave none."""
        self._asked = {
            message.stream_id
            for item in items
            if isinstance(message := item.message, AccountMessage) and self._from_before(item, message)
        }
        self.alive_mono = self._clock.mono()
        elsewhere = ask(sorted(self._asked))
        self.alive_mono = self._answered_at = self._clock.mono()
        if elsewhere is None:
            self._asked = set()
            return False
        self._elsewhere = elsewhere
        return True

    def _is_revoked(self, item: Outgoing) -> bool:
        message = item.message
        if not isinstance(message, AccountMessage) or not message.repeatable:
            return False
        return item.born <= self._revoked.get(message.stream_id, -1.0)

    def _oldest(self) -> Outgoing | None:
        while not self._head:
            if self._outbox is not None and not self._outbox.empty:
                if not self._load(self._outbox):
                    return None
                continue
            with self._lock:
                self._head.extend(self.tail.popleft() for _ in range(min(TAKE, len(self.tail))))
            if not self._head:
                return None
        return self._head.popleft()

    def give_back(self, items: Sequence[Outgoing]) -> None:
        """What was taken and must be sent (again), before everything else."""
        self._head.extendleft(reversed(items))

    def settle(self, items: Iterable[Outgoing]) -> None:
        """These are at the broker, or given up."""
        counted = 0
        for item in items:
            if item.counted:
                counted += 1
            else:
                self.leftovers -= 1
            if item.portion is not None:
                self._count_down(item.portion)
        with self._lock:
            self.progress.settled += counted
            if not self.progress.pending and not self.leftovers:
                # Nothing is left here that they could speak of.
                self._revoked.clear()
                self._left.clear()

    def give_up(self, items: Sequence[Outgoing], why: str) -> None:
        """Messages that can never be published."""
        events = sum(isinstance(item.message, AccountMessage) for item in items)
        if events:
            self.lost += events
            METRICS.count("account_events_lost_total", events, sink=self._name)
        if self._may_log("give up"):
            log.error("messages can't be published", sink=self._name, messages=len(items), account=events, why=why)
        self.settle(items)

    def spill(self) -> None:
        """Move the tail to disk if it is too long. Full or failing disk: it stays, and `room` says no before long."""
        if self.overlong:
            self._to_disk(head=False)

    def keep_waiting(self, *, in_flight: bool) -> None:
        """The broker is away: all that waits goes to disk now, so that it outlives this machine's memory.

        `in_flight`: something may still be confirmed; then the head stays, because its place on disk is before that.
        """
        if self.tail or not in_flight:
            self._to_disk(head=not in_flight)

    def _to_disk(self, *, head: bool) -> None:
        outbox = self._outbox
        if outbox is None or self._clock.mono() < self._write_again_at:
            return
        before = outbox.records
        try:
            if head and any(item.portion is None for item in self._head):
                self._save_head(outbox)
            self._spill_all(outbox)
        except (OutboxFull, OSError) as error:
            self._write_again_at = self._clock.mono() + DISK_RETRY_S
            self.trouble = f"outbox can't take more: {error}"
            if self._may_log("full"):
                log.error("outbox can't take more, events wait in memory", sink=self._name, why=str(error))
        else:
            self.trouble = ""
        if outbox.records > before and self._may_log("spilled"):
            log.warning("messages wait on disk", sink=self._name, messages=outbox.records, bytes=outbox.used_bytes)

    def persist(self) -> int:
        """At the end: everything unconfirmed to disk, in order. Returns how many messages could not be kept."""
        with self._lock:
            remaining = len(self._head) + len(self.tail)
        outbox = self._outbox
        if outbox is None:
            return remaining
        try:
            head = len(self._head)
            self._save_head(outbox)
            remaining -= head
            self._spill_all(outbox)
            with self._lock:
                remaining = len(self.tail)
        except (OutboxFull, OSError) as error:
            log.error("unconfirmed messages can't be kept on disk", sink=self._name, messages=remaining, why=str(error))
        if outbox.records:
            log.warning("unconfirmed messages are kept on disk", sink=self._name, messages=outbox.records)
        outbox.close()
        return remaining

    def _save_head(self, outbox: Outbox) -> None:
        pairs = self._encoded(self._head)
        if pairs:
            outbox.prepend([record for _, record in pairs], [in_memory(item) for item, _ in pairs])
        for portion in tuple(self._loaded):
            # Its unconfirmed records are in the new first portion.
            self._forget(portion)
        self._head.clear()

    def _spill_all(self, outbox: Outbox) -> None:
        while True:
            with self._lock:
                batch = list(islice(self.tail, SPILL_RECORDS))
            if not batch:
                return
            pairs = self._encoded(batch)
            outbox.append([record for _, record in pairs], [in_memory(item) for item, _ in pairs])
            with self._lock:
                for _ in batch:
                    self.tail.popleft()

    def _encoded(self, items: Iterable[Outgoing]) -> list[tuple[Outgoing, bytes]]:
        pairs = []
        for item in items:
            if self._is_revoked(item):
                self.settle([item])
                continue
            try:
                pairs.append((item, stored(item)))
            except (UnicodeEncodeError, TypeError) as error:
                self.give_up([item], type(error).__name__)
        return pairs

    def _load(self, outbox: Outbox) -> bool:
        """Take the oldest portion into the head; False if it can't be read now."""
        if self._clock.mono() < self._read_again_at:
            return False
        try:
            loaded = outbox.load()
        except OSError as error:
            self._read_again_at = self._clock.mono() + DISK_RETRY_S
            self.trouble = f"outbox can't be read: {error.strerror}"
            if self._may_log("read"):
                log.error("outbox can't be read, newer messages wait behind it", sink=self._name, why=error.strerror)
            return False
        if loaded is None:
            return True
        portion, records = loaded
        items = self._restored(portion, records)
        portion.left = len(items)
        if len(items) < portion.records:
            self._count_damaged(portion, items)
        if items:
            self._loaded.add(portion)
            self._head.extend(items)
        else:
            outbox.discard(portion)
        return True

    def _restored(self, portion: Portion, records: Sequence[bytes | None]) -> list[Outgoing]:
        own = bool(portion.extras)
        extras = portion.extras if len(portion.extras) == len(records) else [None] * len(records)
        items = []
        now = self._clock.mono()
        for index, (record, kept) in enumerate(zip(records, extras, strict=True)):
            if record is None:
                continue
            try:
                item = restored(record, kept, now)
            except msgspec.DecodeError:
                portion.bad.add(index)
                continue
            item.portion = portion
            item.counted = own and (not isinstance(kept, InMemory) or kept.counted)
            items.append(item)
        return items

    def _count_damaged(self, portion: Portion, items: Sequence[Outgoing]) -> None:
        records = portion.records - len(items)
        log.error("outbox records can't be read", sink=self._name, records=records)
        METRICS.count("account_events_lost_total", records, sink=self._name)
        self.lost += records
        left = sum(isinstance(kept, InMemory) and not kept.counted for kept in portion.extras)
        left = left - sum(not item.counted for item in items) if portion.extras else records
        self.leftovers -= left
        with self._lock:
            self.progress.settled += records - left
        call_back(self.on_spoiled, self._owners(portion), self._name)

    def _owners(self, portion: Portion) -> list[str]:
        """The stream of each account message of this process that can't be read, and that nobody else tells."""
        kept = [portion.extras[index] for index in sorted(portion.bad) if index < len(portion.extras)]
        return [
            one.stream_id
            for one in kept
            if isinstance(one, InMemory) and one.stream_id and one.counted
            if one.born > self._revoked.get(one.stream_id, -1.0)
        ]

    def _count_down(self, portion: Portion) -> None:
        portion.left -= 1
        if portion.left <= 0:
            self._forget(portion)

    def _forget(self, portion: Portion) -> None:
        self._loaded.discard(portion)
        if self._outbox is not None:
            self._outbox.discard(portion)
