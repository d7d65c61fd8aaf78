"""Kraken: spot (`kraken`, WebSocket v2) and linear perpetuals (`krakenUsdm`), two unrelated APIs.

The perpetuals have two ways: the classic futures API (WebSocket v1), which ends on 2027-03-01, and the unified WebSocket,
which speaks as spot does and takes other keys. Both end in the same events.

Sources: docs.kraken.com (exchange/api-reference, guides), and frames recorded from the venue.
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
from exchanges.kraken import _symbols
from exchanges.kraken._candle import FuturesCandle, SpotCandle, UnifiedCandle, refusal_of
from exchanges.kraken._errors import ERRORS
from exchanges.kraken._hosts import NO_SANDBOX, option_refusal
from exchanges.kraken._route import UNIFIED, Routed
from exchanges.kraken._symbols import FuturesLoader, SpotLoader
from exchanges.kraken._ticker import FuturesTicker, SpotTicker, UnifiedTicker
from exchanges.kraken._user_derivatives import DerivativesUser
from exchanges.kraken._user_futures import FuturesUser
from exchanges.kraken._user_spot import SpotUser
from exchanges.kraken._user_unified import UnifiedUser

SYMBOLS_PER_CONNECTION: Final = 200
"""No documented figure; the old connector's."""
CONNECTS: Final = Rate(140, 600.0)
"""About 150 attempts in any 10 minutes and address, then a ban of about 10 minutes (spot WebSocket guide). One figure for
both markets: they are counted together, and the futures pages only limit the open ones, to 100."""
SPOT_MESSAGES: Final = Rate(10, 5.0)
"""Not documented; the subscriptions of a full connection and its pings fit in."""
FUTURES_MESSAGES: Final = Rate(90, 1.0)
"""100 requests a second and connection."""
REST: Final[Mapping[str, Rate]] = {
    # Private spot calls count per key (15 to 20 points); this only protects the address.
    "private": Rate(60, 10.0),
    # Public spot calls: about one a second and address.
    "public": Rate(10, 10.0),
    # Counted by address and pair; ours are of many pairs.
    "candles": Rate(20, 5.0),
    # 500 points in 10 s count per account, and 100 of the history in 10 minutes; these only protect the address.
    "futures": Rate(450, 10.0),
    "history": Rate(60, 10.0),
}
SPOT_SILENCE_S: Final = 15.0
"""A heartbeat comes each second; the adapter pings every 10 s."""
FUTURES_PING_S: Final = 20.0
"""The venue drops clients that send nothing for 60 s."""
FUTURES_SILENCE_S: Final = 45.0
JOIN_S: Final = 45.0
"""Token (with its retries), acknowledgements (10 s) and the repair of a gap (25 s)."""


class Kraken:
    """Satisfies `exchanges._venue.Venue`."""

    name = "kraken"
    exchanges = (_symbols.SPOT, _symbols.FUTURES)
    feeds: tuple[Feed, ...] = ("user", "ticker", "candle")
    regions: frozenset[str] = frozenset()
    clock = ClockCall("https://api.kraken.com/0/public/Time", ("result", "unixtime"), whole_seconds=True)
    errors = ERRORS
    examples: Mapping[str, Example] = {
        _symbols.SPOT: Example(
            "BTC-USD", ("1", "5", "15", "30", "60", "240", "1440", "10080", "21600"), refused=("3m", "2h", "8h")
        ),
        _symbols.FUTURES: Example("BTC-USD", ("1m", "5m", "15m", "30m", "1h", "4h", "1d", "1w")),
    }

    def limits(self, exchange: str, feed: Feed) -> Limits:
        spot = exchange == _symbols.SPOT
        return Limits(
            connects=CONNECTS,
            messages=SPOT_MESSAGES if spot else FUTURES_MESSAGES,
            rest=REST,
            subscriptions_per_connection=SYMBOLS_PER_CONNECTION if feed == "candle" else 1,
            ping_interval_s=None if spot else FUTURES_PING_S,
            silence_s=SPOT_SILENCE_S if spot else FUTURES_SILENCE_S,
            data_silence_s=None,  # moved by trades: quiet and connected is alive (contract 4.7, bug C14)
            join_timeout_s=JOIN_S,
        )

    def user(self, setup: Setup) -> Adapter:
        return SpotUser(setup) if setup.exchange == _symbols.SPOT else DerivativesUser(setup)

    def ticker(self, setup: Setup) -> Adapter:
        if setup.exchange == _symbols.SPOT:
            return SpotTicker(setup)
        return Routed(setup, FuturesTicker, UnifiedTicker)

    def candle(self, setup: Setup) -> Adapter:
        if setup.exchange == _symbols.SPOT:
            return SpotCandle(setup)
        return Routed(setup, FuturesCandle, UnifiedCandle)

    def ticker_shards(self, exchange: str, table: SymbolTable) -> Sequence[tuple[str, ...]]:
        """There is no all-market channel."""
        return chunks(sorted(instrument.wire for instrument in table.active()), SYMBOLS_PER_CONNECTION)

    def sandbox_refusal(self, exchange: str) -> str | None:
        return NO_SANDBOX

    def candle_refusal(self, exchange: str, symbol: str, interval: str, table: SymbolTable) -> str | None:
        return refusal_of(exchange, symbol, interval, table)

    def candle_group(self, exchange: str, symbol: str, interval: str, table: SymbolTable) -> str:
        """One interval a connection: spot takes no second one of a symbol (bug C5), and a futures request has one feed."""
        return str(_symbols.minutes_of(exchange, interval) or interval)

    def instruments(self, exchange: str, options: Mapping[str, str], before: SymbolTable = EMPTY) -> InstrumentLoader:
        return SpotLoader(options) if exchange == _symbols.SPOT else FuturesLoader(options)

    def option_refusal(self, options: Mapping[str, str]) -> str | None:
        """See `exchanges.option_refusals`."""
        return option_refusal(options)

    def replay(self, exchange: str, feed: Feed, context: Mapping[str, object]) -> tuple[Adapter, str]:
        setup = recorded_setup(exchange, _symbols.table_of_context(context))
        spot, unified = exchange == _symbols.SPOT, context.get("route") == UNIFIED
        if feed == "user":
            user = SpotUser(setup) if spot else UnifiedUser(setup) if unified else FuturesUser(setup)
            user.replay(recorded_account(exchange), _symbols.asset_map_of_context(context))
            return user, RECORDED
        if feed == "ticker":
            ticker = SpotTicker(setup) if spot else UnifiedTicker(setup) if unified else FuturesTicker(setup)
            ticker.replay(RECORDED)
            return ticker, RECORDED
        candle = SpotCandle(setup) if spot else UnifiedCandle(setup) if unified else FuturesCandle(setup)
        candle.replay(RECORDED, str(context.get("requested_interval", "")))
        return candle, RECORDED


VENUE: Final = Kraken()
