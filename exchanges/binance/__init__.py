"""Binance: spot, USD-M, COIN-M, and Binance.US.

`_user_spot` (WebSocket API, many accounts a connection), `_user_listen_key` (the other markets), prices, candles, symbols.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from exchanges._adapter import Adapter, Answer, Call, Instant, Send, TickerSubscription
from exchanges._replay import RECORDED, recorded_account, recorded_setup
from exchanges._venue import ClockCall, Example, InstrumentLoader, Limits, Setup
from exchanges.binance import _hosts
from exchanges.binance._candle import CandleAdapter
from exchanges.binance._errors import ERRORS, KEY_TYPE
from exchanges.binance._hosts import MARKETS
from exchanges.binance._symbols import Loader, refusal
from exchanges.binance._ticker import TickerAdapter
from exchanges.binance._user_listen_key import ListenKeyUser
from exchanges.binance._user_spot import SpotUser
from exchanges.ids import FAMILIES, Feed
from exchanges.instruments import EMPTY, Instrument, SymbolTable

__all__ = ["VENUE"]

_ANY_TIME: Final = Instant(0.0, 0)


class _Binance:
    """The venue (see `exchanges._venue.Venue`)."""

    name = "binance"
    exchanges = FAMILIES["binance"]
    feeds: tuple[Feed, ...] = ("user", "ticker", "candle")
    regions: frozenset[str] = frozenset()
    clock = ClockCall("https://api.binance.com/api/v3/time", ("serverTime",))
    examples: Mapping[str, Example] = dict.fromkeys(
        exchanges, Example("BTCUSDT", ("1m", "3m", "5m", "15m", "30m", "1h", "2h", "4h", "8h", "1d", "1w"))
    )
    closed_candles = True
    errors = ERRORS
    key_type_advice = KEY_TYPE

    def limits(self, exchange: str, feed: Feed) -> Limits:
        return _hosts.limits(exchange, feed)

    def user(self, setup: Setup) -> Adapter:
        market = MARKETS[setup.exchange]
        return SpotUser(setup, market) if market.listen_key_path is None else ListenKeyUser(setup, market)

    def ticker(self, setup: Setup) -> Adapter:
        return TickerAdapter(setup, MARKETS[setup.exchange])

    def candle(self, setup: Setup) -> Adapter:
        return CandleAdapter(setup, MARKETS[setup.exchange])

    def ticker_shards(self, exchange: str, table: SymbolTable) -> Sequence[tuple[str, ...]]:
        return [()]

    def sandbox_refusal(self, exchange: str) -> str | None:
        return None if exchange in _hosts.TESTNETS else "Binance.US has no sandbox"

    def candle_refusal(self, exchange: str, symbol: str, interval: str, table: SymbolTable) -> str | None:
        return refusal(exchange, symbol, interval, table)

    def candle_group(self, exchange: str, symbol: str, interval: str, table: SymbolTable) -> str:
        return ""

    def instruments(self, exchange: str, options: Mapping[str, str], before: SymbolTable = EMPTY) -> InstrumentLoader:
        return Loader(exchange)

    def replay(self, exchange: str, feed: Feed, context: Mapping[str, object]) -> tuple[Adapter, str]:
        setup = recorded_setup(exchange, _table(context))
        if feed == "user":
            return self._live_user(setup), RECORDED
        if feed == "ticker":
            ticker = self.ticker(setup)
            ticker.add(TickerSubscription(stream_id=RECORDED, exchange=exchange), _ANY_TIME)
            return ticker, RECORDED
        candle = CandleAdapter(setup, MARKETS[exchange])
        candle.replay(RECORDED)
        return candle, RECORDED

    def _live_user(self, setup: Setup) -> Adapter:
        adapter = self.user(setup)
        adapter.add(recorded_account(setup.exchange), _ANY_TIME)
        for output in adapter.start(_ANY_TIME):
            if isinstance(output, Call):
                adapter.answered(output, Answer(200, {}, b'{"listenKey":"replay"}'), _ANY_TIME)
        for output in adapter.connected(_ANY_TIME):
            if isinstance(output, Send):
                adapter.received(b'{"id":"replay","status":200,"result":{"subscriptionId":0}}', _ANY_TIME)
        return adapter


def _table(context: Mapping[str, object]) -> SymbolTable:
    """The market's instruments as a golden case names them."""
    symbols = context.get("symbols")
    sizes = context.get("contractSize")
    sizes = sizes if isinstance(sizes, dict) else {}
    names = [*(symbols if isinstance(symbols, list) else []), *sizes]
    return SymbolTable(
        Instrument(wire=name, pair=name, contract_size=str(sizes.get(name, "1"))) for name in dict.fromkeys(names)
    )


VENUE: Final = _Binance()
