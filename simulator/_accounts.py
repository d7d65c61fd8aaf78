"""Accounts and their keys. Pure."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Literal

import msgspec

from simulator._kept import TESTS
from simulator._ledger import Ledger
from simulator._values import ApiKey, Holding, Position, Trade

Reason = Literal[
    "account", "symbol", "quantity", "price", "balance", "duplicate", "unknown_order", "finished", "would_take"
]


class Refused(Exception):
    """The engine declines an operation; `reason` is for the venue half to translate, the text is for people."""

    def __init__(self, reason: Reason, text: str) -> None:
        super().__init__(text)
        self.reason: Reason = reason


class Account:
    """One account: read by halves, changed by the engine only."""

    def __init__(
        self,
        account_id: str,
        venue: str,
        keys: Iterable[ApiKey],
        wallets: Mapping[str, Mapping[str, Decimal]],
        kept: int = TESTS.trades,
    ) -> None:
        self.account_id = account_id
        self.venue = venue
        self.keys = list(keys)
        self.ledger = Ledger(wallets)
        self.last_ms = 0
        """Time of the newest change."""
        self.trades: deque[Trade] = deque(maxlen=kept)

    def keep(self, trades: int) -> None:
        """So many trades from now on, the newest."""
        self.trades = deque(self.trades, maxlen=trades)

    def holdings(self, wallet: str) -> list[Holding]:
        """Every asset of a wallet, in alphabetical order."""
        return self.ledger.holdings(wallet)

    def positions(self, exchange: str) -> list[Position]:
        """Open positions of a futures exchange id."""
        return self.ledger.positions(exchange)

    def stamp(self, now_ms: int) -> int:
        """Time of the next change: strictly after the one before."""
        self.last_ms = max(now_ms, self.last_ms + 1)
        return self.last_ms


class Accounts:
    """All accounts, and who owns which key."""

    def __init__(self) -> None:
        self._accounts: dict[str, Account] = {}
        self._owners: dict[tuple[str, str], str] = {}
        self._kept = TESTS.trades

    def keep(self, trades: int) -> None:
        """So many trades of each account from now on."""
        self._kept = trades
        for account in self._accounts.values():
            account.keep(trades)

    def create(
        self, venue: str, keys: Iterable[ApiKey], account_id: str, wallets: Mapping[str, Mapping[str, Decimal]]
    ) -> Account:
        account_id = account_id or f"{venue}-{len(self._accounts) + 1}"
        if account_id in self._accounts:
            raise Refused("account", f"account {account_id} exists already")
        keys = self._checked(venue, keys, "")
        account = self._accounts[account_id] = Account(account_id, venue, keys, wallets, self._kept)
        self._owners |= {(venue, key.key): account_id for key in keys}
        return account

    def _checked(self, venue: str, keys: Iterable[ApiKey], account_id: str) -> list[ApiKey]:
        listed = list(keys)
        for key in listed:
            if self._owners.get((venue, key.key), account_id) != account_id:
                raise Refused("account", "another account has this key already")
        return listed

    def all(self) -> list[Account]:
        return list(self._accounts.values())

    def get(self, account_id: str) -> Account:
        account = self._accounts.get(account_id)
        if account is None:
            raise Refused("account", f"no account {account_id}")
        return account

    def find_key(self, venue: str, key: str) -> tuple[Account, ApiKey] | None:
        account_id = self._owners.get((venue, key))
        if account_id is None:
            return None
        account = self._accounts[account_id]
        return account, next(candidate for candidate in account.keys if candidate.key == key)

    def reject_key(self, account_id: str, code: str) -> None:
        account = self.get(account_id)
        account.keys = [msgspec.structs.replace(key, rejected=code) for key in account.keys]

    def replace_keys(self, account_id: str, keys: Iterable[ApiKey]) -> None:
        account = self.get(account_id)
        listed = self._checked(account.venue, keys, account_id)
        for key in account.keys:
            del self._owners[(account.venue, key.key)]
        account.keys = listed
        self._owners |= {(account.venue, key.key): account_id for key in listed}
