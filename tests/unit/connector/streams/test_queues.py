"""Which connection and which call comes next: decided without threads, sockets or a clock."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, cast

import pytest
from msgspec.structs import replace as replace_call

from connector.core.loop import Loop
from connector.state.memory_state import MemoryState
from connector.streams import rest
from connector.streams.budget import Budget
from connector.streams.dial import Dial, Dialler, DialQueue
from connector.streams.rest import IN_FLIGHT, MAX_BUDGET_WAIT_S, Caller, Errand, LoopRest, RestQueue
from connector.streams.transport import DialFailure
from exchanges._adapter import Answer, Call, Connect, Instant
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
        self.queue = RestQueue(cast(Budget, self.ledger), self.clock)
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


SCARCE = Limits(connects=Rate(1, 1.0), messages=Rate(1, 1.0), rest={"rest": Rate(2, 3.0)})


class Session:
    """Asks; what it gets. `connected` as a session is whose calls are not what its connect waits for."""

    def __init__(self, office: Office, *, connected: bool = False) -> None:
        self.office, self.connected, self.wanted = office, connected, True
        self.answers: list[Answer] = []
        self.caller = Caller(lambda: self.wanted, lambda: not self.connected, self._renew)

    def _renew(self, call: Call, go: Callable[[Call], None]) -> None:
        assert call.again is not None
        go(call.again(Instant(self.office.clock.seconds, self.office.clock.wall_ms())))

    def ask(self, limits: Limits = SCARCE, tag: str = "t", weight: int = 1) -> None:
        def signed(now: Instant) -> Call:
            return replace_call(call, headers={"time": str(now.wall_ms)})

        call = Call(tag=tag, method="GET", url="https://x", timeout_s=1.0, weight=weight)
        first = replace_call(signed(Instant(0.0, self.office.clock.wall_ms())), again=signed)
        self.office.rest.submit(first, "v", "", limits, self.answers.append, self.caller)
        self.office.turn()


class Office:
    """Calls within a true budget, on a loop that is turned by hand. The venue refuses a time that is 5 s old."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.loop = Loop("rest", self.clock, threaded=False)
        self.queue = RestQueue(Budget(MemoryState(), self.clock), self.clock)
        self.rest = LoopRest(self.queue, self.loop, self._perform)
        self.made: list[str] = []
        self.status = 200

    def _perform(self, call: Call, egress: str, done: Callable[[Answer], None]) -> None:
        self.made.append(call.tag)
        old_ms = self.clock.wall_ms() - int(call.headers["time"])
        done(Answer(self.status if old_ms < 5_000 else 400, {}, b"{}"))

    def turn(self, until_s: float = 0.0) -> None:
        """So far."""
        end = self.clock.seconds + until_s
        while True:
            while self.loop.turn():
                continue
            due = self.loop.next_due()
            if due is None or due > end:
                break
            self.clock.seconds = max(due, self.clock.seconds)
        self.clock.seconds = end


def test_two_hundred_accounts_at_once_get_their_answers_in_the_order_in_which_they_came() -> None:
    """Those that had waited longest were given up, and their places taken by others that were given up as well."""
    office = Office()
    crowd = [Session(office) for _ in range(200)]
    for number, one in enumerate(crowd):
        one.ask(tag=str(number))
    office.turn(400.0)
    assert office.made == [str(number) for number in range(200)]
    assert all([answer.status for answer in one.answers] == [200] for one in crowd), "none is too old when it is made"
    assert office.queue.pending() == 0
    assert {one.caller.waiting for one in crowd} == {0}


def test_a_call_that_nobody_wants_any_more_costs_nothing_of_the_budget() -> None:
    """Sessions that had given up had their calls made all the same, so that those which came after them gave up, too."""
    office = Office()
    crowd = [Session(office) for _ in range(100)]
    for one in crowd:
        one.ask()
    for one in crowd[:-1]:
        one.wanted = False
    office.turn(6.0)
    assert [answer.status for answer in crowd[-1].answers] == [200]
    assert len(office.made) == 3, "two of them before anybody had left"
    assert office.queue.pending() == 0


def test_a_call_that_had_to_wait_is_signed_anew() -> None:
    """A venue that takes no time older than 5 s refused each call that had waited longer, and was taken for one with
    another clock."""
    office = Office()
    for _ in range(9):
        (session := Session(office)).ask()
    office.turn(30.0)
    assert [answer.status for answer in session.answers] == [200]


def test_who_has_a_connection_does_not_wait_behind_those_that_open() -> None:
    office = Office()
    for _ in range(100):
        Session(office).ask(tag="opens")
    live = Session(office, connected=True)
    live.ask(tag="live")
    office.turn(10.0)
    assert [answer.status for answer in live.answers] == [200]


def test_who_has_a_connection_is_told_in_time_that_there_is_no_room() -> None:
    office = Office()
    crowd = [Session(office, connected=True) for _ in range(50)]
    for one in crowd:
        one.ask()
    office.turn(MAX_BUDGET_WAIT_S + 3.0)
    told = [answer.error for one in crowd for answer in one.answers]
    assert len(told) == 50
    assert told.count("") == len(office.made) >= 12
    assert set(told) == {"", NO_WEIGHT}


