"""OKX v5: spot, linear swaps (and X-Perps), inverse swaps. Source: okx.com/docs-v5 (June 2026)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, cast

from exchanges._adapter import Adapter
from exchanges._replay import RECORDED, recorded_account, recorded_setup
from exchanges._venue import ClockCall, Example, InstrumentLoader, Limits, Rate, Setup
from exchanges.ids import Feed
from exchanges.instruments import EMPTY, SymbolTable
from exchanges.okx._candle import CandleAdapter
from exchanges.okx._errors import ERRORS
from exchanges.okx._hosts import SITES
from exchanges.okx._intervals import channel_of
from exchanges.okx._orders import KIND
from exchanges.okx._symbols import Loader, of_context
from exchanges.okx._ticker import TickerAdapter
from exchanges.okx._user import UserAdapter

_CONNECTS: Final = Rate(3, 1.1)
"""3 new connections a second and address, less a margin."""
_MESSAGES: Final = Rate(20, 1.0)
"""Requests count by the hour (the adapters see to that); pings are free, so this only bounds a burst."""
_REST: Final = {"rest": Rate(100, 2.0), "public": Rate(9, 2.0), "candles": Rate(36, 2.0)}
"""Private limits are per user (40 to 60 calls in 2 s): the first only protects our address. Public calls are counted by
address: 10 in 2 s for the strictest (the clock), 40 in 2 s for candles, less a margin."""
_CHANNELS_PER_CONNECTION: Final = 1_000
"""A maximum exists without a number (close codes 4008, 4009); upstream has run with this many."""
_TICKERS_PER_CONNECTION: Final = 500
"""One busy connection in several: the venue cuts clients that read too slowly (4005)."""


class Okx:
    """See `exchanges._venue.Venue`."""

    name = "okx"
    exchanges = tuple(KIND)
    feeds: tuple[Feed, ...] = ("user", "ticker", "candle")
    regions: frozenset[str] = frozenset(SITES)
    clock = ClockCall("https://openapi.okx.com/api/v5/public/time", ("data", 0, "ts"))
    examples: Mapping[str, Example] = dict.fromkeys(
        exchanges,
        Example(
            "BTC-USDT",
            (
                "candle1m",
                "candle3m",
                "candle5m",
                "candle15m",
                "candle30m",
                "candle1H",
                "candle2H",
                "candle4H",
                "candle1Dutc",
                "candle1Wutc",
            ),
        ),
    )
    closed_candles = True
    errors = ERRORS

    def limits(self, exchange: str, feed: Feed) -> Limits:
        return Limits(
            connects=_CONNECTS,
            messages=_MESSAGES,
            rest=_REST,
            subscriptions_per_connection=_CHANNELS_PER_CONNECTION if feed == "candle" else 1,
            ping_interval_s=None,  # the venue wants the text `ping`, from the adapter
            silence_s=45.0,
            data_silence_s={"ticker": 50.0, "candle": 75.0}.get(feed),  # contract 4.7
            join_timeout_s=45.0,
        )

    def user(self, setup: Setup) -> Adapter:
        return UserAdapter(setup)

    def ticker(self, setup: Setup) -> Adapter:
        return TickerAdapter(setup)

    def candle(self, setup: Setup) -> Adapter:
        return CandleAdapter(setup)

    def ticker_shards(self, exchange: str, table: SymbolTable) -> Sequence[tuple[str, ...]]:
        """There is no all-market channel: equal parts of the list, each on a connection of its own."""
        symbols = sorted(instrument.wire for instrument in table.active())
        count = -(-len(symbols) // _TICKERS_PER_CONNECTION)
        size = -(-len(symbols) // count) if count else 1
        return [tuple(symbols[at : at + size]) for at in range(0, len(symbols), size)]

    def sandbox_refusal(self, exchange: str) -> str | None:
        return None

    def candle_refusal(self, exchange: str, symbol: str, interval: str, table: SymbolTable) -> str | None:
        if channel_of(interval) is None:
            use = "candle1m to candle4H, candle1Dutc, candle1Wutc, or 1m to 1w"
            return f"OKX has no candle interval {interval!r}: use {use}."
        if len(table) and table.pair(symbol) is None:
            return f"{exchange} has no symbol {symbol!r}: a pair id like {_EXAMPLE[exchange]} is expected."
        return None

    def candle_group(self, exchange: str, symbol: str, interval: str, table: SymbolTable) -> str:
        return ""

    def instruments(self, exchange: str, options: Mapping[str, str], before: SymbolTable = EMPTY) -> InstrumentLoader:
        return Loader(exchange, options)

    def replay(self, exchange: str, feed: Feed, context: Mapping[str, object]) -> tuple[Adapter, str]:
        listed = cast("Mapping[str, Mapping[str, object]]", context.get("instruments") or {})
        setup = recorded_setup(exchange, SymbolTable(of_context(listed)))
        if feed == "user":
            source = context.get("okxSource")
            user = UserAdapter(setup)
            user.replay(recorded_account(exchange, str(source) if source else None))
            return user, RECORDED
        market = TickerAdapter(setup) if feed == "ticker" else CandleAdapter(setup)
        market.replay(RECORDED)
        return market, RECORDED


_EXAMPLE: Final = {"okx": "BTC-USDT", "okxLinear": "BTC-USDT", "okxInverse": "BTC-USD"}

VENUE: Final = Okx()
