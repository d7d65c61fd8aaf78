"""Gap repair of one Binance account: which calls to make, and what their answers add (docs/venues/binance.md 8).

Step one reads the open orders, the balances, and what finished since the gap began (`_gap_history`): of the whole account on
USD-M, of the known pairs or symbols elsewhere. Step two reads the same of the names that these answers hint at. The last step
asks for each order that was known open and that none of these showed. Fills that happened in the gap are read per order and
told one by one, so that their fees are told too; an order whose fills can't be read is told in one event. What was not asked
for is named.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import Final

import msgspec

from exchanges._adapter import Answer, Call, Instant, KnownOrder, Note, Output, UserSubscription
from exchanges._frames import UNREADABLE
from exchanges._lookup import Lookups
from exchanges._numbers import decimal
from exchanges._plan import Singles, Steps, not_known, once, open_before
from exchanges._renewal import renewable
from exchanges._repair import GapRepair, Repaired
from exchanges._timers import earliest
from exchanges.binance import _errors, _rows_rest
from exchanges.binance._clock import BinanceClock
from exchanges.binance._gap_history import PAGE, History, Part
from exchanges.binance._hosts import Market
from exchanges.binance._orders import OrderRef
from exchanges.binance._rows_rest import OrderRow
from exchanges.binance._signer import Signer, encoded
from exchanges.events import TERMINAL, AccountEvent, AccountPosition, OrderEvent
from exchanges.instruments import SymbolTable

MAX_PAGES: Final = 100
"""Full pages of finished orders that are followed; more of them in one gap says so in its report."""

_OPEN: Final = "open orders"
_ALL: Final = "recent orders"
_ONE: Final = "order"
_FILLS: Final = "fills"
_BALANCES: Final = "balances"
_POSITIONS: Final = "positions"

_WEIGHT_SPOT: Final = {_OPEN: 80, _ALL: 20, _ONE: 4, _FILLS: 5, _BALANCES: 20}
_WEIGHT_FUTURES: Final = {_OPEN: 40, _ALL: 5, _ONE: 1, _FILLS: 5, _BALANCES: 5, _POSITIONS: 5}


class _Ask(msgspec.Struct, frozen=True):
    """What a call was about; its query is signed anew for every try."""

    query: str
    order: OrderRow | None = None
    before: Decimal = Decimal(0)
    """Executed quantity that was told already."""
    part: Part = Part("", 0)
    order_id: str = ""
    """The one order that is asked for."""

    @property
    def named(self) -> str:
        """` BTCUSDT`: what of several the call was about."""
        name = self.order_id or self.part.name
        return f" {name}" if name else ""


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
        self._since_ms = self._resume.since_ms if self._resume else 0
        self._known = {order.order_id: order for order in self._resume.orders} if self._resume else {}
        self._told: dict[str, tuple[str, Decimal]] = {}
        self._open_ids: set[str] | None = None
        self._history = History(market, self._since_ms, self._since_ms)
        self._pages = 0
        self._hints: dict[str, None] = {}
        """Symbols of open orders and positions that the first answers showed."""
        self._changed: frozenset[str] = frozenset()
        """Assets whose futures wallet moved in the gap."""
        self._holdings: AccountPosition | None = None
        self._updated_ms: int | None = None
        self._resync = False
        self._steps = Steps(once(self._by_hints), Singles(self._lost, self._singles))
        self._gap = GapRepair(subscription, sign=self._sign, then=self._steps.then, given_up=self._given_up)
        self._lookups = Lookups(self._sign)

    @property
    def done(self) -> bool:
        return self._gap.done

    @property
    def passing(self) -> bool:
        """Live events pass, whether the gap is still being read or not."""
        return self._gap.passing

    def begin(self, now: Instant) -> list[Output]:
        return self._gap.begin(self._first_calls(now), now, missing=open_before(self._resume))

    def live(self, event: AccountEvent) -> list[Output]:
        return self._gap.live(event)

    def ask(self, order: OrderRef, now: Instant) -> list[Output]:
        """Ask for an order that its frame did not tell."""
        note = Note(f"order {order.order_id}: {order.why}; it is asked for", "error")
        return [note, *self._lookups.ask(order.order_id, self._one(order.symbol, order.order_id), now)]

    def owns(self, call: Call) -> bool:
        return self._gap.owns(call) or self._lookups.owns(call)

    def answered(self, call: Call, answer: Answer, now: Instant) -> list[Output]:
        if self._lookups.owns(call):
            outputs = self._lookups.answered(call, answer, self._parse, self._gap.live, now)
        else:
            outputs = self._gap.answered(call, answer, self._parse, now)
        if self._resync:
            self._resync = False
            outputs = [*self._clock.resync(), *outputs]
        return outputs

    def deadline(self) -> float | None:
        return earliest(self._gap.deadline(), self._lookups.deadline())

    def due(self, now: Instant) -> list[Output]:
        return [*self._gap.due(now), *self._lookups.due(now)]

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

    @renewable
    def _sign(self, call: Call, now: Instant) -> Call:
        query = self._signer.query(_ask(call).query, self._clock.stamp(now))
        return msgspec.structs.replace(call, url=f"{call.url.split('?')[0]}?{query}")

    def _first_calls(self, now: Instant) -> list[Call]:
        if self._resume is None:
            return []
        market = self._market
        self._history = History(market, self._since_ms, self._clock.stamp(now))
        calls = [
            self._call(_OPEN, market.url("openOrders"), _Ask("")),
            self._call(_BALANCES, market.rest + market.balances_path, _Ask(market.balances_query)),
        ]
        if market.history == "account":
            return [*calls, *map(self._recent, self._history.whole())]
        if market.history == "pair":
            calls.append(self._positions())
        return [*calls, *map(self._recent, self._history.add(self._known_symbols()))]

    def _known_symbols(self) -> list[str]:
        newest_first = sorted(self._known.values(), key=lambda order: order.order_time_ms, reverse=True)
        return [order.symbol for order in newest_first if order.symbol]

    def _positions(self) -> Call:
        return self._call(_POSITIONS, self._market.url("positionRisk"), _Ask(""))

    def _recent(self, part: Part) -> Call:
        params: dict[str, str | int] = {}
        if part.name:
            params["pair" if self._history.by == "pair" else "symbol"] = part.name
        params |= {"startTime": part.from_ms, "limit": PAGE}
        if part.to_ms:
            params["endTime"] = part.to_ms
        return self._call(_ALL, self._market.url("allOrders"), _Ask(encoded(params), part=part))

    def _one(self, symbol: str, order_id: str) -> Call:
        query = encoded({"symbol": symbol, "orderId": order_id})
        return self._call(_ONE, self._market.url("order"), _Ask(query, order_id=order_id))

    def _by_hints(self, _now: Instant) -> Repaired:
        """What finished on names that the first answers hint at; all of these are in."""
        # A spot order moves the balances when it is placed and when it ends: while they stand still, nothing happened.
        still = self._updated_ms is not None and self._updated_ms < self._since_ms
        symbols = [*self._hints, *self._by_wallets(), *([] if still else self._by_holdings())]
        calls = [self._recent(part) for part in self._history.add(symbols)]
        return Repaired(calls=calls, missing=self._history.left_out(changed=not still))

    def _by_wallets(self) -> list[str]:
        """Contracts of the coins whose wallet moved in the gap: each fill costs a fee."""
        return [row.wire for row in self._table().active() if row.settle in self._changed]

    def _by_holdings(self) -> list[str]:
        """Spot tells orders by symbol only: if the balances changed in the gap, look also at what the held assets trade in.

        An order on a symbol that the account never used before, filled in the gap, left its base asset behind.
        """
        if self._holdings is None:
            return []
        held = {row.asset for row in self._holdings.balances if decimal(row.free) or decimal(str(row.locked or "0"))}
        rows = [row for row in self._table().active() if row.base in held]
        rows.sort(key=lambda row: row.quote not in held)
        return [row.wire for row in rows]

    def _lost(self) -> list[KnownOrder]:
        """Orders that were open before and that no answer has shown finished or open; none without the list of open ones."""
        if self._open_ids is None:
            return []
        return [
            order
            for order in self._known.values()
            if not order.terminal and order.order_id not in self._open_ids and not self._finished(order.order_id)
        ]

    def _singles(self, orders: Sequence[KnownOrder]) -> list[Call]:
        return [self._one(order.symbol, order.order_id) for order in orders]

    def _finished(self, order_id: str) -> bool:
        return self._told.get(order_id, ("", Decimal(0)))[0] in TERMINAL

    def _given_up(self, call: Call, _now: Instant) -> Sequence[AccountEvent]:
        order = _ask(call).order
        return [self._summary(order)] if order is not None else []

    # --- answers ---

    def _parse(self, call: Call, answer: Answer, now: Instant) -> Repaired:
        error = _errors.of_answer(answer)
        if error is not None and error.code == _errors.CLOCK:
            self._resync = True
            return Repaired(retry=True)
        if error is not None and call.tag == _ALL and _wants_symbol(call, error):
            return self._by_symbol_instead()
        try:
            repaired = self._read(call, answer.body, now) if error is None else None
        except UNREADABLE:
            repaired, error = None, _errors.VenueError(status=answer.status, text="unreadable answer")
        if repaired is None:
            ask, why = _ask(call), _errors.describe(error) if error else ""
            unknown = error is not None and error.code == _errors.UNKNOWN_ORDER and ask.order_id
            phrase = not_known(ask.order_id) if unknown else f"{call.tag}{ask.named}: {why}"
            repaired = Repaired(events=self._given_up(call, now), missing=[phrase])
        return repaired

    def _by_symbol_instead(self) -> Repaired:
        """The venue does not answer for the whole account (yet): known symbols, and those that its answers hint at."""
        if self._history.by == "symbol":
            return Repaired()
        self._history.refused()
        recent = [self._recent(part) for part in self._history.add([*self._known_symbols(), *self._hints])]
        return Repaired(calls=[self._positions(), *recent])

    def _read(self, call: Call, body: bytes, now: Instant) -> Repaired:
        ask = _ask(call)
        if call.tag == _BALANCES:
            return self._wallets(body, now)
        if call.tag == _POSITIONS:
            self._hints.update(dict.fromkeys(_rows_rest.traded_symbols(body, self._since_ms)))
            return Repaired()
        if call.tag == _FILLS and ask.order is not None:
            return Repaired(events=self._filled(ask.order, ask.before, _rows_rest.decode_trades(body)))
        if call.tag == _ONE:
            return self._orders([_rows_rest.decode_order(body)])
        rows, odd = _rows_rest.decode_orders(body)
        if call.tag == _OPEN:
            self._open_ids = {str(row.order_id) for row in rows}
            self._hints.update(dict.fromkeys(row.symbol for row in rows))
            found = self._orders(rows)
        else:
            recent = [row for row in rows if row.update_time >= self._since_ms or str(row.order_id) in self._known]
            found = self._orders(recent)
            if len(rows) + odd.number >= PAGE and rows:
                found = self._follow(found, ask.part, rows)
        if not odd:
            return found
        return msgspec.structs.replace(found, missing=[*found.missing, f"{call.tag}: {odd.phrase('orders')}"])

    def _follow(self, found: Repaired, part: Part, rows: Sequence[OrderRow]) -> Repaired:
        self._pages += 1
        further = self._history.further(part, [row.time for row in rows])
        if not further:
            return msgspec.structs.replace(found, missing=[*found.missing, f"{_ALL}: more than {PAGE} in one moment"])
        if self._pages > MAX_PAGES:
            return msgspec.structs.replace(found, missing=[*found.missing, f"{_ALL}: more than {MAX_PAGES} pages"])
        return msgspec.structs.replace(found, calls=[*found.calls, *map(self._recent, further)])

    def _wallets(self, body: bytes, now: Instant) -> Repaired:
        wallets = _rows_rest.balances(self._market, body, now.wall_ms, self._related_assets(), self._since_ms)
        self._changed, self._updated_ms = wallets.changed, wallets.updated_ms
        if isinstance(wallets.event, AccountPosition):
            self._holdings = wallets.event
        return Repaired(
            events=[wallets.event] if wallets.event is not None else [],
            missing=[f"{_BALANCES}: {wallets.odd.phrase('assets')}"] if wallets.odd else [],
        )

    def _orders(self, rows: Sequence[OrderRow]) -> Repaired:
        """Events for the rows that differ from what was told last; rows with new fills are looked at closer."""
        events: list[AccountEvent] = []
        calls: list[Call] = []
        missing: list[str] = []
        for row in rows:
            key = str(row.order_id)
            if not row.state:
                missing.append(f"order {key}: status {row.status[:40]}, which no page lists")
                continue
            known = self._known.get(key)
            executed = decimal(row.executed_qty)
            status, before = self._told.get(key) or (
                (known.status, decimal(known.executed)) if known is not None else ("", Decimal(0))
            )
            if (status, before) == (row.state, executed) and not _amended(row, known):
                continue
            if executed < before or status in TERMINAL:
                continue  # an answer that was older than another one
            self._told[key] = (row.state, executed)
            if executed > before:
                calls.append(self._fills_of(row, before))
            else:
                events.append(self._summary(row))
        return Repaired(events=events, calls=calls, missing=missing)

    def _fills_of(self, row: OrderRow, before: Decimal) -> Call:
        query = encoded({"symbol": row.symbol, "orderId": row.order_id, "limit": PAGE})
        path = "myTrades" if self._market.spot else "userTrades"
        return self._call(_FILLS, self._market.url(path), _Ask(query, order=row, before=before))

    def _filled(self, row: OrderRow, before: Decimal, trades: Sequence[_rows_rest.TradeRow]) -> list[AccountEvent]:
        executed = decimal(row.executed_qty)
        own = [trade for trade in trades if trade.order_id == row.order_id]
        steps = _rows_rest.fills(own, inverse=self._market.exchange == "binanceCoinm")
        steps = [step for step in steps if step.executed <= executed]
        client_id = self._client_id(row)
        if not steps or steps[-1].executed != executed:
            # Not all fills are told (or none): one event with the order's own totals is right where a walk would not be.
            return [_rows_rest.order_event(self._market, row, client_id, steps[-1] if steps else None)]
        events: list[AccountEvent] = [
            _rows_rest.after_fill(self._market, row, client_id, step, last=step is steps[-1])
            for step in steps
            if step.executed > before
        ]
        if row.state not in {"FILLED", "PARTIALLY_FILLED", "NEW"}:
            events.append(self._summary(row))
        return events

    def _summary(self, row: OrderRow) -> OrderEvent:
        return _rows_rest.order_event(self._market, row, self._client_id(row))

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


def _ask(call: Call) -> _Ask:
    assert isinstance(call.context, _Ask)  # noqa: S101 - every call of this class is made by `_call`
    return call.context


def _wants_symbol(call: Call, error: _errors.VenueError) -> bool:
    """Whether the question for the whole account was refused for being one."""
    return not _ask(call).part.name and error.code in _errors.WANTS_SYMBOL


def _amended(row: OrderRow, known: KnownOrder | None) -> bool:
    if known is None or known.terminal:
        return False
    return decimal(row.orig_qty) != decimal(known.quantity) or decimal(row.price) != decimal(known.price)
