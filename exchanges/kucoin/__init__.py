"""KuCoin: spot (`kucoin`), linear and inverse futures (`kucoinLinear`, `kucoinInverse`).

Sources: kucoin.com/docs-new (page ids in docs/venues/kucoin.md), and frames recorded from the venue.
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
from exchanges.kucoin import _symbols
from exchanges.kucoin._candle import CandleAdapter, refusal_of
from exchanges.kucoin._errors import ERRORS
from exchanges.kucoin._symbols import Instruments
from exchanges.kucoin._ticker import TickerAdapter
from exchanges.kucoin._user import UserAdapter
from exchanges.kucoin._user_classic import ClassicUser
from exchanges.kucoin._user_unified import UnifiedUser

TICKERS_PER_CONNECTION: Final = 290
CANDLES_PER_CONNECTION: Final = 380
"""Spot allows 400 topics a connection (rate-limit page), futures any number; the old connector's figures, kept."""
CONNECTS: Final = Rate(28, 60.0)
"""30 connection attempts a minute."""
MESSAGES: Final = Rate(90, 10.0)
"""100 client messages per 10 s and connection, pings included."""
OWN_REST: Final[Mapping[str, Rate]] = {
    "spot": Rate(3_600, 30.0),  # 4000
    "futures": Rate(1_800, 30.0),  # 2000
    "management": Rate(1_800, 30.0),  # 2000
    "unified": Rate(180, 3.0),  # 200
}
"""Weight per pool of an account without VIP level, from whatever address (docs/venues/kucoin.md 3)."""
REST: Final[Mapping[str, Rate]] = {"public": Rate(1_800, 30.0)}  # 2000
REQUESTS: Final = Rate(450, 10.0)
"""What stands before the venue takes 500 requests in 10 s from an address, whatever they weigh."""
LIFETIME_S: Final = 23 * 3600.0
"""Connections are cut after 24 h."""
SILENCE_S: Final = 45.0
"""Pongs come every 15 s."""
STALL_S: Final = 50.0
QUIET_STALL_S: Final = 180.0
"""Few inverse contracts trade every minute, and candles are pushed on trades only."""
JOIN_S: Final = 45.0
"""Welcome (5 s), acknowledgements (two tries of 5 s) and the repair of a gap (25 s)."""


class KuCoin:
    """Satisfies `exchanges._venue.Venue`."""

    name = "kucoin"
    exchanges = ("kucoin", "kucoinLinear", "kucoinInverse")
    feeds: tuple[Feed, ...] = ("user", "ticker", "candle")
    regions: frozenset[str] = frozenset()
    clock = ClockCall("https://api.kucoin.com/api/v1/timestamp", ("data",))
    examples: Mapping[str, Example] = dict.fromkeys(
        exchanges,
        Example(
            "BTC-USDT", ("1min", "3min", "5min", "15min", "30min", "1hour", "2hour", "4hour", "8hour", "1day", "1week")
        ),
    )
    errors = ERRORS

    def limits(self, exchange: str, feed: Feed) -> Limits:
        stall = {"user": None, "ticker": STALL_S, "candle": QUIET_STALL_S}[feed]
        if feed == "ticker" and exchange == "kucoinInverse":
            stall = QUIET_STALL_S
        return Limits(
            connects=CONNECTS,
            messages=MESSAGES,
            rest=REST,
            own_rest=OWN_REST,
            requests=REQUESTS,
            subscriptions_per_connection=CANDLES_PER_CONNECTION if feed == "candle" else 1,
            lifetime_s=LIFETIME_S,
            # The venue wants its own JSON ping, which the adapters send.
            ping_interval_s=None,
            silence_s=SILENCE_S,
            data_silence_s=stall,
            join_timeout_s=JOIN_S,
        )

    def user(self, setup: Setup) -> Adapter:
        return UserAdapter(setup)

    def ticker(self, setup: Setup) -> Adapter:
        return TickerAdapter(setup)

    def candle(self, setup: Setup) -> Adapter:
        return CandleAdapter(setup)

    def ticker_shards(self, exchange: str, table: SymbolTable) -> Sequence[tuple[str, ...]]:
        if _symbols.is_spot(exchange):
            return [()]
        return chunks([instrument.wire for instrument in table.active()], TICKERS_PER_CONNECTION)

    def sandbox_refusal(self, exchange: str) -> str | None:
        return "KuCoin has no sandbox any more"

    def candle_refusal(self, exchange: str, symbol: str, interval: str, table: SymbolTable) -> str | None:
        return refusal_of(exchange, symbol, interval, table)

    def candle_group(self, exchange: str, symbol: str, interval: str, table: SymbolTable) -> str:
        return exchange

    def instruments(self, exchange: str, options: Mapping[str, str], before: SymbolTable = EMPTY) -> InstrumentLoader:
        return Instruments(exchange)

    def replay(self, exchange: str, feed: Feed, context: Mapping[str, object]) -> tuple[Adapter, str]:
        setup = recorded_setup(exchange, _symbols.table_of_context(exchange, context))
        if feed == "ticker":
            ticker = TickerAdapter(setup)
            ticker.replay(RECORDED)
            return ticker, RECORDED
        if feed == "candle":
            candle = CandleAdapter(setup)
            candle.replay(RECORDED, str(context.get("requested_interval", "")))
            return candle, RECORDED
        kind = UnifiedUser if context.get("account_mode") == "UNIFIED" else ClassicUser
        session = kind(setup, recorded_account(exchange))
        session.repair.done = True
        return session, RECORDED


VENUE: Final = KuCoin()
