"""A made-up venue, as small as a whole one can be: copy it to begin another. Source: its simulator half beside it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from exchanges.template._candle import CandleAdapter
from exchanges.template._errors import ERRORS
from exchanges.template._symbols import INTERVALS, Loader
from exchanges.template._ticker import TickerAdapter
from exchanges.template._user import UserAdapter

from exchanges._adapter import Adapter
from exchanges._replay import RECORDED, recorded_account, recorded_setup
from exchanges._venue import Example, InstrumentLoader, Limits, Rate, Setup
from exchanges.ids import Feed
from exchanges.instruments import EMPTY, SymbolTable

_CONNECTS: Final = Rate(90, 60.0)
"""100 connections a minute and address, less a margin."""
_MESSAGES: Final = Rate(10, 1.0)
"""More than 12 frames a second close the connection."""
_REST: Final = {"rest": Rate(180, 10.0)}
"""200 calls in 10 seconds and address, less a margin."""
_SYMBOLS_PER_CONNECTION: Final = 100


class Template:
    """See `exchanges._venue.Venue`."""

    name = "template"
    exchanges = ("template",)
    feeds: tuple[Feed, ...] = ("user", "ticker", "candle")
    regions: frozenset[str] = frozenset()
    closed_candles = True
    errors = ERRORS
    examples: Mapping[str, Example] = dict.fromkeys(exchanges, Example("BTC-USDT", tuple(INTERVALS)))

    def limits(self, exchange: str, feed: Feed) -> Limits:
        return Limits(
            connects=_CONNECTS,
            messages=_MESSAGES,
            rest=_REST,
            subscriptions_per_connection=50 if feed == "candle" else 1,
            ping_interval_s=None,  # the venue wants its own JSON ping, from the adapter
            silence_s=45.0,
        )

    def user(self, setup: Setup) -> Adapter:
        return UserAdapter(setup)

    def ticker(self, setup: Setup) -> Adapter:
        return TickerAdapter(setup)

    def candle(self, setup: Setup) -> Adapter:
        return CandleAdapter(setup)

    def ticker_shards(self, exchange: str, table: SymbolTable) -> Sequence[tuple[str, ...]]:
        wires = sorted(item.wire for item in table.active())
        size = _SYMBOLS_PER_CONNECTION
        return [tuple(wires[start : start + size]) for start in range(0, len(wires), size)]

    def sandbox_refusal(self, exchange: str) -> str | None:
        return "The template venue has no sandbox: open the account without `environment`."

    def candle_refusal(self, exchange: str, symbol: str, interval: str, table: SymbolTable) -> str | None:
        if interval not in INTERVALS:
            return f"The template venue has no candle interval {interval!r}: use {', '.join(INTERVALS)}."
        if len(table) and table.pair(symbol) is None:
            return f"{exchange} has no symbol {symbol!r}: a pair id like BTC-USD is expected."
        return None

    def candle_group(self, exchange: str, symbol: str, interval: str, table: SymbolTable) -> str:
        return ""

    def instruments(self, exchange: str, options: Mapping[str, str], before: SymbolTable = EMPTY) -> InstrumentLoader:
        return Loader()

    def replay(self, exchange: str, feed: Feed, context: Mapping[str, object]) -> tuple[Adapter, str]:
        setup = recorded_setup(exchange)
        if feed == "user":
            user = UserAdapter(setup)
            user.replay(recorded_account(exchange))
            return user, RECORDED
        market = TickerAdapter(setup) if feed == "ticker" else CandleAdapter(setup)
        market.replay(RECORDED)
        return market, RECORDED


VENUE: Final = Template()
