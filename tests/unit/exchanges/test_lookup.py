"""Orders in a state that no page lists are asked for: once at a time, again when the venue was busy, never for ever."""

from __future__ import annotations

import itertools

import msgspec

from exchanges import _lookup
from exchanges._adapter import Answer, Call, Emit, Instant, Note, Output
from exchanges._lookup import Lookups
from exchanges._repair import Repaired
from exchanges.events import AccountEvent, BalanceUpdate
from tests.unit.exchanges.driver import of, only

NOW = Instant(100.0, 1_795_000_000_000)
EVENT = BalanceUpdate(asset="A", balance_delta="1", clear_time=1, event_time=1, unique_message_id="x")
OK = Answer(200, {}, b"{}")
BUSY = Answer(503, {}, b"")
STAMPS = itertools.count()


def lookups() -> Lookups:
    return Lookups(lambda call, _: msgspec.structs.replace(call, url=f"https://venue/order?stamp={next(STAMPS)}"))


def call() -> Call:
    return Call(tag="order", method="GET", url="https://venue/order")


def told(event: AccountEvent) -> list[Output]:
    return [Emit("a", event)]


def test_the_answer_is_published_like_a_live_event() -> None:
    book = lookups()
    asked = only(Call, book.ask("7", call(), NOW))
    assert book.owns(asked)
    assert book.answered(asked, OK, lambda *_: Repaired(events=[EVENT]), told, NOW) == [Emit("a", EVENT)]
    assert not book.owns(asked)
    assert book.deadline() is None


def test_an_order_is_asked_for_once_at_a_time() -> None:
    book = lookups()
    asked = only(Call, book.ask("7", call(), NOW))
    assert book.ask("7", call(), NOW) == []
    book.answered(asked, BUSY, lambda *_: Repaired(), told, NOW)
    assert book.ask("7", call(), NOW) == []
    assert of(Call, book.ask("8", call(), NOW))


def test_a_busy_venue_is_asked_again_with_a_fresh_signature_and_not_for_ever() -> None:
    book = lookups()
    outputs = book.ask("7", call(), NOW)
    urls, now = [], NOW
    while asked := of(Call, outputs):
        urls.append(asked[0].url)
        outputs = book.answered(asked[0], BUSY, lambda *_: Repaired(events=[EVENT]), told, now)
        due = book.deadline()
        if due is not None:
            assert now.mono < due <= now.mono + _lookup.MAX_WAIT_S
            now = Instant(due, NOW.wall_ms)
            outputs = book.due(now)
    assert len(set(urls)) == _lookup.ATTEMPTS
    assert "could not be asked for" in only(Note, outputs).what
    assert of(Call, book.ask("7", call(), NOW))


def test_a_wait_that_the_venue_asks_for_is_kept() -> None:
    book = lookups()
    asked = only(Call, book.ask("7", call(), NOW))
    book.answered(asked, OK, lambda *_: Repaired(retry=True, retry_after_s=12.5), told, NOW)
    assert book.deadline() == NOW.mono + 12.5
    assert book.due(Instant(NOW.mono + 12.4, 0)) == []


def test_what_the_venue_does_not_tell_is_said_and_further_calls_go_on() -> None:
    book = lookups()
    first = only(Call, book.ask("7", call(), NOW))
    second = only(Call, book.answered(first, OK, lambda *_: Repaired(calls=[call()]), told, NOW))
    assert second is not first
    outputs = book.answered(second, OK, lambda *_: Repaired(missing=["not known to the venue"]), told, NOW)
    assert outputs == [Note("order 7: not known to the venue", "error")]


def test_more_orders_than_the_bound_are_told_and_not_asked_for() -> None:
    book = lookups()
    for number in range(_lookup.MAX_ASKED):
        assert of(Call, book.ask(str(number), call(), NOW))
    outputs = book.ask("one too many", call(), NOW)
    assert not of(Call, outputs)
    assert "one too many" in only(Note, outputs).what
