"""Gap repair of one Binance account: which calls to make, and what their answers add (venue page, section 8).

Step one reads the open orders, the orders of the known symbols since the gap began, and the balances. On spot step two reads
the orders of further symbols that the balances hint at. The last step asks for each order that was known open and that none
of these showed. Fills that happened in the gap are read per order and told one by
one, so that their fees are told too; an order whose fills can't be read is told in one event.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import Final

import msgspec

from exchanges._adapter import Answer, Call, Instant, KnownOrder, Output, UserSubscription
from exchanges._frames import UNREADABLE
from exchanges._numbers import decimal
from exchanges._repair import GapRepair, Repaired
from exchanges.binance import _errors, _rest
from exchanges.binance._clock import BinanceClock
from exchanges.binance._markets import Market
from exchanges.binance._rest import OrderRow
from exchanges.binance._signer import Signer, encoded
from exchanges.events import AccountEvent, AccountPosition, OrderEvent
from exchanges.instruments import SymbolTable

MAX_SYMBOLS: Final = 20
"""Symbols whose finished orders are read; each costs 20 of 6,000 weight a minute on spot."""
MAX_SINGLE_ORDERS: Final = 200
_PAGE: Final = 1000
_DAY_MS: Final = 86_400_000
_SPOT_WINDOWS: Final = 3
"""`allOrders` spans at most 24 h on spot: a longer gap takes several calls, the last three days' at most."""
_FUTURES_SPAN_MS: Final = 7 * _DAY_MS - 3_600_000

_OPEN: Final = "open orders"
_ALL: Final = "recent orders"
_ONE: Final = "order"
_FILLS: Final = "fills"
_BALANCES: Final = "balances"

_WEIGHT_SPOT: Final = {_OPEN: 80, _ALL: 20, _ONE: 4, _FILLS: 5, _BALANCES: 20}
_WEIGHT_FUTURES: Final = {_OPEN: 40, _ALL: 5, _ONE: 1, _FILLS: 5, _BALANCES: 5}


class _Ask(msgspec.Struct, frozen=True):
    """What a call was about; its query is signed anew for every try."""

    query: str
    order: OrderRow | None = None
    before: Decimal = Decimal(0)
    """Executed quantity that was told already."""
    from_ms: int = 0
    to_ms: int = 0
    symbol: str = ""


