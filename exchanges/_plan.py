"""What the gap plans of all venues share: steps, and orders asked for by id. Nothing is left out without a word. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, Generic, TypeVar

from exchanges._adapter import Call, Instant, Resume
from exchanges._repair import Repaired
from exchanges.events import AccountEvent

Item = TypeVar("Item")

MAX_SINGLES: Final = 200
"""Orders asked for by id in one gap, unless the venue's allowance wants fewer. The rest is named in the report."""

Step = Callable[[Instant], Repaired]
"""A part of a plan that needs what the parts before it have read: its calls, and what it can tell or not tell at once."""


OPEN_BEFORE: Final = "orders that were open when nothing was known of the account, and have ended since, can't be found"


def open_before(resume: Resume | None) -> Sequence[str]:
    """For the `missing` of venues that list what ended by when it was placed: who was never told that an order was open can't
    ask for it by its id. The open ones are listed everywhere, so the next gap has nothing of this kind."""
    return (OPEN_BEFORE,) if resume is not None and resume.past_unknown else ()


def open_told(missing: Sequence[str]) -> bool:
    """Whether a report of a gap leaves none of the open orders out: what is wrong with their list begins with its name."""
    return not any(phrase.startswith(("open orders", "open-orders")) for phrase in missing)


def left_out(count: int) -> str:
    """The phrase for orders that were open before the gap and were neither in a list nor asked for."""
    return f"{count} further orders that no list of the venue shows: not asked for"


def not_known(order_id: object) -> str:
    """The phrase for an order that the venue says it does not know."""
    return f"order {order_id}: not known to the venue"


def once(step: Step) -> Step:
    """A step that asks all that it has to ask at once; asked again, it has nothing more."""
    left = [step]
    return lambda now: left.pop()(now) if left else Repaired()


class Steps:
    """The steps of a plan, one after the other. `then` goes to `GapRepair` as it is.

    A step that has nothing to ask leads to the next one at once; what it tells is told all the same.
    """

    def __init__(self, *steps: Step) -> None:
        self._steps = list(steps)

    def then(self, now: Instant) -> Repaired:
        events: list[AccountEvent] = []
        missing: list[str] = []
        while self._steps:
            step = self._steps[0](now)
            events += step.events
            missing += step.missing
            if step.calls:
                return Repaired(events=events, calls=step.calls, missing=missing)
            self._steps.pop(0)
        return Repaired(events=events, missing=missing)


class Singles(Generic[Item]):
    """Orders that are asked for by id: at most `most`, `step` at a time. Is itself a step, asked until it has no calls.

    `wanted` is called once, when the first of them may be asked for. `calls` makes the calls for some of them: one each,
    or fewer where the venue takes several ids in one.
    """

    def __init__(
        self,
        wanted: Callable[[], Sequence[Item]],
        calls: Callable[[Sequence[Item]], Sequence[Call]],
        *,
        most: int = MAX_SINGLES,
        step: int = MAX_SINGLES,
    ) -> None:
        self._wanted, self._calls, self._most, self._size = wanted, calls, most, step
        self._waiting: Sequence[Item] | None = None

    def __call__(self, _now: Instant) -> Repaired:
        missing: list[str] = []
        if self._waiting is None:
            wanted = self._wanted()
            self._waiting = wanted[: self._most]
            missing = [left_out(len(wanted) - self._most)] if len(wanted) > self._most else []
        part, self._waiting = self._waiting[: self._size], self._waiting[self._size :]
        return Repaired(calls=self._calls(part) if part else (), missing=missing)
