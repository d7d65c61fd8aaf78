"""Which candles are wanted, and how far each was published: both live in the state, so they survive every process.

The platform's queues know no unsubscribe; an engine in a program does (`leave_out`).
Missed closed candles are fetched also after a process died, from the saved positions.
"""

from __future__ import annotations

from typing import Final

import msgspec

from connector.core.errors import StateUnavailable
from connector.core.log import get_logger
from connector.core.loop import Loop
from connector.core.metrics import METRICS
from connector.core.ports import CandleKey, Clock, State
from connector.streams.instruments import Instruments
from connector.streams.leases import Leases
from connector.streams.market_feed import MarketFeed
from connector.streams.spec import StreamSpec
from exchanges import venue_of
from exchanges.instruments import EMPTY, SymbolTable

log = get_logger(__name__)

CANDLE_POSITION_KEEP_S: Final = 2 * 86_400
DROPPED: Final = "candles:dropped"
"""A text of the state that changes when subscriptions were forgotten on purpose: those are not written again."""
POSITIONS_EVERY_S: Final = 5.0
LOOK_EVERY_S: Final = 60.0
"""Time between two loads of a symbol list for the sake of a symbol that it does not have."""
MAX_LOOKED_FOR: Final = 1_000
"""Such symbols remembered per exchange; the oldest is forgotten, and may be looked for once more."""


class Candles:
    """The candle subscriptions as this process knows them. Owner's loop only."""

    def __init__(
        self, state: State, leases: Leases, feed: MarketFeed, instruments: Instruments, clock: Clock, loop: Loop
    ) -> None:
        self._state, self._leases, self._feed, self._instruments = state, leases, feed, instruments
        self._clock, self._loop = clock, loop
        self._keys: set[CandleKey] = set()
        self._dropped: str | None = None
        self.version = 0
        """Another number whenever the subscriptions changed."""
        self._by_exchange: dict[str, list[CandleKey]] = {}
        self._refused: dict[CandleKey, str] = {}
        self._looked_for: dict[str, dict[str, SymbolTable]] = {}
        """Unknown symbols by exchange → the list in which they were not found when it was asked for anew."""
        self._look_at: dict[str, float] = {}
        self._loaded: set[str] = set()
        self._saved_at = float("-inf")

    def refresh(self) -> None:
        """Read the subscriptions; what is missing was forgotten, and is written again. Raises `StateUnavailable`."""
        dropped = self._state.get(DROPPED)  # first: what changes after it is found the next time
        current = self._state.candles()
        forgotten = self._keys - current
        if forgotten and self._state.get(DROPPED) not in {None, self._dropped}:
            log.info("candles end that nobody asked for again", topics=len(forgotten))
            forgotten = set()
        self._dropped = dropped
        if forgotten:
            log.warning("the state forgot candle subscriptions; they were written again", topics=len(forgotten))
            for key in sorted(forgotten):
                self._loop.still_alive()
                self._state.add_candle(key, asked=False)
            current |= forgotten
        if current != self._keys:
            self._keys = current
            self.version += 1
            self._by_exchange = {}
            for key in sorted(current):
                self._by_exchange.setdefault(key.exchange, []).append(key)

    def leave_out(self, key: CandleKey) -> None:
        """Nobody wants it here any more. Raises `StateUnavailable`; then nothing changed."""
        self._state.remove_candle(key)
        self._keys.discard(key)
        by_exchange = self._by_exchange.get(key.exchange, [])
        if key in by_exchange:
            by_exchange.remove(key)
            self.version += 1

    def specs(self, exchange: str) -> list[StreamSpec]:
        """What to run for an exchange that this process has. Raises `StateUnavailable`."""
        self._load_positions(exchange)
        table = self._instruments.table(exchange)
        venue = venue_of(exchange)
        specs: list[StreamSpec] = []
        if venue is None:
            return []
        for key in self._by_exchange.get(exchange, ()):
            reason = venue.candle_refusal(exchange, key.symbol, key.interval, table)
            unknown = reason and len(table) and not venue.candle_refusal(exchange, key.symbol, key.interval, EMPTY)
            if unknown and self._look_for(exchange, key.symbol, table):
                continue  # the list comes anew, and with it this look
            if reason:
                if self._refused.get(key) != reason:
                    self._refused[key] = reason
                    log.warning("candle request refused", exchange=exchange, symbol=key.symbol, reason=reason)
                continue
            specs.append(
                StreamSpec(
                    stream_id=f"candle:{key.symbol}@{exchange}@{key.interval}",
                    exchange=exchange,
                    feed="candle",
                    symbol=key.symbol,
                    interval=key.interval,
                )
            )
        METRICS.gauge("candles_subscribed", len(specs), exchange=exchange)
        return specs

    def _look_for(self, exchange: str, symbol: str, table: SymbolTable) -> bool:
        """Load the list anew because somebody asked for a symbol that it does not have: it may be younger than the list.

        Once a symbol, and at most every `LOOK_EVERY_S` an exchange. True while the new list is still to come.
        """
        looked = self._looked_for.setdefault(exchange, {})
        if symbol in looked:
            return looked[symbol] is table
        now = self._clock.mono()
        if now < self._look_at.get(exchange, now):
            return False
        looked[symbol] = table
        while len(looked) > MAX_LOOKED_FOR:
            del looked[next(iter(looked))]
        self._look_at[exchange] = now + LOOK_EVERY_S
        log.info("a symbol is not in the list: the list is loaded again", exchange=exchange, symbol=symbol)
        self._instruments.refresh(exchange)
        return True

    def save_positions(self, *, now_at_once: bool = False) -> None:
        """Save how far the feeds of this process got; not more often than `POSITIONS_EVERY_S`, if it is not urgent."""
        now = self._clock.mono()
        if not now_at_once and now - self._saved_at < POSITIONS_EVERY_S:
            return
        self._saved_at = now
        positions = {
            f"candles:{exchange}": msgspec.json.encode(starts)
            for unit in self._leases.held()
            if unit.startswith("candle:") and (starts := self._feed.candle_starts(exchange := unit.split(":")[1]))
        }
        if positions:
            try:
                self._state.save_positions(positions, CANDLE_POSITION_KEEP_S)
            except StateUnavailable:
                log.debug("candle positions wait: the state is unavailable")

    def given_up(self, exchange: str) -> None:
        """Another process goes on from the saved position; if the feed comes back, it is read again."""
        self._loaded.discard(f"candle:{exchange}")

    def _load_positions(self, exchange: str) -> None:
        unit = f"candle:{exchange}"
        if unit in self._loaded:
            return
        data = self._state.positions([f"candles:{exchange}"]).get(f"candles:{exchange}")
        self._loaded.add(unit)
        self._feed.begin_candles(exchange)
        if data is not None:
            try:
                self._feed.load_candle_starts(exchange, msgspec.json.decode(data, type=dict[str, int]))
            except msgspec.DecodeError as error:
                log.warning("saved candle positions can't be read", exchange=exchange, error=str(error))