class AccountRepair:
    """The gap of one account stream, from the confirmed subscription to `Live`."""

    def __init__(
        self,
        market: Market,
        subscription: UserSubscription,
        signer: Signer,
        clock: BinanceClock,
        table: Callable[[], SymbolTable],
    ) -> None:
        self._market, self._signer, self._clock, self._table = market, signer, clock, table
        self._resume = subscription.resume
        self._known = {order.order_id: order for order in self._resume.orders} if self._resume else {}
        self._told: dict[str, tuple[str, Decimal]] = {}
        self._open_ids: set[str] | None = None
        self._asked_singles = False
        self._symbols: list[str] = []
        """Symbols whose orders are asked for."""
        self._holdings: AccountPosition | None = None
        self._notes: list[str] = []
        self._now = Instant(0.0, 0)
        self._resync = False
        self._gap = GapRepair(subscription, sign=self._sign, then=self._next, given_up=self._given_up)

    @property
    def done(self) -> bool:
        return self._gap.done

    def begin(self, now: Instant) -> list[Output]:
        self._now = now
        return self._gap.begin(self._first_calls(), now)

    def live(self, event: AccountEvent) -> list[Output]:
        return self._gap.live(event)

    def owns(self, call: Call) -> bool:
        return self._gap.owns(call)

    def answered(self, call: Call, answer: Answer, now: Instant) -> list[Output]:
        self._now = now
        outputs = self._gap.answered(call, answer, self._parse, now)
        if self._resync:
            self._resync = False
            outputs = [*self._clock.resync(), *outputs]
        return outputs

    def deadline(self) -> float | None:
        return self._gap.deadline()

    def due(self, now: Instant) -> list[Output]:
        self._now = now
        return self._gap.due(now)

    # --- calls ---

    def _call(self, tag: str, url: str, ask: _Ask) -> Call:
        weights = _WEIGHT_SPOT if self._market.spot else _WEIGHT_FUTURES
        return Call(
            tag=tag,
            method="GET",
            url=url,
            headers=self._signer.headers,
            stream_id=self._gap.stream_id,
            context=ask,
            weight=weights[tag],
            pool=self._market.pool,
        )

    def _sign(self, call: Call) -> Call:
        ask = call.context
        assert isinstance(ask, _Ask)  # noqa: S101 - every call of this class is made by `_call`
        query = self._signer.query(ask.query, self._clock.stamp(self._now))
        return msgspec.structs.replace(call, url=f"{call.url.split('?')[0]}?{query}")

    def _first_calls(self) -> list[Call]:
        resume = self._resume
        if resume is None:
            return []
        market = self._market
        balances = _Ask(encoded({"omitZeroBalances": "true"}) if market.spot else "")
        calls = [
            self._call(_OPEN, market.url("openOrders"), _Ask("")),
            self._call(_BALANCES, market.rest + market.balances_path, balances),
        ]
        newest_first = sorted(self._known.values(), key=lambda order: order.order_time_ms, reverse=True)
        symbols = list(dict.fromkeys(order.symbol for order in newest_first if order.symbol))
        if len(symbols) > MAX_SYMBOLS:
            self._notes.append(f"orders finished meanwhile on {len(symbols) - MAX_SYMBOLS} symbols")
        if not symbols and not market.spot:
            self._notes.append("orders placed and finished meanwhile: no symbol of this account is known yet")
        self._symbols = symbols[:MAX_SYMBOLS]
        return [*calls, *self._recent_of(self._symbols, resume.since_ms)]

    def _recent_of(self, symbols: Sequence[str], since_ms: int) -> list[Call]:
        windows = self._windows(since_ms)
        return [self._recent(symbol, start_ms, end_ms) for symbol in symbols for start_ms, end_ms in windows]

    def _next(self) -> list[Call]:
        return self._by_holdings() or self._singles()

    def _by_holdings(self) -> list[Call]:
        """Spot tells orders by symbol only: if the balances changed in the gap, look also at what the held assets trade in.

        An order on a symbol that the account never used before, filled in the gap, left its base asset behind.
        """
        holdings, self._holdings, resume = self._holdings, None, self._resume
        if holdings is None or resume is None or holdings.last_account_update < resume.since_ms:
            return []
        held = {row.asset for row in holdings.balances if decimal(row.free) or decimal(str(row.locked or "0"))}
        known = set(self._symbols)
        rows = [row for row in self._table().active() if row.base in held and row.wire not in known]
        rows.sort(key=lambda row: row.quote not in held)
        room = max(0, MAX_SYMBOLS - len(self._symbols))
        if len(rows) > room:
            self._notes.append(
                f"orders placed and finished meanwhile on {len(rows) - room} symbols that were not used before"
            )
        found = [row.wire for row in rows[:room]]
        self._symbols += found
        return self._recent_of(found, resume.since_ms)

    def _windows(self, since_ms: int) -> list[tuple[int, int]]:
        now_ms = self._clock.stamp(self._now)
        span_ms = _SPOT_WINDOWS * _DAY_MS if self._market.spot else _FUTURES_SPAN_MS
        start_ms = max(since_ms, now_ms - span_ms)
        if start_ms > since_ms:
            self._notes.append("orders that were placed and finished early in a long gap")
        if not self._market.spot:
            return [(start_ms, 0)]
        starts = range(start_ms, max(now_ms, start_ms + 1), _DAY_MS)
        return [(start, start + _DAY_MS) for start in starts]

    def _recent(self, symbol: str, start_ms: int, end_ms: int) -> Call:
        params: dict[str, str | int] = {"symbol": symbol, "startTime": start_ms, "limit": _PAGE}
        if end_ms:
            params["endTime"] = end_ms
        ask = _Ask(encoded(params), from_ms=start_ms, to_ms=end_ms, symbol=symbol)
        return self._call(_ALL, self._market.url("allOrders"), ask)

    def _singles(self) -> list[Call]:
        """Step two: orders that were open before and that no answer has shown finished or open."""
        if self._asked_singles or self._open_ids is None:
            return []
        self._asked_singles = True
        lost = [
            order
            for order in self._known.values()
            if not order.terminal and order.order_id not in self._open_ids and not self._finished(order.order_id)
        ]
        if len(lost) > MAX_SINGLE_ORDERS:
            self._notes.append(f"{len(lost) - MAX_SINGLE_ORDERS} orders that are no longer open")
        return [
            self._call(
                _ONE,
                self._market.url("order"),
                _Ask(encoded({"symbol": order.symbol, "orderId": order.order_id})),
            )
            for order in lost[:MAX_SINGLE_ORDERS]
            if order.symbol
        ]

    def _finished(self, order_id: str) -> bool:
        return self._told.get(order_id, ("", Decimal(0)))[0] in {"FILLED", "CANCELED", "EXPIRED", "REJECTED"}

    def _given_up(self, call: Call) -> Sequence[AccountEvent]:
        ask = call.context
        return [self._summary(ask.order)] if isinstance(ask, _Ask) and ask.order is not None else []

    # --- answers ---

    def _parse(self, call: Call, answer: Answer) -> Repaired:
        error = _errors.of_answer(answer)
        if error is not None and error.code == _errors.CLOCK:
            self._resync = True
            return Repaired(retry=True)
        try:
            repaired = self._read(call, answer.body) if error is None else None
        except UNREADABLE:
            repaired, error = None, _errors.VenueError(status=answer.status, text="unreadable answer")
        if repaired is None:
            why = _errors.describe(error) if error else ""
            repaired = Repaired(events=self._given_up(call), missing=[f"{call.tag}: {why}"])
        if self._notes:
            repaired = msgspec.structs.replace(repaired, missing=[*repaired.missing, *self._notes])
            self._notes = []
        return repaired

    def _read(self, call: Call, body: bytes) -> Repaired:
        ask = call.context
        assert isinstance(ask, _Ask)  # noqa: S101 - every call of this class is made by `_call`
        if call.tag == _BALANCES:
            event = _rest.balances(self._market, body, self._now.wall_ms, self._related_assets())
            if isinstance(event, AccountPosition):
                self._holdings = event
            return Repaired(events=[event] if event is not None else [])
        if call.tag == _FILLS and ask.order is not None:
            return Repaired(events=self._filled(ask.order, ask.before, _rest.decode_trades(body)))
        if call.tag == _ONE:
            return self._orders([_rest.decode_order(body)])
        rows = _rest.decode_orders(body)
        if call.tag == _OPEN:
            self._open_ids = {str(row.order_id) for row in rows}
            return self._orders(rows)
        found = self._orders(
            [row for row in rows if row.update_time >= ask.from_ms or str(row.order_id) in self._known]
        )
        if len(rows) < _PAGE:
            return found
        newest_ms = max(row.time for row in rows)
        if newest_ms <= ask.from_ms:
            return msgspec.structs.replace(found, missing=[f"{call.tag}: more than {_PAGE} in one moment"])
        return msgspec.structs.replace(found, calls=[*found.calls, self._recent(ask.symbol, newest_ms, ask.to_ms)])

    def _orders(self, rows: Sequence[OrderRow]) -> Repaired:
        """Events for the rows that differ from what was told last; rows with new fills are looked at closer."""
        events: list[AccountEvent] = []
        calls: list[Call] = []
        for row in rows:
            key = str(row.order_id)
            known = self._known.get(key)
            executed = decimal(row.executed_qty)
            status, before = self._told.get(key) or (
                (known.status, decimal(known.executed)) if known is not None else ("", Decimal(0))
            )
            if (status, before) == (row.state, executed) and not _amended(row, known):
                continue
            if executed < before or status in {"FILLED", "CANCELED", "EXPIRED", "REJECTED"}:
                continue  # an answer that was older than another one
            self._told[key] = (row.state, executed)
            if executed > before:
                calls.append(self._fills_of(row, before))
            else:
                events.append(self._summary(row))
        return Repaired(events=events, calls=calls)

    def _fills_of(self, row: OrderRow, before: Decimal) -> Call:
        query = encoded({"symbol": row.symbol, "orderId": row.order_id, "limit": _PAGE})
        path = "myTrades" if self._market.spot else "userTrades"
        return self._call(_FILLS, self._market.url(path), _Ask(query, order=row, before=before))

    def _filled(self, row: OrderRow, before: Decimal, trades: Sequence[_rest.TradeRow]) -> list[AccountEvent]:
        executed = decimal(row.executed_qty)
        own = [trade for trade in trades if trade.order_id == row.order_id]
        steps = _rest.fills(own, inverse=self._market.exchange == "binanceCoinm")
        steps = [step for step in steps if step.executed <= executed]
        client_id = self._client_id(row)
        if not steps or steps[-1].executed != executed:
            # Not all fills are told (or none): one event with the order's own totals is right where a walk would not be.
            return [_rest.order_event(self._market, row, client_id, steps[-1] if steps else None)]
        events: list[AccountEvent] = [
            _rest.after_fill(self._market, row, client_id, step, last=step is steps[-1])
            for step in steps
            if step.executed > before
        ]
        if row.state not in {"FILLED", "PARTIALLY_FILLED", "NEW"}:
            events.append(self._summary(row))
        return events

    def _summary(self, row: OrderRow) -> OrderEvent:
        return _rest.order_event(self._market, row, self._client_id(row))

    def _client_id(self, row: OrderRow) -> str:
        """The id that the order had when it was placed: after a cancel, REST may name the cancel request instead."""
        known = self._known.get(str(row.order_id))
        return known.client_order_id if known is not None and known.client_order_id else row.client_order_id

    def _related_assets(self) -> list[str]:
        table = self._table()
        instruments = (table.wire(order.symbol) for order in self._known.values())
        return list(
            dict.fromkeys(asset for found in instruments if found for asset in (found.base, found.quote) if asset)
        )


def _amended(row: OrderRow, known: KnownOrder | None) -> bool:
    if known is None or known.terminal:
        return False
    return decimal(row.orig_qty) != decimal(known.quantity) or decimal(row.price) != decimal(known.price)
