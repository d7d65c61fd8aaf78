"""Orders that a live frame told in words that no page lists: they are asked for by REST, and never guessed. Pure.

An adapter gives a signed call for the order, passes answers and time through, and publishes what comes
back like a live event.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import msgspec

from exchanges._adapter import Answer, Call, Instant, Note, Output
from exchanges._frames import RETRYABLE
from exchanges._repair import Parse, Repaired, Sign
from exchanges._timers import earliest
from exchanges.events import AccountEvent

MAX_ASKED: Final = 100
"""Orders that may wait for their answer together; a venue that renames a status does so for all orders at once."""
ATTEMPTS: Final = 6
FIRST_WAIT_S: Final = 1.0
MAX_WAIT_S: Final = 30.0

Live = Callable[[AccountEvent], list[Output]]


def _copied(call: Call, _now: Instant) -> Call:
    """For calls that need no signature, or get it on their way out: calls are told apart by their identity."""
    return msgspec.structs.replace(call)


class Lookups:
    """The orders of one account that are being asked for. I/O thread of the session only."""

    def __init__(self, sign: Sign = _copied) -> None:
        self._sign = sign
        self._names: dict[int, str] = {}
        """By the identity of the call that is out: what the order is called in a note."""
        self._calls: dict[int, Call] = {}
        self._later: list[tuple[float, str, Call]] = []

    def ask(self, name: str, call: Call, now: Instant) -> list[Output]:
        """Ask for an order, unless that is under way. `name` says which in a note: the venue's order id."""
        waiting = {*self._names.values(), *(other for _, other, _ in self._later)}
        if name in waiting:
            return []
        if len(waiting) >= MAX_ASKED:
            return [Note(f"order {name} is not asked for: {MAX_ASKED} others wait for their answers", "error")]
        return [self._out(name, call, now)]

    def owns(self, call: Call) -> bool:
        return id(call) in self._calls

    def answered(self, call: Call, answer: Answer, parse: Parse, live: Live, now: Instant) -> list[Output]:
        """What an answer tells goes through `live`. Errors that pass are asked again, the others are told once."""
        if self._calls.pop(id(call), None) is None:
            return []
        name = self._names.pop(id(call))
        found = Repaired(retry=True) if answer.status in RETRYABLE else parse(call, answer, now)
        outputs = list(found.outputs)
        if found.retry:
            if call.attempt >= ATTEMPTS:
                return [*outputs, Note(f"order {name} could not be asked for in {ATTEMPTS} tries", "error")]
            wait_s = found.retry_after_s or min(FIRST_WAIT_S * 2 ** (call.attempt - 1), MAX_WAIT_S)
            again = msgspec.structs.replace(call, attempt=call.attempt + 1)
            self._later.append((now.mono + wait_s, name, again))
            return outputs
        for event in found.events:
            outputs.extend(live(event))
        outputs.extend(Note(f"order {name}: {phrase}", "error") for phrase in found.missing)
        outputs.extend(self._out(name, further, now) for further in found.calls)
        return outputs

    def deadline(self) -> float | None:
        return earliest(*(due for due, _, _ in self._later)) if self._later else None

    def due(self, now: Instant) -> list[Output]:
        """Ask again what the time has come for."""
        ready = [entry for entry in self._later if entry[0] <= now.mono]
        self._later = [entry for entry in self._later if entry[0] > now.mono]
        return [self._out(name, call, now) for _, name, call in ready]

    def _out(self, name: str, call: Call, now: Instant) -> Call:
        signed = self._sign(call, now)
        self._calls[id(signed)] = signed
        self._names[id(signed)] = name
        return signed
