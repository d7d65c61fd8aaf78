"""Orders that a push leaves open, asked for by REST: an unlisted state, an unknown unit, a fill that may be forced. Pure."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import msgspec

from exchanges._adapter import Answer, Call, Instant, Note, Output
from exchanges._frames import RETRYABLE
from exchanges._repair import Parse, Repaired, Sign
from exchanges._timers import earliest
from exchanges.bitget._report import ASK_FORCED, ASK_STATE, Told
from exchanges.events import AccountEvent, ExecutionReport

WAIT_S: Final = 2.0
"""A state is asked for after so long, as REST lags behind; a forced fill waits so long for its answer."""
TRIES: Final = 3
MAX_ASKED: Final = 100
"""Orders that may wait together: a venue that renames a word does so for all orders at once."""

Live = Callable[[AccountEvent], list[Output]]


class _Question:
    """One order: what is held back for it, and when something is due."""

    __slots__ = ("ask", "call", "due", "event", "symbol", "tries")

    def __init__(self, ask: str, symbol: str, event: ExecutionReport | None, due: float) -> None:
        self.ask, self.symbol, self.event, self.due = ask, symbol, event, due
        self.call: Call | None = None
        self.tries = 0


class Asking:
    """The questions of one account. I/O thread of the session only."""

    def __init__(self, single: Callable[[str, str], Call], sign: Sign) -> None:
        self._single, self._sign = single, sign
        self._open: dict[str, _Question] = {}

    def ask(self, order_id: str, symbol: str, told: Told, live: Live, now: Instant) -> list[Output]:
        """Ask for an order; its event, if it has one, is held back for the answer."""
        waiting = self._open.get(order_id)
        if waiting is not None:
            waiting.event = told.event or waiting.event
            return []
        if len(self._open) >= MAX_ASKED:
            note = Note(f"order {order_id} is not asked for: {MAX_ASKED} others wait for their answers", "error")
            return [note, *(live(told.event) if told.event is not None else ())]
        question = self._open[order_id] = _Question(told.ask, symbol, told.event, now.mono + WAIT_S)
        return [] if told.ask == ASK_STATE else [self._call(order_id, question, now)]

    def owns(self, call: Call) -> bool:
        return any(question.call is call for question in self._open.values())

    def answered(self, call: Call, answer: Answer, parse: Parse, live: Live, now: Instant) -> list[Output]:
        order_id = str(call.context)
        question = self._open[order_id]
        question.call = None
        found = Repaired(retry=True) if answer.status in RETRYABLE else parse(call, answer, now)
        if found.retry:
            question.due = now.mono + WAIT_S
            return [] if self._may_ask(question) else self._give_up(order_id, live)
        del self._open[order_id]
        outputs: list[Output] = [Note(f"order {order_id}: {phrase}", "error") for phrase in found.missing]
        events = found.events or ([question.event] if question.event is not None else [])
        for event in events:
            outputs.extend(live(event))
        return outputs

    def _may_ask(self, question: _Question) -> bool:
        """Asked again when its time has come; a forced fill does not wait for a second answer."""
        return question.ask != ASK_FORCED and question.tries < TRIES

    def deadline(self) -> float | None:
        return earliest(*(question.due for question in self._open.values())) if self._open else None

    def due(self, live: Live, now: Instant) -> list[Output]:
        outputs: list[Output] = []
        for order_id, question in [entry for entry in self._open.items() if entry[1].due <= now.mono]:
            if question.call is None and self._may_ask(question):
                outputs.append(self._call(order_id, question, now))
            else:
                outputs.extend(self._give_up(order_id, live))
        return outputs

    def _call(self, order_id: str, question: _Question, now: Instant) -> Call:
        question.tries += 1
        # The call itself ends after `WAIT_S`; only a fill that is held back does not wait for that end.
        question.due = now.mono + (WAIT_S if question.ask == ASK_FORCED else 2 * WAIT_S)
        call = msgspec.structs.replace(
            self._single(order_id, question.symbol), timeout_s=WAIT_S, attempt=question.tries
        )
        question.call = self._sign(call, now)
        return question.call

    def _give_up(self, order_id: str, live: Live) -> list[Output]:
        question = self._open.pop(order_id)
        outputs: list[Output] = [Note(f"order {order_id}: REST does not tell its {question.ask}", "error")]
        return outputs + (live(question.event) if question.event is not None else [])
