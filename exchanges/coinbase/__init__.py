"""Coinbase Advanced Trade, spot. Source: docs.cdp.coinbase.com (Advanced Trade API), 2026."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, cast

from exchanges._adapter import Adapter
from exchanges._replay import RECORDED, recorded_account, recorded_setup
from exchanges._venue import ClockCall, Example, InstrumentLoader, Limits, Rate, Setup
from exchanges.coinbase._candle import CandleAdapter
from exchanges.coinbase._errors import ERRORS, KEY_TYPE
from exchanges.coinbase._series import INTERVALS
from exchanges.coinbase._symbols import Loader
from exchanges.coinbase._ticker import TickerAdapter
from exchanges.coinbase._user import UserAdapter
from exchanges.ids import Feed
from exchanges.instruments import EMPTY, SymbolTable

_CONNECTS: Final = Rate(7, 1.0)
"""8 a second per address, less a margin (one page of the documentation says 750)."""
_MESSAGES: Final = Rate(7, 1.0)
"""8 unauthenticated messages a second per address."""
_REST: Final = {"rest": Rate(9, 1.0)}
"""10 public requests a second per address, less a margin; 30 private ones per user are allowed, but 10,000 an hour per
key as well."""
_CANDLES_PER_CONNECTION: Final = 100


class Coinbase:
    """See `exchanges._venue.Venue`."""

    name = "coinbase"
    exchanges: tuple[str, ...] = ("coinbase",)
    feeds: tuple[Feed, ...] = ("user", "ticker", "candle")
    regions: frozenset[str] = frozenset()
    clock = ClockCall("https://api.coinbase.com/api/v3/brokerage/time", ("epochMillis",))
    examples: Mapping[str, Example] = dict.fromkeys(exchanges, Example("BTC-USD", ("5m",)))
    closed_candles = True
    errors = ERRORS
    key_type_advice = KEY_TYPE

    def limits(self, exchange: str, feed: Feed) -> Limits:
        return Limits(
            connects=_CONNECTS,
            messages=_MESSAGES,
            rest=_REST,
            subscriptions_per_connection=_CANDLES_PER_CONNECTION if feed == "candle" else 1,
            ping_interval_s=10.0,  # upstream's client; the venue answers control pings
            silence_s=25.0,
            data_silence_s=50.0 if feed == "ticker" else None,  # contract 4.7; a product without trades has no candle
        )

    def user(self, setup: Setup) -> Adapter:
        return UserAdapter(setup)

    def ticker(self, setup: Setup) -> Adapter:
        return TickerAdapter(setup)

    def candle(self, setup: Setup) -> Adapter:
        return CandleAdapter(setup)

    def ticker_shards(self, exchange: str, table: SymbolTable) -> Sequence[tuple[str, ...]]:
        """One connection for all products (contract 4.8); aliases are served under the id of their twin."""
        products = tuple(sorted(item.wire for item in table.active() if not item.extra.get("alias")))
        return [products] if products else []

    def sandbox_refusal(self, exchange: str) -> str | None:
        return "Coinbase documents no sandbox for its sockets"

    def candle_refusal(self, exchange: str, symbol: str, interval: str, table: SymbolTable) -> str | None:
        if interval not in INTERVALS:
            return f"Coinbase has no candle interval {interval!r}: use one of {', '.join(INTERVALS)}."
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
            user.replay(recorded_account(exchange), cast("dict[str, Any]", context.get("known_orders", {})))
            return user, RECORDED
        if feed == "ticker":
            ticker = TickerAdapter(setup)
            ticker.replay(RECORDED)
            return ticker, RECORDED
        candle = CandleAdapter(setup)
        candle.replay(RECORDED, cast("dict[str, int]", context.get("open_bucket", {})))
        return candle, RECORDED


VENUE: Final = Coinbase()
