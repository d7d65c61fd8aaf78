"""Ticker and candle feeds: which run, what they are built from, and what happens when they go silent."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from typing import Any, cast

import pytest

import exchanges
from connector.core.clock import Chance
from connector.core.messages import CandleMessage
from connector.core.metrics import METRICS
from connector.core.ports import CandleKey, WorkerInfo
from connector.streams.instruments import Instruments
from connector.streams.leases import Leases
from connector.streams.market import Markets, wanted_exchanges
from connector.streams.pipeline import Pipeline
from connector.streams.placement import Placement
from connector.streams.supervisor import Supervisor
from exchanges._adapter import EmitCandle
from exchanges._venue import Limits, Rate
from exchanges.events import Candle
from exchanges.instruments import EMPTY, Instrument, SymbolTable
from tests.unit.connector.streams.cluster import FakeSupervisor
from tests.unit.connector.streams.fakes import Clock, FakePlacement, FakeSession, FakeSink, MoodyState, StrictLoop

ALL = wanted_exchanges(())


# --- which exchanges (bug B16) ---


def test_empty_means_everything() -> None:
    assert len(ALL) == len(set(ALL))
    assert {"binance", "binanceUS", "okxInverse"} <= set(ALL)
    assert wanted_exchanges((" ", "")) == ALL


@pytest.mark.parametrize("name", ["binance", "binanceus", "BinanceUS", " binance ", "BINANCE"])
def test_binance_us_follows_the_binance_family(name: str) -> None:
    assert wanted_exchanges((name,)) == ["binance", "binanceUsdm", "binanceCoinm", "binanceUS"]


def test_families_are_chosen_by_name_in_any_case_and_each_id_comes_once() -> None:
    assert wanted_exchanges(("OKX", "okx", "bybit")) == [
        "bybit", "bybitLinear", "bybitInverse", "okx", "okxLinear", "okxInverse",
    ]  # fmt: skip
    assert wanted_exchanges(("unknown",)) == []


# --- a process of the price role ---


class FakeVenue:
    """One exchange id `fakex` of a family that the registry does not know, with shards of two symbols."""

    name = "fake"
    feeds = ("ticker", "candle")

    def __init__(self) -> None:
        self.refused: dict[str, str] = {}
        self.all_market = False

    def limits(self, exchange: str, feed: str) -> Limits:
        return Limits(connects=Rate(1, 1.0), messages=Rate(1, 1.0), data_silence_s=50.0)

    def ticker_shards(self, exchange: str, table: SymbolTable) -> Sequence[tuple[str, ...]]:
        if self.all_market:
            return [()]
        names = [instrument.wire for instrument in table.active()]
        return [tuple(names[at : at + 2]) for at in range(0, len(names), 2)]

    def candle_refusal(self, exchange: str, symbol: str, interval: str, table: SymbolTable) -> str | None:
        if len(table) and symbol not in {instrument.pair for instrument in table.active()}:
            return f"unknown symbol {symbol}"
        return self.refused.get(interval)


class FakeInstruments:
    def __init__(self) -> None:
        self.tables: dict[str, SymbolTable] = {}
        self.refreshed: list[str] = []

    def table(self, exchange: str) -> SymbolTable:
        return self.tables.get(exchange, EMPTY)

    def refresh(self, exchange: str) -> None:
        self.refreshed.append(exchange)


def table(*names: str) -> SymbolTable:
    return SymbolTable([Instrument(wire=name, pair=name) for name in names], 0)


class Hall:
    """Markets of several processes over one state."""

    def __init__(self, role: str = "all", ids: Sequence[str] = ("bybit",)) -> None:
        self.clock = Clock()
        self.state = MoodyState(self.clock)
        self.instruments = FakeInstruments()
        self.role, self.ids = role, list(ids)
        self.enabled: set[str] | None = None
        self.stall_s: float | None = None
        self.booths: list[Booth] = []

    def booth(self, name: str = "a") -> Booth:
        booth = Booth(self, name)
        self.booths.append(booth)
        for one in self.booths * 2:
            one.beat()
        return booth

    def tick(self, seconds: float = 1) -> None:
        for _ in range(int(seconds)):
            self.clock.seconds += 1
            for booth in self.booths:
                if booth.alive:
                    booth.beat()
                    booth.markets.sweep()
                    while booth.loop.turn():
                        pass


class Booth:
    def __init__(self, hall: Hall, name: str) -> None:
        self.hall, self.name, self.alive = hall, name, True
        self.sink = FakeSink()
        self.pipeline = Pipeline(self.sink, Chance(1))
        self.leases = Leases(hall.state, name, "price", 8.0, hall.clock)
        self.supervisor = FakeSupervisor(hall.clock, self.pipeline)
        self.placement = FakePlacement(hall.clock)
        self.restarted: list[str] = []
        self.supervisor.restart_session = lambda name, reason: self.restarted.append(name)  # type: ignore[attr-defined]
        self.loop = StrictLoop("markets", hall.clock, threaded=False)
        self.markets = Markets(
            hall.state, self.leases, cast(Supervisor, self.supervisor), cast(Placement, self.placement), self.pipeline,
            cast(Instruments, hall.instruments), hall.clock, self.loop, role=hall.role, exchanges=lambda: hall.ids,
            enabled=lambda exchange: hall.enabled is None or exchange in hall.enabled, candle_stall_s=hall.stall_s,
        )  # fmt: skip

    @property
    def streams(self) -> set[str]:
        return set(self.supervisor.specs)

    def beat(self) -> None:
        info = WorkerInfo(owner=self.name, role="price", host="h", pid=1, started_ms=0, capacity=1, streams=0)
        lost = self.leases.beat(info)
        if lost:
            self.markets.lost(lost)

    def leave(self) -> None:
        gone: list[bool] = []
        self.markets.drain(1.0, gone.append)
        self.turn()
        assert gone == [True]

    def turn(self) -> None:
        while self.loop.turn():
            pass

    def wants(self) -> int:
        return sum(call[0] == "want" for call in self.supervisor.calls)

    # sessions as the watchdog sees them
    def session(self, name: str, *streams: str, feed: str = "ticker", exchange: str = "bybit") -> FakeSession:
        limits = Limits(connects=Rate(1, 1.0), messages=Rate(1, 1.0), data_silence_s=50.0)
        session = FakeSession(name, exchange, feed, limits)
        session.streams = set(streams)
        session.opened_mono = session.last_data_mono = self.hall.clock.mono()
        self.placement.open.append(session)
        return session

    def watch(self) -> None:
        self.markets.watch()
        self.turn()


@pytest.fixture
def venue(monkeypatch: pytest.MonkeyPatch) -> FakeVenue:
    venue = FakeVenue()
    registry: Mapping[str, Any] = dict.fromkeys(("bybit", "okx", "okxLinear", "kraken"), venue)
    monkeypatch.setattr(exchanges, "_by_exchange", lambda: registry)
    return venue


def ask(hall: Hall, symbol: str, interval: str = "1h", exchange: str = "bybit") -> None:
    hall.state.add_candle(CandleKey(exchange=exchange, symbol=symbol, interval=interval))
    for booth in hall.booths:
        booth.markets.notified(f"candle:{exchange}")
        booth.turn()


@pytest.mark.parametrize(
    ("role", "units"),
    [
        ("all", ["ticker:bybit", "candle:bybit"]),
        ("ticker", ["ticker:bybit"]),
        ("candle", ["candle:bybit"]),
    ],
)
def test_the_role_decides_which_feeds_run(venue: FakeVenue, role: str, units: list[str]) -> None:
    assert Hall(role).booth().markets.units() == units


def test_a_disabled_exchange_gives_its_feeds_up_and_an_enabled_one_takes_them(venue: FakeVenue) -> None:
    hall = Hall(ids=["bybit", "okx"])
    booth = hall.booth()
    venue.all_market = True
    hall.tick(2)
    assert {"ticker:bybit#0", "ticker:okx#0"} <= booth.streams
    hall.enabled = {"okx"}
    booth.markets.notified("admin-config")
    booth.turn()
    assert booth.streams == {"ticker:okx#0"}
    assert hall.state.owners(["ticker:bybit"]) == {}
    hall.enabled = None
    hall.tick(2)
    assert "ticker:bybit#0" in booth.streams


def test_a_table_that_comes_late_starts_the_shards(venue: FakeVenue) -> None:
    hall = Hall()
    booth = hall.booth()
    hall.tick(5)
    assert booth.streams == set()
    hall.instruments.tables["bybit"] = table("A", "B", "C")
    booth.markets.table_changed("bybit")
    booth.turn()
    assert booth.streams == {"ticker:bybit#0", "ticker:bybit#1"}
    assert booth.supervisor.specs["ticker:bybit#1"].symbols == ("C",)


def test_a_new_listing_changes_only_the_shards_that_it_touches(venue: FakeVenue) -> None:
    hall = Hall()
    booth = hall.booth()
    hall.instruments.tables["bybit"] = table("A", "B", "C")
    hall.tick(1)
    before = dict(booth.supervisor.specs)
    hall.instruments.tables["bybit"] = table("A", "B", "C", "D", "E")
    booth.markets.table_changed("bybit")
    booth.turn()
    now = booth.supervisor.specs
    assert now["ticker:bybit#0"].digest == before["ticker:bybit#0"].digest
    assert now["ticker:bybit#1"].digest != before["ticker:bybit#1"].digest
    assert set(now) == {"ticker:bybit#0", "ticker:bybit#1", "ticker:bybit#2"}
    hall.instruments.tables["bybit"] = table("A", "B")
    booth.markets.table_changed("bybit")
    booth.turn()
    assert booth.streams == {"ticker:bybit#0"}


def test_a_sweep_without_news_does_nothing(venue: FakeVenue) -> None:
    hall = Hall()
    booth = hall.booth()
    hall.instruments.tables["bybit"] = table("A", "B")
    for number in range(50):
        hall.state.add_candle(CandleKey(exchange="bybit", symbol="A", interval=str(number)))
    hall.tick(2)
    wants = booth.wants()
    hall.state.asked.clear()
    hall.tick(10)
    assert booth.wants() == wants
    assert hall.state.asked["candles"] <= 10


def test_thousands_of_candle_requests_are_looked_at_together(venue: FakeVenue) -> None:
    hall = Hall("candle")
    booth = hall.booth()
    hall.tick(1)
    hall.state.asked.clear()
    for number in range(2_000):
        hall.state.add_candle(CandleKey(exchange="bybit", symbol=f"S{number}", interval="1h"))
        booth.markets.notified("candle:bybit")
    looks = booth.loop.waiting()
    booth.turn()
    assert len(booth.streams) == 2_000
    assert looks == 1
    assert booth.wants() == 2_000


def test_a_candle_request_is_a_set_and_keeps_its_spelling(venue: FakeVenue) -> None:
    hall = Hall("candle")
    booth = hall.booth()
    hall.tick(1)
    for _ in range(3):
        ask(hall, "A", "candle1H")
    ask(hall, "A", "candle1h")
    assert booth.streams == {"candle:A@bybit@candle1H", "candle:A@bybit@candle1h"}
    assert booth.supervisor.specs["candle:A@bybit@candle1H"].interval == "candle1H"


def test_a_refused_topic_warns_once_and_is_not_opened(venue: FakeVenue, caplog: pytest.LogCaptureFixture) -> None:
    venue.refused["8hour"] = "8hour is no interval of this venue"
    hall = Hall("candle")
    booth = hall.booth()
    hall.tick(1)
    with caplog.at_level(logging.WARNING):
        for number in range(20):
            ask(hall, "A", "8hour")
            ask(hall, f"B{number}", "1h")
    assert sum("candle request refused" in record.getMessage() for record in caplog.records) == 1
    assert len(booth.streams) == 20


def test_a_symbol_that_the_table_does_not_know_ends_when_the_table_comes(venue: FakeVenue) -> None:
    hall = Hall("candle")
    booth = hall.booth()
    hall.tick(1)
    ask(hall, "A")
    ask(hall, "NOPE")
    assert len(booth.streams) == 2, "an empty table refuses nothing"
    hall.instruments.tables["bybit"] = table("A")
    booth.markets.table_changed("bybit")
    booth.turn()
    assert booth.streams == {"candle:A@bybit@1h"}


def test_a_symbol_that_the_list_does_not_have_yet_is_looked_for_once_and_then_served(venue: FakeVenue) -> None:
    hall = Hall("candle")
    booth = hall.booth()
    hall.instruments.tables["bybit"] = table("A")
    hall.tick(1)
    ask(hall, "NEW")
    assert hall.instruments.refreshed == ["bybit"]
    hall.instruments.tables["bybit"] = table("A", "NEW")
    booth.markets.table_changed("bybit")
    booth.turn()
    assert booth.streams == {"candle:NEW@bybit@1h"}


def test_a_symbol_that_is_nowhere_is_looked_for_once_and_refused(
    venue: FakeVenue, caplog: pytest.LogCaptureFixture
) -> None:
    hall = Hall("candle")
    booth = hall.booth()
    hall.instruments.tables["bybit"] = table("A")
    hall.tick(1)
    with caplog.at_level(logging.WARNING):
        ask(hall, "NOPE")
        assert "candle request refused" not in caplog.text, "the list may be older than the symbol"
        for number in range(3):
            hall.instruments.tables["bybit"] = table("A")
            booth.markets.table_changed("bybit")
            booth.turn()
            ask(hall, f"NOPE{number}")
    assert hall.instruments.refreshed == ["bybit"], "at most once a minute"
    assert caplog.text.count("candle request refused") == 4
    hall.tick(61)
    ask(hall, "NOPE9")
    assert hall.instruments.refreshed == ["bybit", "bybit"]
    for _ in range(3):
        hall.tick(61)
        hall.instruments.tables["bybit"] = table("A")
        booth.markets.table_changed("bybit")
        booth.turn()
    looked_for = 2 + 3  # NOPE and NOPE9 were, the three others are now: each of them once
    assert len(hall.instruments.refreshed) <= looked_for
    for _ in range(5):
        hall.tick(61)
        hall.instruments.tables["bybit"] = table("A")
        booth.markets.table_changed("bybit")
        booth.turn()
    assert len(hall.instruments.refreshed) <= looked_for


class Chosen:
    """Only some symbols have prices."""

    def __init__(self, *pairs: str) -> None:
        self.pairs = pairs

    def of(self, exchange: str, whole: SymbolTable) -> SymbolTable:
        return table(*(item.pair for item in whole if item.pair in self.pairs))

    def version(self, exchange: str) -> int:
        return hash(self.pairs)


def test_only_the_chosen_symbols_are_subscribed_and_a_new_choice_is_followed(venue: FakeVenue) -> None:
    hall = Hall("ticker")
    booth = hall.booth()
    hall.instruments.tables["bybit"] = table("A", "B", "C")
    chosen = Chosen("A", "C")
    booth.markets._price_symbols = cast(Any, chosen)
    hall.tick(1)
    assert [spec.symbols for spec in booth.supervisor.specs.values()] == [("A", "C")]
    chosen.pairs = ("B",)
    booth.markets.table_changed("bybit")
    booth.turn()
    assert booth.supervisor.specs["ticker:bybit#0"].symbols == ("B",)
    chosen.pairs = ()
    booth.markets.table_changed("bybit")
    booth.turn()
    assert booth.streams == set()


class Confirmed:
    def __init__(self, subscribed: int | None) -> None:
        self.subscribed = subscribed


def test_the_gauge_counts_the_symbols_that_the_venue_has_confirmed_not_those_that_were_asked_for(
    venue: FakeVenue,
) -> None:
    hall = Hall("ticker")
    booth = hall.booth()
    hall.instruments.tables["bybit"] = table("A", "B", "C")
    hall.tick(1)
    first = booth.session("s1", "ticker:bybit#0")
    first.adapter = Confirmed(1)
    booth.session("s2", "ticker:bybit#1").adapter = Confirmed(0)
    booth.watch()
    assert METRICS.value("symbols", exchange="bybit", kind="subscribed") == 1
    first.adapter = Confirmed(None)
    booth.watch()
    assert METRICS.value("symbols", exchange="bybit", kind="subscribed") == 3


def test_a_feed_that_was_given_away_leaves_no_figure_behind(venue: FakeVenue) -> None:
    """The last one stayed, 0 of 3 symbols: an alarm for ever on a process that has nothing to do with the exchange."""
    hall = Hall(ids=["bybit", "okx"])
    booth = hall.booth()
    hall.instruments.tables["bybit"] = table("A", "B", "C")
    hall.tick(2)
    booth.watch()
    assert ("bybit", "subscribed") in METRICS.rows("symbols")
    hall.enabled = {"okx"}
    booth.markets.notified("admin-config")
    booth.turn()
    booth.watch()
    assert ("bybit", "subscribed") not in METRICS.rows("symbols")


# --- what survives (bugs D8, D11) ---


def test_candles_survive_the_process_that_served_them(venue: FakeVenue) -> None:
    hall = Hall("candle")
    first, second = hall.booth("a"), hall.booth("b")
    hall.tick(3)
    for symbol in "ABC":
        ask(hall, symbol)
    owner, other = (first, second) if first.streams else (second, first)
    assert len(owner.streams) == 3
    owner.alive = False
    hall.tick(15)
    assert len(other.streams) == 3


def test_candles_survive_a_state_that_forgets(venue: FakeVenue) -> None:
    hall = Hall("candle")
    booth = hall.booth()
    hall.tick(1)
    for symbol in "ABC":
        ask(hall, symbol)
    hall.state.flush()
    hall.tick(3)
    assert len(booth.streams) == 3
    assert len(hall.state.candles()) == 3
    assert not any(call[0] == "unwant" for call in booth.supervisor.calls)


def test_candles_that_nobody_asked_for_again_end_and_are_not_written_again(venue: FakeVenue) -> None:
    """They were subscribed for ever: also topics of indicators that were deleted long ago."""
    hall = Hall("candle")
    first, second = hall.booth("a"), hall.booth("b")
    hall.tick(3)
    for symbol in "ABC":
        ask(hall, symbol)
    hall.tick(1)
    hall.state.begin_candles()
    ask(hall, "B")
    assert len(hall.state.drop_candles("boot-2")) == 2
    hall.tick(5)
    assert len(first.streams | second.streams) == 1
    assert len(hall.state.candles()) == 1
    hall.state.flush()
    hall.tick(3)
    assert len(hall.state.candles()) == 1, "what Redis forgot is written again"


def test_the_position_of_the_candles_goes_to_the_next_owner(venue: FakeVenue) -> None:
    hall = Hall("candle")
    first = hall.booth("a")
    hall.tick(1)
    ask(hall, "A")
    first.pipeline.market.load_candle_starts("bybit", {"A|1h": 3_600_000})
    hall.tick(6)
    first.markets.save_positions()
    first.turn()
    first.alive = False
    second = hall.booth("b")
    hall.tick(15)
    assert second.pipeline.market.last_candle_ms("bybit", "A", "1h") == 3_600_000


def test_a_candle_that_closes_during_the_hand_over_is_published_by_the_next_owner_only(venue: FakeVenue) -> None:
    hall = Hall("candle")
    booth = hall.booth("a")
    hall.tick(1)
    ask(hall, "A")
    booth.pipeline.candle(candle("A", 3_600_000), 0.0)
    booth.leave()
    booth.pipeline.candle(candle("A", 7_200_000), 0.0)
    starts = [message.start_ms for message in booth.sink.messages if isinstance(message, CandleMessage)]
    assert starts == [3_600_000]
    assert json.loads(hall.state.positions(["candles:bybit"])["candles:bybit"]) == {"A|1h": 3_600_000}


def test_a_feed_that_is_given_away_takes_its_newest_position_along_and_goes_on_when_it_comes_back(
    venue: FakeVenue,
) -> None:
    hall = Hall("candle")
    booth = hall.booth("a")
    hall.tick(1)
    ask(hall, "A")
    booth.markets.save_positions()
    booth.turn()
    booth.pipeline.candle(candle("A", 3_600_000), 0.0)
    booth.markets._drop(["candle:bybit"], release=True)
    assert json.loads(hall.state.positions(["candles:bybit"])["candles:bybit"]) == {"A|1h": 3_600_000}
    booth.pipeline.candle(candle("A", 7_200_000), 0.0)
    hall.tick(5)
    booth.pipeline.candle(candle("A", 10_800_000), 0.0)
    starts = [message.start_ms for message in booth.sink.messages if isinstance(message, CandleMessage)]
    assert starts == [3_600_000, 10_800_000]


def candle(symbol: str, start: int) -> EmitCandle:
    row = Candle(start=start, open="1", high="1", low="1", close="1", volume="1", unique_message_id=f"{start}")
    return EmitCandle("c", "bybit", symbol, "1h", row)


def test_two_processes_never_hold_one_feed(venue: FakeVenue) -> None:
    hall = Hall(ids=["bybit", "okx", "okxLinear", "kraken"])
    venue.all_market = True
    first, second = hall.booth("a"), hall.booth("b")
    hall.tick(5)
    assert first.streams & second.streams == set()
    assert len(first.streams | second.streams) == 4
    first.leave()
    assert first.streams == set()
    first.alive = False
    hall.state.retire("a")
    hall.tick(5)
    assert len(second.streams) == 4


@pytest.mark.parametrize("beaten", [False, True], ids=["before", "after its own beat"])
def test_no_feed_changes_hands_because_redis_forgot(venue: FakeVenue, beaten: bool) -> None:
    """Who swept before the owner's next beat found the feed free and took it: prices came from both, and went back."""
    hall = Hall(ids=["bybit", "okx", "okxLinear", "kraken"])
    venue.all_market = True
    first = hall.booth("a")
    hall.tick(3)
    second = hall.booth("b")
    hall.tick(1)
    assert len(first.streams) == 4
    hall.state.flush()
    if beaten:
        second.beat()
    second.markets.sweep()
    second.turn()
    assert second.streams == set()
    hall.tick(5)
    assert (len(first.streams), second.streams) == (4, set())


