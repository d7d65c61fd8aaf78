"""Kraken's public connections when the venue says no, or nothing: how often, how long, and whom it costs."""

from __future__ import annotations

from typing import Any

import pytest

from exchanges._adapter import (
    CandleSubscription,
    EmitTickers,
    Fail,
    FailKind,
    Instant,
    Live,
    Note,
    Output,
    Seen,
    TickerSubscription,
)
from exchanges._venue import Setup
from exchanges.instruments import Instrument, SymbolTable
from exchanges.kraken import VENUE
from exchanges.kraken._book import KEEP_MS, OrderBook
from tests.unit.exchanges import test_kraken, test_kraken_futures
from tests.unit.exchanges.driver import Driver, json_answer, of, only, sent

SPOT, FUTURES = "kraken", "krakenUsdm"
TABLES = {SPOT: test_kraken.TABLE, FUTURES: test_kraken_futures.TABLE}
WIRES = {SPOT: ("BTC/USD", "ETH/EUR"), FUTURES: ("PF_XBTUSD", "PF_ETHUSD")}


def tickers(exchange: str, *symbols: str) -> Driver:
    drive = Driver(VENUE.ticker, exchange, TABLES[exchange])
    drive.add(TickerSubscription(stream_id="t", exchange=exchange, symbols=symbols or WIRES[exchange][:1]))
    drive.start()
    return drive


def requests(outputs: list[Output]) -> list[dict[str, Any]]:
    """The subscribe frames."""
    return [one for one in sent(outputs) if "subscribe" in (one.get("method"), one.get("event"))]


def refusal(exchange: str, request: dict[str, Any], text: str) -> dict[str, object]:
    if exchange == FUTURES:
        return {"event": "error", "message": text}
    return {"method": "subscribe", "success": False, "error": text, "req_id": request["req_id"]}


def grant(exchange: str, *symbols: str) -> list[dict[str, object]]:
    symbols = symbols or WIRES[exchange][:1]
    if exchange == FUTURES:
        return [{"event": "subscribed", "feed": "ticker", "product_ids": list(symbols)}]
    return [{"method": "subscribe", "success": True, "result": {"channel": "ticker", "symbol": one}} for one in symbols]


def until_asked(drive: Driver) -> tuple[dict[str, Any], float]:
    """The next subscribe frame, and how long it took to come; the venue lives meanwhile."""
    begun = drive.mono
    for _ in range(40):
        found = requests(drive.wake())
        if found:
            return found[0], drive.mono - begun
        drive.frame({"channel": "heartbeat"})
    raise AssertionError("it is not asked for again")


@pytest.mark.parametrize("exchange", [SPOT, FUTURES])
def test_each_limit_in_a_row_waits_twice_as_long_up_to_a_minute_and_an_answer_ends_it(exchange: str) -> None:
    """Asked again each ten seconds, a venue that limits keeps limiting."""
    drive = tickers(exchange, *WIRES[exchange])
    (request,) = requests(drive.connected())
    waits = []
    for _ in range(5):
        outputs = drive.frame(refusal(exchange, request, "Exceeded msg rate"))
        assert not of(Fail, outputs)
        assert "Exceeded msg rate" in only(Note, outputs).what
        request, waited = until_asked(drive)
        waits.append(waited)
    assert waits == [10, 20, 40, 60, 60]
    assert drive.frame(grant(exchange)[0]) == []
    drive.frame(refusal(exchange, request, "Exceeded msg rate"))
    request, waited = until_asked(drive)
    assert waited == 10
    assert of(Live, drive.frame(grant(exchange, WIRES[exchange][1])[0]))


@pytest.mark.parametrize("exchange", [SPOT, FUTURES])
def test_what_gets_no_answer_is_asked_for_twice_and_ends_the_connection_then(exchange: str) -> None:
    drive = tickers(exchange)
    asked = len(requests(drive.connected()))
    fails: list[Fail] = []
    while not fails:
        outputs = drive.wake()
        asked, fails = asked + len(requests(outputs)), of(Fail, outputs)
        drive.frame({"channel": "heartbeat"})
    assert (asked, fails[0].kind, fails[0].stream_id) == (2, FailKind.TRANSIENT, None)


