"""Paper trading: every paper id, also those whose live market is dead. Prices and candles are the live ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from exchanges._adapter import Adapter, Answer, Call, Instant
from exchanges._replay import RECORDED, recorded_account, recorded_setup
from exchanges._venue import InstrumentLoader, Limits, Rate, Setup
from exchanges.ids import PAPER_TO_REAL, Feed, real_id
from exchanges.instruments import EMPTY, Instrument, SymbolTable
from exchanges.paper._user import ERRORS, REQUESTS, ReplayedUser, UserAdapter, url

__all__ = ["VENUE", "url"]


class _NoSymbols:
    """Paper accounts have no symbol list of their own."""

    def start(self) -> Sequence[Call]:
        return []

    def answered(self, call: Call, answer: Answer) -> Sequence[Call]:
        return []

    def result(self) -> Sequence[Instrument] | None:
        return []


class _Paper:
    """The venue (see `exchanges._venue.Venue`)."""

    name = "paper"
    exchanges = tuple(PAPER_TO_REAL)
    feeds: tuple[Feed, ...] = ("user",)
    regions: frozenset[str] = frozenset()
    errors = ERRORS

    def limits(self, exchange: str, feed: Feed) -> Limits:
        return Limits(
            connects=Rate(50, 1.0),  # an own server: no limits but good manners after a restart
            messages=Rate(50, 1.0),
            silence_s=75.0,
            # An account that the server does not know keeps its socket and asks again; the adapter times each step itself.
            join_timeout_s=86_400.0,
        )

    def user(self, setup: Setup) -> Adapter:
        return UserAdapter(setup)

    def ticker(self, setup: Setup) -> Adapter:
        raise ValueError(f"{setup.exchange} has no prices of its own")

    def candle(self, setup: Setup) -> Adapter:
        raise ValueError(f"{setup.exchange} has no candles of its own")

    def ticker_shards(self, exchange: str, table: SymbolTable) -> Sequence[tuple[str, ...]]:
        return []

    def sandbox_refusal(self, exchange: str) -> str | None:
        return None

    def candle_refusal(self, exchange: str, symbol: str, interval: str, table: SymbolTable) -> str | None:
        return f"{exchange} has no candles of its own; ask for those of {real_id(exchange)}"

    def candle_group(self, exchange: str, symbol: str, interval: str, table: SymbolTable) -> str:
        return ""

    def instruments(self, exchange: str, options: Mapping[str, str], before: SymbolTable = EMPTY) -> InstrumentLoader:
        return _NoSymbols()

    def replay(self, exchange: str, feed: Feed, context: Mapping[str, object]) -> tuple[Adapter, str]:
        adapter = ReplayedUser(recorded_setup(exchange))
        now = Instant(0.0, 0)
        adapter.add(recorded_account(exchange), now)
        for frame in (
            b"0{}",
            b"40{}",
            *(b'42["%s",{"type":"info","info":"subscribed"}]' % n.encode() for n in REQUESTS),
        ):
            adapter.received(frame, now)
        return adapter, RECORDED


VENUE: Final = _Paper()
