"""Ticker and candle feeds of one process: which exchange ids run, in which process, on how many sockets.

The unit of ownership is a feed of an exchange id (`ticker:okx`, `candle:okx`): every process of the price role can hold any,
and a lease keeps two from publishing the same symbol. Candle subscriptions live in the state, so they survive every process.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Final

from connector.core.errors import StateUnavailable
from connector.core.log import get_logger
from connector.core.loop import Loop
from connector.core.metrics import METRICS
from connector.core.ports import CandleKey, Clock, State
from connector.streams.candles import Candles
from connector.streams.free import Free
from connector.streams.instruments import Instruments
from connector.streams.leases import Leases
from connector.streams.lifecycle import StreamState
from connector.streams.pipeline import Pipeline
from connector.streams.placement import Placement
from connector.streams.price_symbols import PriceSymbols
from connector.streams.spec import StreamSpec
from connector.streams.stalls import StallWatch
from connector.streams.supervisor import Supervisor
from exchanges import venue_of
from exchanges._adapter import TellsSymbols
from exchanges.ids import FAMILIES, LIVE, Feed
from exchanges.instruments import SymbolTable

log = get_logger(__name__)

_FEEDS: Final[tuple[Feed, ...]] = ("ticker", "candle")


def wanted_exchanges(price_exchanges: Sequence[str]) -> list[str]:
    """The exchange ids that `PRICE_CONNECTOR_EXCHANGES` switches on; empty = all. One rule for everything (bug B16)."""
    names = {name.strip().lower() for name in price_exchanges if name.strip()}
    if names & {"binance", "binanceus"}:
        names |= {"binance"}
    chosen = [family for family in FAMILIES if not names or family in names]
    return [exchange for family in chosen for exchange in FAMILIES[family] if venue_of(exchange) is not None]


class Markets:
    """Owner of the feeds of this process. Public methods: any thread."""

    def __init__(
        self,
        state: State,
        leases: Leases,
        supervisor: Supervisor,
        placement: Placement,
        pipeline: Pipeline,
        instruments: Instruments,
        clock: Clock,
        loop: Loop,
        *,
        role: str,
        exchanges: Callable[[], Sequence[str]],
        enabled: Callable[[str], bool],
        candle_stall_s: float | None,
        price_symbols: PriceSymbols | None = None,
    ) -> None:
        self._state, self._leases, self._supervisor, self._placement = state, leases, supervisor, placement
        self._pipeline, self._instruments, self._clock = pipeline, instruments, clock
        self._role, self._exchanges, self._enabled = role, exchanges, enabled
        self.feeds: tuple[Feed, ...] = tuple(feed for feed in _FEEDS if role in {"all", feed})
        """What this process runs, by its PRICEROLE."""
        self._streams: dict[str, set[str]] = {}
        self._free = Free(leases, clock)
        self._reconciled: dict[str, tuple[SymbolTable, int]] = {}
        self._counted: set[str] = set()
        """Exchanges whose subscribed symbols this process tells."""
        """What each unit was last built from; while nothing of it changes there is nothing to do."""
        self.draining = False
        self.loop = loop
        self._candles = Candles(state, leases, pipeline.market, instruments, clock, loop)
        self._stalls = StallWatch(
            supervisor,
            placement,
            pipeline,
            clock,
            role=role,
            candle_stall_s=candle_stall_s,
            rebuild=self._rebuild,
            symbols=lambda exchange: len(instruments.table(exchange).active()),
        )
        self._price_symbols = price_symbols

    # --- any thread ---

    def start(self) -> None:
        units = self.units()
        on = sorted({unit.split(":", 1)[1] for unit in units})
        log.info("price feeds", role=self._role, on=on, off=sorted(LIVE - set(on)))
        self.loop.start()
        self.sweep()

    def units(self) -> list[str]:
        """Every unit that this deployment runs, by role and switches."""
        units: list[str] = []
        for exchange in self._exchanges():
            venue = venue_of(exchange)
            if venue is not None and self._enabled(exchange):
                units.extend(f"{feed}:{exchange}" for feed in self.feeds if feed in venue.feeds)
        return units

    def sweep(self) -> None:
        self.loop.post_once("sweep", self._sweep)

    def table_changed(self, exchange: str) -> None:
        self.loop.post(partial(self._table_changed, exchange))

    def leave_out_candle(self, key: CandleKey) -> None:
        """Nobody wants these candles any more."""
        self.loop.post(partial(self._leave_out_candle, key))

    def watch(self) -> None:
        self.loop.post_once("watch", self._watch)

    def save_positions(self) -> None:
        self.loop.post_once("positions", self._candles.save_positions)

    def rebalance(self) -> None:
        self.loop.post_once("rebalance", self._rebalance)

    def notified(self, text: str) -> None:
        if text in {"resync", "sweep", "admin-config"}:
            self.sweep()
        elif text.startswith("candle:"):
            # Thousands of requests may come within seconds; one look serves all that came before it.
            self.loop.post_once(text, partial(self._candles_asked, text))

    def lost(self, units: Iterable[str]) -> None:
        self.loop.post(partial(self._drop, sorted(units)))

    def stream_live(self, stream_id: str, exchange: str) -> None:
        del stream_id, exchange

    def stream_closed(self, stream_id: str) -> None:
        del stream_id

    def drain(self, timeout_s: float, done: Callable[[bool], None]) -> None:
        """Give the feeds up: positions saved, sockets closed, the others told to claim at once. Nothing waits for them, so
        `timeout_s` is not needed; `done` is called on the loop at the end."""
        del timeout_s
        self.draining = True

        def leave() -> None:
            try:
                self._give_up()
            finally:
                done(True)

        self.loop.post(leave)

    def stop(self, timeout_s: float) -> bool:
        return self.loop.stop(timeout_s)

    # --- own thread ---

    def _sweep(self) -> None:
        wanted = self.units()
        held = self._leases.held()
        self._drop([unit for unit in held if unit not in wanted], release=True)
        try:
            if not self.draining and not self._leases.settling:
                self._claim([unit for unit in wanted if unit not in held])
            self._candles.refresh()
            for unit in self._leases.held():
                self._reconcile_unit(unit)
        except StateUnavailable as error:
            log.debug("the sweep waits: the state is unavailable", error=str(error))

    def _claim(self, units: Sequence[str]) -> None:
        owners = self._state.owners(units) if units else {}
        if len(owners) < len(units):
            self._leases.look_around()
            if self._leases.settling:
                return
        take = []
        for unit in units:
            if unit in owners:
                self._free.owned(unit)
            elif self._free.may_claim(unit):
                take.append(unit)
        for unit in self._leases.claim(take):
            self._free.owned(unit)
            log.info("feed claimed", unit=unit)

    def _candles_asked(self, unit: str) -> None:
        try:
            self._candles.refresh()
            self._reconcile_unit(unit)
        except StateUnavailable as error:
            log.debug("a candle request waits: the state is unavailable", unit=unit, error=str(error))

    def _leave_out_candle(self, key: CandleKey) -> None:
        try:
            self._candles.leave_out(key)
            self._reconcile_unit(f"candle:{key.exchange}")
        except StateUnavailable as error:
            log.warning("candles stay: the state is unavailable", symbol=key.symbol, error=str(error))

    def _reconcile_unit(self, unit: str) -> None:
        if not self._leases.holds(unit):
            return
        feed, exchange = unit.split(":", 1)
        source = (
            self._instruments.table(exchange),
            self._candles.version if feed == "candle" else self._chosen(exchange),
        )
        built = self._reconciled.get(unit)
        if built is not None and built[0] is source[0] and built[1] == source[1]:
            return
        specs = self._ticker_specs(exchange) if feed == "ticker" else self._candles.specs(exchange)
        if specs is None:
            return
        before = self._streams.get(unit, set())
        now = {spec.stream_id for spec in specs}
        for stream_id in sorted(before - now):
            self._supervisor.unwant(stream_id)
        for spec in specs:
            if spec.stream_id not in before or feed == "ticker":
                self._supervisor.want(spec)
        self._streams[unit] = now
        self._reconciled[unit] = source

    def _watch(self) -> None:
        self._stalls.watch()
        held = {unit.split(":", 1)[1] for unit in self._leases.held() if unit.startswith("ticker:")}
        for exchange in held:
            METRICS.gauge("symbols", self._subscribed(exchange), exchange=exchange, kind="subscribed")
        for exchange in self._counted - held:
            METRICS.forget("symbols", exchange=exchange, kind="subscribed")
        self._counted = held

    def _subscribed(self, exchange: str) -> int:
        """Symbols that the venue sends prices of: what it has confirmed, not what was asked for."""
        states, count = self._supervisor.states(), 0
        for session in self._placement.sessions():
            live = any(states.get(stream_id) is StreamState.LIVE for stream_id in list(session.streams))
            if session.exchange == exchange and session.feed == "ticker" and live:
                adapter = session.adapter
                told = adapter.subscribed if isinstance(adapter, TellsSymbols) else None
                count += len(self._priced(exchange).active()) if told is None else told
        return count

    def _priced(self, exchange: str) -> SymbolTable:
        """The symbols that shall have prices."""
        whole = self._instruments.table(exchange)
        return self._price_symbols.of(exchange, whole) if self._price_symbols is not None else whole

    def _chosen(self, exchange: str) -> int:
        """Another number whenever the symbols with prices are chosen anew."""
        return self._price_symbols.version(exchange) if self._price_symbols is not None else 0

    def _ticker_specs(self, exchange: str) -> list[StreamSpec] | None:
        venue = venue_of(exchange)
        if venue is None:
            return None
        whole, table = self._instruments.table(exchange), self._priced(exchange)
        nobody = len(whole) > 0 and not len(table)
        shards = () if nobody else venue.ticker_shards(exchange, table)
        if not shards and not nobody:
            return None  # the table is not there yet; `table_changed` comes back here
        return [
            StreamSpec(
                stream_id=f"ticker:{exchange}#{number}",
                exchange=exchange,
                feed="ticker",
                symbols=tuple(shard),
                digest=hashlib.sha256(",".join(shard).encode()).hexdigest(),
            )
            for number, shard in enumerate(shards)
        ]

    def _table_changed(self, exchange: str) -> None:
        try:
            for unit in (f"ticker:{exchange}", f"candle:{exchange}"):
                self._reconcile_unit(unit)
        except StateUnavailable as error:
            log.debug("a new symbol table waits: the state is unavailable", exchange=exchange, error=str(error))

    def _drop(self, units: Sequence[str], *, release: bool = False) -> None:
        candles = [unit.split(":", 1)[1] for unit in units if unit.startswith("candle:")]
        for exchange in candles:
            # Before the position is read: a candle that is published later would be published by the next owner as well.
            self._pipeline.market.end_candles(exchange)
        if candles and release:
            self._candles.save_positions(now_at_once=True)
        for exchange in candles:
            self._candles.given_up(exchange)
        for unit in units:
            self._clear(unit)
            log.info("feed given up", unit=unit)
        if release:
            self._leases.release(units)

    def _clear(self, unit: str) -> None:
        """End all streams of a unit; the next reconcile builds them anew."""
        self._reconciled.pop(unit, None)
        for stream_id in sorted(self._streams.pop(unit, set())):
            self._stalls.forget(stream_id)
            self._supervisor.unwant(stream_id)

    def _give_up(self) -> None:
        self._drop(list(self._leases.held()), release=True)
        self._tell_others()

    def _tell_others(self) -> None:
        """Something is free. Who is not told finds it with its next sweep."""
        try:
            self._state.notify("*", "sweep")
        except StateUnavailable:
            log.debug("nobody was told: the state is unavailable")

    def _rebalance(self) -> None:
        """Give one feed to the process that should have it, while this one holds more than its share.

        The feed pauses until the other process has claimed and joined it; missed closed candles are fetched then.
        """
        if self.draining or not self._leases.candidates():
            return
        units = self.units()
        # A service of another PRICEROLE is no candidate for feeds that it does not run.
        shares = (
            sum(unit.startswith(f"{feed}:") for unit in units) / max(1, len(self._leases.candidates(feed)))
            for feed in self.feeds
        )
        fair = math.ceil(sum(shares)) + 1
        movable = [unit for unit in sorted(self._leases.held()) if not self._leases.mine_first(unit)]
        if len(self._leases) <= fair or not movable:
            return
        self._drop(movable[:1], release=True)
        self._tell_others()

    def _rebuild(self, exchange: str, feed: str) -> None:
        """A feed that stays silent, with a new list of symbols."""
        self._instruments.refresh(exchange)
        unit = f"{feed}:{exchange}"
        self._clear(unit)
        self._reconcile_unit(unit)
