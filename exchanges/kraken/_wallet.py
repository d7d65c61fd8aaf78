"""The flex wallet of derivatives on the unified socket: quantities of `balances`, availability of `margin`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

import msgspec

from exchanges._frames import UNREADABLE
from exchanges._numbers import decimal, plain
from exchanges._rows import read_rows, tolerant
from exchanges.events import Balance
from exchanges.kraken._orders_spot import Number
from exchanges.kraken._symbols import asset_name

MULTI: Final = "multi_collateral"
_ELSEWHERE: Final = frozenset({"spot", "earn", "funding"})
_NOT_FLEX: Final = ("cash", "holding", "single_collateral", "fi_")
"""Wallets by exclusion: the word for the derivatives wallet is documented nowhere."""


class _Wallet(msgspec.Struct):
    type: str = ""
    id: str = ""
    balance: Number = None


class _Row(msgspec.Struct):
    """A ledger entry with the balance after it, or an asset of the snapshot with its wallets."""

    asset: str
    wallet_type: str = ""
    wallet_id: str = ""
    balance: Number = None
    wallets: list[_Wallet] | None = None


class _Currency(msgspec.Struct):
    available: Number = None


class _Margin(msgspec.Struct):
    currencies: dict[str, msgspec.Raw] = {}


_decode_row = tolerant(_Row)
_decode_margin = tolerant(_Margin)
_decode_currency = tolerant(_Currency)


class FlexWallet:
    """I/O thread of the session only."""

    def __init__(self, names: Mapping[str, str]) -> None:
        self._names = names
        self._free: dict[str, str] = {}
        self._available: dict[str, str] = {}

    def _name(self, code: str) -> str:
        return self._names.get(code) or asset_name(code)

    def _balances(self, assets: Iterable[str]) -> list[Balance]:
        return [
            Balance(asset=asset, free=self._free[asset], locked="0", venue_available=self._available[asset])
            if asset in self._available
            else Balance(asset=asset, free=self._free[asset], locked="0")
            for asset in assets
        ]

    def everything(self) -> list[Balance]:
        """What is known of the wallet."""
        return self._balances(self._free)

    def balances(self, data: msgspec.Raw) -> tuple[list[Balance], str]:
        """The assets that a message of `balances` tells, the last row of each, and what is to be said of unreadable ones.

        Raises what `UNREADABLE` lists.
        """
        rows, odd = read_rows(data, _decode_row)
        told: dict[str, None] = {}
        for row in rows:
            for wallet in (
                row.wallets if row.wallets is not None else [_Wallet(row.wallet_type, row.wallet_id, row.balance)]
            ):
                if wallet.balance is not None and _is_flex(wallet):
                    asset = self._name(row.asset)
                    self._free[asset] = plain(decimal(wallet.balance))
                    told[asset] = None
        return self._balances(told), odd.phrase("balances") if odd else ""

    def margin(self, kind: str, data: msgspec.Raw) -> list[Balance]:
        """The assets of which a message of `margin` tells another availability. Raises what `UNREADABLE` lists."""
        if kind != MULTI:
            return []
        text = bytes(data).strip()
        sections = read_rows(data, _decode_margin)[0] if text.startswith(b"[") else [_decode_margin(text)]
        changed: dict[str, None] = {}
        for section in sections:
            for code, raw in section.currencies.items():
                try:
                    available = _decode_currency(raw).available
                except UNREADABLE:
                    continue
                asset = self._name(code)
                if available is None or decimal(available) < 0 or asset not in self._free:
                    continue
                told = plain(decimal(available))
                if self._available.get(asset) != told:
                    self._available[asset] = told
                    changed[asset] = None
        return self._balances(changed)


def _is_flex(wallet: _Wallet) -> bool:
    return wallet.type not in _ELSEWHERE and not wallet.id.lower().startswith(_NOT_FLEX)