@pytest.mark.parametrize("exchange", [SPOT, FUTURES])
def test_what_says_nothing_about_a_subscription_changes_none(exchange: str) -> None:
    drive = tickers(exchange, *WIRES[exchange])
    drive.connected()
    silent: list[dict[str, object]] = [{"event": "info", "version": 1}, {"event": "unsubscribed"}, {"event": "pong"}]
    if exchange == SPOT:
        silent = [
            {"method": "pong", "req_id": 7},
            {"method": "ping"},
            {"channel": "heartbeat"},
            {"channel": "status", "type": "update", "data": [{"system": "online"}]},
            {"method": "unsubscribe", "success": True, "result": {"channel": "ticker", "symbol": "X/Y"}},
            {"method": "unsubscribe", "success": False, "error": "Subscription Not Found", "symbol": "BTC/USD"},
            {"method": "subscribe", "success": True, "result": {"channel": "ticker", "symbol": "X/Y"}},
            {"method": "subscribe", "success": True},
        ]
    for frame in silent:
        assert drive.frame(frame) == []
    outputs = [output for frame in grant(exchange, *WIRES[exchange]) for output in drive.frame(frame)]
    assert only(Live, outputs).stream_id == "t"


def test_a_refusal_of_spot_that_names_no_request_costs_the_symbol_in_its_text() -> None:
    drive = tickers(SPOT, "BTC/USD", "NO/ONE")
    drive.connected()
    outputs = drive.frame({"error": "Currency pair not supported NO/ONE"})
    assert of(Note, outputs)[0].what == "subscribe: Currency pair not supported NO/ONE"
    (answer,) = grant(SPOT)
    assert of(Live, drive.frame(answer))


def test_a_refused_symbol_is_the_requests_fault_and_any_other_refusal_the_venues() -> None:
    for text, kind in (("Currency pair not supported BTC/USD", FailKind.REQUEST), ("odd", FailKind.TRANSIENT)):
        drive = Driver(VENUE.candle, SPOT, TABLES[SPOT])
        drive.add(CandleSubscription(stream_id="c", exchange=SPOT, symbol="BTC-USD", interval="60"))
        drive.start()
        (request,) = requests(drive.connected())
        fail = only(Fail, drive.frame(refusal(SPOT, request, text)))
        assert (fail.kind, fail.stream_id, fail.reason) == (kind, "c", text)


def test_an_answer_about_another_interval_confirms_nothing() -> None:
    drive = Driver(VENUE.candle, SPOT, TABLES[SPOT])
    drive.add(CandleSubscription(stream_id="c", exchange=SPOT, symbol="BTC-USD", interval="60"))
    drive.start()
    drive.connected()
    answer: dict[str, Any] = {"method": "subscribe", "success": True}
    result = {"channel": "ohlc", "symbol": "BTC/USD"}
    assert drive.frame(answer | {"result": result | {"interval": 5}}) == []
    assert of(Live, drive.frame(answer | {"result": result | {"interval": 60}}))


# --- futures: alerts, errors, texts ---


def test_an_alert_about_the_venue_ends_the_connection_and_an_error_costs_what_was_asked() -> None:
    for event, failed in (("alert", True), ("error", False), ("subscribed_failed", False)):
        drive = tickers(FUTURES, *WIRES[FUTURES])
        drive.connected()
        outputs = drive.frame({"event": event, "message": "Trading engine unavailable"})
        assert bool(of(Fail, outputs)) is failed
        if failed:
            assert (only(Fail, outputs).kind, only(Fail, outputs).retry_after_s) == (FailKind.TRANSIENT, 3.5)
        else:
            assert only(Note, outputs).what == f"{event}: Trading engine unavailable"


def test_an_alert_about_a_product_costs_that_product_only() -> None:
    drive = tickers(FUTURES, *WIRES[FUTURES])
    drive.connected()
    outputs = drive.frame({"event": "alert", "message": "Invalid product id", "feed": "ticker",
                           "product_ids": ["PF_ETHUSD"]})  # fmt: skip
    assert not of(Fail, outputs)
    (answer,) = grant(FUTURES)
    assert of(Live, drive.frame(answer))


@pytest.mark.parametrize(
    ("said", "told"),
    [({"message": "a"}, "a"), ({"error": "b"}, "b"), ({"message": "a", "error": "b"}, "a"),
     ({}, "refused without a reason")],
)  # fmt: skip
def test_the_text_of_a_refusal_is_looked_for_where_the_venue_may_put_it(said: dict[str, object], told: str) -> None:
    drive = tickers(FUTURES)
    drive.connected()
    assert of(Note, drive.frame({"event": "error", **said}))[0].what == f"error: {told}"


