"""Demo mode: one account per venue whose orders are placed, filled in parts, canceled as time goes by. Pure."""

from __future__ import annotations

import random
from collections.abc import Callable
from decimal import Decimal
from typing import Final

import msgspec

from exchanges.ids import FAMILIES
from simulator import controls
from simulator._kept import DEMO
from simulator._values import ApiKey, Order, Symbol
from simulator._venue import Instant
from simulator.controls import OrderRef
from simulator.engine import NewOrder, Refused
from simulator.hub import Hub
from simulator.venues import halves

EVERY_S: Final = 0.8
"""Time between two deeds of the script."""
MAX_OPEN: Final = 6
"""Open orders per demo account; the oldest is dealt with first."""
_MARKERS: Final = ("D-BO", "D-TP", "GRID-RO", "D-SR")
"""Client ids look like the platform's, so that everything downstream treats them alike."""


class DemoAccount(msgspec.Struct, frozen=True):
    """What a client needs to log in."""

    account: str
    venue: str
    exchange: str
    key: str
    secret: str
    passphrase: str = ""
    keys_type: str = ""
    """`keysType` of the open command: `cloud` for Coinbase, else empty."""


class Demo:
    """A routine of the hub. Accounts are made at once; `step` does one deed at a time. It goes on for days: from its start
    the world remembers `DEMO` only."""

    covers: frozenset[str] = frozenset()

    def __init__(self, hub: Hub, *, seed: int = 1) -> None:
        self._hub = hub
        self._random = random.Random(seed)
        self._next = 0.0
        self._count = 0
        self._accounts: list[DemoAccount] = []
        hub.keep(DEMO)
        for venue in hub.halves:
            self._join(venue)

    def _join(self, venue: str) -> None:
        exchange = FAMILIES.get(venue, ("binance",))[0]
        if self._hub.world.markets.market(exchange) is None:
            return
        key = demo_key(venue)
        account_id = f"demo-{venue}"
        known = {account.account_id for account in self._hub.world.engine.accounts()}
        if account_id not in known:
            controls.add_account(self._hub, venue, key, account_id)
        keys_type = "cloud" if key.kind == "ecdsa" else ""
        self._accounts.append(DemoAccount(account_id, venue, exchange, key.key, key.secret, key.passphrase, keys_type))

    def accounts(self) -> list[DemoAccount]:
        return list(self._accounts)

    def step(self, now: Instant) -> float:
        """Do what is due; returns when to be called again, monotonic seconds."""
        if now.mono >= self._next and self._accounts:
            self._next = now.mono + EVERY_S
            account = self._accounts[self._count % len(self._accounts)]
            self._count += 1
            try:
                self._deed(account, now)
            except Refused:
                self._hub.stats.faults["demo_refused"] += 1
        return self._next

    def _deed(self, account: DemoAccount, now: Instant) -> None:
        exchange = self._random.choice(self._exchanges(account))
        orders = self._hub.world.engine.open_orders(account.account, exchange)
        if len(orders) < 2 or (len(orders) < MAX_OPEN and self._random.random() < 0.4):
            self._place(account, exchange, now)
            return
        order = orders[0] if len(orders) >= MAX_OPEN else self._random.choice(orders)
        deed: Callable[[Order, Instant], None] = self._random.choice([self._part, self._rest, self._rest, self._cancel])
        deed(order, now)

    def _exchanges(self, account: DemoAccount) -> list[str]:
        members = FAMILIES.get(account.venue) or ("binance", "binanceUsdm")
        return [exchange for exchange in members if self._hub.world.markets.market(exchange)]

    def _place(self, account: DemoAccount, exchange: str, now: Instant) -> None:
        symbol = self._random.choice(self._hub.world.markets.symbols(exchange)[:6])
        quote = self._hub.world.markets.quote(exchange, symbol.wire)
        buys = self._random.random() < 0.5
        away = Decimal(str(round(self._random.uniform(0.001, 0.01), 5)))
        price = quote.price * (1 - away if buys else 1 + away)
        new = NewOrder(
            symbol=symbol.wire,
            side="BUY" if buys else "SELL",
            quantity=_size(symbol, quote.price, self._random),
            price=price.quantize(Decimal(1).scaleb(-symbol.price_decimals)),
            client_id=self._client_id(account.venue),
        )
        controls.place(self._hub, account.account, exchange, new, now)

    def _client_id(self, venue: str) -> str:
        text = f"{self._random.choice(_MARKERS)}-{self._random.getrandbits(40):010x}"
        return text.replace("-", "") if self._hub.halves[venue].plain_client_ids else text

    def _part(self, order: Order, now: Instant) -> None:
        symbol = self._hub.world.markets.symbol(order.exchange, order.symbol)
        if symbol is None:
            return
        step = Decimal(1).scaleb(-symbol.quantity_decimals)
        part = (order.remaining / 3).quantize(step)
        if 0 < part < order.remaining:
            controls.fill(self._hub, OrderRef(order_id=order.order_id), now, quantity=part)
        else:
            self._rest(order, now)

    def _rest(self, order: Order, now: Instant) -> None:
        controls.fill(self._hub, OrderRef(order_id=order.order_id), now)

    def _cancel(self, order: Order, now: Instant) -> None:
        controls.cancel(self._hub, OrderRef(order_id=order.order_id), now)


def demo_key(venue: str) -> ApiKey:
    """The demo account's credentials, in the form of the venue."""
    return halves()[venue].demo_key()


def _size(symbol: Symbol, price: Decimal, source: random.Random) -> Decimal:
    """An amount worth 50 to 500 dollars, at least one step."""
    step = Decimal(1).scaleb(-symbol.quantity_decimals)
    money = Decimal(source.randint(50, 500))
    units = money / symbol.contract_size if symbol.inverse else money / (price * symbol.contract_size)
    return max(units.quantize(step), step)
