"""Which connection and which call comes next: decided without threads, sockets or a clock."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, cast

import pytest

from connector.core.loop import Loop
from connector.streams.budget import Budget
from connector.streams.dial import Dial, Dialler, DialQueue
from connector.streams.rest import MAX_BUDGET_WAIT_S, Errand, LoopRest, RestQueue
from connector.streams.transport import DialFailure
from exchanges._adapter import Answer, Call, Connect
from exchanges._frames import NO_WEIGHT
from exchanges._venue import Limits, Rate
from tests.unit.connector.streams.fakes import Clock

GONE = DialFailure("gone")


class Open:
    closed = False


def dial(venue: str = "v", egress: str = "", number: int | None = None) -> Dial:
    limits = Limits(connects=Rate(1, 1.0), messages=Rate(1, 1.0), open_connections=number)
    return Dial(Connect("wss://x"), limits, venue, egress, lambda: True, lambda result: None)


def test_addresses_take_turns_and_one_has_only_so_many_on_their_way() -> None:
    queue = DialQueue(max_in_flight=2)
    many = [dial() for _ in range(5)]
    for one in [*many, dial("other")]:
        assert queue.add(one)
    assert [one.venue for one in queue.take(0.0)] == ["v", "other"]
    assert [one.venue for one in queue.take(0.0)] == ["v"]
    assert queue.take(0.0) == []
    assert queue.next_due(0.0) is None, "not before one has ended"
    queue.finished(many[0], GONE)
    assert queue.next_due(7.0) == 7.0
    assert queue.take(0.0) == [many[2]], "in the order that they came"
    assert len(queue) == 2


def test_what_has_to_wait_comes_first_again_and_holds_up_its_own_address_only() -> None:
    queue = DialQueue(max_in_flight=3)
    first, second, other = dial(), dial(), dial("other")
    for one in (first, second):
        queue.add(one)
    assert queue.take(0.0) == [first]
    queue.put_back(first, until=5.0)
    queue.add(other)
    assert queue.take(1.0) == [other]
    assert queue.next_due(1.0) == 5.0
    assert queue.take(5.0) == [first]
    assert queue.take(5.0) == [second]


def test_dials_for_what_is_scarce_hold_up_no_other_dial_of_their_address() -> None:
    queue = DialQueue(max_in_flight=3)
    scarce = Limits(connects=Rate(1, 1.0), messages=Rate(1, 1.0), own_connects=Rate(1, 60.0))
    account, price = dial_with(scarce), dial()
    queue.add(account)
    assert queue.take(0.0) == [account]
    queue.put_back(account, until=60.0)
    queue.add(price)
    assert queue.take(1.0) == [price]
    assert queue.next_due(1.0) == 60.0
    assert queue.take(60.0) == [account]


def dial_with(limits: Limits) -> Dial:
    return Dial(Connect("wss://x"), limits, "v", "", lambda: True, lambda result: None)


def test_open_connections_and_those_on_their_way_fill_the_number_of_an_address() -> None:
    queue = DialQueue(max_in_flight=5)
    opened = Open()
    for _ in range(3):
        queue.add(dial(number=2))
    (first,) = queue.take(0.0)
    assert queue.has_room(first)
    queue.finished(first, cast(Any, opened))
    (second,) = queue.take(0.0)
    assert queue.has_room(second)
    (third,) = queue.take(0.0)
    assert not queue.has_room(third)
    opened.closed = True
    assert queue.has_room(third)


class Books:
    """A budget with so much left in each ledger."""

    def __init__(self, **left: int) -> None:
        self.left = left

    def take(self, venue: str, kind: str, egress: str, rate: Rate, cost: int = 1) -> float:
        if self.left[kind] < cost:
            return 9.0
        self.left[kind] -= cost
        return 0.0


class Nobody:
    """Opens nothing."""

    width = 3

    def __init__(self) -> None:
        self.asked: list[Dial] = []

    def open(self, dial: Dial, done: object) -> bool:
        self.asked.append(dial)
        return True

    def aside(self, work: Callable[[], None]) -> bool:
        work()
        return True

    def stop(self) -> None: ...


@pytest.mark.parametrize(("general", "scarce", "opened", "left"), [(0, 1, 0, 1), (1, 0, 0, 0), (1, 1, 1, 0)])
def test_what_is_scarce_is_taken_only_for_a_connection_that_may_be_opened(
    general: int, scarce: int, opened: int, left: int
) -> None:
    books, opener = Books(**{"connect": general, "connect-own": scarce}), Nobody()
    dialler = Dialler(cast(Budget, books), Clock(), opener, threaded=False)
    limits = Limits(connects=Rate(1, 1.0), messages=Rate(1, 1.0), own_connects=Rate(10, 60.0))
    dialler.dial(Connect("wss://x"), limits, "v", "", lambda: True, lambda _: None)
    dialler.turn()
    assert len(opener.asked) == opened
    assert books.left["connect-own"] == left


def test_dials_that_come_back_keep_their_order() -> None:
    queue = DialQueue(3)
    for number in range(5):
        queue.add(replace(dial(), number=number))
    batch = [one for _ in range(3) for one in queue.take(0.0)]
    for one in (batch[1], batch[2], batch[0]):
        queue.put_back(one, 1.0)
    assert queue.take(0.5) == []
    assert [one.number for _ in range(3) for one in queue.take(1.0)] == [0, 1, 2]


class Ledger:
    """A budget that says what it is told to say."""

    def __init__(self, *waits: float) -> None:
        self.waits = list(waits)
        self.blocked: list[float] = []
        self.whys: list[str] = []

    def take(self, *_: Any) -> float:
        return self.waits.pop(0)

    def used(self, *_: Any) -> None: ...

    def block(self, venue: str, kind: str, egress: str, seconds: float, why: str) -> None:
        self.blocked.append(seconds)
        self.whys.append(why)


class Desk:
    def __init__(self, *waits: float) -> None:
        self.clock, self.ledger = Clock(), Ledger(*waits)
        self.loop = Loop("rest", self.clock, threaded=False)
        self.made: list[float] = []
        self.answers: list[Answer] = []
        self.queue = RestQueue(cast(Budget, self.ledger))
        self.rest = LoopRest(self.queue, self.loop, self._perform)
        self.status = 200

    def _perform(self, call: Call, egress: str, done: Any) -> None:
        self.made.append(self.clock.seconds)
        done(Answer(self.status, {"retry-after": "7"}, b"{}"))

    def ask(self) -> None:
        limits = Limits(connects=Rate(1, 1.0), messages=Rate(1, 1.0), rest={"rest": Rate(1, 1.0)}, bans={418: 60.0})
        self.rest.submit(
            Call(tag="t", method="GET", url="https://x", timeout_s=1.0), "v", "", limits, self.answers.append
        )
        while self.loop.turn():
            continue

    def wait(self, seconds: float) -> None:
        self.clock.seconds += seconds
        while self.loop.turn():
            continue


def test_a_call_waits_for_its_budget_as_a_timer_and_is_made_once() -> None:
    desk = Desk(2.0, 1.0, 0.0)
    desk.ask()
    desk.wait(1.9)
    assert desk.made == []
    desk.wait(0.1)
    desk.wait(1.0)
    assert desk.made == [desk.clock.seconds]
    assert [answer.status for answer in desk.answers] == [200]
    assert desk.queue.pending() == 0


def test_a_call_whose_budget_takes_too_long_is_given_up() -> None:
    desk = Desk(MAX_BUDGET_WAIT_S - 1.0, 2.0)
    desk.ask()
    desk.wait(MAX_BUDGET_WAIT_S)
    assert desk.made == []
    assert [answer.error for answer in desk.answers] == [NO_WEIGHT]


def test_a_ban_blocks_the_address_for_as_long_as_the_venue_says() -> None:
    desk = Desk(0.0)
    desk.status = 418
    desk.ask()
    assert desk.ledger.blocked == [7.0]
    assert desk.ledger.whys == ["HTTP 418 with Retry-After"]


def test_after_the_stop_every_call_is_answered_and_none_made() -> None:
    desk = Desk(5.0)
    desk.ask()
    desk.rest.stop()
    desk.ask()
    desk.wait(5.0)
    assert desk.made == []
    assert len(desk.answers) == 2


@pytest.mark.parametrize("waited_s", [0.0, 19.5])
def test_an_errand_remembers_how_long_it_waited(waited_s: float) -> None:
    queue = RestQueue(cast(Budget, Ledger(1.0)))
    limits = Limits(connects=Rate(1, 1.0), messages=Rate(1, 1.0), rest={"rest": Rate(1, 1.0)})
    errand = Errand(Call(tag="t", method="GET", url="https://x", timeout_s=1.0), "v", "", limits, print, waited_s)
    assert queue.wait_s(errand) == (1.0 if waited_s == 0.0 else None)
