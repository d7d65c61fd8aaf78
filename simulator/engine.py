"""The trading engine of the simulated world: accounts, keys, orders, journal. Pure: time is passed in, nothing is random.

Every operation either raises `Refused` and changes nothing, or appends typed changes (`drain`) and journal entries. Promises,
held for any order of operations: cumulative totals of an order never fall, an order reaches one terminal state and leaves it
never, `seq` rises by 1 over the engine, `time_ms` rises strictly within an account.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from decimal import ROUND_DOWN, Decimal
from typing import Final, Literal

import msgspec

from simulator._accounts import Account, Accounts, Refused
from simulator._kept import Kept
from simulator._orders import OrderStore
from simulator._record import Record
from simulator._requests import NewOrder, average, order_of, reaches
from simulator._values import (
    ZERO,
    ApiKey,
    Change,
    Entry,
    Holding,
    Order,
    OrderKind,
    Side,
    Symbol,
    Trade,
)
from simulator.markets import Markets

__all__ = ["Account", "Engine", "NewOrder", "Refused"]

FIRST_ORDER_ID: Final = 100_001
FIRST_TRADE_ID: Final = 500_001


class Engine:
    """All accounts of all venues. Loop thread of the simulator only."""

    def __init__(self, markets: Markets, *, match: bool = False) -> None:
        self._markets = markets
        self.match = match
        self._accounts = Accounts()
        self._orders = OrderStore()
        self._record = Record()
        self._order_id = FIRST_ORDER_ID - 1
        self._trade_ids: dict[str, int] = {}

    def keep(self, kept: Kept) -> None:
        """Remember so much from now on."""
        self._accounts.keep(kept.trades)
        self._orders.keep(kept.finished)
        self._record.keep(kept.journal)

    # --- accounts and keys ---

    def create_account(
        self,
        venue: str,
        keys: Iterable[ApiKey] = (),
        *,
        account_id: str = "",
        wallets: Mapping[str, Mapping[str, Decimal]] | None = None,
    ) -> Account:
        """A new account; without `wallets` it is rich in every asset of its venue's markets (paper: of all markets)."""
        return self._accounts.create(venue, keys, account_id, self._markets.rich(venue) if wallets is None else wallets)

    def accounts(self) -> list[Account]:
        return self._accounts.all()

    def account(self, account_id: str) -> Account:
        return self._accounts.get(account_id)

    def find_key(self, venue: str, key: str) -> tuple[Account, ApiKey] | None:
        return self._accounts.find_key(venue, key)

    def reject_key(self, account_id: str, code: str) -> None:
        """Refuse every key of the account with the venue's error code from now on; empty = accept them again."""
        self._accounts.reject_key(account_id, code)

    def replace_keys(self, account_id: str, keys: Iterable[ApiKey]) -> None:
        """The user made a new key: the old ones are unknown from now on."""
        self._accounts.replace_keys(account_id, keys)

    # --- reading ---

    def order(
        self, account_id: str, exchange: str, order_id: int | None = None, client_id: str | None = None
    ) -> Order | None:
        """By order id, or the newest order with a client id."""
        if order_id is None:
            return self._orders.by_client(account_id, exchange, client_id or "")
        order = self._orders.get(order_id)
        return order if order and (order.account, order.exchange) == (account_id, exchange) else None

    def locate(self, order_id: int) -> Order | None:
        """An order by id alone: ids are unique over the engine."""
        return self._orders.get(order_id)

    def orders(self, account_id: str, exchange: str, symbol: str | None = None) -> list[Order]:
        """Every order that is remembered, oldest first."""
        return self._orders.of(account_id, exchange, symbol, only_open=False)

    def open_orders(self, account_id: str, exchange: str, symbol: str | None = None) -> list[Order]:
        return self._orders.of(account_id, exchange, symbol, only_open=True)

    def trades(self, account_id: str, exchange: str, symbol: str | None = None) -> list[Trade]:
        return [
            trade
            for trade in self.account(account_id).trades
            if trade.exchange == exchange and (symbol is None or trade.symbol == symbol)
        ]

    def journal(self, since: int = 0) -> list[Entry]:
        """Entries with `seq` above `since`, oldest first."""
        return self._record.journal(since)

    def last_seq(self) -> int:
        """Number of the newest change: where a reader of the journal may start."""
        return self._record.last_seq

    def drain(self) -> list[Change]:
        """Changes since the last call, in order; the caller delivers them."""
        return self._record.drain()

    # --- orders ---

    def place(self, account_id: str, exchange: str, new: NewOrder, now_ms: int, *, hold: bool = False) -> Order:
        """Accept an order. Market orders fill at once at the current price, unless `hold` leaves them to `fill`.

        IOC and FOK orders fill or expire at once; other limit orders rest, or take when `match` is on and the price crosses.
        """
        account, symbol = self.account(account_id), self._symbol(exchange, new.symbol)
        market = new.order_type == "MARKET"
        price = self._markets.quote(exchange, new.symbol).price
        crosses = "LIMIT" in new.order_type and not new.stop_price and reaches(new.side, new.price, price)
        self._check(account_id, exchange, new, crosses=crosses)
        order = order_of(new, account_id, exchange, symbol, price, self._order_id + 1)
        reserve = price if market else new.price or new.stop_price
        if not account.ledger.lock(self._wallet(exchange), symbol, order, reserve):
            raise Refused("balance", "insufficient balance")
        self._order_id = order.order_id
        order = self._step(account, order, "NEW", now_ms)
        if hold:
            return order
        immediate = new.time_in_force in {"IOC", "FOK"}
        if market or (crosses and (self.match or immediate)):
            return self.fill(account_id, exchange, order.order_id, now_ms, price=price, maker=False)
        if immediate:
            return self.expire(account_id, exchange, order.order_id, now_ms)
        return order

    def _check(self, account_id: str, exchange: str, new: NewOrder, *, crosses: bool) -> None:
        """Raises `Refused`."""
        if new.price <= 0 and "LIMIT" in new.order_type:
            raise Refused("price", "price must be above 0")
        known = self._orders.by_client(account_id, exchange, new.client_id) if new.client_id else None
        if known is not None and known.open:
            raise Refused("duplicate", "an open order has this client id")
        post_only = new.order_type == "LIMIT_MAKER" or new.time_in_force == "GTX"
        if crosses and post_only and self.match:
            raise Refused("would_take", "the order would match at once")

    def fill(
        self,
        account_id: str,
        exchange: str,
        order_id: int,
        now_ms: int,
        *,
        quantity: Decimal | None = None,
        price: Decimal | None = None,
        maker: bool = True,
    ) -> Order:
        """Execute a part of an order, or all that is left; at its limit price unless told another."""
        account, order = self._open(account_id, exchange, order_id)
        symbol = self._symbol(exchange, order.symbol)
        amount = order.remaining if quantity is None else quantity
        if not ZERO < amount <= order.remaining:
            raise Refused("quantity", f"only {order.remaining} is left to fill")
        at = price or order.price or self._markets.quote(exchange, order.symbol).price
        if (
            order.price
            and "LIMIT" in order.order_type
            and (at > order.price if order.side == "BUY" else at < order.price)
        ):
            raise Refused("price", "worse than the limit price")
        trade_id = self._trade_ids[exchange] = self._trade_ids.get(exchange, FIRST_TRADE_ID - 1) + 1
        settled = account.ledger.execute(self._wallet(exchange), symbol, order, amount, at, maker=maker)
        executed = order.executed + amount
        value = order.value + settled.value
        trade = Trade(
            exchange=exchange,
            trade_id=trade_id,
            order_id=order_id,
            symbol=order.symbol,
            side=order.side,
            price=at,
            quantity=amount,
            value=settled.value,
            fee=settled.fee,
            fee_asset=settled.fee_asset,
            maker=maker,
            time_ms=max(now_ms, account.last_ms + 1),
            realised=settled.realised,
        )
        after = msgspec.structs.replace(
            order,
            executed=executed,
            value=value,
            average=average(symbol, executed, value),
            fee=order.fee + settled.fee,
            fee_asset=settled.fee_asset,
            working=True,
            status="FILLED" if executed == order.quantity else "PARTIALLY_FILLED",
        )
        account.trades.append(trade)
        return self._step(account, after, "TRADE", now_ms, trade=trade)

    def cancel(self, account_id: str, exchange: str, order_id: int, now_ms: int, request_id: str = "") -> Order:
        return self._end(account_id, exchange, order_id, "CANCELED", now_ms, request_id)

    def expire(self, account_id: str, exchange: str, order_id: int, now_ms: int) -> Order:
        return self._end(account_id, exchange, order_id, "EXPIRED", now_ms)

    def reject(self, account_id: str, exchange: str, order_id: int, now_ms: int, reason: str = "NONE") -> Order:
        """The venue throws an accepted order out before anything was executed."""
        _, order = self._open(account_id, exchange, order_id)
        if order.executed:
            raise Refused("finished", "a part of the order is executed already")
        return self._end(account_id, exchange, order_id, "REJECTED", now_ms, reject_reason=reason)

    def amend(
        self,
        account_id: str,
        exchange: str,
        order_id: int,
        now_ms: int,
        *,
        quantity: Decimal | None = None,
        price: Decimal | None = None,
        client_id: str = "",
        request_id: str = "",
    ) -> Order:
        """Change size or price of an open order; its id stays. The size can't go to or below what is executed."""
        account, order = self._open(account_id, exchange, order_id)
        symbol = self._symbol(exchange, order.symbol)
        after = msgspec.structs.replace(
            order,
            quantity=order.quantity if quantity is None else quantity,
            price=order.price if price is None else price,
            client_id=client_id or order.client_id,
        )
        if after.quantity <= after.executed or after.price < 0:
            raise Refused("quantity", "the new size must be above what is executed")
        if not account.ledger.relock(self._wallet(exchange), symbol, order, after):
            raise Refused("balance", "insufficient balance")
        return self._step(account, after, "AMENDED", now_ms, request_id=request_id or order.client_id)

    def replace(
        self,
        account_id: str,
        exchange: str,
        order_id: int,
        now_ms: int,
        *,
        quantity: Decimal | None = None,
        price: Decimal | None = None,
    ) -> Order:
        """A modify that makes a new order under the same client id, and ends the old one (Hyperliquid).

        `quantity` is the size of the new order; without it, what was left. Returns the new order, told first.
        """
        account, order = self._open(account_id, exchange, order_id)
        symbol, wallet = self._symbol(exchange, order.symbol), self._wallet(exchange)
        new = msgspec.structs.replace(
            order,
            order_id=self._order_id + 1,
            price=order.price if price is None else price,
            quantity=order.remaining if quantity is None else quantity,
            status="NEW",
            created_ms=0,
            executed=ZERO,
            value=ZERO,
            average=ZERO,
            fee=ZERO,
            replaces=order_id,
        )
        if new.quantity <= 0 or new.price <= 0:
            raise Refused("quantity", "size and price must be above 0")
        account.ledger.release(order)
        if not account.ledger.lock(wallet, symbol, new, new.price):
            account.ledger.lock(wallet, symbol, order, order.price)
            raise Refused("balance", "insufficient balance")
        self._order_id = new.order_id
        placed = self._step(account, new, "NEW", now_ms)
        old = msgspec.structs.replace(order, status="CANCELED", replaced_by=new.order_id)
        self._step(account, old, "CANCELED", now_ms)
        return placed

    def liquidate(
        self,
        account_id: str,
        exchange: str,
        symbol: str,
        now_ms: int,
        *,
        side: Side | None = None,
        quantity: Decimal | None = None,
        fills: int = 1,
    ) -> Order:
        """Force a futures position shut in `fills` pieces. Without a position, side and quantity must be told."""
        account, spec = self.account(account_id), self._symbol(exchange, symbol)
        held = next((p for p in account.positions(exchange) if p.symbol == symbol), None)
        amount = quantity or (abs(held.amount) if held else ZERO)
        if not spec.settle or amount <= 0 or fills < 1:
            raise Refused("quantity", "there is no position to liquidate")
        self._order_id += 1
        order = Order(
            account=account_id,
            exchange=exchange,
            symbol=symbol,
            order_id=self._order_id,
            client_id="",
            side=side or ("SELL" if held and held.amount > 0 else "BUY"),
            order_type="LIMIT",
            time_in_force="IOC",
            price=self._markets.quote(exchange, symbol).price,
            quantity=amount,
            status="NEW",
            created_ms=0,
            updated_ms=0,
            reduce_only=True,
            position_side=held.side if held else "BOTH",
            liquidation=True,
        )
        order = self._step(account, order, "NEW", now_ms)
        step = Decimal(1).scaleb(-spec.quantity_decimals)
        piece = max((amount / fills).quantize(step, rounding=ROUND_DOWN), step)
        while order.open:
            part = min(piece, order.remaining) if order.executed + 2 * piece <= amount else order.remaining
            order = self.fill(account_id, exchange, order.order_id, now_ms, quantity=part, maker=False)
        return order

    def crossed(self, exchange: str, symbol: str, price: Decimal, now_ms: int) -> None:
        """With `match` on: fill resting limit orders that a new price reaches."""
        if not self.match:
            return
        for order in self._orders.resting(exchange, symbol):
            if order.price and order.working and reaches(order.side, order.price, price):
                self.fill(order.account, exchange, order.order_id, now_ms, price=order.price)

    # --- money ---

    def transfer(
        self, account_id: str, exchange: str, asset: str, delta: Decimal, now_ms: int, reason: str = "DEPOSIT"
    ) -> Holding:
        """Add to (or take from) the free balance: deposit, withdrawal, transfer, funding fee."""
        account = self.account(account_id)
        wallet = self._wallet(exchange)
        if not account.ledger.add(wallet, asset, delta):
            raise Refused("balance", "insufficient balance")
        return self._record.wallet(account, exchange, wallet, now_ms, reason)[0]

    # --- inside ---

    def _symbol(self, exchange: str, wire: str) -> Symbol:
        symbol = self._markets.symbol(exchange, wire)
        if symbol is None:
            raise Refused("symbol", f"no symbol {wire} on {exchange}")
        return symbol

    def _wallet(self, exchange: str) -> str:
        market = self._markets.market(exchange)
        if market is None:
            raise Refused("symbol", f"no market {exchange}")
        return market.wallet

    def _open(self, account_id: str, exchange: str, order_id: int) -> tuple[Account, Order]:
        account = self.account(account_id)
        order = self.order(account_id, exchange, order_id=order_id)
        if order is None:
            raise Refused("unknown_order", f"no order {order_id} on {exchange}")
        if not order.open:
            raise Refused("finished", f"order {order_id} is {order.status}")
        return account, order

    def _end(
        self,
        account_id: str,
        exchange: str,
        order_id: int,
        status: Literal["CANCELED", "EXPIRED", "REJECTED"],
        now_ms: int,
        request_id: str = "",
        reject_reason: str = "",
    ) -> Order:
        account, order = self._open(account_id, exchange, order_id)
        account.ledger.release(order)
        after = msgspec.structs.replace(order, status=status, reject_reason=reject_reason)
        return self._step(account, after, status, now_ms, request_id=request_id)

    def _step(
        self,
        account: Account,
        order: Order,
        kind: OrderKind,
        now_ms: int,
        *,
        trade: Trade | None = None,
        request_id: str = "",
    ) -> Order:
        """Store the new state and record it, with the wallet change that belongs to it."""
        time_ms = account.stamp(now_ms)
        order = msgspec.structs.replace(order, updated_ms=time_ms, created_ms=order.created_ms or time_ms)
        self._orders.put(order)
        seq = self._record.order(order, kind, trade, request_id)
        self._record.wallet(account, order.exchange, self._wallet(order.exchange), now_ms, "ORDER", seq)
        return order
