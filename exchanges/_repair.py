"""Gap repair of one account stream: hold live events, read the gap over REST, publish in order, go live.

The venue says which calls to make and how an answer becomes events; everything else is here, once for all venues.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import Final

import msgspec

from exchanges._adapter import Answer, Call, Emit, GapReport, Instant, Live, Output, UserSubscription
from exchanges._frames import RETRYABLE
from exchanges._numbers import decimal
from exchanges._times import retry_after_s
from exchanges.events import (
    TERMINAL,
    AccountEvent,
    AccountPosition,
    AccountUpdate,
    ExecutionReport,
    OrderEvent,
    OrderTradeUpdate,
    client_id_of,
    order_key,
)

MAX_HELD_EVENTS: Final = 20_000
"""An account that changes faster than this while its gap is read is let through early, and the report says so."""
BUDGET_S: Final = 25.0
"""Live events are held back this long at the most. What is still unanswered then is read while the stream is live: the
tracker of the stream lets order states only move forward, so a late answer can't undo a live event."""
LATE_BUDGET_S: Final = 600.0
"""What is unanswered after this long is given up; the report lists it as missing."""
ATTEMPTS: Final = 4
"""Failed tries of one call after which it no longer holds the live events back."""
MAX_RETRY_WAIT_S: Final = 20.0


class Repaired(msgspec.Struct, frozen=True, kw_only=True):
    """What a venue made of one answer."""

    events: Sequence[AccountEvent] = ()
    calls: Sequence[Call] = ()
    """Follow-up calls: next page, single orders."""
    outputs: Sequence[Output] = ()
    """Told at once and not part of the gap: the venue's clock."""
    missing: Sequence[str] = ()
    """Phrases for the gap report: what this answer could not tell."""
    retry: bool = False
    """The answer was an error worth asking again (rate limit, overload)."""
    retry_after_s: float | None = None


Parse = Callable[[Call, Answer, Instant], Repaired]
Sign = Callable[[Call, Instant], Call]
"""Puts a fresh signature on a call, replacing an older one: retries go out seconds after they were built."""
Then = Callable[[Instant], Repaired | Sequence[Call]]
"""Asked whenever nothing is outstanding: the next step, which needs what came before; without calls = done.

Build it of `exchanges._plan.Steps`: what a step does not ask for must be named in its `missing`."""

GivenUp = Callable[[Call, Instant], Sequence[AccountEvent]]
"""Asked for a call that never got a usable answer: what is known without it (an order whose fills could not be read)."""


def _as_is(call: Call, _now: Instant) -> Call:
    return call


def _no_more(_now: Instant) -> Sequence[Call]:
    return ()


def _nothing(_call: Call, _now: Instant) -> Sequence[AccountEvent]:
    return ()


def _as_they_stand(orders: Sequence[OrderEvent]) -> list[OrderEvent]:
    """The newest state of each order only, at its place."""
    newest: dict[tuple[str, str], int] = {}
    for index, event in enumerate(orders):
        key = order_key(event.symbol, event.order_id, client_id_of(event))
        before = newest.get(key)
        if before is None or _progress(event) >= _progress(orders[before]):
            newest[key] = index
    return [orders[index] for index in sorted(newest.values())]


def _progress(event: OrderEvent) -> tuple[bool, Decimal]:
    return event.order_status in TERMINAL, decimal(event.total_trade_quantity)


def _readable(body: bytes) -> bool:
    """Whether an answer is JSON at all: a page of something between us and the venue is not its answer, so ask again."""
    try:
        msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return False
    return True


