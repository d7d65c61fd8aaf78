"""What the tests of the Python API do at the simulated exchanges: open accounts, trade, and look into the books."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from decimal import Decimal
from typing import Any, Final

from connector import Event
from exchanges import venue_of
from exchanges.ids import FAMILIES
from simulator._values import Entry, Order
from simulator.demo import demo_key
from simulator.simulator import Simulator

WAIT_S: Final = 60.0
EXCHANGES: Final = [one for members in FAMILIES.values() for one in members if venue_of(one) is not None]
ORDER_EVENTS: Final = ("executionReport", "ORDER_TRADE_UPDATE")


def family(provider: str) -> str:
    return next(name for name, members in FAMILIES.items() if provider in members)


def api_of(provider: str) -> dict[str, str]:
    """The `api` of the key that the simulator's demo has for this exchange."""
    key = demo_key(family(provider))
    api = {"provider": provider, "key": key.key, "secret": key.secret}
    if key.passphrase:
        api["passphrase"] = key.passphrase
    if key.kind == "ecdsa":
        api["keysType"] = "cloud"
    return api


def account(exchange: Simulator, provider: str) -> str:
    """An account whose key is `api_of(provider)`; returns its id."""
    api = api_of(provider)
    name = f"a-{provider}"
    return exchange.account(family(provider), api["key"], api["secret"], api.get("passphrase", ""), account_id=name)


def place(exchange: Simulator, account_id: str, provider: str, *, client_id: str = "", parts: int = 1) -> Order:
    """An order for about 200 in quote, in a quantity that can be filled in so many equal parts."""
    symbol = exchange.hub.world.markets.symbols(provider)[0]
    price = exchange.hub.world.markets.quote(provider, symbol.wire).price
    step = Decimal(1).scaleb(-symbol.quantity_decimals)
    worth = Decimal(200) if symbol.inverse else Decimal(200) / (price * symbol.contract_size)
    part = max((worth / parts).quantize(step), step)
    return exchange.place(
        account_id, provider, symbol=symbol.wire, side="BUY", quantity=part * parts, client_id=client_id,
        price=price.quantize(Decimal(1).scaleb(-symbol.price_decimals)),
    )  # fmt: skip


def client_id_of(event: Event[Any]) -> str:
    """By which a program knows the order."""
    if event.name == "ORDER_TRADE_UPDATE":
        return str(event.data.client_order_id)
    return str(event.data.new_client_order_id)


def booked(entries: Iterable[Entry]) -> dict[str, tuple[str, Decimal]]:
    """Client id → (status, executed) after the last entry of each order."""
    return {entry.client_id: (entry.status, entry.executed) for entry in entries}


class Book:
    """A program's book of its orders, written by a callback; `wait` waits for what it comes to."""

    def __init__(self) -> None:
        self.heard: list[Event[Any]] = []
        self._changed = threading.Condition()

    def __call__(self, event: Event[Any]) -> None:
        with self._changed:
            self.heard.append(event)
            self._changed.notify_all()

    def orders(self) -> dict[str, tuple[str, Decimal]]:
        """Client id → (status, executed) as last told."""
        return {
            client_id_of(one): (one.data.order_status, Decimal(one.data.total_trade_quantity))
            for one in list(self.heard)
        }

    def wait_for(self, condition: Callable[[], bool], timeout_s: float = WAIT_S) -> None:
        """Looked at with each event."""
        with self._changed:
            assert self._changed.wait_for(condition, timeout_s), [(event.name, event.id) for event in self.heard]

    def wait(self, expected: dict[str, tuple[str, Decimal]]) -> None:
        with self._changed:
            self._changed.wait_for(lambda: self.orders() == expected, WAIT_S)
        assert self.orders() == expected
