"""`PriceConnector`: tickers and candles in a program of one's own. The engine is the service's."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from typing import Final, Literal, Self

from connector.api._events import PRICE_NAMES
from connector.api._running import QUEUE_LIMIT, Running
from connector.core.errors import InvalidCommand, InvalidSetting
from connector.core.ports import CandleKey, State
from connector.core.settings import Settings
from connector.streams.market import Markets
from exchanges import venue_of
from exchanges.ids import FAMILIES, real_id
from exchanges.instruments import SymbolTable

LIST_S: Final = 10.0
LOOK_S: Final = 0.02
"""A list that is waited for is looked at this often."""

PriceRole = Literal["all", "ticker", "candle"]


class PriceConnector(Running):
    """Tickers of whole exchanges, and the candles that are asked for (docs/python.md). Any thread."""

    def __init__(
        self,
        role: PriceRole = "all",
        settings: Settings | Mapping[str, str] | None = None,
        *,
        exchanges: Sequence[str] = (),
        symbols: str = "",
        gateway: str = "",
        state: State | str | None = None,
        queue_limit: int = QUEUE_LIMIT,
    ) -> None:
        """`exchanges`: families (`binance`, `okx` …) with prices; none = all of them. `symbols`: patterns as `PRICE_SYMBOLS`
        (docs/settings.md). The rest as for `Connector`. A `Connector` and a `PriceConnector` that shall keep to one rate
        limit per address are given the same `state`. Raises `InvalidSetting`.
        """
        if role not in {"all", "ticker", "candle"}:
            raise InvalidSetting("role: takes all, ticker or candle")
        unknown = sorted(set(exchanges) - FAMILIES.keys())
        if unknown:
            raise InvalidSetting(f"exchanges: takes {', '.join(FAMILIES)}, not {', '.join(unknown)}")
        more: dict[str, object] = {"price_role": role}
        if exchanges:
            more["price_exchanges"] = tuple(exchanges)
        if symbols:
            given = settings if isinstance(settings, Settings) else Settings.from_env(settings or {})
            more["price_symbols"] = Settings.from_env({"PRICE_SYMBOLS": symbols}).price_symbols
            settings = given
        super().__init__("price", PRICE_NAMES, settings, gateway, state, queue_limit, more)

    def init(self) -> Self:
        """Begin; the same as `start`."""
        return self.start()

    def subscribe_candle(self, *, symbol: str, exchange: str, interval: str) -> None:
        """Tell candles of this symbol; `interval` in the exchange's own spelling (`1m`, `1min`, `candle1m` …).

        The exchange's list of symbols is waited for, up to 10 s: without it some would be asked for under a wrong name.
        Raises `InvalidCommand` with the reason why they can't be had, `StateUnavailable` if Redis is away.
        """
        key = CandleKey(exchange=real_id(exchange), symbol=symbol, interval=interval)
        venue = venue_of(key.exchange)
        if venue is None or "candle" not in venue.feeds:
            raise InvalidCommand(f"exchange: {exchange} has no candles")
        self.start()
        refusal = venue.candle_refusal(key.exchange, symbol, interval, self._listed(key.exchange))
        if refusal is not None:
            raise InvalidCommand(refusal)
        if self._state.add_candle(key):
            self._state.notify("*", f"candle:{key.exchange}")

    def _listed(self, exchange: str) -> SymbolTable:
        """The symbols of an exchange; empty if its list did not come in time."""
        clock, never = self._engine.clock, threading.Event()
        deadline = clock.mono() + LIST_S
        while not len(table := self._engine.instruments.table(exchange)) and clock.mono() < deadline:
            never.wait(LOOK_S)
        return table

    def unsubscribe_candle(self, *, symbol: str, exchange: str, interval: str) -> None:
        """No candles of it any more. One that nobody asked for is fine."""
        if isinstance(self._engine.units, Markets):
            key = CandleKey(exchange=real_id(exchange), symbol=symbol, interval=interval)
            self._engine.units.leave_out_candle(key)
