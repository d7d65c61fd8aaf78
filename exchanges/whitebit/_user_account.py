"""What belongs to one account on its connection: its orders, wallet, REST calls and gap repair."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import msgspec

from exchanges._adapter import Answer, Call, FailKind, Instant, Note, Output, Seen, UserSubscription
from exchanges._clock import VenueClock
from exchanges._frames import UNREADABLE
from exchanges._lookup import Lookups
from exchanges._positions import Positions
from exchanges._renewal import renewable
from exchanges._repair import GapRepair, Repaired
from exchanges._timers import Waiting, earliest
from exchanges._venue import Setup
from exchanges.events import AccountEvent, Balance, ExecutionReport
from exchanges.whitebit._clients import ClientOrders
from exchanges.whitebit._connection_frames import Frame, decode_raws
from exchanges.whitebit._errors import failure_of
from exchanges.whitebit._gap import BALANCES, STILL, GapPlan, history_rows, order_call
from exchanges.whitebit._hosts import site_of
from exchanges.whitebit._orders import (
    CHANGED,
    ENDED,
    NEW,
    Deal,
    Orders,
    Row,
    decode_assets,
    decode_deal,
    decode_row,
    margin_balance,
    may_go_on,
    position,
    rest_row,
    spot_balance,
)
from exchanges.whitebit._positions import CHANNEL as POSITIONS
from exchanges.whitebit._positions import read_positions
from exchanges.whitebit._signer import Signer, private_call
from exchanges.whitebit._symbols import FUTURES, name_of

HEIR_WAIT_S: Final = 1.0
"""For the other half of a modify, before a cancelled order is told as one: the venue tells both at once."""
DEAL_WAIT_S: Final = 5.0
"""A deal whose order no frame told for so long: its order is asked for."""
MAX_WAITING: Final = 1_000
SILENT: Final = frozenset({"otoOrdersPending_update", "positionsAccountMargin_update"})


class _Ref(msgspec.Struct):
    """What an order that can't be read must say to be asked for."""

    id: Any = None
    market: Any = ""


_decode_ref = msgspec.json.Decoder(_Ref).decode


