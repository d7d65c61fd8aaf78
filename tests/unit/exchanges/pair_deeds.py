"""What happens on the simulated venue of a pair, and what its own books say afterwards."""

from __future__ import annotations

from decimal import Decimal

from exchanges._adapter import Instant
from exchanges.instruments import SymbolTable
from simulator import controls
from simulator._values import Order, Symbol
from simulator.controls import OrderRef
from simulator.engine import NewOrder
from simulator.faults import Fault
from simulator.hub import Hub
from tests.unit.exchanges.pair_books import Row
from tests.unit.exchanges.pair_facts import Facts, Seat, client_text


class Deeds:
    """The venue's side of a pair."""

    seat: Seat
    exchange: str
    market: str
    facts: Facts
    hub: Hub
    account: str
    table: SymbolTable

    @property
    def now(self) -> Instant:
        raise NotImplementedError

    @property
    def symbol(self) -> Symbol:
        """The first of the market, or the one that this kind of account is for."""
        symbols = self.hub.world.markets.symbols(self.market)
        own = self.facts.symbols.get(self.seat.account, "")
        return next(symbol for symbol in symbols if own in symbol.wire)

    @property
    def pair_id(self) -> str:
        """The platform's name of `symbol`."""
        found = self.table.wire(self.symbol.wire)
        return found.pair if found is not None else self.symbol.pair_id

    def step(self, count: int, symbol: Symbol | None = None) -> Decimal:
        """So many of the smallest amounts."""
        return count * Decimal(1).scaleb(-(symbol or self.symbol).quantity_decimals)

    def place(self, client_id: str = "DBO1", steps: int = 10, **more: object) -> Order:
        """A limit order that rests 10 % below the price, or what `more` says."""
        symbol = more.pop("of", None) or self.symbol
        assert isinstance(symbol, Symbol)
        price = self.hub.world.markets.quote(self.market, symbol.wire).price * Decimal("0.9")
        fields: dict[str, object] = {
            "symbol": symbol.wire,
            "side": "BUY",
            "quantity": self.step(steps, symbol),
            "client_id": client_text(self.exchange, client_id),
        }
        if more.get("order_type") != "MARKET":
            fields["price"] = price.quantize(Decimal(1).scaleb(-symbol.price_decimals))
        hold = bool(more.pop("hold", False))
        new = NewOrder(**{**fields, **more})  # type: ignore[arg-type]
        return controls.place(self.hub, self.account, self.market, new, self.now, hold=hold)

    def fill(self, order: Order, steps: int | None = None, **more: Decimal) -> Order:
        symbol = self.hub.world.markets.symbol(self.market, order.symbol)
        quantity = None if steps is None else self.step(steps, symbol)
        return controls.fill(self.hub, OrderRef(order_id=order.order_id), self.now, quantity=quantity, **more)

    def cancel(self, order: Order) -> Order:
        return controls.cancel(self.hub, OrderRef(order_id=order.order_id), self.now)

    def modify(self, order: Order, steps: int, price: Decimal | None = None) -> Order:
        """Another size (of the whole order) and price, as the venue does it; returns the order that goes on."""
        size = self.step(steps, self.hub.world.markets.symbol(self.market, order.symbol))
        return controls.modify(self.hub, OrderRef(order_id=order.order_id), self.now, quantity=size, price=price)

    def fault(self, kind: str, **more: object) -> None:
        controls.inject(self.hub, Fault(kind=kind, **more), self.now)  # type: ignore[arg-type]

    def truth(self, order: Order) -> Row:
        """What the simulator's books have under the client id of an order, in the units that the backend expects.

        An order that was modified into others counts with all that was executed of them.
        """
        engine = self.hub.world.engine
        symbol = self.hub.world.markets.symbol(self.market, order.symbol)
        assert symbol is not None
        newest = self.newest(order)
        executed, value, one = Decimal(0), Decimal(0), newest
        while True:
            executed, value = executed + one.executed, value + one.value
            older = engine.locate(one.replaces)
            if older is None:
                break
            one = older
        units = executed * symbol.contract_size
        average = (units / value if symbol.inverse else value / units) if executed else Decimal(0)
        return Row(newest.status, self.units(executed, value, symbol), average)

    def newest(self, order: Order) -> Order:
        """The newest state of an order, or of the one that it was modified into."""
        now = self.hub.world.engine.locate(order.order_id)
        assert now is not None
        following = self.hub.world.engine.locate(now.replaced_by)
        return now if following is None else self.newest(following)

    def units(self, executed: Decimal, value: Decimal, symbol: Symbol) -> Decimal:
        if self.facts.contracts or self.facts.swapped:
            return executed
        return value if symbol.inverse else executed * symbol.contract_size
