"""Prices of the simulated world: a seeded random walk per symbol, 24 h figures, candles. Pure; time is passed in."""

from __future__ import annotations

import hashlib
import random
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from typing import Final

import msgspec

from exchanges.ids import FAMILIES
from simulator._kept import TESTS
from simulator._values import INTERVALS, ZERO, Candle, CandleUpdate, Coin, Market, Quote, Symbol, Tick, bucket_start

_NAMES: Final = (
    ("BTC", "61250.5", 2), ("ETH", "2512.4", 2), ("BNB", "585.3", 2), ("SOL", "142.61", 2), ("XRP", "0.5312", 4),
    ("ADA", "0.3541", 4), ("DOGE", "0.10852", 5), ("LTC", "68.42", 2), ("LINK", "11.237", 3), ("DOT", "4.318", 3),
    ("AVAX", "27.44", 2), ("TRX", "0.1519", 4), ("ATOM", "4.689", 3), ("UNI", "7.231", 3), ("XLM", "0.0931", 4),
    ("BCH", "345.7", 1), ("NEAR", "4.912", 3), ("FIL", "3.742", 3), ("APT", "8.461", 3), ("PEPE", "0.00000912", 8),
)  # fmt: skip


def coins(count: int) -> list[Coin]:
    """The first `count` base currencies: well-known names, then generated ones (`C0021` …)."""
    known = [Coin(name, Decimal(price), decimals) for name, price, decimals in _NAMES[:count]]
    return known + [
        Coin(f"C{number:04}", Decimal(number % 97 + 1) + Decimal("0.25"), 4)
        for number in range(len(known) + 1, count + 1)
    ]


class _State:
    """Moving figures of one symbol."""

    __slots__ = ("high", "low", "open", "price", "quote_volume", "size", "symbol", "time_ms", "trades", "volume")

    def __init__(self, symbol: Symbol) -> None:
        self.symbol = symbol
        self.price = self.open = self.high = self.low = symbol.price
        self.size = Decimal(1).scaleb(-symbol.quantity_decimals)
        self.volume = Decimal(1000)
        self.quote_volume = symbol.value(self.volume, symbol.price)
        self.trades = 1000
        self.time_ms = 0

    def move(self, price: Decimal, size: Decimal, now_ms: int) -> None:
        self.price = price
        self.high = max(self.high, price)
        self.low = min(self.low, price)
        self.size = size
        self.volume += size
        self.quote_volume += self.symbol.value(size, price)
        self.trades += 1
        self.time_ms = max(now_ms, self.time_ms + 1)

    def quote(self) -> Quote:
        step = Decimal(1).scaleb(-self.symbol.price_decimals)
        return Quote(
            symbol=self.symbol,
            time_ms=self.time_ms,
            price=self.price,
            open=self.open,
            high=self.high,
            low=self.low,
            volume=self.volume,
            quote_volume=self.quote_volume,
            bid=self.price,
            ask=self.price + step,
            size=self.size,
            trades=self.trades,
        )


class _Series:
    """Candles of one symbol and interval since somebody first asked for them."""

    __slots__ = ("behind", "closed", "first_ms", "interval", "running", "symbol")

    def __init__(
        self, symbol: Symbol, interval: str, start_ms: int, price: Decimal, kept: int, behind: int = 0
    ) -> None:
        self.symbol = symbol
        self.behind = behind
        """So many candles are closed by hand, each after its real end, before the clock closes them."""
        self.interval = interval
        self.first_ms = start_ms
        self.running = _flat(start_ms, price)
        self.closed: deque[Candle] = deque(maxlen=kept)

    def trade(self, price: Decimal, size: Decimal) -> None:
        running = self.running
        self.running = Candle(
            start_ms=running.start_ms,
            open=running.open,
            high=max(running.high, price),
            low=min(running.low, price),
            close=price,
            volume=running.volume + size,
            quote_volume=running.quote_volume + self.symbol.value(size, price),
            trades=running.trades + 1,
        )

    def close(self) -> Candle:
        """End the running candle, begin the next with its close."""
        done = self.running
        self.closed.append(done)
        self.running = _flat(done.start_ms + INTERVALS[self.interval], done.close)
        return done


def _flat(start_ms: int, price: Decimal) -> Candle:
    return Candle(
        start_ms=start_ms, open=price, high=price, low=price, close=price, volume=ZERO, quote_volume=ZERO, trades=0
    )


