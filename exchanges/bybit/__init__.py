"""Bybit v5: spot, linear and inverse. Source: bybit-exchange.github.io/docs/v5 (July 2026)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, cast

from exchanges._adapter import Adapter
from exchanges._replay import RECORDED, recorded_account, recorded_setup
from exchanges._venue import ClockCall, Example, InstrumentLoader, Limits, Rate, Setup
from exchanges.bybit._candle import CandleAdapter, native_interval
from exchanges.bybit._connection import ARGS_CHARACTERS
from exchanges.bybit._errors import ERRORS, IP_BAN_S
from exchanges.bybit._hosts import CATEGORY, REGIONS
from exchanges.bybit._symbols import Loader
from exchanges.bybit._ticker import PREFIX, TickerAdapter
from exchanges.bybit._user import UserAdapter
from exchanges.ids import Feed
from exchanges.instruments import EMPTY, SymbolTable

__all__ = ["REGIONS", "VENUE"]

_CONNECTS: Final = Rate(450, 300.0)
"""500 new connections in 5 minutes per domain, less a margin."""
_MESSAGES: Final = Rate(20, 1.0)
"""No limit is documented; a shard of spot tickers needs some hundred frames."""
_REST: Final = {"rest": Rate(550, 5.0)}
"""600 requests in 5 seconds per address, less a margin."""
_CANDLES_PER_CONNECTION: Final = 500
"""Topics; upstream's own cap. The longest topic has some 30 characters, so they fit into the 21,000 of a connection."""


class Bybit:
    """See `exchanges._venue.Venue`."""

    name = "bybit"
    exchanges = tuple(CATEGORY)
    feeds: tuple[Feed, ...] = ("user", "ticker", "candle")
    regions: frozenset[str] = frozenset(REGIONS)
    clock = ClockCall("https://api.bybit.com/v5/market/time", ("time",))
    examples: Mapping[str, Example] = dict.fromkeys(
        exchanges, Example("BTCUSDT", ("1", "3", "5", "15", "30", "60", "120", "240", "D", "W"), refused=("8hour",))
    )
    closed_candles = True
    errors = ERRORS

    def limits(self, exchange: str, feed: Feed) -> Limits:
        return Limits(
            connects=_CONNECTS,
            messages=_MESSAGES,
            rest=_REST,
            bans={403: IP_BAN_S, 429: 5.0},
            subscriptions_per_connection=_CANDLES_PER_CONNECTION if feed == "candle" else 1,
            ping_interval_s=None,  # the venue wants its own JSON ping, every 20 s, from the adapter
            silence_s=45.0,
            data_silence_s={"ticker": 50.0, "candle": 75.0}.get(feed),  # contract 4.7
        )

    def user(self, setup: Setup) -> Adapter:
        return UserAdapter(setup)

    def ticker(self, setup: Setup) -> Adapter:
        return TickerAdapter(setup)

    def candle(self, setup: Setup) -> Adapter:
        return CandleAdapter(setup)

    def ticker_shards(self, exchange: str, table: SymbolTable) -> Sequence[tuple[str, ...]]:
        """There is no all-market topic: as many symbols per connection as its argument length allows."""
        shards: list[tuple[str, ...]] = []
        shard: list[str] = []
        length = 0
        for symbol in sorted(instrument.wire for instrument in table.active()):
            cost = len(PREFIX) + len(symbol) + 3  # two quotes and a comma
            if shard and length + cost > ARGS_CHARACTERS:
                shards.append(tuple(shard))
                shard, length = [], 0
            shard.append(symbol)
            length += cost
        return [*shards, tuple(shard)] if shard else shards

    def sandbox_refusal(self, exchange: str) -> str | None:
        return None

    def candle_refusal(self, exchange: str, symbol: str, interval: str, table: SymbolTable) -> str | None:
        if native_interval(interval) is None:
            return (
                f"Bybit has no candle interval {interval!r}: "
                "use 1, 3, 5, 15, 30, 60, 120, 240, 360, 720, D or W (or 1m to 1w)."
            )
        if len(table) and table.pair(symbol) is None:
            example = "BTCUSD" if exchange == "bybitInverse" else "BTCUSDT"
            return f"{exchange} has no symbol {symbol!r}: a pair id like {example} is expected."
        return None

    def candle_group(self, exchange: str, symbol: str, interval: str, table: SymbolTable) -> str:
        return ""

    def instruments(self, exchange: str, options: Mapping[str, str], before: SymbolTable = EMPTY) -> InstrumentLoader:
        return Loader(exchange)

    def replay(self, exchange: str, feed: Feed, context: Mapping[str, object]) -> tuple[Adapter, str]:
        setup = recorded_setup(exchange)
        if feed == "user":
            user = UserAdapter(setup)
            user.replay(recorded_account(exchange), cast("int", context.get("unifiedMarginStatus", 0)))
            return user, RECORDED
        market = TickerAdapter(setup) if feed == "ticker" else CandleAdapter(setup)
        market.replay(RECORDED)
        return market, RECORDED


VENUE: Final = Bybit()