def test_a_feed_that_exists_already_is_worth_an_info() -> None:
    drive = tickers(FUTURES)
    drive.connected()
    text = "Already subscribed to feed, re-requesting"
    assert drive.frame({"event": "alert", "message": text}) == [Note(text, "info")]


# --- ticks ---


def spot_tick(**fields: object) -> dict[str, object]:
    return {"channel": "ticker", "type": "update", "data": [{"symbol": "BTC/USD", **fields}]}


def futures_tick(**fields: object) -> dict[str, object]:
    return {"feed": "ticker", "product_id": "PF_XBTUSD", **fields}


@pytest.mark.parametrize("exchange", [SPOT, FUTURES])
def test_a_price_below_one_unit_is_a_price_and_what_is_not_told_is_nothing(exchange: str) -> None:
    drive = tickers(exchange)
    drive.connected()
    tick = spot_tick if exchange == SPOT else futures_tick
    (ticker,) = only(EmitTickers, drive.frame(tick(last=0.00002))).tickers
    assert (ticker.symbol, ticker.price, ticker.best_ask, ticker.best_bid) == ("BTC-USD", 0.00002, 0.00002, 0.00002)
    assert (ticker.volume, ticker.best_ask_qnt, ticker.best_bid_qnt) == (0, 0, 0)
    for price in (0, -1, None):
        assert drive.frame(tick(last=price)) == [Seen("t")]
    if exchange == FUTURES:
        (ticker,) = only(EmitTickers, drive.frame(tick(last=2, volume="", ask_size="", bid_size=7))).tickers
        assert (ticker.volume, ticker.best_ask_qnt, ticker.best_bid_qnt) == (0, 0, 7)


def test_ticks_that_cannot_be_read_are_counted_by_name() -> None:
    drive = tickers(SPOT)
    drive.connected()
    odd = {"channel": "ticker", "type": "update", "data": [7, {"symbol": "BTC/USD", "last": 2}]}
    assert only(Note, drive.frame(odd)).what.startswith("1 tickers that can't be read")


def test_a_symbol_that_the_table_lacked_gets_its_pair_with_the_next_table() -> None:
    tables: list[SymbolTable] = [TABLES[SPOT]]
    adapter = VENUE.ticker(Setup(exchange=SPOT, new_id=lambda: "1", table=lambda: tables[-1]))
    now = Instant(1_000.0, test_kraken.WALL)
    adapter.add(TickerSubscription(stream_id="t", exchange=SPOT, symbols=("NEWX/USD",)), now)
    adapter.start(now)
    adapter.connected(now)
    frame = json_answer(spot_tick(symbol="NEWX/USD", last=2)).body
    new = Instrument(wire="NEWX/USD", pair="NEWX-USD", base="NEWX", quote="USD", kind="spot")
    names = []
    for table in (tables[0], SymbolTable([new]), tables[0]):
        tables.append(table)
        names += [ticker.symbol for ticker in only(EmitTickers, adapter.received(frame, now)).tickers]
    assert names == ["NEWX/USD", "NEWX-USD", "NEWX-USD"], "what was found stays"


# --- what is kept of orders ---


class _Kept:
    def __init__(self) -> None:
        self.ended = False
        self.touched_ms = 0


def test_orders_that_ended_are_forgotten_after_an_hour_and_open_ones_never(monkeypatch: pytest.MonkeyPatch) -> None:
    book = OrderBook(_Kept)
    book.touch("open", 0)
    assert book.touch("open", 5).touched_ms == 5
    for name in ("a", "b"):
        book.touch(name, 10).ended = True
    book.touch("open", 20)
    assert [name for name, _ in book] == ["a", "b", "open"]
    book.touch("c", 10 + KEEP_MS)
    assert [name for name, _ in book] == ["a", "b", "open", "c"], "not before the hour is over"
    book.touch("d", 11 + KEEP_MS)
    assert [name for name, _ in book] == ["open", "c", "d"]
    book.touch("e", 10 * KEEP_MS)
    assert [name for name, _ in book] == ["open", "c", "d", "e"]
    monkeypatch.setattr("exchanges.kraken._book.MAX_ORDERS", 4)
    book.touch("f", 10 * KEEP_MS)
    assert [name for name, _ in book] == ["c", "d", "e", "f"], "but only so many are kept"
    assert book.get("open") is None