class Markets:
    """All markets. Loop thread only. What REST tells of a candle is what was, or would have been, streamed."""

    def __init__(
        self, markets: Iterable[Market] = (), *, seed: int = 1, move: float = 0.0005, quiet: float = 0.3
    ) -> None:
        self._markets: dict[str, Market] = {}
        self._states: dict[str, dict[str, _State]] = {}
        self._series: dict[tuple[str, str], dict[str, _Series]] = {}
        self._numbers: dict[str, int] = {}
        self._random = random.Random(seed)
        self._seed = seed
        self._move = move
        self._quiet = quiet
        self._begun = False
        self._delisted: dict[tuple[str, str], _State] = {}
        self._kept = TESTS.candles
        self.load(markets)

    def load(self, markets: Iterable[Market]) -> None:
        """Add markets."""
        for market in markets:
            self._markets[market.exchange] = market
            self._states[market.exchange] = {symbol.wire: _State(symbol) for symbol in market.symbols}
            self._numbers[market.exchange] = 0

    def keep(self, candles: int) -> None:
        """So many closed candles of each symbol and interval from now on, the newest."""
        self._kept = candles
        for known in self._series.values():
            for series in known.values():
                series.closed = deque(series.closed, maxlen=candles)

    def begin(self, now_ms: int) -> None:
        """Symbols that have not traded yet traded last at this moment, or shortly before it was first asked."""
        if not self._begun:
            self._begun = True
            for states in self._states.values():
                for state in states.values():
                    state.time_ms = state.time_ms or now_ms

    # --- reading ---

    def exchanges(self) -> list[str]:
        return list(self._markets)

    def market(self, exchange: str) -> Market | None:
        return self._markets.get(exchange)

    def symbols(self, exchange: str) -> tuple[Symbol, ...]:
        market = self._markets.get(exchange)
        return market.symbols if market else ()

    def symbol(self, exchange: str, wire: str) -> Symbol | None:
        state = self._states.get(exchange, {}).get(wire)
        return state.symbol if state else None

    def quote(self, exchange: str, wire: str) -> Quote:
        """Raises KeyError for an unknown symbol."""
        return self._states[exchange][wire].quote()

    def quotes(self, exchange: str) -> list[Quote]:
        return [state.quote() for state in self._states.get(exchange, {}).values()]

    def rich(self, venue: str) -> dict[str, dict[str, Decimal]]:
        """Wallets with plenty of every asset of a venue's markets; any other name than a venue's = of all markets."""
        members = FAMILIES.get(venue)
        wallets: dict[str, dict[str, Decimal]] = {}
        for market in self._markets.values():
            if members is not None and market.exchange not in members:
                continue
            wallet = wallets.setdefault(market.wallet, {})
            for symbol in market.symbols:
                names = (symbol.settle,) if symbol.settle else (symbol.base, symbol.quote)
                for name in names:
                    wallet.setdefault(name, Decimal(100_000 if name == symbol.base else 10_000_000))
        return wallets

    # --- listing ---

    def delist(self, exchange: str, wire: str) -> None:
        """The venue takes a symbol off: it is in no list, refused everywhere, and does not trade. KeyError if unknown."""
        self._delisted[(exchange, wire)] = self._states[exchange].pop(wire)
        self._relisted(exchange)

    def relist(self, exchange: str, wire: str) -> None:
        """The symbol is back, with the price that it had. Raises KeyError if it was not delisted."""
        self._states[exchange][wire] = self._delisted.pop((exchange, wire))
        self._relisted(exchange)

    def _relisted(self, exchange: str) -> None:
        symbols = tuple(state.symbol for state in self._states[exchange].values())
        self._markets[exchange] = msgspec.structs.replace(self._markets[exchange], symbols=symbols)

    def untraded(self, exchange: str, wire: str) -> None:
        """A symbol that is listed and has never traded: all its figures are 0 from now on. KeyError if unknown."""
        state = self._states[exchange][wire]
        state.price = state.open = state.high = state.low = state.volume = state.quote_volume = ZERO
        for series in self._series.get((exchange, wire), {}).values():
            series.running = _flat(series.running.start_ms, ZERO)

    # --- moving ---

    def step(self, exchange: str, now_ms: int) -> tuple[Tick, list[CandleUpdate]]:
        """One step of the walk for all symbols of a market; candles whose time is over close first."""
        updates = self.roll(exchange, now_ms)
        quotes: list[Quote] = []
        for state in self._states[exchange].values():
            if self._random.random() < self._quiet:
                continue
            symbol = state.symbol
            moved = float(state.price) * (1 + self._random.gauss(0, 1) * self._move)
            price = Decimal(f"{moved:.{symbol.price_decimals}f}") if self._move else state.price
            size = Decimal(self._random.randint(1, 5000)).scaleb(-symbol.quantity_decimals)
            quotes.append(self._trade(exchange, state, price if price > 0 else state.price, size, now_ms, updates))
        return self._tick(exchange, now_ms, quotes), updates

    def set_price(self, exchange: str, wire: str, price: Decimal, now_ms: int) -> tuple[Tick, list[CandleUpdate]]:
        """One trade at a given price. Raises KeyError for an unknown symbol."""
        updates = self.roll(exchange, now_ms)
        state = self._states[exchange][wire]
        quote = self._trade(exchange, state, price, Decimal(1).scaleb(-state.symbol.quantity_decimals), now_ms, updates)
        return self._tick(exchange, now_ms, [quote], walk=False), updates

    def _trade(
        self, exchange: str, state: _State, price: Decimal, size: Decimal, now_ms: int, updates: list[CandleUpdate]
    ) -> Quote:
        state.move(price, size, now_ms)
        for series in self._series.get((exchange, state.symbol.wire), {}).values():
            series.trade(price, size)
            updates.append(CandleUpdate(exchange, state.symbol, series.interval, series.running, False, state.time_ms))
        return state.quote()

    def _tick(
        self, exchange: str, now_ms: int, quotes: Sequence[Quote], *, walk: bool = True, variant: int = 0
    ) -> Tick:
        self._numbers[exchange] += 1
        return Tick(exchange, self._numbers[exchange], now_ms, tuple(quotes), walk, variant)

    def replayed(self, exchange: str, quotes: tuple[Quote, ...], variant: int, now_ms: int) -> Tick:
        """A firehose tick: quotes that were made before, under a new number and time."""
        return self._tick(exchange, now_ms, quotes, variant=variant)

    # --- candles ---

    def track(self, exchange: str, wire: str, interval: str, now_ms: int, behind: int = 0) -> None:
        """Keep candles of a symbol from now on, or as before. Raises KeyError for an unknown symbol or interval.

        With `behind` a new series begins that many candles ago and stands still until `close_candle` has brought it here.
        """
        known = self._series.setdefault((exchange, wire), {})
        if interval not in known:
            state = self._states[exchange][wire]
            start_ms = bucket_start(interval, now_ms) - behind * INTERVALS[interval]
            known[interval] = _Series(state.symbol, interval, start_ms, state.price, self._kept, behind)

    def roll(self, exchange: str, now_ms: int) -> list[CandleUpdate]:
        """Close the candles whose time is over."""
        updates: list[CandleUpdate] = []
        for (where, _), known in self._series.items():
            if where == exchange:
                for series in known.values():
                    updates += self._catch_up(exchange, series, now_ms)
        return updates

    def _catch_up(self, exchange: str, series: _Series, now_ms: int) -> list[CandleUpdate]:
        updates: list[CandleUpdate] = []
        if series.behind:
            return updates
        current = bucket_start(series.interval, now_ms)
        while series.running.start_ms < current:
            done = series.close()
            updates.append(CandleUpdate(exchange, series.symbol, series.interval, done, True, now_ms))
        return updates

    def close_candle(self, exchange: str, wire: str, interval: str, now_ms: int) -> list[CandleUpdate]:
        """Close the running candle now: before its time, and the series runs ahead of the clock by one candle from then on,
        unless it was begun `behind` the clock."""
        self.track(exchange, wire, interval, now_ms)
        series = self._series[(exchange, wire)][interval]
        updates = self._catch_up(exchange, series, now_ms)
        series.behind = max(0, series.behind - 1)
        return [*updates, CandleUpdate(exchange, series.symbol, interval, series.close(), True, now_ms)]

    def candles(
        self,
        exchange: str,
        wire: str,
        interval: str,
        start_ms: int | None,
        end_ms: int | None,
        limit: int,
        now_ms: int,
    ) -> list[Candle]:
        """Candles that open in `[start_ms, end_ms]`, oldest first: the first `limit` after a start, else the newest.

        Times before somebody first asked for this series are invented, the same way each time.
        """
        self.track(exchange, wire, interval, now_ms)
        series = self._series[(exchange, wire)][interval]
        length = INTERVALS[interval]
        real = {candle.start_ms: candle for candle in (*series.closed, series.running)}
        newest = min(series.running.start_ms, end_ms) if end_ms is not None else series.running.start_ms
        newest = bucket_start(interval, newest)
        if start_ms is None:
            first = newest - (limit - 1) * length
        else:
            first = bucket_start(interval, start_ms)
            first += length if first < start_ms else 0
        last = min(newest, first + (limit - 1) * length)
        return [
            real.get(start) or self._invented(series.symbol, interval, start)
            for start in range(first, last + 1, length)
        ]

    def _invented(self, symbol: Symbol, interval: str, start_ms: int) -> Candle:
        length = INTERVALS[interval]
        opening = self._close_of(symbol, interval, start_ms - length)
        closing = self._close_of(symbol, interval, start_ms)
        volume = Decimal(start_ms // length % 1000 + 1)
        return Candle(
            start_ms=start_ms,
            open=opening,
            high=max(opening, closing),
            low=min(opening, closing),
            close=closing,
            volume=volume,
            quote_volume=symbol.value(volume, closing),
            trades=int(volume),
        )

    def _close_of(self, symbol: Symbol, interval: str, start_ms: int) -> Decimal:
        digest = hashlib.blake2b(f"{self._seed}:{symbol.wire}:{interval}:{start_ms}".encode(), digest_size=4).digest()
        share = int.from_bytes(digest) / 2**32
        return Decimal(f"{float(symbol.price) * (0.98 + 0.04 * share):.{symbol.price_decimals}f}")


def wallets_from_text(wallets: Mapping[str, Mapping[str, str]]) -> dict[str, dict[str, Decimal]]:
    """Balances as the control API writes them."""
    return {name: {asset: Decimal(amount) for asset, amount in assets.items()} for name, assets in wallets.items()}