def test_a_process_that_joins_gets_its_share_of_the_feeds_one_at_a_time(
    venue: FakeVenue, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = [f"market{number}" for number in range(12)]
    monkeypatch.setattr(exchanges, "_by_exchange", lambda: dict.fromkeys(ids, venue))
    hall = Hall(role="ticker", ids=ids)
    venue.all_market = True
    first = hall.booth("a")
    hall.tick(3)
    assert len(first.streams) == 12
    second = hall.booth("b")
    moved = []
    for _ in range(12):
        before = len(first.streams)
        first.markets.rebalance()
        second.markets.rebalance()
        hall.tick(4)
        moved.append(before - len(first.streams))
        assert len(first.streams | second.streams) == 12
        assert first.streams & second.streams == set()
    assert max(moved) == 1
    assert len(second.streams) >= 2, "the share that rendezvous hashing gives it, up to half"
    assert len(first.streams) >= 5


def test_redis_that_is_away_while_feeds_are_rebalanced_is_no_unexpected_error(
    venue: FakeVenue, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = [f"market{number}" for number in range(12)]
    monkeypatch.setattr(exchanges, "_by_exchange", lambda: dict.fromkeys(ids, venue))
    hall = Hall(role="ticker", ids=ids)
    venue.all_market = True
    first = hall.booth("a")
    hall.tick(3)
    hall.booth("b")
    hall.state.away = True
    first.markets.rebalance()
    first.markets.loop.turn()
    assert len(first.streams) == 11, "it let one go, and nobody could be told"


def test_a_state_that_is_away_stops_nothing(venue: FakeVenue) -> None:
    hall = Hall()
    venue.all_market = True
    booth = hall.booth()
    hall.tick(1)
    ask(hall, "A")
    hall.state.away = True
    booth.markets.table_changed("bybit")
    booth.markets.notified("candle:bybit")
    hall.tick(30)
    assert booth.streams == {"ticker:bybit#0", "candle:A@bybit@1h"}
    hall.state.away = False
    hall.tick(2)
    assert booth.streams == {"ticker:bybit#0", "candle:A@bybit@1h"}


def test_the_start_line_names_every_exchange_once_as_on_or_off(
    venue: FakeVenue, caplog: pytest.LogCaptureFixture
) -> None:
    hall = Hall(ids=["bybit"])
    booth = hall.booth()
    with caplog.at_level(logging.INFO):
        booth.markets.start()
    line = next(record for record in caplog.records if record.getMessage() == "price feeds")
    fields = getattr(line, "fields", None) or line.__dict__
    named = str(fields)
    assert named.count("'binanceUS'") == 1
    assert named.count("'bybit'") == 1


# --- the stall watchdog (contract 4.7) ---


def stall(booth: Booth, session: FakeSession, seconds: float = 51) -> None:
    booth.hall.clock.seconds += seconds
    booth.watch()


def reopen(booth: Booth, session: FakeSession, name: str) -> FakeSession:
    """What the supervisor makes of `restart_session`."""
    booth.placement.open.remove(session)
    return booth.session(name, *session.streams, feed=session.feed, exchange=session.exchange)


@pytest.fixture
def booth(venue: FakeVenue) -> Booth:
    venue.all_market = True
    hall = Hall()
    booth = hall.booth()
    hall.tick(1)
    return booth


def test_a_silent_socket_is_told_and_restarted(booth: Booth) -> None:
    session = booth.session("s1", "ticker:bybit#0")
    session.last_data_mono += 10
    stall(booth, session, 70)
    assert booth.restarted == ["s1"]
    assert booth.sink.services("watchdogStall") == [
        {"watchdogStall": {"exchange": "bybit", "kind": "price", "staleSeconds": 60, "role": "all"}}
    ]


def test_a_socket_that_never_delivered_is_told_as_connect(booth: Booth) -> None:
    stall(booth, booth.session("s1", "ticker:bybit#0"))
    assert booth.sink.services("watchdogStall")[0]["watchdogStall"]["kind"] == "connect"


def test_after_two_restarts_without_data_the_feed_is_rebuilt_whole(booth: Booth) -> None:
    session = booth.session("s1", "ticker:bybit#0")
    for number in (2, 3):
        stall(booth, session)
        session = reopen(booth, session, f"s{number}")
    assert booth.restarted == ["s1", "s2"]
    booth.supervisor.calls.clear()
    stall(booth, session)
    assert booth.restarted == ["s1", "s2"]
    assert [call[:2] for call in booth.supervisor.calls] == [
        ("unwant", "ticker:bybit#0"),
        ("want", "ticker:bybit#0"),
    ]
    assert booth.hall.instruments.refreshed == ["bybit"]
    stall(booth, reopen(booth, session, "s4"))
    assert booth.restarted[-1] == "s4", "and then it starts from the beginning"


def test_data_in_between_starts_the_count_anew(booth: Booth) -> None:
    session = booth.session("s1", "ticker:bybit#0")
    for number in range(2, 8):
        session.last_data_mono = booth.hall.clock.mono() + 1
        stall(booth, session, 60)
        session = reopen(booth, session, f"s{number}")
    assert len(booth.restarted) == 6
    assert booth.hall.instruments.refreshed == []


def test_a_sibling_socket_that_delivers_does_not_hide_one_that_never_does(booth: Booth) -> None:
    """Bugs B21 and B23: the escalation could never come while any socket of the exchange had data."""
    booth.supervisor.specs["ticker:bybit#1"] = booth.supervisor.specs["ticker:bybit#0"]
    healthy = booth.session("s0", "ticker:bybit#0")
    sick = booth.session("s1", "ticker:bybit#1")
    for number in range(2, 6):
        healthy.last_data_mono = booth.hall.clock.mono() + 51
        stall(booth, sick)
        if booth.hall.instruments.refreshed:
            break
        sick = reopen(booth, sick, f"s{number}")
    assert booth.restarted == ["s1", "s2"]
    assert booth.hall.instruments.refreshed == ["bybit"]


def test_a_quiet_market_with_a_delivering_sibling_gets_three_minutes(venue: FakeVenue) -> None:
    venue.all_market = True
    hall = Hall(ids=["okx", "okxLinear"])
    booth = hall.booth()
    hall.tick(1)
    quiet = booth.session("quiet", "ticker:okx#0", exchange="okx")
    busy = booth.session("busy", "ticker:okxLinear#0", exchange="okxLinear")
    for _ in range(17):
        busy.last_data_mono = hall.clock.mono() + 10
        stall(booth, quiet, 10)
    assert booth.restarted == []
    busy.last_data_mono = hall.clock.mono() + 20
    stall(booth, quiet, 20)
    assert booth.restarted == ["quiet"]


def test_sockets_that_are_not_live_yet_are_not_judged(booth: Booth) -> None:
    stall(booth, booth.session("s1", "ticker:nobody#0"), 1_000)
    assert booth.restarted == []


@pytest.mark.parametrize(
    ("role", "setting", "exchange", "limit_s"),
    [
        ("all", None, "bybit", 50.0),
        ("candle", None, "bybit", 75.0),
        ("all", 120.0, "bybit", 120.0),
    ],
)
def test_the_limit_for_candles(
    venue: FakeVenue, role: str, setting: float | None, exchange: str, limit_s: float
) -> None:
    hall = Hall(role, ids=[exchange])
    hall.stall_s = setting
    booth = hall.booth()
    hall.tick(1)
    ask(hall, "A", exchange=exchange)
    session = booth.session("c1", f"candle:A@{exchange}@1h", feed="candle", exchange=exchange)
    stall(booth, session, limit_s - 1)
    assert booth.restarted == []
    stall(booth, session, 2)
    assert booth.restarted == ["c1"]
    assert booth.sink.services("watchdogStall")[0]["watchdogStall"]["kind"] == "candle"