def test_an_account_that_the_venue_counts_by_itself_waits_for_itself_alone() -> None:
    """At KuCoin an address opened two accounts a second, though the venue counts what an account asks by account."""
    own = Limits(connects=Rate(1, 1.0), messages=Rate(1, 1.0), own_rest={"rest": Rate(10, 3.0)})
    office = Office()
    crowd = [Session(office) for _ in range(200)]
    for one in crowd:
        one.ask(own, weight=6)
    assert len(office.made) == 200
    crowd[0].ask(own, tag="second", weight=6)
    assert crowd[0].caller.waiting == 1
    assert office.made[-1] != "second"
    office.turn(3.1)
    assert office.made[-1] == "second"


def test_an_account_that_asked_too_much_makes_no_other_account_wait() -> None:
    own = Limits(connects=Rate(1, 1.0), messages=Rate(1, 1.0), own_rest={"rest": Rate(10, 3.0)})
    office = Office()
    busy, other = Session(office), Session(office)
    office.status = 429
    busy.ask(own)
    office.status = 200
    busy.ask(own)
    other.ask(own)
    assert [answer.status for answer in busy.answers] == [429]
    assert [answer.status for answer in other.answers] == [200]
    office.turn(5.1)
    assert [answer.status for answer in busy.answers] == [429, 200]


def test_requests_of_all_kinds_together_are_counted_by_address_where_the_venue_says_so() -> None:
    limits = Limits(
        connects=Rate(1, 1.0),
        messages=Rate(1, 1.0),
        own_rest={"rest": Rate(100, 3.0)},
        requests=Rate(3, 10.0),
    )
    office = Office()
    for number in range(20):
        Session(office).ask(limits, tag=str(number))
    assert len(office.made) == 3
    assert len(office.queue._queue._waiting) == 1, "what the address has no room for is one line, whoever asks"
    office.turn(10.5)
    assert len(office.made) == 6
    office.turn(60.0)
    assert office.made == [str(number) for number in range(20)]


def test_a_bar_is_not_waited_for_before_a_connect() -> None:
    office = Office()
    session = Session(office)
    office.status = 418
    session.ask()
    session.ask()
    office.turn(1.0)
    assert [answer.status for answer in session.answers] == [418, 0]
    assert session.answers[1].error == NO_WEIGHT


def test_what_an_account_may_ask_counts_also_where_its_address_is_asked_for() -> None:
    both = Limits(
        connects=Rate(1, 1.0),
        messages=Rate(1, 1.0),
        rest={"rest": Rate(100, 3.0)},
        own_rest={"rest": Rate(10, 3.0)},
    )
    office = Office()
    session = Session(office)
    for _ in range(2):
        session.ask(both, weight=6)
    assert len(office.made) == 1
    office.turn(3.0)
    assert len(office.made) == 2, "as soon as there is room"


@pytest.mark.parametrize("kind", ["rest", "own_rest"])
def test_before_a_connect_a_whole_period_is_waited_for_however_long(kind: str) -> None:
    slow = Limits(connects=Rate(1, 1.0), messages=Rate(1, 1.0), **{kind: {"rest": Rate(10, 60.0)}})  # type: ignore[arg-type]
    office = Office()
    session = Session(office)
    for _ in range(2):
        session.ask(slow, weight=8)
    office.turn(61.0)
    assert [answer.status for answer in session.answers] == [200, 200]


def test_a_call_that_weighs_more_than_an_account_may_ask_takes_all_of_it() -> None:
    own = Limits(connects=Rate(1, 1.0), messages=Rate(1, 1.0), own_rest={"rest": Rate(10, 3.0)})
    office = Office()
    session = Session(office)
    session.ask(own, tag="heavy", weight=50)
    session.ask(own, tag="light")
    assert office.made == ["heavy"]
    office.turn(3.0)
    assert office.made == ["heavy", "light"]


def test_a_call_without_limits_is_made_at_once_whatever_comes_back() -> None:
    office = Office()
    session = Session(office)
    call = Call(tag="t", method="GET", url="https://x", headers={"time": str(office.clock.wall_ms())})
    for status in (200, 429):
        office.status = status
        office.rest.submit(call, "v", "", None, session.answers.append)
        office.turn()
    assert [answer.status for answer in session.answers] == [200, 429]
    assert office.queue.pending() == 0


def test_what_goes_wrong_with_a_call_costs_that_call_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """As many as may be on their way of one lane at a time: each would keep a place for ever."""
    office = Office()
    free = Limits(connects=Rate(1, 1.0), messages=Rate(1, 1.0), rest={"rest": Rate(1_000, 1.0)})
    session = Session(office)
    with monkeypatch.context() as patched:
        patched.setattr(office.rest, "_perform", lambda *_: {}["defect"])
        for _ in range(IN_FLIGHT):
            session.ask(free)
    session.ask(free)
    assert [answer.status for answer in session.answers] == [0] * IN_FLIGHT + [200]
    assert office.queue.pending() == 0


