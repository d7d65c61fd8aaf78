"""The trading engine of the simulated world: accounts, keys, orders, journal. Pure: time is passed in, nothing is random.

Every operation either raises `Refused` and changes nothing, or appends typed changes (`drain`) and journal entries. Promises,
held for any order of operations: cumulative totals of an order never fall, an order reaches one terminal state and leaves it
never, `seq` rises by 1 over the engine, `time_ms` rises strictly within an account.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Final, Literal

import msgspec

from simulator._ledger import Ledger
from simulator._values import (
    TERMINAL,
    ZERO,
    ApiKey,
    Change,
    Entry,
    Holding,
    Order,
    OrderChange,
    OrderKind,
    Position,
    Side,
    Symbol,
    Trade,
    WalletChange,
)
from simulator.markets import Markets

MAX_JOURNAL: Final = 200_000
"""Entries kept; older ones are dropped, `journal` tells by its first `seq`."""
MAX_FINISHED: Final = 20_000
"""Finished orders remembered over all accounts."""
MAX_TRADES: Final = 5_000
"""Trades remembered per account."""
FIRST_ORDER_ID: Final = 100_001
FIRST_TRADE_ID: Final = 500_001

Reason = Literal[
    "account", "symbol", "quantity", "price", "balance", "duplicate", "unknown_order", "finished", "would_take"
]


class Refused(Exception):
    """The engine declines an operation; `reason` is for the venue half to translate, the text is for people."""

    def __init__(self, reason: Reason, text: str) -> None:
        super().__init__(text)
        self.reason: Reason = reason


class NewOrder(msgspec.Struct, frozen=True, kw_only=True):
    """An order request. `quote_quantity` sizes a market order by funds instead of `quantity`."""

    symbol: str
    side: Side
    quantity: Decimal = ZERO
    price: Decimal = ZERO
    order_type: str = "LIMIT"
    time_in_force: str = "GTC"
    client_id: str = ""
    stop_price: Decimal = ZERO
    quote_quantity: Decimal = ZERO
    reduce_only: bool = False
    position_side: str = "BOTH"


class Account:
    """One account: read by halves, changed by the engine only."""

    def __init__(
        self, account_id: str, venue: str, keys: Iterable[ApiKey], wallets: Mapping[str, Mapping[str, Decimal]]
    ) -> None:
        self.account_id = account_id
        self.venue = venue
        self.keys = list(keys)
        self.ledger = Ledger(wallets)
        self.last_ms = 0
        self.trades: deque[Trade] = deque(maxlen=MAX_TRADES)

    def holdings(self, wallet: str) -> list[Holding]:
        """Every asset of a wallet, in alphabetical order."""
        return self.ledger.holdings(wallet)

    def positions(self, exchange: str) -> list[Position]:
        """Open positions of a futures exchange id."""
        return self.ledger.positions(exchange)


class Engine:
    """All accounts of all venues. Loop thread of the simulator only."""

    def __init__(self, markets: Markets, *, match: bool = False) -> None:
        self._markets = markets
        self.match = match
        self._accounts: dict[str, Account] = {}
        self._keys: dict[tuple[str, str], str] = {}
        self._orders: dict[str, dict[tuple[str, int], Order]] = {}
        self._resting: dict[tuple[str, str], dict[int, str]] = {}
        self._owners: dict[int, tuple[str, str]] = {}
        self._finished: deque[tuple[str, str, int]] = deque()
        self._changes: list[Change] = []
        self._journal: deque[Entry] = deque(maxlen=MAX_JOURNAL)
        self._seq = 0
        self._order_id = FIRST_ORDER_ID - 1
        self._trade_ids: dict[str, int] = {}

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
        account_id = account_id or f"{venue}-{len(self._accounts) + 1}"
        if account_id in self._accounts:
            raise Refused("account", f"account {account_id} exists already")
        keys = list(keys)
        for key in keys:
            if (venue, key.key) in self._keys:
                raise Refused("account", "another account has this key already")
        account = Account(account_id, venue, keys, self._markets.rich(venue) if wallets is None else wallets)
        self._accounts[account_id] = account
        self._orders[account_id] = {}
        for key in keys:
            self._keys[(venue, key.key)] = account_id
        return account

    def accounts(self) -> list[Account]:
        return list(self._accounts.values())

    def account(self, account_id: str) -> Account:
        account = self._accounts.get(account_id)
        if account is None:
            raise Refused("account", f"no account {account_id}")
        return account

    def find_key(self, venue: str, key: str) -> tuple[Account, ApiKey] | None:
        account_id = self._keys.get((venue, key))
        if account_id is None:
            return None
        account = self._accounts[account_id]
        return account, next(candidate for candidate in account.keys if candidate.key == key)

    def reject_key(self, account_id: str, code: str) -> None:
        """Refuse every key of the account with the venue's error code from now on; empty = accept them again."""
        account = self.account(account_id)
        account.keys = [msgspec.structs.replace(key, rejected=code) for key in account.keys]

    def replace_keys(self, account_id: str, keys: Iterable[ApiKey]) -> None:
        """The user made a new key: the old ones are unknown from now on."""
        account = self.account(account_id)
        for key in account.keys:
            del self._keys[(account.venue, key.key)]
        account.keys = list(keys)
        for key in account.keys:
            self._keys[(account.venue, key.key)] = account_id

    # --- reading ---

    def order(
        self, account_id: str, exchange: str, order_id: int | None = None, client_id: str | None = None
    ) -> Order | None:
        """By order id, or the newest order with a client id."""
        orders = self._orders.get(account_id, {})
        if order_id is not None:
            return orders.get((exchange, order_id))
        for (where, _), order in reversed(orders.items()):
            if where == exchange and order.client_id == client_id:
                return order
        return None

    def locate(self, order_id: int) -> Order | None:
        """An order by id alone: ids are unique over the engine."""
        owner = self._owners.get(order_id)
        return self._orders[owner[0]].get((owner[1], order_id)) if owner else None

    def orders(self, account_id: str, exchange: str, symbol: str | None = None) -> list[Order]:
        found = self._orders.get(account_id, {})
        return [
            order
            for (where, _), order in found.items()
            if where == exchange and (symbol is None or order.symbol == symbol)
        ]

    def open_orders(self, account_id: str, exchange: str, symbol: str | None = None) -> list[Order]:
        return [order for order in self.orders(account_id, exchange, symbol) if order.open]

    def trades(self, account_id: str, exchange: str, symbol: str | None = None) -> list[Trade]:
        return [
            trade
            for trade in self.account(account_id).trades
            if trade.exchange == exchange and (symbol is None or trade.symbol == symbol)
        ]

    def journal(self, since: int = 0) -> list[Entry]:
        """Entries with `seq` above `since`, oldest first."""
        return [entry for entry in self._journal if entry.seq > since]

    def drain(self) -> list[Change]:
        """Changes since the last call, in order; the caller delivers them."""
        changes, self._changes = self._changes, []
        return changes

    # --- orders ---

    def place(self, account_id: str, exchange: str, new: NewOrder, now_ms: int, *, hold: bool = False) -> Order:
        """Accept an order. Market orders fill at once at the current price, unless `hold` leaves them to `fill`.

        IOC and FOK orders fill or expire at once; other limit orders rest, or take when `match` is on and the price crosses.
        """
        account, symbol = self.account(account_id), self._symbol(exchange, new.symbol)
        market = new.order_type == "MARKET"
        price = self._markets.quote(exchange, new.symbol).price
        quantity = new.quantity
        if market and not quantity and new.quote_quantity > 0:
            step = Decimal(1).scaleb(-symbol.quantity_decimals)
            quantity = (new.quote_quantity / price).quantize(step, rounding="ROUND_DOWN")
        if quantity <= 0:
            raise Refused("quantity", "quantity must be above 0")
        if not market and new.price <= 0 and "LIMIT" in new.order_type:
            raise Refused("price", "price must be above 0")
        if new.client_id and any(order.client_id == new.client_id for order in self.open_orders(account_id, exchange)):
            raise Refused("duplicate", "an open order has this client id")
        crosses = not market and (price <= new.price if new.side == "BUY" else price >= new.price)
        if crosses and new.order_type in {"LIMIT_MAKER"} and self.match:
            raise Refused("would_take", "the order would match at once")
        self._order_id += 1
        order = Order(
            account=account_id,
            exchange=exchange,
            symbol=new.symbol,
            order_id=self._order_id,
            client_id=new.client_id or f"sim{self._order_id}",
            side=new.side,
            order_type=new.order_type,
            time_in_force=new.time_in_force,
            price=ZERO if market else new.price,
            quantity=quantity,
            status="NEW",
            created_ms=0,
            updated_ms=0,
            stop_price=new.stop_price,
            quote_quantity=new.quote_quantity,
            reduce_only=new.reduce_only,
            position_side=new.position_side,
        )
        reserve = price if market else new.price or new.stop_price
        if not account.ledger.lock(self._wallet(exchange), symbol, order, reserve):
            self._order_id -= 1
            raise Refused("balance", "insufficient balance")
        self._step(account, order, "NEW", now_ms)
        if hold:
            return order
        key = (exchange, order.order_id)
        immediate = new.time_in_force in {"IOC", "FOK"}
        if market or (crosses and (self.match or immediate)):
            return self.fill(account_id, exchange, order.order_id, now_ms, price=price, maker=False)
        if immediate:
            return self.expire(account_id, exchange, order.order_id, now_ms)
        return self._orders[account_id][key]

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
            average=_average(symbol, executed, value),
            fee=order.fee + settled.fee,
            fee_asset=settled.fee_asset,
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
        piece = max((amount / fills).quantize(step, rounding="ROUND_DOWN"), step)
        while order.open:
            part = min(piece, order.remaining) if order.executed + 2 * piece <= amount else order.remaining
            order = self.fill(account_id, exchange, order.order_id, now_ms, quantity=part, maker=False)
        return order

    def crossed(self, exchange: str, symbol: str, price: Decimal, now_ms: int) -> None:
        """With `match` on: fill resting limit orders that a new price reaches."""
        if not self.match:
            return
        for order_id, account_id in list(self._resting.get((exchange, symbol), {}).items()):
            order = self._orders[account_id][(exchange, order_id)]
            if order.price and (price <= order.price if order.side == "BUY" else price >= order.price):
                self.fill(account_id, exchange, order_id, now_ms, price=order.price)

    # --- money ---

    def transfer(
        self, account_id: str, exchange: str, asset: str, delta: Decimal, now_ms: int, reason: str = "DEPOSIT"
    ) -> Holding:
        """Add to (or take from) the free balance: deposit, withdrawal, transfer, funding fee."""
        account = self.account(account_id)
        wallet = self._wallet(exchange)
        if not account.ledger.add(wallet, asset, delta):
            raise Refused("balance", "insufficient balance")
        return self._wallet_change(account, exchange, now_ms, reason)[0]

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
        order = self._orders[account_id].get((exchange, order_id))
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
        """Store the new state, journal it, emit the order change and the wallet change that belongs to it."""
        time_ms = self._stamp(account, now_ms)
        order = msgspec.structs.replace(order, updated_ms=time_ms, created_ms=order.created_ms or time_ms)
        self._keep(account, order)
        seq = self._next()
        self._changes.append(
            OrderChange(
                seq=seq,
                time_ms=time_ms,
                account=account.account_id,
                exchange=order.exchange,
                kind=kind,
                order=order,
                trade=trade,
                request_id=request_id,
            )
        )
        self._journal.append(
            Entry(
                seq=seq,
                time_ms=time_ms,
                account=account.account_id,
                exchange=order.exchange,
                symbol=order.symbol,
                order_id=order.order_id,
                client_id=order.client_id,
                status=order.status,
                kind=kind,
                executed=order.executed,
                value=order.value,
                trade_id=trade.trade_id if trade else -1,
            )
        )
        self._wallet_change(account, order.exchange, now_ms, "ORDER", seq)
        return order

    def _wallet_change(
        self, account: Account, exchange: str, now_ms: int, reason: str, order_seq: int = 0
    ) -> tuple[Holding, ...]:
        holdings, positions = account.ledger.drain(exchange)
        if holdings or positions:
            self._changes.append(
                WalletChange(
                    seq=self._next(),
                    time_ms=self._stamp(account, now_ms),
                    account=account.account_id,
                    exchange=exchange,
                    wallet=self._wallet(exchange),
                    reason=reason,
                    holdings=holdings,
                    positions=positions,
                    order_seq=order_seq,
                )
            )
        return holdings

    def _keep(self, account: Account, order: Order) -> None:
        self._orders[account.account_id][(order.exchange, order.order_id)] = order
        self._owners[order.order_id] = (account.account_id, order.exchange)
        resting = self._resting.setdefault((order.exchange, order.symbol), {})
        if order.status not in TERMINAL:
            resting[order.order_id] = account.account_id
            return
        resting.pop(order.order_id, None)
        self._finished.append((account.account_id, order.exchange, order.order_id))
        while len(self._finished) > MAX_FINISHED:
            owner, exchange, order_id = self._finished.popleft()
            self._orders[owner].pop((exchange, order_id), None)
            self._owners.pop(order_id, None)

    def _next(self) -> int:
        self._seq += 1
        return self._seq

    @staticmethod
    def _stamp(account: Account, now_ms: int) -> int:
        account.last_ms = max(now_ms, account.last_ms + 1)
        return account.last_ms


def _average(symbol: Symbol, executed: Decimal, value: Decimal) -> Decimal:
    units = executed * symbol.contract_size
    if symbol.inverse:
        return units / value if value else ZERO
    return value / units if units else ZERO
