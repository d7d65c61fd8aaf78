"""Symbol tables: loaded in the background, whatever the venue answers."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Any, cast

import msgspec
import pytest

import exchanges
from connector.streams.instruments import REFRESH_S, RETRY_S, Instruments
from connector.streams.rest import Rest
from exchanges._adapter import Answer, Call
from exchanges._venue import Limits, Rate
from exchanges.instruments import EMPTY, Instrument, SymbolTable
from tests.unit.connector.streams.fakes import Clock

Done = Callable[[Answer], None]


class FakeRest:
    """Keeps the calls until the test answers them."""

    def __init__(self) -> None:
        self.calls: list[tuple[Call, str, Done]] = []

    def submit(self, call: Call, venue: str, egress: str, limits: Limits | None, done: Done) -> None:
        self.calls.append((call, venue, done))

    def answer(self, status: int = 200, body: bytes = b"", index: int = 0) -> None:
        self.calls.pop(index)[2](Answer(status, {}, body))


class Loader:
    """Loads `pages` pages, all asked at once or one after the other."""

    def __init__(self, venue: FakeVenue) -> None:
        self.venue = venue
        self.rows: list[Instrument] = []
        self.left = venue.pages
        self.good = True

    def start(self) -> Sequence[Call]:
        if self.venue.broken == "start":
            raise KeyError("start")
        first = self.venue.pages if self.venue.parallel else min(1, self.venue.pages)
        return [Call(tag=str(number), method="GET", url="https://x/") for number in range(first)]

    def answered(self, call: Call, answer: Answer) -> Sequence[Call]:
        if self.venue.broken == "answered":
            raise ValueError("an odd answer")
        self.left -= 1
        if answer.status != 200:
            self.good = False
            return ()
        self.rows.append(Instrument(wire=f"{answer.body.decode()}", pair=answer.body.decode()))
        if not self.venue.parallel and self.left:
            return [Call(tag="next", method="GET", url="https://x/")]
        return ()

    def result(self) -> Sequence[Instrument] | None:
        return self.rows if self.good and not self.left else None


class FakeVenue:
    name = "fake"

    def __init__(self) -> None:
        self.pages, self.parallel, self.broken = 1, False, ""
        self.made = 0

    def limits(self, exchange: str, feed: str) -> Limits:
        return Limits(connects=Rate(1, 1.0), messages=Rate(1, 1.0))

    def instruments(self, exchange: str, options: Any, before: SymbolTable = EMPTY) -> Loader:
        self.made += 1
        return Loader(self)


@pytest.fixture
def venue(monkeypatch: pytest.MonkeyPatch) -> FakeVenue:
    venue = FakeVenue()
    monkeypatch.setattr(exchanges, "_by_exchange", lambda: {"bybit": venue, "okx": venue})
    return venue


class Shelf:
    def __init__(self, service: str = "", options: dict[str, str] | None = None) -> None:
        self.clock, self.rest = Clock(), FakeRest()
        self.told: list[str] = []
        self.instruments = Instruments(
            cast(Rest, self.rest), self.clock, options or {}, service, on_table=self.told.append
        )

    def names(self, exchange: str = "bybit") -> list[str]:
        return [instrument.pair for instrument in self.instruments.table(exchange).active()]


def test_the_first_look_starts_the_load_and_nobody_waits(venue: FakeVenue) -> None:
    shelf = Shelf()
    for _ in range(5):
        assert shelf.names() == []
    assert len(shelf.rest.calls) == 1
    shelf.rest.answer(body=b"A")
    assert shelf.names() == ["A"]
    assert shelf.told == ["bybit"]


def test_the_time_that_an_answer_tells_is_known_before_its_symbols_are(venue: FakeVenue) -> None:
    """Kraken's accounts sign as soon as the list is there, and must sign with the venue's time."""
    shelf = Shelf()
    seen: list[tuple[str, int, list[str]]] = []
    shelf.instruments.on_answer = lambda exchange, answer: seen.append((exchange, answer.status, shelf.names()))
    shelf.names()
    shelf.rest.answer(body=b"A")
    assert seen == [("bybit", 200, [])]
    assert shelf.names() == ["A"]


@pytest.mark.parametrize("parallel", [False, True])
def test_pages_are_followed_to_the_end(venue: FakeVenue, parallel: bool) -> None:
    venue.pages, venue.parallel = 5, parallel
    shelf = Shelf()
    shelf.names()
    for number in range(5):
        assert shelf.names() == []
        shelf.rest.answer(body=b"%d" % number)
    assert sorted(shelf.names()) == ["0", "1", "2", "3", "4"]
    assert shelf.told == ["bybit"]


def test_answers_that_come_at_the_same_moment_do_not_lose_the_end(venue: FakeVenue) -> None:
    """Each of two threads once saw the other's call outstanding, and the table never came."""
    venue.parallel, venue.pages = True, 6
    for _ in range(30):
        shelf = Shelf()
        shelf.names()
        start = threading.Barrier(6)

        def answer(done: Done, number: int, start: threading.Barrier = start) -> None:
            start.wait()
            done(Answer(200, {}, b"%d" % number))

        threads = [
            threading.Thread(target=answer, args=(done, number)) for number, (_, _, done) in enumerate(shelf.rest.calls)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(5)
        assert len(shelf.names()) == 6
        assert shelf.told == ["bybit"]


def test_a_failed_load_is_tried_again_soon_and_a_good_one_much_later(venue: FakeVenue) -> None:
    shelf = Shelf()
    shelf.names()
    shelf.rest.answer(503)
    shelf.clock.seconds += RETRY_S + 1
    shelf.instruments.sweep()
    shelf.rest.answer(body=b"A")
    assert shelf.names() == ["A"]
    shelf.instruments.sweep()
    assert shelf.rest.calls == []
    shelf.clock.seconds += REFRESH_S + 1
    shelf.instruments.sweep()
    shelf.instruments.sweep()
    assert len(shelf.rest.calls) == 1, "never two loads of one exchange at a time"


def test_a_failed_refresh_keeps_the_old_table(venue: FakeVenue) -> None:
    shelf = Shelf()
    shelf.names()
    shelf.rest.answer(body=b"A")
    shelf.instruments.refresh("bybit")
    shelf.rest.answer(500)
    assert shelf.names() == ["A"]


@pytest.mark.parametrize("where", ["start", "answered"])
def test_a_loader_that_fails_does_not_end_all_further_loads(venue: FakeVenue, where: str) -> None:
    venue.broken = where
    shelf = Shelf()
    shelf.names()
    if shelf.rest.calls:
        shelf.rest.answer(body=b"A")
    venue.broken = ""
    shelf.clock.seconds += RETRY_S + 1
    shelf.instruments.sweep()
    shelf.rest.answer(body=b"B")
    assert shelf.names() == ["B"]


def test_late_answers_of_a_load_that_was_given_up_do_not_disturb_the_next(venue: FakeVenue) -> None:
    venue.parallel, venue.pages, venue.broken = True, 2, "answered"
    shelf = Shelf()
    shelf.names()
    shelf.rest.answer(body=b"A")
    venue.broken = ""
    shelf.clock.seconds += RETRY_S + 1
    shelf.instruments.sweep()
    assert len(shelf.rest.calls) == 3
    shelf.rest.answer(body=b"late")
    shelf.rest.answer(body=b"B")
    assert shelf.names() == []
    shelf.rest.answer(body=b"C")
    assert sorted(shelf.names()) == ["B", "C"]


SERVICE = {
    "status": "OK",
    "data": [{"pair": "BTC-USDT", "code": "BTCUSDT", "baseAsset": {"name": "BTC"}, "quoteAsset": {"name": "USDT"}}],
}


def test_the_platforms_service_helps_out_until_the_venue_answers(venue: FakeVenue) -> None:
    shelf = Shelf("http://service:7502/")
    shelf.names()
    shelf.rest.answer(0)
    call, pool, _ = shelf.rest.calls[0]
    assert (call.url, pool) == ("http://service:7502/exchange/all?exchange=bybit", "exchange-service")
    shelf.rest.answer(body=msgspec.json.encode(SERVICE))
    assert shelf.names() == ["BTC-USDT"]
    shelf.clock.seconds += RETRY_S + 1
    shelf.instruments.sweep()
    shelf.rest.answer(body=b"A")
    assert shelf.names() == ["A"]


@pytest.mark.parametrize("body", [b"", b"<html>", b'{"status":"NOTOK","reason":"x"}', b'{"status":"OK","data":null}'])
def test_a_service_that_answers_nonsense_changes_nothing(venue: FakeVenue, body: bytes) -> None:
    shelf = Shelf("http://service")
    shelf.names()
    shelf.rest.answer(0)
    shelf.rest.answer(body=body)
    assert shelf.names() == []
    assert shelf.told == []


def test_the_service_never_overrides_the_venue(venue: FakeVenue) -> None:
    shelf = Shelf("http://service")
    shelf.names()
    shelf.rest.answer(0)
    shelf.clock.seconds += RETRY_S + 1
    shelf.instruments.sweep()
    shelf.rest.answer(body=b"A", index=1)
    shelf.rest.answer(body=msgspec.json.encode(SERVICE))
    assert shelf.names() == ["A"]


def test_european_okx_asks_the_service_for_its_own_list(venue: FakeVenue) -> None:
    shelf = Shelf("http://service", {"OKX_EU_ONLY": "true"})
    shelf.names("okx")
    shelf.rest.answer(0)
    assert shelf.rest.calls[0][0].url.endswith("exchange=okx&okxsource=my")


def test_unknown_exchanges_have_no_table(venue: FakeVenue) -> None:
    shelf = Shelf()
    assert shelf.names("nowhere") == []
    assert shelf.rest.calls == []