class GapRepair:
    """One account's gap. Pure; the adapter that owns it passes its inputs through.

    `begin` once the private subscriptions are confirmed; `live` for every live event from the first frame on;
    `answered` for the calls that `begin` returned (`owns` tells which); `due` when `deadline` has come.
    """

    def __init__(
        self,
        subscription: UserSubscription,
        sign: Sign = _as_is,
        then: Then = _no_more,
        given_up: GivenUp = _nothing,
    ) -> None:
        self._sign = sign
        self._then = then
        self._given_up = given_up
        self.stream_id = subscription.stream_id
        self.resume = subscription.resume
        self.done = False
        """Everything is through."""
        self._open = False
        """Live events pass, while calls may still be outstanding."""
        self._orders = self._balances = 0
        self._held: list[AccountEvent] = []
        self._found: list[AccountEvent] = []
        self._missing: list[str] = []
        self._outstanding: dict[int, Call] = {}
        self._retries: list[tuple[float, Call]] = []
        self._started: Instant | None = None

    def begin(
        self, calls: Sequence[Call], now: Instant, *, events: Sequence[AccountEvent] = (), missing: Sequence[str] = ()
    ) -> list[Output]:
        """Start the repair. Without calls (or without a gap) the stream is live at once.

        `events` and `missing` were told by the connection itself: the snapshots of a venue that has them.
        """
        if self.done or self._started is not None:
            return []
        self._started = now
        self._found.extend(events)
        self._missing.extend(missing)
        if self.resume is None or not calls:
            return self._finish(now)
        return list(self._issue(calls, now))

    def live(self, event: AccountEvent) -> list[Output]:
        """A live event: published at once, or held until the repair is through."""
        if self.passing:
            return [Emit(self.stream_id, event)]
        self._held.append(event)
        if len(self._held) > MAX_HELD_EVENTS and self._started is not None:
            return self._let_through(self._started)
        return []

    def owns(self, call: Call) -> bool:
        return id(call) in self._outstanding

    def answered(self, call: Call, answer: Answer, parse: Parse, now: Instant) -> list[Output]:
        if self._outstanding.pop(id(call), None) is None or self.done:
            return []
        again = answer.status in RETRYABLE or (answer.status < 400 and not _readable(answer.body))
        repaired = Repaired(retry=True) if again else parse(call, answer, now)
        if repaired.retry:
            self._again(call, answer, repaired.retry_after_s, now)
        else:
            self._found.extend(repaired.events)
            self._missing.extend(repaired.missing)
        outputs: list[Output] = [*repaired.outputs, *self._issue(repaired.calls, now)]
        if not self._outstanding and not self._retries:
            outputs.extend(self._next_step(now))
        if not self._outstanding and not self._retries:
            return [*outputs, *self._finish(now)]
        if self._open:
            outputs.extend(self._publish())
        elif not self._outstanding and all(call.attempt > ATTEMPTS for _, call in self._retries):
            outputs.extend(self._let_through(now))
        return outputs

    @property
    def passing(self) -> bool:
        """Live events pass, whether the gap is still being read or not."""
        return self.done or self._open

    def deadline(self) -> float | None:
        if self.done or self._started is None:
            return None
        times = [due for due, _ in self._retries]
        return min([*times, self._started.mono + (LATE_BUDGET_S if self._open else BUDGET_S)])

    def due(self, now: Instant) -> list[Output]:
        if self.done or self._started is None:
            return []
        outputs: list[Output] = []
        if now.mono >= self._started.mono + LATE_BUDGET_S:
            pending = self._pending()
            self._missing.extend(f"{call.tag}: no answer in time" for call in pending)
            self._give_up(pending, now)
            return self._finish(now)
        if not self._open and now.mono >= self._started.mono + BUDGET_S:
            outputs.extend(self._let_through(now))
        ready = [call for due, call in self._retries if due <= now.mono]
        self._retries = [(due, call) for due, call in self._retries if due > now.mono]
        return [*outputs, *self._issue(ready, now)]

    def _pending(self) -> list[Call]:
        return [*self._outstanding.values(), *(call for _, call in self._retries)]

    def _let_through(self, now: Instant) -> list[Output]:
        """Live from here on, although something is still unanswered."""
        self._open = True
        outputs = self._publish()
        outputs.extend(Emit(self.stream_id, event) for event in self._held)
        self._held = []
        late = [f"{call.tag}: still being read" for call in self._pending()]
        outputs.append(Live(self.stream_id, self._report(now, late, complete=False)))
        return outputs

    def _next_step(self, now: Instant) -> list[Output]:
        step = self._then(now)
        if not isinstance(step, Repaired):
            return list(self._issue(step, now))
        self._found.extend(step.events)
        self._missing.extend(step.missing)
        return [*step.outputs, *self._issue(step.calls, now)]

    def _issue(self, calls: Sequence[Call], now: Instant) -> Sequence[Call]:
        signed = [self._sign(call, now) for call in calls]
        self._outstanding.update((id(call), call) for call in signed)
        return signed

    def _again(self, call: Call, answer: Answer, wait_s: float | None, now: Instant) -> None:
        doubled_s = min(float(2 ** (call.attempt - 1)), MAX_RETRY_WAIT_S)
        asked_s = retry_after_s(answer.headers.get("retry-after"), now.wall_ms)
        wait_s = wait_s or (doubled_s if asked_s is None else asked_s)
        self._retries.append((now.mono + wait_s, msgspec.structs.replace(call, attempt=call.attempt + 1)))

    def _give_up(self, calls: Sequence[Call], now: Instant) -> None:
        for call in calls:
            self._found.extend(self._given_up(call, now))

    def _publish(self) -> list[Output]:
        """What was found so far, orders by time and before the balances."""
        orders = [event for event in self._found if isinstance(event, ExecutionReport | OrderTradeUpdate)]
        orders.sort(key=lambda event: event.order_time)
        if self.resume is not None and self.resume.behind:
            orders = _as_they_stand(orders)
        others = [event for event in self._found if not isinstance(event, ExecutionReport | OrderTradeUpdate)]
        self._orders += len(orders)
        self._balances += sum(isinstance(event, AccountPosition | AccountUpdate) for event in others)
        self._found = []
        return [Emit(self.stream_id, event, repaired=True) for event in (*orders, *others)]

    def _report(self, now: Instant, missing: Sequence[str], *, complete: bool = True) -> GapReport | None:
        if self.resume is None:
            return None
        return GapReport(
            from_ms=self.resume.since_ms,
            to_ms=now.wall_ms,
            orders=self._orders,
            balances=self._balances,
            missing=tuple(dict.fromkeys(missing)),
            complete=complete,
        )

    def _finish(self, now: Instant) -> list[Output]:
        """Everything is through. Told a second time if the stream went live before: what was late is repaired now."""
        self.done = True
        outputs = self._publish()
        outputs.extend(Emit(self.stream_id, event) for event in self._held)
        outputs.append(Live(self.stream_id, self._report(now, self._missing)))
        self._held = []
        self._outstanding.clear()
        self._retries.clear()
        return outputs
