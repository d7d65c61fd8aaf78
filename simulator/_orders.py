"""Where the engine keeps orders: by account, by id, by client id, and what rests per symbol. Pure bookkeeping."""

from __future__ import annotations

from collections import deque

from simulator._kept import TESTS
from simulator._values import Order


class OrderStore:
    """Newest state of every order. Ids are unique over all accounts."""

    def __init__(self) -> None:
        self._orders: dict[int, Order] = {}
        self._by_account: dict[str, dict[int, None]] = {}
        self._open: dict[str, dict[int, None]] = {}
        self._resting: dict[tuple[str, str], dict[int, None]] = {}
        self._by_client: dict[tuple[str, str, str], int] = {}
        self._finished: deque[int] = deque()
        self._kept = TESTS.finished

    def keep(self, finished: int) -> None:
        """So many finished orders over all accounts from now on."""
        self._kept = finished
        self._prune()

    def put(self, order: Order) -> None:
        """Store a new state; the oldest finished orders are forgotten when there are too many."""
        number, account = order.order_id, order.account
        before = self._orders.get(number)
        if before is not None and before.client_id != order.client_id:
            self._by_client.pop((account, order.exchange, before.client_id), None)
        self._orders[number] = order
        self._by_account.setdefault(account, {})[number] = None
        name = (account, order.exchange, order.client_id)
        self._by_client[name] = max(number, self._by_client.get(name, 0))  # an end of an older one may come later
        resting = self._resting.setdefault((order.exchange, order.symbol), {})
        if order.open:
            resting[number] = None
            self._open.setdefault(account, {})[number] = None
            return
        resting.pop(number, None)
        self._open.get(account, {}).pop(number, None)
        self._finished.append(number)
        self._prune()

    def _prune(self) -> None:
        while len(self._finished) > self._kept:
            self._forget(self._finished.popleft())

    def _forget(self, number: int) -> None:
        order = self._orders.pop(number)
        del self._by_account[order.account][number]
        name = (order.account, order.exchange, order.client_id)
        if self._by_client.get(name) == number:
            del self._by_client[name]

    def get(self, number: int) -> Order | None:
        return self._orders.get(number)

    def by_client(self, account: str, exchange: str, client_id: str) -> Order | None:
        """The newest order with this client id."""
        return self._orders.get(self._by_client.get((account, exchange, client_id), 0))

    def of(self, account: str, exchange: str, symbol: str | None, *, only_open: bool) -> list[Order]:
        """Oldest first."""
        numbers = (self._open if only_open else self._by_account).get(account, {})
        found = [self._orders[number] for number in sorted(numbers)]
        return [o for o in found if o.exchange == exchange and symbol in {None, o.symbol}]

    def resting(self, exchange: str, symbol: str) -> list[Order]:
        """Open orders of all accounts on one symbol, oldest first."""
        return [self._orders[number] for number in sorted(self._resting.get((exchange, symbol), ()))]
