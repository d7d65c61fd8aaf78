"""What the broker did not keep although it was sent: refused (nack), or returned because no queue took it."""

from __future__ import annotations

from collections.abc import Sequence

from connector.core.log import get_logger
from connector.core.metrics import METRICS
from connector.core.ports import Clock
from connector.sinks._amqp_messages import Outgoing, short
from connector.sinks._common import Throttle

log = get_logger(__name__)


class Refusals:
    """Publisher's thread. While `holding`, nothing newer is sent: what was already in flight behind a refused message can't
    be called back, but once it has landed, the refused go out again, in order, before everything else."""

    def __init__(self, name: str, clock: Clock) -> None:
        self.holding = False
        self.cautious = 0
        """So many are sent one at a time: they were refused, and must not be overtaken again."""
        self.rounds = 0
        """How often in a row something was refused, for the pauses."""
        self.queue_missing = False
        """Something was returned: the queue must be declared and bound again first."""
        self._items: list[Outgoing] = []
        self._refused = 0
        self._returned: set[str] = set()
        self._name = name
        self._may_log = Throttle(clock)

    def __bool__(self) -> bool:
        return bool(self._items)

    def returned(self, message_id: str) -> None:
        """No queue took this message; its confirm follows."""
        self._returned.add(message_id)
        METRICS.count("events_returned_total", sink=self._name)
        if self._may_log("returned"):
            log.error("the event queue is gone, or not bound: it is declared again, nothing is lost", sink=self._name)

    def split(self, items: Sequence[Outgoing]) -> tuple[list[Outgoing], list[Outgoing]]:
        """Confirmed messages: those that are kept, and those that were returned."""
        if not self._returned:
            return list(items), []
        kept = [item for item in items if short(item.message_id) not in self._returned]
        back = [item for item in items if short(item.message_id) in self._returned]
        self._returned.difference_update(short(item.message_id) for item in back)
        return kept, back

    def take_returned(self, items: Sequence[Outgoing]) -> None:
        self._hold(items)
        self.queue_missing = True

    def take_refused(self, items: Sequence[Outgoing]) -> None:
        self._hold(items)
        self._refused += len(items)
        if self._may_log("nack"):
            log.error("the broker refuses messages, they will be sent again", sink=self._name, messages=len(items))

    def _hold(self, items: Sequence[Outgoing]) -> None:
        self._items.extend(items)
        self.holding = True

    def release(self) -> list[Outgoing]:
        """All has landed: what goes out again, the refused one at a time.

        Of the returned only the first: it shows whether the queue is there, and nothing newer was kept meanwhile.
        """
        self.cautious = max(self.cautious, self._refused or 1)
        self.rounds += 1
        return self.give_back()

    def give_back(self, more: Sequence[Outgoing] = ()) -> list[Outgoing]:
        """All of them, and `more`, in the order in which they were sent."""
        items = sorted([*self._items, *more], key=lambda item: item.tag)
        self._items.clear()
        self._refused = 0
        return items

    def landed(self, messages: int) -> None:
        """So many were kept."""
        self.cautious = max(0, self.cautious - messages)
        if not self.cautious:
            self.rounds = 0

    def connection_lost(self) -> None:
        """Nothing is answered any more; the next connection declares the queue itself."""
        self.holding = self.queue_missing = False
        self._returned.clear()
