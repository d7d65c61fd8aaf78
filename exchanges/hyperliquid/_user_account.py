"""What belongs to one account on its connection: order states and fills, gap repair, and what the stream leaves open."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import msgspec

from exchanges._adapter import Answer, Call, Instant, Note, Output, Seen, UserSubscription
from exchanges._frames import UNREADABLE
from exchanges._lookup import ATTEMPTS, Lookups
from exchanges._positions import Positions
from exchanges._repair import GapRepair, Repaired
from exchanges._rows import read_rows
from exchanges._timers import earliest
from exchanges._venue import Setup
from exchanges.events import ExecutionReport
from exchanges.hyperliquid import _symbols
from exchanges.hyperliquid._errors import RETRY_S, refusal_of, used_up
from exchanges.hyperliquid._gap import (
    FillsOf,
    GapPlan,
    Questions,
    decode_fill,
    decode_update,
    read_fills,
    read_open,
    read_status,
)
from exchanges.hyperliquid._hosts import Site, site_of
from exchanges.hyperliquid._join import Due, Join, Rules
from exchanges.hyperliquid._orders import Fill, Names, Update, odd
from exchanges.hyperliquid._positions import read_states
from exchanges.instruments import EMPTY

_JOIN_FILLS: Final = "fills of a parked order"
_HEIR: Final = "order of a client id"
_HEIRS: Final = "orders of client ids"
MAX_SINGLE_CHECKS: Final = 8
"""More cancelled orders than this at once are looked up in the list of open orders, which weighs as much as ten of them."""


class _UserFills(msgspec.Struct, rename="camel"):
    user: str
    fills: msgspec.Raw = msgspec.Raw(b"null")
    is_snapshot: bool | None = False


_decode_fills = msgspec.json.Decoder(_UserFills).decode


class Account:
    """I/O thread of the session only. `patient`: see `Join`."""

    def __init__(
        self, setup: Setup, site: Site, subscription: UserSubscription, address: str, *, patient: bool = True
    ) -> None:
        self._setup = setup
        self.stream_id = subscription.stream_id
        self.address = address
        self._same_network = site.testnet == site_of(setup.options).testnet
        self._questions = Questions(site, address, subscription.stream_id)
        orders = subscription.resume.orders if subscription.resume else ()
        names = Names(self._pair, self._asset)
        self._join = Join(names, Rules.of(setup.options), orders, patient=patient)
        self._plan = GapPlan(self._questions, self._join, setup.exchange, lambda: _symbols.dexes(setup.table()))
        # Holds live events from the first frame on, so it exists before the first of them.
        self.repair = GapRepair(subscription, then=self._plan.then, given_up=self._plan.given_up)
        self._lookups = Lookups()
        self._positions = Positions(subscription)
        self._doubles: set[str] = set()

    def _pair(self, code: str) -> str:
        """The list is that of the deployment's network; on the other one the same spot codes are other coins."""
        table = self._setup.table() if self._same_network else EMPTY
        return _symbols.event_pair_of(table, code)

    def _asset(self, token: str) -> str:
        return _symbols.asset_of(self._setup.table(), token)

    def role(self) -> Call:
        """Ask what the address is."""
        return self._questions.role()

    def listening(self, now: Instant) -> None:
        """The subscriptions go out: from here on every fill comes over this connection."""
        self._join.since_ms = now.wall_ms

    def begin(self, now: Instant) -> list[Output]:
        """The subscriptions are confirmed."""
        resume = self.repair.resume
        return self.repair.begin(self._plan.first(resume) if resume else [], now)

    # --- inputs ---

    def owns(self, call: Call) -> bool:
        return self.repair.owns(call) or self._lookups.owns(call) or call.tag in (_JOIN_FILLS, _HEIR, _HEIRS)

    def answered(self, call: Call, answer: Answer, now: Instant) -> list[Output]:
        if self.repair.owns(call):
            return self.repair.answered(call, answer, self._plan.parse, now)
        if self._lookups.owns(call):
            return self._lookups.answered(call, answer, self._looked_up, self.repair.live, now)
        if isinstance(call.context, FillsOf):
            return self._found_fills(call, call.context, answer, now)
        return self._found_heirs(call, answer, now)

    def woken(self, now: Instant) -> list[Output]:
        return [*self._waited(now), *self._lookups.due(now), *self.repair.due(now)]

    def deadline(self) -> float | None:
        return earliest(self._join.deadline(), self.repair.deadline(), self._lookups.deadline())

    # --- events ---

    def _emit(self, events: Iterable[ExecutionReport]) -> list[Output]:
        return [output for event in events for output in self.repair.live(event)]

    def orders(self, data: msgspec.Raw, now: Instant) -> list[Output]:
        """Order states. All of a frame are learnt before any is told: a modify's two rows may come in either order.

        Raises what `UNREADABLE` lists.
        """
        outputs: list[Output] = [Seen(self.stream_id)]
        updates, bad = read_rows(data, decode_update)
        if bad:
            outputs.append(Note(bad.phrase("orders"), "error"))
        # Orders without a client id were placed elsewhere; those of the other market are its exchange id's.
        own = [one for one in updates if one.order.cloid and _symbols.market_of(one.order.coin) == self._setup.exchange]
        known = [self._timed(update, now) for update in own if not odd(update)]
        self._join.learn(known)
        for update in own:
            if reason := odd(update):
                oid = update.order.oid
                outputs.append(Note(f"an order is asked for: {reason}", "error"))
                outputs.extend(self._lookups.ask(str(oid), self._questions.order(oid), now))
        for update in known:
            outputs.extend(self._doubled(update.order.coin))
            events, notes = self._join.order(update, now)
            outputs.extend([*notes, *self._emit(events)])
        return outputs

    @staticmethod
    def _timed(update: Update, now: Instant) -> Update:
        return update if update.moment_ms else msgspec.structs.replace(update, status_timestamp=now.wall_ms)

    def _doubled(self, coin: str) -> list[Output]:
        """One note for a code whose name an older listing has."""
        found = self._setup.table().wire(coin)
        name = found.extra.get(_symbols.DOUBLE) if found is not None else None
        if name is None or coin in self._doubles:
            return []
        self._doubles.add(coin)
        return [Note(f"orders of {coin} are told under this code: an older listing has its name {name}")]

    def fills(self, data: msgspec.Raw, now: Instant) -> list[Output]:
        """Fills. Raises what `UNREADABLE` lists."""
        told = _decode_fills(data)
        if told.user.lower() != self.address:
            return []
        outputs: list[Output] = [Seen(self.stream_id)]
        fills, bad = read_rows(told.fills, decode_fill)
        if bad:
            outputs.append(Note(bad.phrase("fills"), "error"))
        own = [fill for fill in fills if _symbols.market_of(fill.coin) == self._setup.exchange]
        events = self._join.fills(own, now, snapshot=bool(told.is_snapshot))
        return [*outputs, *self._emit(events)]

    def held(self, channel: str, data: msgspec.Raw, now: Instant) -> list[Output]:
        """All positions. Raises what `UNREADABLE` lists."""
        states = read_states(channel, data, self._pair, now.wall_ms)
        if states.user not in (self.address, ""):
            return []
        told = self._positions.whole(states.positions, states.time_ms, complete=not states.odd)
        return [Seen(self.stream_id), *told, *(Note(bad.phrase("positions"), "error") for bad in states.odd)]

    # --- what the stream leaves open ---

    def _waited(self, now: Instant) -> list[Output]:
        """Filled orders whose fills did not come, and cancelled ones that may have been modified."""
        due = self._join.deadline()
        if due is None or now.mono < due:
            return []
        found = self._join.due(now)
        calls = [self._questions.fills_of(ask, _JOIN_FILLS) for ask in found.asks]
        return [*calls, *self._checks(found), *found.notes, *self._emit(found.events)]

    def _checks(self, due: Due) -> list[Call]:
        questions = self._questions
        if len(due.checks) <= MAX_SINGLE_CHECKS:
            return [questions.order(update.order.cloid or "", _HEIR, (update,)) for update in due.checks]
        by_dex: dict[str, list[Update]] = {}
        for update in due.checks:
            by_dex.setdefault(_symbols.dex_of(update.order.coin), []).append(update)
        return [questions.open_orders(dex, _HEIRS, tuple(updates)) for dex, updates in by_dex.items()]

    def _found_heirs(self, call: Call, answer: Answer, now: Instant) -> list[Output]:
        """Which orders hold the client ids of cancelled ones now."""
        waiting = [one for one in call.context if isinstance(one, Update)] if isinstance(call.context, tuple) else []
        found: dict[str, Update] = {}
        try:
            if refusal_of(answer):
                raise msgspec.DecodeError(refusal_of(answer))
            if call.tag == _HEIRS:
                rows = [Update(order=order, status="open") for order in read_open(answer.body)[0]]
            else:
                state = read_status(answer.body)
                rows = [state] if state is not None else []
        except UNREADABLE:
            for update in waiting:
                self._join.unchecked(update, now)
            return []
        found = {row.order.cloid or "": self._timed(row, now) for row in rows if not odd(row)}
        outputs: list[Output] = []
        for update in waiting:
            events, notes = self._join.checked(update, found.get(update.order.cloid or ""), now)
            outputs.extend([*notes, *self._emit(events)])
        return outputs

    def _looked_up(self, call: Call, answer: Answer, now: Instant) -> Repaired:
        """The state of an order of which the stream told none that is known."""
        try:
            update = read_status(answer.body) if not refusal_of(answer) else None
        except UNREADABLE:
            update = None
        reason = odd(update) if update is not None else refusal_of(answer) or "not known to the venue"
        if reason or update is None:
            return Repaired(retry=True) if call.attempt < ATTEMPTS else Repaired(missing=[reason])
        update = self._timed(update, now)
        self._join.learn([update])
        events, notes = self._join.order(update, now)
        return Repaired(events=events, outputs=notes)

    def _found_fills(self, call: Call, asked: FillsOf, answer: Answer, now: Instant) -> list[Output]:
        if asked.update is None:
            return []
        fills: list[Fill] = []
        refusal = refusal_of(answer)
        if not refusal:
            try:
                fills, _ = read_fills(answer.body)
            except UNREADABLE as error:
                refusal = f"unreadable answer: {error}"[:150]
        more = self._questions.more_fills(call, fills)
        if more is not None:
            events = self._join.fills(fills, now)
            return [*self._emit(events), *([] if self._join.is_done(asked.update) else [more])]
        notes: list[Output] = [Note(f"the fills of an order could not be read: {refusal}")] if refusal else []
        later_s = RETRY_S if used_up(answer) else 0.0
        return [*notes, *self._emit(self._join.asked(asked.update, fills, now, later_s=later_s))]
