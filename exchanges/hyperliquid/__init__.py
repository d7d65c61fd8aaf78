"""Hyperliquid: spot (`hyperliquid`) and all perpetuals, builder dexes included (`hyperliquidLinear`).

Source: hyperliquid.gitbook.io, for-developers/api (2026); one socket protocol and one REST path serve all markets.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from exchanges._adapter import Adapter
from exchanges._replay import RECORDED, recorded_setup
from exchanges._venue import ClockCall, Example, InstrumentLoader, Limits, Rate, Setup
from exchanges.hyperliquid._candle import CandleAdapter, refusal_of_request
from exchanges.hyperliquid._errors import ERRORS, RETRY_S, TOO_MANY_CONNECTIONS
from exchanges.hyperliquid._hosts import POOL
from exchanges.hyperliquid._symbols import LINEAR, SPOT, Loader, table_of_context
from exchanges.hyperliquid._ticker import TickerAdapter
from exchanges.hyperliquid._user import UserAdapter, recorded_user
from exchanges.ids import Feed
from exchanges.instruments import EMPTY, SymbolTable

CONNECTIONS: Final = 10
"""Open at once per address (rate-limits page; older revisions said 100, and "10" or "15" stand in its refusals)."""
CONNECTIONS_OPTION: Final = "HYPERLIQUID_MAX_WS_CONNECTIONS"
CONNECTS: Final = Rate(28, 60.0)
"""30 new connections a minute and address, less a margin."""
MESSAGES: Final = Rate(190, 60.0)
"""2,000 messages a minute over the 10 connections of an address, less a margin."""
REST: Final = {POOL: Rate(1_100, 60.0)}
"""Weight 1,200 a minute and address, less a margin."""
CANDLES_PER_CONNECTION: Final = 450
"""1,000 subscriptions per address: one connection of each market's candles, its prices and accounts have room in them."""
SILENCE_S: Final = 50.0
"""Pongs come every 30 s; the venue itself cuts after 60 s."""


class Hyperliquid:
    """See `exchanges._venue.Venue`."""

    name = "hyperliquid"
    exchanges = (SPOT, LINEAR)
    feeds: tuple[Feed, ...] = ("user", "ticker", "candle")
    regions: frozenset[str] = frozenset()
    clock = ClockCall("https://api.hyperliquid.xyz/info", ("time",), {"type": "exchangeStatus"})
    examples: Mapping[str, Example] = dict.fromkeys(
        exchanges, Example("BTC-USDC", ("1m", "3m", "5m", "15m", "30m", "1h", "2h", "4h", "8h", "1d", "1w"))
    )
    errors = ERRORS

    def limits(self, exchange: str, feed: Feed) -> Limits:
        return Limits(
            connects=CONNECTS,
            messages=MESSAGES,
            rest=REST,
            bans={429: RETRY_S},
            open_connections=CONNECTIONS,
            open_connections_option="" if feed == "user" else CONNECTIONS_OPTION,
            close_waits={TOO_MANY_CONNECTIONS: RETRY_S},
            subscriptions_per_connection=CANDLES_PER_CONNECTION if feed == "candle" else 1,
            ping_interval_s=None,  # the venue wants its own JSON ping, which the adapters send
            silence_s=SILENCE_S,
            # Mids come with every block; candles only when somebody trades.
            data_silence_s={"ticker": 50.0, "candle": 180.0}.get(feed),
            join_timeout_s=45.0,
        )

    def user(self, setup: Setup) -> Adapter:
        return UserAdapter(setup)

    def ticker(self, setup: Setup) -> Adapter:
        return TickerAdapter(setup)

    def candle(self, setup: Setup) -> Adapter:
        return CandleAdapter(setup)

    def ticker_shards(self, exchange: str, table: SymbolTable) -> Sequence[tuple[str, ...]]:
        """One connection. A frame has every coin of a dex; the perps are named because of their dexes.

        Without the list nothing can be named, so nothing is subscribed.
        """
        if not len(table):
            return []
        return [tuple(sorted(item.wire for item in table.active())) if exchange == LINEAR else ()]

    def sandbox_refusal(self, exchange: str) -> str | None:
        return None

    def candle_refusal(self, exchange: str, symbol: str, interval: str, table: SymbolTable) -> str | None:
        return refusal_of_request(exchange, symbol, interval, table)

    def candle_group(self, exchange: str, symbol: str, interval: str, table: SymbolTable) -> str:
        return ""

    def instruments(self, exchange: str, options: Mapping[str, str], before: SymbolTable = EMPTY) -> InstrumentLoader:
        return Loader(exchange, options)

    def replay(self, exchange: str, feed: Feed, context: Mapping[str, object]) -> tuple[Adapter, str]:
        setup = recorded_setup(exchange, table_of_context(exchange, context))
        if feed == "user":
            return recorded_user(setup, str(context.get("user", ""))), RECORDED
        market = TickerAdapter(setup) if feed == "ticker" else CandleAdapter(setup)
        market.replay(RECORDED)
        return market, RECORDED


VENUE: Final = Hyperliquid()
