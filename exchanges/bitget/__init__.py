"""Bitget: spot (`bitget`), USDT and USDC futures (`bitgetUsdm`), coin futures (`bitgetCoinm`).

Sources: bitget.com/api-doc (Classic v2, UTA v3), and frames recorded from the venue.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from exchanges._adapter import Adapter
from exchanges._replay import RECORDED, recorded_account, recorded_setup
from exchanges._topics import chunks
from exchanges._venue import ClockCall, Example, InstrumentLoader, Limits, Rate, Setup
from exchanges.bitget._candle import CandleAdapter, refusal_of
from exchanges.bitget._errors import ERRORS
from exchanges.bitget._hosts import is_modern, modern_candles
from exchanges.bitget._symbols import Instruments
from exchanges.bitget._ticker import TickerAdapter
from exchanges.bitget._user import UserAdapter
from exchanges.ids import Feed
from exchanges.instruments import EMPTY, SymbolTable

CHANNELS_PER_CONNECTION: Final = 200
"""The venue takes 1000 and recommends fewer than 50; pushes of 200 tickers still are a light load."""
CONNECTS: Final = Rate(280, 300.0)
"""300 connection attempts per address and 5 min (100 connections at a time)."""
MESSAGES: Final = Rate(5, 1.0)
"""10 client messages per second, pings included; exceeding it may block the address."""
REST: Final[Mapping[str, Rate]] = {
    # 10 to 20 calls a second and user; 6000 a minute and address for everything together.
    "private": Rate(40, 1.0),
    "public": Rate(18, 1.0),
}
LIFETIME_S: Final = 23 * 3600.0
"""Connections are cut after 24 h."""
SILENCE_S: Final = 60.0
"""Pongs come every 25 s."""
TICKER_STALL_S: Final = 50.0
CANDLE_STALL_S: Final = 75.0
JOIN_S: Final = 60.0
"""Login (10 s), answers (two tries of 10 s) and the repair of a gap (25 s)."""


class Bitget:
    """Satisfies `exchanges._venue.Venue`."""

    name = "bitget"
    exchanges = ("bitget", "bitgetUsdm", "bitgetCoinm")
    feeds: tuple[Feed, ...] = ("user", "ticker", "candle")
    regions: frozenset[str] = frozenset()
    clock = ClockCall("https://api.bitget.com/api/v2/public/time", ("data", "serverTime"))
    examples: Mapping[str, Example] = dict.fromkeys(
        exchanges,
        Example(
            "BTCUSDT",
            (
                "candle1m",
                "3min",
                "candle5m",
                "candle15m",
                "candle30m",
                "candle1H",
                "2h",
                "candle4H",
                "8h",
                "candle1Dutc",
                "candle1Wutc",
            ),
        ),
    )
    errors = ERRORS

    def limits(self, exchange: str, feed: Feed) -> Limits:
        return Limits(
            connects=CONNECTS,
            messages=MESSAGES,
            rest=REST,
            subscriptions_per_connection=CHANNELS_PER_CONNECTION if feed == "candle" else 1,
            lifetime_s=LIFETIME_S,
            # Protocol pings do not count at this venue; the adapters send its text ping.
            ping_interval_s=None,
            silence_s=SILENCE_S,
            data_silence_s={"user": None, "ticker": TICKER_STALL_S, "candle": CANDLE_STALL_S}[feed],
            join_timeout_s=JOIN_S,
        )

    def user(self, setup: Setup) -> Adapter:
        return UserAdapter(setup)

    def ticker(self, setup: Setup) -> Adapter:
        return TickerAdapter(setup)

    def candle(self, setup: Setup) -> Adapter:
        return CandleAdapter(setup)

    def ticker_shards(self, exchange: str, table: SymbolTable) -> Sequence[tuple[str, ...]]:
        """Classic markets first; what only v3 has is on a socket of its own."""
        wires: dict[bool, list[str]] = {False: [], True: []}
        for instrument in table.active():
            wires[is_modern(instrument)].append(instrument.wire)
        return [shard for part in wires.values() for shard in chunks(part, CHANNELS_PER_CONNECTION)]

    def sandbox_refusal(self, exchange: str) -> str | None:
        return None

    def candle_refusal(self, exchange: str, symbol: str, interval: str, table: SymbolTable) -> str | None:
        return refusal_of(exchange, symbol, interval, table)

    def candle_group(self, exchange: str, symbol: str, interval: str, table: SymbolTable) -> str:
        return f"{exchange}/v3" if modern_candles(table.pair(symbol)) else exchange

    def instruments(self, exchange: str, options: Mapping[str, str], before: SymbolTable = EMPTY) -> InstrumentLoader:
        return Instruments(exchange, options, before)

    def replay(self, exchange: str, feed: Feed, context: Mapping[str, object]) -> tuple[Adapter, str]:
        setup = recorded_setup(exchange)
        if feed == "ticker":
            ticker = TickerAdapter(setup)
            ticker.replay(RECORDED)
            return ticker, RECORDED
        if feed == "candle":
            candle = CandleAdapter(setup)
            candle.replay(RECORDED, str(context.get("requested_interval", "")))
            return candle, RECORDED
        session = UserAdapter(setup)
        listed = context.get("product_types")
        products = tuple(str(item) for item in listed) if isinstance(listed, Sequence) else ()
        session.restore(recorded_account(exchange), products, unified=context.get("account_mode") == "UTA")
        return session, RECORDED


VENUE: Final = Bitget()
