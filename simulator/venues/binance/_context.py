"""What a REST handler is given."""

from __future__ import annotations

from decimal import Decimal, InvalidOperation

import msgspec

from simulator._values import Symbol
from simulator._venue import Instant
from simulator.engine import Account
from simulator.venues.binance._auth import Failure, bad_symbol, missing
from simulator.venues.binance._state import State
from simulator.venues.binance._symbols import Profile

Params = dict[str, str]


class Context(msgspec.Struct, frozen=True):
    """What a handler gets."""

    state: State
    profile: Profile
    params: Params
    account: Account | None
    now: Instant

    @property
    def owner(self) -> Account:
        """The account of a signed call. Raises `Failure`."""
        if self.account is None:
            raise missing("signature")
        return self.account

    def need(self, name: str) -> str:
        """A mandatory parameter. Raises `Failure`."""
        value = self.params.get(name)
        if not value:
            raise missing(name)
        return value

    @property
    def exchange(self) -> str:
        return self.profile.exchange

    def symbol(self) -> Symbol:
        """The mandatory `symbol`. Raises `Failure`."""
        found = self.state.world.markets.symbol(self.exchange, self.need("symbol"))
        if found is None:
            raise bad_symbol()
        return found

    def maybe_symbol(self) -> str | None:
        """The optional `symbol`, checked. Raises `Failure`."""
        return self.symbol().wire if self.params.get("symbol") else None

    def number(self, name: str) -> Decimal:
        """An optional decimal parameter; 0 when absent. Raises `Failure`."""
        try:
            value = Decimal(self.params.get(name) or 0)
        except InvalidOperation:
            value = Decimal("NaN")
        if not value.is_finite():
            raise Failure(400, -1100, f"Illegal characters found in parameter '{name}'.")
        return value

    def integer(self, name: str) -> int | None:
        """An optional integer parameter. Raises `Failure`."""
        text = self.params.get(name)
        if not text:
            return None
        if not text.isdigit():
            raise Failure(400, -1100, f"Illegal characters found in parameter '{name}'.")
        return int(text)

    def limit(self, default: int, most: int) -> int:
        return min(self.integer("limit") or default, most)