class Account:
    """One account of one id. Raises `CredentialUnusable`. I/O thread of the session only."""

    def __init__(self, setup: Setup, subscription: UserSubscription, now: Instant) -> None:
        self.stream_id = subscription.stream_id
        self.clock = VenueClock(setup)
        self._futures = setup.exchange == FUTURES
        self._signer = Signer(subscription.credentials, site_of(setup.options))
        self._orders = Orders(setup.exchange, setup.table)
        resume = subscription.resume
        self._clients = ClientOrders(resume.orders if resume is not None else (), reading=resume is not None)
        self._gap = GapPlan(setup.exchange, self._orders, self._clients, resume, setup.table)
        # Holds live events from the first frame on, so it exists before the first of them.
        self._repair = GapRepair(subscription, sign=self.sign, then=self._gap.then, given_up=self._gap.given_up)
        self._lookups = Lookups(self.sign)
        self._table = setup.table
        self._positions = Positions(subscription)
        self._deals: Waiting[str, Deal] = Waiting()
        self._live = True
        self._first = resume is None
        if resume is not None:
            self._orders.resume(resume.orders, now.wall_ms)

    def recorded(self, now: Instant) -> None:
        """Frames are replayed: REST can't be asked, and nothing is held."""
        self._live = False
        self._repair.begin([], now)

    # --- REST ---

    @renewable
    def sign(self, call: Call, now: Instant) -> Call:
        signed = self._signer.signed(call, self.clock.stamp(now))
        return msgspec.structs.replace(signed, stream_id=self.stream_id)

    def begin(self, now: Instant) -> list[Output]:
        """The subscriptions stand. No channel tells the wallet as it is, only what changes of it."""
        wallet = self._lookups.ask(BALANCES, self._gap.wallet(), now) if self._first else []
        return [*self._repair.begin(self._gap.calls(now), now), *wallet]

    def rest_told(self, call: Call, answer: Answer, now: Instant) -> list[Output]:
        if self._repair.owns(call):
            return self._repair.answered(call, answer, self._gap.parse, now)
        if self._lookups.owns(call):
            parse = self._gap.parse if call.tag == BALANCES else self._state
            return self._lookups.answered(call, answer, parse, self._repair.live, now)
        return []

    def _ask(self, order_id: str, market: str, now: Instant) -> list[Output]:
        if not self._live:
            return []
        call = msgspec.structs.replace(order_call(order_id), context=(order_id, market))
        return self._lookups.ask(order_id, call, now)

    def _state(self, call: Call, answer: Answer, now: Instant) -> Repaired:
        """What REST says of one order: first among the ended ones, then among the open ones of its market."""
        order_id, market = call.context if isinstance(call.context, tuple) else ("", "")
        failure = failure_of(answer)
        absent = failure is not None and "was not found" in failure.reason
        if failure is not None and not absent:
            if failure.kind in (FailKind.CREDENTIAL, FailKind.REQUEST):
                return Repaired(missing=[failure.reason])
            return Repaired(retry=True, retry_after_s=failure.retry_after_s)
        still = call.tag == STILL
        try:
            rows = [] if absent else _open_rows(answer.body) if still else history_rows(answer.body)[0]
        except UNREADABLE:
            return Repaired(missing=["the answer is not understood"])
        row = next((one for one in rows if str(one.id) == order_id), None)
        if row is None:
            if still or not market:
                return Repaired(missing=["the venue does not know it"])
            params = {"market": market, "limit": 100, "offset": 0}
            return Repaired(calls=[private_call(STILL, "orders", params, context=call.context)])
        if not self._orders.ours(row):
            return Repaired()
        report = self._orders.report(row, now.wall_ms, ended=not still)
        if isinstance(report, str):
            return Repaired(missing=[report])
        return Repaired(events=self._client_order(row, report, now))

    def _client_order(self, row: Row, report: ExecutionReport | None, now: Instant) -> list[ExecutionReport]:
        """What a live state tells of its client order."""
        if report is None:
            return []
        if not self._live:
            return self._clients.told(report, wait_until=0)
        return self._clients.told(
            report, wait_until=now.mono + HEIR_WAIT_S, heard_mono=now.mono, may_go_on=may_go_on(row)
        )

    # --- time ---

    def due(self, now: Instant) -> list[Output]:
        outputs: list[Output] = []
        for deal in self._deals.expired(now):
            if not self._orders.knows(str(deal.order_id)):
                outputs.append(Note("a deal of an order that no frame told"))
                outputs.extend(self._ask(str(deal.order_id), deal.market, now))
        outputs.extend(self._lookups.due(now))
        outputs.extend(self._repair.due(now))
        # Lists that hang must not hold back what happens now.
        reports = self._clients.lists_read() if self._repair.passing else []
        for report in (*reports, *self._clients.due(now.mono, gap_is_read=self._repair.done)):
            outputs.extend(self._repair.live(report))
        return outputs

    def deadline(self) -> float | None:
        return earliest(
            self._deals.deadline(), self._clients.deadline(), self._lookups.deadline(), self._repair.deadline()
        )

    # --- frames ---

    def told(self, frame: Frame, now: Instant) -> list[Output]:
        """A push. Raises what `UNREADABLE` lists."""
        method = frame.method or ""
        if method == "ordersPending_update":
            return self._pending(frame.params, now)
        if method == "ordersExecuted_update":
            return [one for raw in decode_raws(frame.params) for one in self._order(raw, now, ended=True)]
        if method == "deals_update":
            return self._deal(frame.params, now)
        if method == "balanceSpot_update":
            return [Seen(self.stream_id)] if self._futures else self._spot(frame.params, now)
        if method == "balanceMargin_update":
            return self._margin(frame.params, now) if self._futures else [Seen(self.stream_id)]
        if method == f"{POSITIONS}_update":
            return self._held(frame.params, now) if self._futures else []
        return [] if method in SILENT else [Note(f"unknown private frame {method[:40] or 'without a method'}")]

    def _pending(self, params: msgspec.Raw, now: Instant) -> list[Output]:
        parts = decode_raws(params)
        kind = bytes(parts[0]) if parts else b""
        if len(parts) < 2 or kind not in {str(one).encode() for one in (NEW, CHANGED, ENDED)}:
            notes: list[Output] = [Note("an order frame of a kind that no page lists", "error")]
            return [*notes, *self._ask_named(parts[1], now)] if len(parts) > 1 else notes
        return self._order(parts[1], now, ended=kind == str(ENDED).encode())

    def _order(self, raw: msgspec.Raw, now: Instant, *, ended: bool) -> list[Output]:
        try:
            row = decode_row(raw)
        except UNREADABLE as error:
            return [Note(f"unreadable order: {error}", "error"), *self._ask_named(raw, now)]
        if not self._orders.ours(row):
            return [Seen(self.stream_id)]
        event = self._orders.report(row, now.wall_ms, ended=ended)
        if isinstance(event, str):
            return [Note(f"order: {event}", "error"), *self._ask(str(row.id), row.market, now)]
        return self._emit(self._client_order(row, event, now))

    def _ask_named(self, raw: msgspec.Raw, now: Instant) -> list[Output]:
        """A row that can't be read may be the end of its order."""
        try:
            ref = _decode_ref(raw)
        except UNREADABLE:
            return []
        if not isinstance(ref.id, str | int) or isinstance(ref.id, bool):
            return []
        market = ref.market if isinstance(ref.market, str) else ""
        return self._ask(str(ref.id), market, now) if not market or self._orders.ours_market(market) else []

    def _deal(self, params: msgspec.Raw, now: Instant) -> list[Output]:
        """No event: what an order cost, and a check that its frames come."""
        deal = decode_deal(params)
        if self._orders.ours_market(deal.market):
            self._orders.deal(deal)
            order_id = str(deal.order_id)
            if self._live and not self._orders.knows(order_id) and len(self._deals) < MAX_WAITING:
                self._deals.add(order_id, deal, now.mono + DEAL_WAIT_S)
        return [Seen(self.stream_id)]

    def _spot(self, params: msgspec.Raw, now: Instant) -> list[Output]:
        outputs: list[Output] = []
        balances: list[Balance] = []
        for row in decode_raws(params):
            try:
                assets = decode_assets(row)
            except UNREADABLE as error:
                outputs.append(Note(f"unreadable balance: {error}", "error"))
                continue
            for asset, raw in assets.items():
                try:
                    balance = spot_balance(asset, raw)
                except UNREADABLE as error:
                    outputs.append(Note(f"unreadable balance: {error}", "error"))
                    continue
                balances.extend([balance] if balance is not None else [])
        return [*outputs, *self._emit([position(balances, now.wall_ms)] if balances else [])]

    def _margin(self, params: msgspec.Raw, now: Instant) -> list[Output]:
        outputs: list[Output] = []
        balances: list[Balance] = []
        for raw in decode_raws(params):
            try:
                balance = margin_balance(raw)
            except UNREADABLE as error:
                outputs.append(Note(f"unreadable balance: {error}", "error"))
                continue
            balances.extend([balance] if balance is not None else [])
        return [*outputs, *self._emit([position(balances, now.wall_ms)] if balances else [])]

    def _held(self, params: msgspec.Raw, now: Instant) -> list[Output]:
        """All positions, every second."""
        table = self._table()
        told = read_positions(params, lambda market: name_of(market, table), now.wall_ms)
        notes: list[Output] = [Note(told.odd.phrase("positions"), "error")] if told.odd else []
        return [*notes, *self._positions.whole(told.positions, now.wall_ms, complete=told.complete)]

    def _emit(self, events: Sequence[AccountEvent]) -> list[Output]:
        if not events:
            return [Seen(self.stream_id)]
        return [output for event in events for output in self._repair.live(event)]


def _open_rows(body: bytes) -> list[Row]:
    rows: list[Row] = []
    for raw in decode_raws(body):
        try:
            rows.append(rest_row(raw))
        except (*UNREADABLE, ValueError):
            continue
    return rows
