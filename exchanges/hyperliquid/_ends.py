"""Cancelled orders wait a moment before they are told: a modify cancels, too, and its new order may come in a later frame."""

from __future__ import annotations

from collections import OrderedDict
from typing import Final

from exchanges._adapter import Instant
from exchanges.hyperliquid._orders import Update

WAIT_S: Final = 1.0
"""For the row of the new order, before the venue is asked."""
ASK_LIMIT_S: Final = 10.0
"""REST may hang without any answer: then this try counts as failed."""
TRIES: Final = 3
MAX_WAITING: Final = 5_000


class _End:
    __slots__ = ("due", "tries", "update")

    def __init__(self, update: Update, due: float) -> None:
        self.update, self.due = update, due
        self.tries = 0


class Ends:
    """By order id. I/O thread of the session only."""

    def __init__(self) -> None:
        self._waiting: OrderedDict[int, _End] = OrderedDict()

    def wait(self, update: Update, now: Instant) -> Update | None:
        """Returns the one that has to go out now, if there are too many."""
        self._waiting.setdefault(update.order.oid, _End(update, now.mono + WAIT_S)).update = update
        return self._waiting.popitem(last=False)[1].update if len(self._waiting) > MAX_WAITING else None

    def settle(self, oid: int) -> Update | None:
        """Take out an order of which is known now what became of it."""
        end = self._waiting.pop(oid, None)
        return end.update if end is not None else None

    def due(self, now: Instant) -> tuple[list[Update], list[Update]]:
        """The orders to ask the venue about, and those about which it was asked in vain: they are taken out."""
        ask: list[Update] = []
        over: list[Update] = []
        for oid, end in list(self._waiting.items()):
            if end.due > now.mono:
                continue
            if end.tries >= TRIES:
                over.append(end.update)
                del self._waiting[oid]
                continue
            end.tries += 1
            end.due = now.mono + ASK_LIMIT_S
            ask.append(end.update)
        return ask, over

    def failed(self, oid: int, now: Instant) -> None:
        """The venue did not say: it is asked again, a little later each time."""
        end = self._waiting.get(oid)
        if end is not None:
            end.due = now.mono + WAIT_S * 2 ** (end.tries - 1)

    def deadline(self) -> float | None:
        return min((end.due for end in self._waiting.values()), default=None) if self._waiting else None
