"""How much of the past the simulated world remembers. Beyond that the oldest is forgotten."""

from __future__ import annotations

from typing import Final

import msgspec


class Kept(msgspec.Struct, frozen=True, kw_only=True):
    """Bounds that keep the memory of a world that runs on."""

    journal: int
    """Entries of the journal; a reader tells by the first `seq` that it gets what was dropped."""
    finished: int
    """Finished orders over all accounts; REST does not know the others any more."""
    trades: int
    """Trades per account."""
    candles: int
    """Closed candles per symbol and interval; REST invents older ones."""
    rows: int
    """Upgrades, notes and REST calls, of each so many."""


TESTS: Final = Kept(journal=200_000, finished=20_000, trades=5_000, candles=2_000, rows=10_000)
"""Thousands of deeds a minute, judged afterwards by what is remembered."""
DEMO: Final = Kept(journal=1_000, finished=400, trades=40, candles=60, rows=300)
"""For a world that moves by itself for days. At its pace these are orders and trades of a quarter of an hour, more than
any gap that is repaired; all is full within an hour, so that memory which grows on afterwards is a leak."""