def test_whoever_can_not_take_an_answer_gets_it_once() -> None:
    office = Office()
    told: list[Answer] = []

    def taken(answer: Answer) -> None:
        told.append(answer)
        raise ValueError("a defect of the one who asked")

    headers = {"time": str(office.clock.wall_ms())}
    office.rest.submit(Call(tag="t", method="GET", url="https://x", headers=headers), "v", "", SCARCE, taken)
    office.turn()
    assert [answer.status for answer in told] == [200]
    assert office.queue.pending() == 0


@pytest.mark.parametrize("status", [200, 429])
def test_a_call_of_nobodys_account_is_made_where_the_venue_counts_by_account(status: int) -> None:
    own = Limits(connects=Rate(1, 1.0), messages=Rate(1, 1.0), own_rest={"rest": Rate(1, 30.0)})
    office = Office()
    office.status = status
    told: list[Answer] = []
    headers = {"time": str(office.clock.wall_ms())}
    office.rest.submit(Call(tag="t", method="GET", url="https://x", headers=headers), "v", "", own, told.append)
    office.turn()
    assert [answer.status for answer in told] == [status]


def test_more_calls_than_may_wait_are_answered_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rest, "MAX_PENDING_PER_VENUE", 3)
    office = Office()
    session = Session(office)
    for _ in range(6):
        session.ask()
    assert len(office.made) == 2
    assert office.queue.pending() == 3
    (refused,) = session.answers[2:]
    assert (refused.status, refused.error) == (0, "the REST queue of this venue is full or closed")


def test_what_waits_when_a_process_ends_is_answered_once_and_nothing_of_it_is_kept() -> None:
    office = Office()
    crowd = [Session(office) for _ in range(5)]
    for one in crowd:
        one.ask()
    office.rest.stop()
    assert [len(one.answers) for one in crowd] == [1] * 5
    late = Session(office)
    late.ask()
    assert [answer.error for answer in late.answers] == ["the REST queue of this venue is full or closed"]
    office.turn(60.0)
    assert len(office.made) == 2
    assert [len(one.answers) for one in crowd] == [1] * 5
    queue = office.queue._queue
    assert (len(queue), office.queue.pending(), queue._free_at, dict(queue._in_flight)) == (0, 0, {}, {})


def test_a_call_that_nobody_can_make_any_more_is_answered(monkeypatch: pytest.MonkeyPatch) -> None:
    office = Office()
    monkeypatch.setattr(office.rest, "_aside", lambda *_: False)
    session = Session(office)
    session.ask()
    assert [answer.error for answer in session.answers] == [NO_WEIGHT]
    assert office.queue.pending() == 0


def test_the_venues_own_count_of_an_address_is_booked() -> None:
    desk = Desk(0.0)
    told: list[int] = []
    desk.ledger.used = lambda *values: told.append(values[-1])  # type: ignore[method-assign]
    limits = Limits(
        connects=Rate(1, 1.0), messages=Rate(1, 1.0), rest={"rest": Rate(1, 1.0)}, used_headers={"rest": "x-used"}
    )
    for text in ("17", "none", "", "\u0663"):
        errand = Errand(Call(tag="t", method="GET", url="https://x"), "v", "", limits, print)
        desk.queue.book(errand, Answer(200, {"x-used": text}, b"{}"))
    assert told == [17]


def test_the_next_moment_is_that_of_the_lane_whose_time_comes_first() -> None:
    queue = DialQueue(max_in_flight=3)
    for venue, until in (("late", 9.0), ("soon", 4.0)):
        one = dial(venue)
        queue.add(one)
        queue.take(0.0)
        queue.put_back(one, until)
    assert queue.next_due(0.0) == 4.0


def test_of_several_on_their_way_one_that_ends_makes_room_for_one() -> None:
    queue = DialQueue(max_in_flight=3)
    many = [dial() for _ in range(5)]
    for one in many:
        queue.add(one)
    on_their_way = [one for _ in range(3) for one in queue.take(0.0)]
    queue.done(on_their_way[0])
    assert queue.on_their_way(many[0].lane) == 2
    assert len([*queue.take(0.0), *queue.take(0.0)]) == 1
    for one in on_their_way[1:]:
        queue.done(one)
    assert queue.on_their_way(many[0].lane) == 1
    assert queue.clear() == many[4:]
    queue.done(many[4])
    assert queue.on_their_way(many[0].lane) == 1, "what waited when all was given up ends like any other"


def test_nothing_is_kept_of_lanes_that_are_empty() -> None:
    office = Office()
    own = Limits(connects=Rate(1, 1.0), messages=Rate(1, 1.0), own_rest={"rest": Rate(10, 3.0)})
    for _ in range(50):
        session = Session(office)
        session.ask(own, weight=8)
        session.ask(own, weight=8)
    office.turn(10.0)
    queue = office.queue._queue
    assert (queue._waiting, queue._free_at, dict(queue._in_flight)) == ({}, {}, {})
