"""Orders flowing at the simulated venues, and the record of what really happened to them. One thread."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Sequence
from decimal import ROUND_DOWN, Decimal
from functools import partial

from harness.campaign.accounts import Account
from harness.campaign.check import Transition
from simulator import controls
from simulator._values import Entry, Order, Symbol
from simulator._venue import Instant
from simulator.controls import OrderRef
from simulator.engine import NewOrder, Refused
from simulator.hub import Hub
from simulator.simulator import Simulator

MAX_OPEN = 5
"""Open orders per account; beyond that one of them moves on before another is placed."""
SYMBOLS = 4


class Traffic:
    """Places, fills in parts, fills, cancels, expires; now and then a deposit. Everything follows from `source`."""

    def __init__(self, sim: Simulator, accounts: Sequence[Account], source: random.Random, prefix: str) -> None:
        self.transitions: list[Transition] = []
        self.deposits: list[tuple[str, str]] = []
        """Stream and `<asset> <delta>` of each transfer; amounts are unique in a run."""
        self._sim, self._accounts, self._source, self._prefix = sim, list(accounts), source, prefix
        self._open: dict[str, list[int]] = {account.stream: [] for account in accounts}
        self._seq = sim.call(lambda hub, _: hub.world.engine.last_seq())
        self._count = 0

    @property
    def open_orders(self) -> int:
        return sum(map(len, self._open.values()))

    def warm(self) -> None:
        """One order per account and symbol, ended at once: where a venue answers per symbol only, gap repair looks at the
        symbols that it knows of the account."""
        for account in self._accounts:
            for number in range(SYMBOLS):
                self._act(partial(self._place, account=account, at=number))
        self.finish()

    def step(self) -> None:
        """One deed of one account."""
        account = self._source.choice(self._accounts)
        dice = self._source.random()
        if dice < 0.04:
            self._act(partial(self._deposit, account=account))
        elif len(self._open[account.stream]) < 2 or (len(self._open[account.stream]) < MAX_OPEN and dice < 0.45):
            self._act(partial(self._place, account=account))
        else:
            self._act(partial(self._move, account=account, ends=False))

    def finish(self) -> None:
        """End every open order of this traffic."""
        for account in self._accounts:
            while self._open[account.stream]:
                self._act(partial(self._move, account=account, ends=True))

    def _act(self, deed: Callable[[Hub, Instant], None]) -> None:
        at = time.time()

        def run(hub: Hub, now: Instant) -> list[Entry]:
            try:
                deed(hub, now)
            except Refused:
                hub.stats.faults["traffic_refused"] += 1
            return hub.world.engine.journal(self._seq)

        for entry in self._sim.call(run):
            self._seq = max(self._seq, entry.seq)
            if entry.client_id.startswith(self._prefix):
                self.transitions.append(
                    Transition(
                        at, entry.account, self._exchange(entry.account), entry.client_id, entry.status,
                        entry.executed, entry.value,
                    )
                )  # fmt: skip

    def _exchange(self, stream: str) -> str:
        return next(account.exchange for account in self._accounts if account.stream == stream)

    # --- deeds: on the simulator's thread ---

    def _place(self, hub: Hub, now: Instant, account: Account, at: int | None = None) -> None:
        symbols = hub.world.markets.symbols(account.market)[:SYMBOLS]
        symbol = self._source.choice(symbols) if at is None else symbols[at % len(symbols)]
        price = hub.world.markets.quote(account.market, symbol.wire).price
        buys = self._source.random() < 0.5
        away = Decimal(str(round(self._source.uniform(0.01, 0.05), 4)))
        market = self._source.random() < 0.15
        self._count += 1
        new = NewOrder(
            symbol=symbol.wire,
            side="BUY" if buys else "SELL",
            quantity=worth(symbol, price, self._source),
            price=Decimal(0) if market else on_grid(price * (1 - away if buys else 1 + away), symbol),
            order_type="MARKET" if market else "LIMIT",
            client_id=f"{self._prefix}{self._count}",
        )
        order = controls.place(hub, account.stream, account.market, new, now)
        if order.open:
            self._open[account.stream].append(order.order_id)

    def _move(self, hub: Hub, now: Instant, account: Account, *, ends: bool) -> None:
        orders = self._open[account.stream]
        number = self._source.choice(orders)
        order = hub.world.engine.locate(number)
        if order is None or not order.open:
            orders.remove(number)
            return
        dice = self._source.random()
        ref = OrderRef(order_id=number)
        if not ends and dice < 0.55 and (part := self._part(hub, order)):
            after = controls.fill(hub, ref, now, quantity=part)
        elif dice < 0.80:
            after = controls.fill(hub, ref, now)
        elif dice < 0.95 or account.venue == "paper":
            after = controls.cancel(hub, ref, now)
        else:
            after = controls.expire(hub, ref, now)
        if not after.open:
            orders.remove(number)

    def _part(self, hub: Hub, order: Order) -> Decimal | None:
        symbol = hub.world.markets.symbol(order.exchange, order.symbol)
        if symbol is None:
            return None
        step = Decimal(1).scaleb(-symbol.quantity_decimals)
        part = (order.remaining * Decimal(self._source.randint(15, 60)) / 100).quantize(step, rounding=ROUND_DOWN)
        return part if 0 < part < order.remaining else None

    def _deposit(self, hub: Hub, now: Instant, account: Account) -> None:
        holdings = hub.world.engine.account(account.stream).holdings(_wallet(hub, account))
        if not holdings:
            return
        self._count += 1
        delta = Decimal(1000 + self._count) + Decimal(self._source.randint(1, 999)) / 1000
        asset = self._source.choice(sorted(holding.asset for holding in holdings))
        controls.transfer(hub, account.stream, account.market, asset, delta, now)
        self.deposits.append((account.stream, f"{asset} {delta}"))


def _wallet(hub: Hub, account: Account) -> str:
    market = hub.world.markets.market(account.market)
    return market.wallet if market is not None else ""


def worth(symbol: Symbol, price: Decimal, source: random.Random) -> Decimal:
    """Worth 100 to 500 dollars, at least ten steps so that it can be filled in parts."""
    step = Decimal(1).scaleb(-symbol.quantity_decimals)
    money = Decimal(source.randint(100, 500))
    units = money / symbol.contract_size if symbol.inverse else money / (price * symbol.contract_size)
    return max(units.quantize(step), step * source.randint(10, 40))


def on_grid(price: Decimal, symbol: Symbol) -> Decimal:
    return max(price.quantize(Decimal(1).scaleb(-symbol.price_decimals)), Decimal(1).scaleb(-symbol.price_decimals))
