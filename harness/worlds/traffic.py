"""Orders at the simulated venues, and the record of what really happened to them. World's turn only."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from decimal import ROUND_DOWN, Decimal
from functools import partial
from typing import Final

from harness.campaign.check import Transition
from harness.campaign.traffic import on_grid, worth
from harness.worlds.accounts import Account
from harness.worlds.kernel import Kernel
from harness.worlds.network import Venues
from simulator import controls
from simulator._values import Entry, Order
from simulator.controls import OrderRef
from simulator.engine import NewOrder, Refused

MAX_OPEN: Final = 5
SYMBOLS: Final = 3
PREFIX: Final = "DBO7"
AMENDS: Final = frozenset({"bybit", "okx", "kraken"})
"""Venues whose orders keep their id through an edit, and where the simulator plays it."""


class Traffic:
    """Places, fills in parts, fills, cancels, expires, edits; now and then a deposit. All of it follows from `chance`."""

    def __init__(
        self, kernel: Kernel, network: Venues, accounts: Sequence[Account], chance: random.Random, per_s: float
    ) -> None:
        self.transitions: list[Transition] = []
        self.deposits: list[tuple[float, str, str]] = []
        """When, stream and `<asset> <delta>` of each transfer; amounts are unique in a world."""
        self._kernel, self._network = kernel, network
        self._accounts: list[Account] = []
        """Those with traffic: what happens to an account before its stream was ever live is promised to nobody."""
        self._chance, self._pause_s = chance, 1.0 / per_s
        self._markets = {account.stream: account.exchange for account in accounts}
        self._open: dict[str, list[int]] = {account.stream: [] for account in accounts}
        self._seq = network.hub.world.engine.last_seq()
        self._count = 0
        self._ended = False

    def joined(self, account: Account) -> bool:
        return account in self._accounts

    def busy(self, stream: str) -> bool:
        return any(account.stream == stream for account in self._accounts)

    def join(self, account: Account) -> None:
        """Its stream is live for the first time: one order per symbol that ends at once, then deeds at random moments.

        Where a venue answers per symbol only, gap repair looks at the symbols that it knows of the account.
        """
        if self._ended:
            return
        self._accounts.append(account)
        for number in range(SYMBOLS):
            self._act(partial(self._place, account, number))
        self._finish(account)
        if len(self._accounts) == 1:
            self._next()

    def end(self) -> None:
        """End every open order, and place no more."""
        self._ended = True
        for account in self._accounts:
            self._finish(account)

    def _next(self) -> None:
        if not self._ended:
            self._kernel.after(self._pause_s * self._chance.uniform(0.2, 1.8), self._step)

    def _step(self) -> None:
        if self._ended:
            return
        account = self._chance.choice(self._accounts)
        held, dice = self._open[account.stream], self._chance.random()
        if dice < 0.06:
            self._act(partial(self._deposit, account))
        elif len(held) < 2 or (len(held) < MAX_OPEN and dice < 0.45):
            self._act(partial(self._place, account, None))
        else:
            self._act(partial(self._move, account, ends=False))
        self._next()

    def _finish(self, account: Account) -> None:
        while self._open[account.stream]:
            self._act(partial(self._move, account, ends=True))

    def _act(self, deed: Callable[[], object]) -> None:
        engine = self._network.hub.world.engine
        try:
            deed()
        except Refused:
            self._network.hub.stats.faults["traffic_refused"] += 1
        for entry in engine.journal(self._seq):
            self._seq = max(self._seq, entry.seq)
            if entry.account in self._markets and entry.client_id:  # a liquidation has none
                self._note(entry)

    def _note(self, entry: Entry) -> None:
        self.transitions.append(
            Transition(
                at=self._kernel.now,
                stream=entry.account,
                exchange=self._markets[entry.account],
                order=entry.client_id,
                status=entry.status,
                executed=entry.executed,
                value=entry.value,
            )
        )

    def liquidate(self, account: Account) -> None:
        """Force a futures position of the account shut, if it has one."""
        engine = self._network.hub.world.engine
        held = [position for position in engine.account(account.stream).positions(account.market) if position.amount]
        if held:
            self._act(
                lambda: controls.liquidate(
                    self._network.hub, account.stream, account.market, held[0].symbol, self._network.now(), fills=2
                )
            )

    # --- deeds ---

    def _place(self, account: Account, number: int | None) -> None:
        markets = self._network.hub.world.markets
        symbols = markets.symbols(account.market)[:SYMBOLS]
        symbol = self._chance.choice(symbols) if number is None else symbols[number % len(symbols)]
        price = markets.quote(account.market, symbol.wire).price
        buys, market = self._chance.random() < 0.5, self._chance.random() < 0.15
        away = Decimal(str(round(self._chance.uniform(0.01, 0.05), 4)))
        self._count += 1
        new = NewOrder(
            symbol=symbol.wire,
            side="BUY" if buys else "SELL",
            quantity=worth(symbol, price, self._chance),
            price=Decimal(0) if market else on_grid(price * (1 - away if buys else 1 + away), symbol),
            order_type="MARKET" if market else "LIMIT",
            client_id=f"{PREFIX}{self._count}",
        )
        order = controls.place(self._network.hub, account.stream, account.market, new, self._network.now())
        if order.open:
            self._open[account.stream].append(order.order_id)

    def _move(self, account: Account, *, ends: bool) -> None:
        hub, now, orders = self._network.hub, self._network.now(), self._open[account.stream]
        number = self._chance.choice(orders)
        order = hub.world.engine.locate(number)
        if order is None or not order.open:
            orders.remove(number)
            return
        dice, ref = self._chance.random(), OrderRef(order_id=number)
        if not ends and dice < 0.50 and (part := self._part(order)):
            after = controls.fill(hub, ref, now, quantity=part)
        elif not ends and dice < 0.58 and account.venue in AMENDS:
            after = controls.amend(hub, ref, now, quantity=order.quantity + order.executed + order.remaining)
        elif dice < 0.82:
            after = controls.fill(hub, ref, now)
        elif dice < 0.95 or account.venue == "paper":
            after = controls.cancel(hub, ref, now)
        else:
            after = controls.expire(hub, ref, now)
        if not after.open:
            orders.remove(number)

    def _part(self, order: Order) -> Decimal | None:
        symbol = self._network.hub.world.markets.symbol(order.exchange, order.symbol)
        if symbol is None:
            return None
        step = Decimal(1).scaleb(-symbol.quantity_decimals)
        part = (order.remaining * Decimal(self._chance.randint(15, 60)) / 100).quantize(step, rounding=ROUND_DOWN)
        return part if 0 < part < order.remaining else None

    def _deposit(self, account: Account) -> None:
        hub = self._network.hub
        market = hub.world.markets.market(account.market)
        holdings = hub.world.engine.account(account.stream).holdings(market.wallet if market is not None else "")
        if not holdings:
            return
        self._count += 1
        delta = Decimal(1000 + self._count) + Decimal(self._chance.randint(1, 999)) / 1000
        asset = self._chance.choice(sorted(holding.asset for holding in holdings))
        controls.transfer(hub, account.stream, account.market, asset, delta, self._network.now())
        self.deposits.append((self._kernel.now, account.stream, f"{asset} {delta}"))
