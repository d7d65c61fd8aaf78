"""Positions of one account on one connection: what changes, and all that is held after each connect. Pure.

They are secondary: nothing here passes through gap repair, holds an event back, or ends a connection. A venue whose channel
tells changes only is asked for the whole over REST, behind the orders and balances; one whose channel tells the whole, isn't.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from decimal import Context, Decimal
from typing import Final

import msgspec
from msgspec import UNSET

from exchanges._adapter import Answer, Call, Emit, Instant, Note, Output, UserSubscription
from exchanges._frames import RETRYABLE
from exchanges._numbers import decimal, plain
from exchanges._repair import Sign
from exchanges.events import PositionKey, PositionUpdate

Figure = Decimal | float | int | str | None
ZERO: Final = Decimal(0)
_COINS: Final = Context(prec=16)
"""Digits to which the coins of inverse contracts are reckoned."""
BOTH: Final = "BOTH"

FIRST_WAIT_S: Final = 1.0
"""After the join: orders and balances go first. While a gap is being read they are not asked for at all."""
MAX_WAIT_S: Final = 600.0
"""What was refused is asked for again, at growing intervals, at least so often."""
MAX_PAGES: Final = 50
"""A cursor that never ends would otherwise be followed for ever."""


def position(
    symbol: str,
    *,
    event_ms: int,
    side: str = BOTH,
    contracts: Decimal | None = None,
    quantity: Decimal | None = None,
    entry: Figure = None,
    mark: Figure = None,
    liquidation: Figure = None,
    leverage: Figure = None,
    margin: str = "",
    pnl: Figure = None,
    update_ms: int = 0,
) -> PositionUpdate:
    """The event of a position. Sizes are signed; a price of 0 (or none) and an empty text are not told."""
    sizes = [plain(size.normalize()) for size in (contracts, quantity) if size is not None]
    told = _price(entry)
    return PositionUpdate(
        symbol=symbol,
        position_side=side,
        contracts=UNSET if contracts is None else plain(contracts.normalize()),
        quantity=UNSET if quantity is None else plain(quantity.normalize()),
        entry_price=told,
        mark_price=_price(mark),
        liquidation_price=_price(liquidation),
        leverage=_price(leverage),
        margin_type=margin or UNSET,
        unrealized_pnl=UNSET if pnl is None or pnl == "" else plain(decimal(pnl)),
        update_time=update_ms or UNSET,
        snapshot=False,
        event_time=event_ms,
        unique_message_id=":".join((symbol, side, str(update_ms or event_ms), *sizes, told or "")),
    )


def coins(contracts: Decimal, contract_size: Figure, *, inverse: bool, entry: Figure) -> Decimal | None:
    """How much of the base asset so many contracts are: inverse ones at their entry price. None where that is not known."""
    if not contracts:
        return ZERO
    if contract_size is None:
        return None
    units = contracts * decimal(contract_size)
    if not inverse:
        return units
    price = decimal(entry)
    return _COINS.divide(units, price) if price else None


def signed(size: Figure, *, short: bool) -> Decimal:
    """A size that a venue tells beside its side."""
    amount = abs(decimal(size))
    return -amount if short else amount


def _price(figure: Figure) -> str | msgspec.UnsetType:
    value = decimal(figure)
    return plain(value.normalize()) if value else UNSET


class Read(msgspec.Struct, frozen=True, kw_only=True):
    """What a venue made of one answer."""

    positions: Sequence[PositionUpdate] = ()
    calls: Sequence[Call] = ()
    """Follow-up calls: the next page."""
    time_ms: int = 0
    """By the venue's clock; 0 = not told."""
    failed: str = ""
    """Why the answer can't be used; it is asked for again."""
    notes: Sequence[str] = ()
    """What of it could not be read."""
    outputs: Sequence[Output] = ()
    """Told at once: a question for the venue's clock."""


def _no_calls() -> Sequence[Call]:
    return ()


def _unread(_call: Call, _answer: Answer, _now: Instant) -> Read:
    return Read(failed="nobody reads it")


def _as_is(call: Call, _now: Instant) -> Call:
    return call


def _everything(_symbol: str) -> bool:
    return True


