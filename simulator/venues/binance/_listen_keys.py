"""Listen keys: one per account and market, alive for an hour since the last POST or PUT. Pure."""

from __future__ import annotations

import random
import string

import msgspec

_LETTERS = string.ascii_letters + string.digits


class ListenKey(msgspec.Struct):
    """`expires_mono` moves with every POST and PUT."""

    key: str
    account: str
    exchange: str
    expires_mono: float


class ListenKeys:
    """All listen keys of all markets."""

    def __init__(self, source: random.Random, life_s: float) -> None:
        self._random = source
        self.life_s = life_s
        self._keys: dict[str, ListenKey] = {}
        self._by_account: dict[tuple[str, str], str] = {}

    def create(self, exchange: str, account: str, mono: float) -> ListenKey:
        """A new key, or the live one, extended."""
        known = self.of_account(exchange, account, mono)
        if known is not None:
            known.expires_mono = mono + self.life_s
            return known
        key = ListenKey("".join(self._random.choices(_LETTERS, k=64)), account, exchange, mono + self.life_s)
        self._keys[key.key] = key
        self._by_account[(exchange, account)] = key.key
        return key

    def extend(self, exchange: str, account: str, mono: float) -> ListenKey | None:
        """None: there is no live key (error -1125)."""
        known = self.of_account(exchange, account, mono)
        if known is not None:
            known.expires_mono = mono + self.life_s
        return known

    def delete(self, exchange: str, account: str) -> bool:
        """Sockets that use the key go quiet."""
        key = self._by_account.pop((exchange, account), None)
        return key is not None and self._keys.pop(key, None) is not None

    def of_account(self, exchange: str, account: str, mono: float) -> ListenKey | None:
        return self.live(self._by_account.get((exchange, account), ""), mono)

    def live(self, key: str, mono: float) -> ListenKey | None:
        known = self._keys.get(key)
        return known if known is not None and mono < known.expires_mono else None

    def get(self, key: str) -> ListenKey | None:
        """Also when it has just expired; None once it was deleted or replaced."""
        return self._keys.get(key)

    def expire(self, account: str, mono: float) -> None:
        """The keys of an account (empty = of all) end now."""
        for key in self._keys.values():
            if not account or key.account == account:
                key.expires_mono = min(key.expires_mono, mono)
