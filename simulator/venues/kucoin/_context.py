"""What an answer of the REST API needs to know. Pure."""

from __future__ import annotations

from typing import NamedTuple

from simulator._venue import Instant, Request
from simulator.engine import Account
from simulator.venues.kucoin._auth import Failure
from simulator.venues.kucoin._state import State
from simulator.venues.kucoin._symbols import FUTURES, SPOT


class Context(NamedTuple):
    """One call. `account` is set for private ones."""

    state: State
    request: Request
    params: dict[str, str]
    now: Instant
    spot: bool
    account: Account | None = None

    @property
    def owner(self) -> Account:
        if self.account is None:
            raise Failure("400001", "not signed", 401)
        return self.account

    @property
    def exchanges(self) -> tuple[str, ...]:
        return (SPOT,) if self.spot else FUTURES

    def integer(self, name: str) -> int | None:
        text = self.params.get(name, "")
        if text and not text.isdigit():
            raise Failure("400100", f"{name} is invalid")
        return int(text) if text else None