class Positions:
    """What one connection tells of an account's positions. I/O thread of the session only.

    `begin` once the account is joined and its channel confirmed; `live` for positions that a frame tells as changed, `whole`
    for a frame that tells all there are. `calls` makes the questions for all positions (none: the channel tells them),
    `ready` says when they may go out.
    """

    def __init__(
        self,
        subscription: UserSubscription,
        *,
        calls: Callable[[], Sequence[Call]] = _no_calls,
        parse: Callable[[Call, Answer, Instant], Read] = _unread,
        sign: Sign = _as_is,
        ready: Callable[[], bool] = lambda: True,
    ) -> None:
        self._stream_id = subscription.stream_id
        self._held = dict.fromkeys(subscription.resume.holds if subscription.resume is not None else ())
        """Told as open by earlier connections, and not told by this one yet."""
        self._calls, self._parse, self._sign, self._ready = calls, parse, sign, ready
        self._told: dict[PositionKey, PositionUpdate] = {}
        self._parts: set[str] = set()
        """Parts of the market that were told whole."""
        self._due: float | None = None
        self._wait_s = FIRST_WAIT_S
        self._out: dict[int, Call] = {}
        self._found: list[PositionUpdate] = []
        self._odd = False
        """Something of the answers could not be read."""
        self._pages = 0

    # --- what frames tell ---

    def live(self, events: Iterable[PositionUpdate]) -> list[Output]:
        """Those that differ from what was told last."""
        outputs: list[Output] = []
        for event in events:
            before = self._told.get(event.key)
            if before is None and not event.open and event.key not in self._held:
                continue  # some venues list every symbol, held or not
            if before is not None and (before.terms == event.terms or not (before.open or event.open)):
                continue
            self._tell(event, outputs)
        return outputs

    def whole(
        self,
        events: Iterable[PositionUpdate],
        event_ms: int,
        *,
        part: str = "",
        covers: Callable[[str], bool] = _everything,
        complete: bool = True,
    ) -> list[Output]:
        """All positions of a `part` of the market, whose symbols `covers` knows: what is held and not among them is closed,
        unless `complete` is False: something could not be read, and may be what is missing.

        The first time each is told as part of the snapshot, unless a frame told it meanwhile: that frame is newer.
        """
        first = part not in self._parts
        self._parts.add(part)
        listed = {event.key: event for event in events}
        gone = [key for key in (*self._held, *self._told) if key not in listed and covers(key[0])]
        for key in dict.fromkeys(gone if complete else ()):
            listed[key] = position(key[0], side=key[1], contracts=ZERO, quantity=ZERO, event_ms=event_ms)
        if not first:
            return self.live(event for event in listed.values() if event.open or event.key in self._told)
        outputs: list[Output] = []
        for event in listed.values():
            if event.key not in self._told and (event.open or event.key in self._held):
                # An id of its own: a consumer may have had the same state before, and another one since.
                message_id = f"snapshot:{event_ms}:{event.unique_message_id}"
                self._tell(msgspec.structs.replace(event, snapshot=True, unique_message_id=message_id), outputs)
        return outputs

    def _tell(self, event: PositionUpdate, outputs: list[Output]) -> None:
        self._held.pop(event.key, None)
        self._told[event.key] = event
        outputs.append(Emit(self._stream_id, event, repaired=event.snapshot))

    # --- what is asked for ---

    def begin(self, now: Instant) -> None:
        """The account is joined, and its channel tells what changes from here on."""
        self._due = now.mono + FIRST_WAIT_S

    def expect(self, now: Instant, within_s: float) -> None:
        """The channel was asked for: `begin` follows with its answer, or by itself if none comes."""
        self._due = now.mono + within_s

    def deadline(self) -> float | None:
        return self._due

    def due(self, now: Instant) -> list[Output]:
        if self._due is None or self._due > now.mono:
            return []
        if not self._ready():
            self._due = now.mono + FIRST_WAIT_S
            return []
        self._due, self._found, self._pages, self._odd = None, [], 0, False
        return self._issue(self._calls(), now)

    def owns(self, call: Call) -> bool:
        return id(call) in self._out

    def answered(self, call: Call, answer: Answer, now: Instant) -> list[Output]:
        if self._out.pop(id(call), None) is None:
            return []
        if answer.status in RETRYABLE:
            read = Read(failed=answer.error or f"HTTP {answer.status}")
        else:
            read = self._parse(call, answer, now)
        if not read.failed and read.calls and self._pages > MAX_PAGES:
            read = Read(failed=f"more than {MAX_PAGES} pages")
        if read.failed:
            self._out.clear()
            self._due = now.mono + self._wait_s
            self._wait_s = min(self._wait_s * 4, MAX_WAIT_S)
            return [*read.outputs, Note(f"the positions could not be read and are asked for again: {read.failed}")]
        self._found.extend(read.positions)
        self._odd = self._odd or bool(read.notes)
        outputs: list[Output] = [*read.outputs, *(Note(note, "error") for note in read.notes)]
        outputs.extend(self._issue(read.calls, now))
        if not self._out:
            self._wait_s = FIRST_WAIT_S
            outputs.extend(self.whole(self._found, read.time_ms or now.wall_ms, complete=not self._odd))
        return outputs

    def _issue(self, calls: Sequence[Call], now: Instant) -> list[Output]:
        issued = [self._sign(call, now) for call in calls]
        self._pages += len(issued)
        self._out.update((id(call), call) for call in issued)
        return list(issued)
