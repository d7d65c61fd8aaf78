"""WhiteBIT: spot (`whitebit`) and USDT perpetuals (`whitebitUsdm`), one host, one key and one socket protocol for both.

Sources: docs.whitebit.com (WebSocket, HTTP private and public v4, guides, change log).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from exchanges._adapter import Adapter
from exchanges._replay import RECORDED, recorded_account, recorded_setup
from exchanges._topics import chunks
from exchanges._venue import ClockCall, Example, InstrumentLoader, Limits, Rate, Setup
from exchanges.ids import Feed
from exchanges.instruments import EMPTY, SymbolTable
from exchanges.whitebit import _symbols
from exchanges.whitebit._candle import CandleAdapter, refusal_of
from exchanges.whitebit._errors import ERRORS
from exchanges.whitebit._hosts import NO_SANDBOX, option_refusal, site_of
from exchanges.whitebit._ticker import TickerAdapter
from exchanges.whitebit._user import UserAdapter

MARKETS_PER_CONNECTION: Final = 2_000
"""A list has no documented limit, and counts as one request."""
CONNECTS: Final = Rate(10, 1.0)
"""1,000 connections a minute; ten a second at most is our own manners."""
MESSAGES: Final = Rate(180, 60.0)
"""200 requests a minute and connection; above them the venue answers with code 7."""
TOKENS: Final = Rate(10, 60.0)
"""Ten socket tokens a minute. Limits are documented per address; whether this one is, or per key, is not: 200 accounts of one
address take 20 minutes after a restart."""
REST: Final[Mapping[str, Rate]] = {
    "token": TOKENS,
    # 12,000 in 10 s, shared with the platform's own trading.
    "private": Rate(600, 10.0),
    # 1,000 to 2,000 in 10 s.
    "public": Rate(200, 10.0),
    "candles": Rate(200, 10.0),
}
CANDLE_CONNECTIONS: Final = 300
"""No limit of open connections is documented; one candle topic needs one of its own."""
CANDLES_OPTION: Final = "WHITEBIT_CANDLE_CONNECTIONS"
SHARED_CANDLES: Final = 100
"""Topics on a connection that asks REST for them."""
SILENCE_S: Final = 75.0
"""Pings go out each 30 s and are answered; no other sign of life is promised."""
JOIN_S: Final = 180.0
"""Tokens are scarce, so a connection may wait long for its own."""


class Whitebit:
    """Satisfies `exchanges._venue.Venue`."""

    name = "whitebit"
    exchanges = (_symbols.SPOT, _symbols.FUTURES)
    feeds: tuple[Feed, ...] = ("user", "ticker", "candle")
    regions: frozenset[str] = frozenset()
    clock = ClockCall("https://whitebit.com/api/v4/public/time", ("time",), whole_seconds=True)
    examples: Mapping[str, Example] = dict.fromkeys(
        exchanges, Example("BTC-USDT", ("1m", "3m", "5m", "15m", "30m", "1h", "2h", "4h", "8h", "1d", "1w", "60"))
    )
    errors = ERRORS

    def limits(self, exchange: str, feed: Feed) -> Limits:
        return Limits(
            connects=CONNECTS,
            own_connects=TOKENS if feed == "user" else None,  # an account that is connected needs its token at once
            candle_connections=CANDLE_CONNECTIONS,
            candle_connections_option=CANDLES_OPTION,
            shared_topics=SHARED_CANDLES,
            messages=MESSAGES,
            rest=REST,
            subscriptions_per_connection=1,  # a second candle subscription silences the first
            ping_interval_s=None,  # control pings are not answered reliably
            silence_s=SILENCE_S,
            data_silence_s=None,  # a market without trades may send nothing
            join_timeout_s=JOIN_S,
        )

    def user(self, setup: Setup) -> Adapter:
        return UserAdapter(setup)

    def ticker(self, setup: Setup) -> Adapter:
        return TickerAdapter(setup)

    def candle(self, setup: Setup) -> Adapter:
        return CandleAdapter(setup)

    def ticker_shards(self, exchange: str, table: SymbolTable) -> Sequence[tuple[str, ...]]:
        return chunks(sorted(instrument.wire for instrument in table.active()), MARKETS_PER_CONNECTION)

    def sandbox_refusal(self, exchange: str) -> str | None:
        return NO_SANDBOX

    def candle_refusal(self, exchange: str, symbol: str, interval: str, table: SymbolTable) -> str | None:
        return refusal_of(exchange, symbol, interval, table)

    def candle_group(self, exchange: str, symbol: str, interval: str, table: SymbolTable) -> str:
        return f"{_symbols.wire_of(symbol, exchange, table)}:{_symbols.seconds_of(interval) or interval}"

    def instruments(self, exchange: str, options: Mapping[str, str], before: SymbolTable = EMPTY) -> InstrumentLoader:
        return _symbols.Loader(exchange, site_of(options))

    def option_refusal(self, options: Mapping[str, str]) -> str | None:
        """See `exchanges.option_refusals`."""
        return option_refusal(options)

    def replay(self, exchange: str, feed: Feed, context: Mapping[str, object]) -> tuple[Adapter, str]:
        setup = recorded_setup(exchange, _symbols.table_of_context(context))
        if feed == "user":
            user = UserAdapter(setup)
            user.replay(recorded_account(exchange))
            return user, RECORDED
        if feed == "ticker":
            ticker = TickerAdapter(setup)
            ticker.replay(RECORDED)
            return ticker, RECORDED
        candle = CandleAdapter(setup)
        candle.replay(RECORDED, str(context.get("requested_interval", "")))
        return candle, RECORDED


VENUE: Final = Whitebit()
