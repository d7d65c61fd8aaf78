"""The shared files at their bounds: bursts in a gap, waits that grow, lists deep down, feeds and accounts of another kind."""

from __future__ import annotations

import itertools
from decimal import Decimal
from typing import Any

import msgspec
import pytest
from msgspec import UNSET

from exchanges import _lookup, _positions, _repair
from exchanges._account import OneAccount
from exchanges._adapter import (
    Answer,
    Call,
    CandleSubscription,
    Connect,
    Emit,
    EmitCandle,
    Fail,
    FailKind,
    Instant,
    Live,
    Note,
    Output,
    Outputs,
    Resume,
    Seen,
    Send,
    TickerSubscription,
    UserSubscription,
)
from exchanges._candles import CandleFeed
from exchanges._catchup import BUDGET_S, RETRY_S, Bar, Page
from exchanges._failures import Failure
from exchanges._feed import FIRST_AGAIN_S, MAX_AGAIN_S, NO_ANSWER, TickerFeed
from exchanges._lookup import Lookups
from exchanges._plan import OPEN_BEFORE, Singles, Steps, left_out, not_known, once, open_before, open_told
from exchanges._positions import Positions, Read, coins, position, signed
from exchanges._repair import BUDGET_S as REPAIR_BUDGET_S
from exchanges._repair import GapRepair, Repaired
from exchanges._rows import MAX_DEPTH, Odd, read_rows, tolerant
from exchanges._topics import Request, Rules, TopicBook
from exchanges.credentials import credentials
from exchanges.errors import CredentialUnusable
from exchanges.events import AccountPosition, Balance, PositionUpdate
from exchanges.instruments import Instrument, SymbolTable
from tests.unit.connector.streams.test_tracker import report
from tests.unit.exchanges.driver import after, json_answer, of, only, setup

NOW = Instant(1000.0, 1_795_000_000_000)
GOOD = Answer(200, {}, b"{}")
BUSY = Answer(503, {}, b"")
CALL = Call(tag="open orders", method="GET", url="https://venue/orders")
OTHER = Call(tag="balances", method="GET", url="https://venue/balances")


def at(seconds: float) -> Instant:
    return after(NOW, seconds)


def account(resume: Resume | None = None) -> UserSubscription:
    return UserSubscription(stream_id="u", exchange="okx", credentials=credentials("k", "s"), resume=resume)


# --- gap repair ---


def repair(**more: Any) -> GapRepair:
    return GapRepair(account(Resume(since_ms=NOW.wall_ms - 5_000)), **more)


def nothing(*_: object) -> Repaired:
    return Repaired()


def test_an_account_that_changes_too_fast_for_its_gap_is_let_through_with_all_that_was_held(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(_repair, "MAX_HELD_EVENTS", 3)
    gap = repair()
    assert gap.live(report("NEW", order="0")) == [], "before the gap begins it is held as well"
    gap.begin([CALL], NOW)
    assert [gap.live(report("NEW", order=str(number))) for number in (1, 2)] == [[], []]
    outputs = gap.live(report("NEW", order="3"))
    assert [emit.event.order_id for emit in of(Emit, outputs)] == ["0", "1", "2", "3"]  # type: ignore[union-attr]
    live = only(Live, outputs)
    assert live.gap is not None
    assert (live.gap.complete, live.gap.missing) == (False, ("open orders: still being read",))
    assert gap.passing
    assert not gap.done
    assert len(gap.live(report("FILLED", "1", order="3"))) == 1


def test_a_gap_is_begun_and_ended_once() -> None:
    gap = repair()
    assert gap.begin([CALL], NOW) == [CALL]
    assert gap.begin([CALL], NOW) == []
    assert not gap.owns(OTHER)
    assert gap.answered(OTHER, GOOD, nothing, NOW) == []
    assert of(Live, gap.answered(CALL, GOOD, nothing, NOW))
    assert gap.answered(CALL, GOOD, nothing, NOW) == []
    assert (gap.deadline(), gap.due(at(999)), gap.begin([CALL], NOW)) == (None, [], [])


def test_what_the_connection_itself_has_told_of_a_gap_is_part_of_its_report() -> None:
    gap = repair()
    outputs = gap.begin([], NOW, events=[report("NEW")], missing=["fills of the moon"])
    assert [emit.repaired for emit in of(Emit, outputs)] == [True]
    live = only(Live, outputs)
    assert live.gap is not None
    assert (live.gap.orders, live.gap.missing, live.gap.from_ms, live.gap.to_ms) == (
        1, ("fills of the moon",), NOW.wall_ms - 5_000, NOW.wall_ms,
    )  # fmt: skip


def test_balances_come_behind_the_orders_and_are_counted_apart() -> None:
    wallet = AccountPosition(
        event_time=1, last_account_update=0, balances=[Balance(asset="A", free="1", locked="0")], unique_message_id="w"
    )
    gap = repair()
    gap.begin([CALL], NOW)
    outputs = gap.answered(CALL, GOOD, lambda *_: Repaired(events=[wallet, report("NEW")]), NOW)
    assert [type(emit.event) is AccountPosition for emit in of(Emit, outputs)] == [False, True]
    live = only(Live, outputs)
    assert live.gap is not None
    assert (live.gap.orders, live.gap.balances) == (1, 1)


def waits_of(gap: GapRepair, answer: Answer, parse: Any = nothing, tries: int = 3) -> list[float]:
    (call,) = of(Call, gap.begin([CALL], NOW))
    now, waits = NOW, []
    for _ in range(tries):
        gap.answered(call, answer, parse, now)
        due = gap.deadline()
        assert due is not None
        waits.append(due - now.mono)
        now = Instant(due, NOW.wall_ms)
        (call,) = of(Call, gap.due(now))
    return waits


def test_a_failed_call_is_asked_again_after_one_two_and_four_seconds_or_when_the_venue_says() -> None:
    assert waits_of(repair(), BUSY) == [1, 2, 4]
    assert waits_of(repair(), Answer(429, {"retry-after": "3"}, b"")) == [3, 3, 3]
    asked = Repaired(retry=True, retry_after_s=2.5)
    assert waits_of(repair(), Answer(200, {"retry-after": "3"}, b"{}"), lambda *_: asked) == [2.5, 2.5, 2.5]


def test_a_wait_between_two_tries_never_exceeds_its_bound() -> None:
    gap = repair()
    (call,) = of(Call, gap.begin([msgspec.structs.replace(CALL, attempt=9)], NOW))
    gap.due(at(REPAIR_BUDGET_S))
    gap.answered(call, BUSY, nothing, at(REPAIR_BUDGET_S))
    assert gap.deadline() == NOW.mono + REPAIR_BUDGET_S + 20


def test_what_an_answer_tells_at_once_goes_out_before_the_gap_is_read() -> None:
    gap = repair()
    gap.begin([CALL, OTHER], NOW)
    said = Repaired(outputs=[Note("the clock")], calls=[msgspec.structs.replace(CALL, tag="more")])
    outputs = gap.answered(CALL, GOOD, lambda *_: said, NOW)
    assert [type(output) for output in outputs] == [Note, Call]


def test_what_is_found_late_goes_out_as_it_comes() -> None:
    gap = repair()
    gap.begin([CALL, OTHER], NOW)
    gap.due(at(REPAIR_BUDGET_S))
    outputs = gap.answered(CALL, GOOD, lambda *_: Repaired(events=[report("NEW")]), at(30))
    assert [emit.repaired for emit in of(Emit, outputs)] == [True]
    assert not of(Live, outputs)
    last = only(Live, gap.answered(OTHER, GOOD, nothing, at(31)))
    assert last.gap is not None
    assert (last.gap.orders, last.gap.complete) == (1, True)


def test_what_is_given_up_is_told_with_what_is_known_without_it() -> None:
    gap = repair(given_up=lambda call, _now: [report("NEW", order=call.tag)])
    gap.begin([CALL, OTHER], NOW)
    gap.due(at(REPAIR_BUDGET_S))
    outputs = gap.due(at(_repair.LATE_BUDGET_S))
    assert [emit.event.order_id for emit in of(Emit, outputs)] == ["open orders", "balances"]  # type: ignore[union-attr]
    live = only(Live, outputs)
    assert live.gap is not None
    assert live.gap.missing == ("open orders: no answer in time", "balances: no answer in time")


def test_the_same_gap_phrase_is_told_once() -> None:
    gap = repair()
    gap.begin([CALL, OTHER], NOW)
    twice = Repaired(missing=["the moon"])
    gap.answered(CALL, GOOD, lambda *_: twice, NOW)
    live = only(Live, gap.answered(OTHER, GOOD, lambda *_: twice, NOW))
    assert live.gap is not None
    assert live.gap.missing == ("the moon",)


def test_a_next_step_may_tell_something_without_asking() -> None:
    steps = iter([Repaired(events=[report("NEW")], missing=["m"], outputs=[Note("n")], calls=[OTHER])])
    gap = repair(then=lambda _now: next(steps, Repaired()))
    gap.begin([CALL], NOW)
    outputs = gap.answered(CALL, GOOD, nothing, NOW)
    assert [type(output) for output in outputs] == [Note, Call]
    outputs = gap.answered(only(Call, outputs), GOOD, nothing, NOW)
    live = only(Live, outputs)
    assert live.gap is not None
    assert (live.gap.orders, live.gap.missing) == (1, ("m",))


@pytest.mark.parametrize("good_first", [True, False])
def test_the_next_step_waits_for_answers_and_for_tries(good_first: bool) -> None:
    asked: list[Instant] = []

    def then(now: Instant) -> Repaired:
        asked.append(now)
        return Repaired()

    gap = repair(then=then)
    gap.begin([CALL, OTHER], NOW)
    gap.answered(CALL, GOOD if good_first else BUSY, nothing, NOW)
    assert not asked, "one is on its way"
    gap.answered(OTHER, BUSY if good_first else GOOD, nothing, NOW)
    assert not asked, "one waits for its next try"
    (again,) = of(Call, gap.due(at(1)))
    assert of(Live, gap.answered(again, GOOD, nothing, at(1)))
    assert len(asked) == 1


# --- plans ---


def test_phrases_of_a_plan() -> None:
    assert left_out(3) == "3 further orders that no list of the venue shows: not asked for"
    assert not_known(7) == "order 7: not known to the venue"
    assert OPEN_BEFORE.endswith("when nothing was known of the account, and have ended since, can't be found")
    assert open_before(Resume(since_ms=0, past_unknown=True)) == (OPEN_BEFORE,)
    assert open_before(Resume(since_ms=0)) == open_before(None) == ()
    assert open_told(["fills: no"])
    assert not open_told(["fills: no", "open orders: no"])
    assert not open_told(["open-orders: no"])


def test_a_step_that_asks_all_at_once_is_asked_once() -> None:
    step = once(lambda _now: Repaired(calls=[CALL]))
    assert step(NOW).calls == [CALL]
    assert step(NOW) == Repaired()


def test_single_orders_are_wanted_once_and_asked_for_in_parts() -> None:
    wanted = iter([["a", "b", "c"]])
    singles = Singles(
        lambda: next(wanted), lambda part: [msgspec.structs.replace(CALL, tag=tag) for tag in part], step=2
    )
    parts = [[call.tag for call in singles(NOW).calls] for _ in range(3)]
    assert parts == [["a", "b"], ["c"], []]


def test_what_steps_without_calls_find_is_told_in_their_order() -> None:
    first, second = report("NEW", order="1"), report("NEW", order="2")
    steps = Steps(lambda _: Repaired(events=[first], missing=["a"]), lambda _: Repaired(events=[second], missing=["b"]))
    told = steps.then(NOW)
    assert (list(told.events), list(told.missing), list(told.calls)) == ([first, second], ["a", "b"], [])


# --- orders that are asked for ---


def test_an_order_that_a_busy_venue_does_not_tell_is_asked_for_at_doubling_intervals() -> None:
    book = Lookups()
    (call,) = of(Call, book.ask("7", CALL, NOW))
    assert (call is not CALL, call) == (True, CALL)
    now, waits = NOW, []
    for _ in range(_lookup.ATTEMPTS - 1):
        assert book.answered(call, BUSY, nothing, lambda _: [], now) == []
        due = book.deadline()
        assert due is not None
        waits.append(due - now.mono)
        assert book.due(Instant(due - 0.01, 0)) == []
        now = Instant(due, 0)
        (call,) = of(Call, book.due(now))
    assert waits == [1, 2, 4, 8, 16]
    note = only(Note, book.answered(call, BUSY, nothing, lambda _: [], now))
    assert (note.level, note.what) == ("error", f"order 7 could not be asked for in {_lookup.ATTEMPTS} tries")


def test_the_last_wait_for_an_order_has_a_bound_and_strange_answers_are_nobodys() -> None:
    book = Lookups()
    (call,) = of(Call, book.ask("7", msgspec.structs.replace(CALL, attempt=6), NOW))
    assert book.answered(CALL, GOOD, nothing, lambda _: [], NOW) == []
    assert of(Note, book.answered(call, BUSY, lambda *_: Repaired(), lambda _: [], NOW))


def test_orders_that_wait_for_their_next_try_count_towards_the_bound() -> None:
    book = Lookups()
    calls = [only(Call, book.ask(str(number), CALL, NOW)) for number in range(_lookup.MAX_ASKED)]
    book.answered(calls[0], BUSY, nothing, lambda _: [], NOW)
    note = only(Note, book.ask("more", CALL, NOW))
    assert (note.level, note.what) == ("error", "order more is not asked for: 100 others wait for their answers")
    book.answered(calls[1], GOOD, nothing, lambda _: [], NOW)
    assert of(Call, book.ask("more", CALL, NOW))


# --- rows ---


class Deep(msgspec.Struct):
    name: str = ""
    inner: Any = None
    size: int = 0


def nested(levels: int) -> bytes:
    return b'{"size":null,"inner":' + b'{"x":' * levels + b'{"y":null}' + b"}" * levels + b"}"


def test_nulls_are_left_out_down_to_a_depth_and_no_deeper() -> None:
    read = tolerant(Deep)
    value = read(nested(MAX_DEPTH - 3))
    for _ in range(MAX_DEPTH - 3):
        value = value.inner["x"] if isinstance(value, Deep) else value["x"]
    assert value == {}
    value = read(nested(MAX_DEPTH + 3))
    for _ in range(MAX_DEPTH + 3):
        value = value.inner["x"] if isinstance(value, Deep) else value["x"]
    assert value == {"y": None}


@pytest.mark.parametrize(("levels", "left"), [(MAX_DEPTH - 3, {}), (MAX_DEPTH + 3, {"y": None})])
def test_lists_count_as_depth(levels: int, left: object) -> None:
    value: Any = tolerant(Deep)(b'{"size":null,"inner":' + b"[" * levels + b'{"y":null}' + b"]" * levels + b"}").inner
    for _ in range(levels):
        value = value[0]
    assert value == left


def test_nulls_of_a_list_stay_where_they_are() -> None:
    assert tolerant(Deep)(b' {"size":null,"inner":[1,null,{"a":null,"b":""}]}') == Deep(inner=[1, None, {"b": ""}])
    assert tolerant(Deep, blank=True)(b'{"size":"","inner":[null,{"a":"","b":1}]}') == Deep(inner=[None, {"b": 1}])


def test_what_is_odd_is_counted_and_each_reason_told_once() -> None:
    rows, odd = read_rows(b"[1,2,3]", lambda _: 1 // 1)
    assert (rows, bool(odd), odd) == ([1, 1, 1], False, Odd())

    def decode(raw: bytes) -> int:
        raise ValueError(f"reason {int(raw) % 4}")

    _, odd = read_rows(b"[0,0,1,2,3,0]", decode)
    assert odd == Odd(6, ("reason 0", "reason 1", "reason 2"))
    assert odd.phrase("rows") == "6 rows that can't be read (reason 0; reason 1; reason 2)"


# --- one account, one shard ---


class One(OneAccount):
    def __init__(self) -> None:
        self.left: list[str] = []

    def _open(self, subscription: UserSubscription, now: Instant) -> Outputs:
        if subscription.stream_id == "bad":
            raise CredentialUnusable("no key")
        return [Connect("wss://venue")]

    def _leave(self, stream_id: str, now: Instant) -> Outputs:
        self.left.append(stream_id)
        return [Note("left")]

    def connected(self, now: Instant) -> Outputs:
        return []

    def received(self, frame: bytes, now: Instant) -> Outputs:
        return []

    def answered(self, call: Call, answer: Answer, now: Instant) -> Outputs:
        return []

    def woken(self, now: Instant) -> Outputs:
        return []

    def deadline(self) -> float | None:
        return None


def test_a_connection_of_one_account_opens_when_it_is_started_and_has_it_whatever_comes_first() -> None:
    one = One()
    assert one.start(NOW) == []
    assert one.add(account(), NOW) == [Connect("wss://venue")]
    other = One()
    assert other.add(account(), NOW) == []
    assert other.start(NOW) == [Connect("wss://venue")]
    fail = only(Fail, other.add(msgspec.structs.replace(account(), stream_id="v"), NOW))
    assert (fail.kind, fail.stream_id) == (FailKind.REQUEST, "v")
    assert fail.reason == "this connection carries exactly one account"
    assert only(Fail, One().add(TickerSubscription(stream_id="t", exchange="okx"), NOW)).stream_id == "t"


def test_an_account_leaves_once_and_another_may_take_its_place() -> None:
    one = One()
    one.start(NOW)
    one.add(account(), NOW)
    assert (one.remove("other", NOW), one.left) == ([], [])
    assert (one.remove("u", NOW), one.left) == ([Note("left")], ["u"])
    assert (one.remove("u", NOW), one.closing(NOW)) == ([], [])
    assert one.add(account(), NOW) == [Connect("wss://venue")]


def test_material_that_cannot_sign_fails_its_stream() -> None:
    one = One()
    one.add(msgspec.structs.replace(account(), stream_id="bad"), NOW)
    fail = only(Fail, one.start(NOW))
    assert (fail.kind, fail.stream_id, fail.reason) == (FailKind.CREDENTIAL, "bad", "no key")


def test_a_failure_is_told_of_a_stream_or_of_the_connection() -> None:
    failure = Failure(FailKind.RATE_LIMITED, "slow down", retry_after_s=7.0)
    assert failure.fail("s") == Fail(kind=FailKind.RATE_LIMITED, reason="slow down", stream_id="s", retry_after_s=7.0)
    assert failure.fail().stream_id is None


RULES = Rules(batch=10, ack_s=5.0)


class Tickers(TickerFeed[str]):
    def _rules(self) -> Rules:
        return RULES

    def _topic(self, symbol: str) -> str:
        return symbol.lower()

    def _frame(self, request: Request[str]) -> Send:
        return Send(f"{request.op} {' '.join(request.topics)}")

    def start(self, now: Instant) -> Outputs:
        return []

    def connected(self, now: Instant) -> Outputs:
        return self._begin(now)

    def received(self, frame: bytes, now: Instant) -> Outputs:
        word, topic = frame.decode().split()
        if word == "ok":
            return self._acknowledged([topic], now)
        return self._refused_one(topic, now)

    def _refused_one(self, topic: str, now: Instant) -> list[Output]:
        fail = Fail(kind=FailKind.REQUEST, reason="gone")
        return self._refused([topic], fail, now) if self._book.refused(topic) else []


def shard(*symbols: str, stream: str = "t") -> TickerSubscription:
    return TickerSubscription(stream_id=stream, exchange="okx", symbols=symbols)


def texts(outputs: Outputs) -> list[str]:
    return [send.text for send in of(Send, outputs)]


TABLE = SymbolTable(
    [Instrument(wire="B", pair="B"), Instrument(wire="A", pair="A"), Instrument(wire="C", pair="C", active=False)]
)


def test_a_shard_is_live_when_each_of_its_symbols_is_answered() -> None:
    feed = Tickers(setup("okx", TABLE))
    assert feed.add(shard("A", "B"), NOW) == []
    assert feed.subscribed == 0
    assert texts(feed.connected(NOW)) == ["subscribe a b"]
    assert not of(Live, feed.received(b"ok a", NOW))
    outputs = feed.received(b"no b", NOW)
    assert [type(output) for output in outputs] == [Note, Live]
    assert only(Note, outputs).what == "ticker of B refused: gone"
    assert feed.subscribed == 1
    assert texts(feed.add(shard("A", "C"), NOW)) == ["subscribe c"]
    assert feed.received(b"ok c", NOW) == [], "it is live already"
    fail = only(Fail, feed.add(shard("A", stream="u"), NOW))
    assert (fail.kind, fail.stream_id) == (FailKind.REQUEST, "u")
    assert only(Fail, feed.add(account(), NOW)).kind is FailKind.REQUEST  # type: ignore[arg-type]


def test_a_shard_that_names_no_symbol_is_the_whole_market() -> None:
    feed = Tickers(setup("okx", TABLE))
    feed.add(shard(), NOW)
    assert texts(feed.connected(NOW)) == ["subscribe a b"]
    assert feed.subscribed is None


def test_a_shard_of_which_nothing_is_left_fails_and_one_that_left_is_told_nothing() -> None:
    feed = Tickers(setup("okx"))
    feed.add(shard("A"), NOW)
    feed.connected(NOW)
    fail = only(Fail, feed.received(b"no a", NOW))
    assert (fail.kind, fail.stream_id) == (FailKind.REQUEST, "t")
    other = Tickers(setup("okx"))
    other.add(shard("A"), NOW)
    other.connected(NOW)
    other.received(b"ok a", NOW)
    assert (other.remove("", NOW), other.remove("u", NOW)) == ([], [])
    assert texts(other.remove("t", NOW)) == ["unsubscribe a"]
    assert other.remove("t", NOW) == []
    other.add(shard("A"), NOW)
    assert of(Live, other.received(b"ok a", NOW)) == [Live("t")]


def test_a_refused_symbol_is_asked_for_again_at_growing_intervals_up_to_a_bound() -> None:
    feed = Tickers(setup("okx"))
    feed.add(shard("A", "B"), NOW)
    feed.connected(NOW)
    feed.received(b"ok a", NOW)
    now, waits = NOW, []
    for _ in range(6):
        feed.received(b"no b", now)
        due = feed.deadline()
        assert due is not None
        waits.append(due - now.mono)
        assert texts(feed.woken(Instant(due - 0.1, NOW.wall_ms))) == []
        now = Instant(due, NOW.wall_ms)
        assert texts(feed.woken(now)) == ["subscribe b"]
    assert waits == [FIRST_AGAIN_S, 120, 240, 480, MAX_AGAIN_S, MAX_AGAIN_S]
    feed.received(b"ok b", now)
    feed.add(shard("A"), now)
    feed.add(shard("A", "B"), now)
    feed.received(b"no b", now)
    assert feed.deadline() == now.mono + FIRST_AGAIN_S, "what was served in between begins anew"


def test_a_shard_with_other_symbols_forgets_what_was_refused() -> None:
    feed = Tickers(setup("okx"))
    feed.add(shard("A", "B"), NOW)
    feed.connected(NOW)
    feed.received(b"ok a", NOW)
    feed.received(b"no b", NOW)
    assert texts(feed.add(shard("A", "C"), NOW)) == ["subscribe c"]
    feed.received(b"ok c", NOW)
    assert feed.deadline() is None


def test_a_subscription_without_an_answer_ends_the_connection() -> None:
    feed = Tickers(setup("okx"))
    feed.add(shard("A"), NOW)
    feed.connected(NOW)
    assert feed.deadline() == NOW.mono + 5
    assert feed.woken(at(5)) == [Fail(kind=FailKind.TRANSIENT, reason=NO_ANSWER)]
    assert (feed.answered(CALL, GOOD, NOW), feed.closing(NOW)) == ([], [])


# --- candles ---

MINUTE = 60_000
START = NOW.wall_ms // MINUTE * MINUTE


class Candles(CandleFeed[str]):
    history = 100
    running = False

    def _rules(self) -> Rules:
        return RULES

    def _frame(self, request: Request[str]) -> Send:
        return Send(f"{request.op} {' '.join(request.topics)}")

    def _route(self, subscription: CandleSubscription) -> tuple[str, int] | Fail:
        if subscription.symbol == "BAD":
            return Fail(kind=FailKind.REQUEST, reason="bad")
        return subscription.symbol.lower(), MINUTE

    def _history(self, topic: str, from_ms: int, to_ms: int) -> Call:
        return Call(tag=topic, method="GET", url=f"https://venue/{from_ms}/{to_ms}")

    def _page(self, call: Call, answer: Answer) -> Page:
        return Page(bars=[bar(-2), bar(-1)])

    def start(self, now: Instant) -> Outputs:
        return []

    def connected(self, now: Instant) -> Outputs:
        return self._begin(now)

    def received(self, frame: bytes, now: Instant) -> Outputs:
        word, topic = frame.decode().split()
        if word == "ok":
            return self._acknowledged([topic], now)
        if word == "no":
            self._book.refused(topic)
            return self._refused([topic], Fail(kind=FailKind.REQUEST, reason="gone"), now)
        return self._told(topic, [bar(int(word))] if word != "none" else [], now)


def bar(minutes: int) -> Bar:
    return Bar(START + minutes * MINUTE, "1", "3", "0.5", "2", "7")


def wanted(stream: str, symbol: str = "A", since: int | None = None) -> CandleSubscription:
    resume = None if since is None else START + since * MINUTE
    return CandleSubscription(stream_id=stream, exchange="okx", symbol=symbol, interval="1m", resume_start_ms=resume)


def candles(*subscriptions: CandleSubscription) -> Candles:
    feed = Candles(setup("okx"))
    for one in subscriptions:
        assert feed.add(one, NOW) == []
    feed.connected(NOW)
    return feed


def test_streams_of_one_topic_share_it_and_the_last_one_leaves_it() -> None:
    feed = candles(wanted("1"), wanted("2"))
    assert feed.deadline() == NOW.mono + 5
    assert of(Live, feed.received(b"ok a", NOW)) == [Live("1"), Live("2")]
    assert feed.add(wanted("1"), NOW) == [], "it is there already"
    assert [emit.stream_id for emit in of(EmitCandle, feed.received(b"-1 a", NOW))] == ["1", "2"]
    assert feed.received(b"none a", NOW) == [Seen("1"), Seen("2")]
    assert feed.received(b"-1 b", NOW) == []
    assert (feed.remove("1", NOW), feed.remove("9", NOW)) == ([], [])
    assert [emit.stream_id for emit in of(EmitCandle, feed.received(b"0 a", at(60)))] == ["2"]
    assert texts(feed.remove("2", NOW)) == ["unsubscribe a"]
    assert feed.received(b"1 a", at(120)) == []


def test_what_cannot_be_served_fails_alone_and_what_is_refused_fails_all_its_streams() -> None:
    feed = candles(wanted("1"), wanted("2"), wanted("3", "B"))
    assert feed.add(wanted("9", "BAD"), NOW) == [Fail(kind=FailKind.REQUEST, reason="bad", stream_id="9")]
    assert only(Fail, feed.add(account(), NOW)).stream_id == "u"
    assert [fail.stream_id for fail in of(Fail, feed.received(b"no a", NOW))] == ["1", "2"]
    assert of(Live, feed.received(b"ok b", NOW)) == [Live("3")]
    assert texts(feed.add(wanted("1"), NOW)) == ["subscribe a"], "it may be asked for again"


def test_each_stream_reads_its_own_gap_and_its_answer_goes_to_it_alone() -> None:
    feed = candles(wanted("1", since=-3), wanted("2", since=-3), wanted("3"))
    outputs = feed.received(b"ok a", NOW)
    calls = of(Call, outputs)
    assert [(call.stream_id, call.tag) for call in calls] == [("1", "a"), ("2", "a")]
    assert of(Live, outputs) == [Live("3")]
    told = feed.answered(calls[1], json_answer({}), NOW)
    assert [(emit.stream_id, emit.repaired) for emit in of(EmitCandle, told)] == [("2", True)] * 2
    assert feed.answered(calls[1], json_answer({}), NOW) == []
    feed.remove("1", NOW)
    assert feed.answered(calls[0], json_answer({}), NOW) == []
    assert feed.deadline() is None


def test_a_gap_that_is_being_read_is_woken_for_its_next_try_and_its_end() -> None:
    feed = candles(wanted("1", since=-3))
    (call,) = of(Call, feed.received(b"ok a", NOW))
    assert feed.deadline() == NOW.mono + BUDGET_S
    feed.answered(call, BUSY, NOW)
    assert feed.deadline() == NOW.mono + RETRY_S
    assert feed.woken(at(RETRY_S - 0.1)) == []
    assert len(of(Call, feed.woken(at(RETRY_S)))) == 1
    live = only(Live, feed.woken(at(BUDGET_S)))
    assert live.gap is not None
    assert live.gap.missing == ("candles: no answer in time",)
    assert feed.deadline() is None


def test_a_stream_that_joins_a_confirmed_topic_reads_its_gap_at_once() -> None:
    feed = candles(wanted("1"))
    feed.received(b"ok a", NOW)
    assert [call.stream_id for call in of(Call, feed.add(wanted("2", since=-3), NOW))] == ["2"]
    assert of(Live, feed.add(wanted("3"), NOW)) == [Live("3")]


def test_a_recorded_frame_counts_as_asked_for_only_where_its_topic_names_a_request() -> None:
    class Recorded(Candles):
        def _asked_by(self, topic: str) -> tuple[str, str] | None:
            return (topic.upper(), "5m") if topic != "x" else None

    for interval, told in (("", "5m"), ("1h", "1h")):
        feed = Recorded(setup("okx"))
        assert feed.received(b"-1 a", NOW) == []
        feed.replay("r", interval)
        emit = only(EmitCandle, feed.received(b"-1 a", NOW))
        assert (emit.stream_id, emit.symbol, emit.interval, emit.length_ms) == ("r", "A", told, 0)
        assert feed.received(b"-1 x", NOW) == []


# --- positions ---


def held(symbol: str, size: str, **more: Any) -> PositionUpdate:
    return position(symbol, quantity=Decimal(size), contracts=Decimal(size), event_ms=1_000, **more)


def test_a_position_is_told_with_its_figures_and_without_those_that_are_nothing() -> None:
    event = held(
        "A", "-0.50", entry="10.0", mark="0", liquidation=None, leverage="5", margin="cross", pnl="-1.5", update_ms=900
    )
    assert (event.contracts, event.quantity, event.position_side) == ("-0.5", "-0.5", "BOTH")
    assert (event.entry_price, event.mark_price, event.liquidation_price) == ("10", UNSET, UNSET)
    assert (event.leverage, event.margin_type, event.unrealized_pnl, event.update_time) == ("5", "cross", "-1.5", 900)
    assert (event.event_time, event.snapshot) == (1_000, False)
    assert event.unique_message_id == "A:BOTH:900:-0.5:-0.5:10"
    bare = position("A", event_ms=1_000, side="LONG", contracts=Decimal(2), pnl="")
    assert (bare.quantity, bare.entry_price, bare.margin_type, bare.unrealized_pnl, bare.update_time) == (UNSET,) * 5
    assert bare.unique_message_id == "A:LONG:1000:2:"
    assert held("A", "1", pnl="0").unrealized_pnl == "0"


def test_contracts_are_so_many_coins() -> None:
    assert coins(Decimal(0), None, inverse=False, entry=None) == 0
    assert coins(Decimal(3), None, inverse=False, entry="1") is None
    assert coins(Decimal(3), "0.01", inverse=False, entry="1") == Decimal("0.03")
    assert coins(Decimal(-3), "100", inverse=True, entry="50000") == Decimal("-0.006")
    assert coins(Decimal(3), "100", inverse=True, entry="0") is None
    assert (signed("-2", short=True), signed("-2", short=False), signed(None, short=True)) == (-2, 2, 0)


class Asked:
    """A keeper that asks, and the answers that it is given."""

    def __init__(self, *reads: Read, ready: bool = True) -> None:
        self.ready = ready
        left = iter(reads)
        self.kept = Positions(account(), calls=lambda: [CALL], parse=lambda *_: next(left), ready=lambda: self.ready)
        self.kept.begin(NOW)

    def answer(self, seconds: float, answer: Answer = GOOD, call: Call = CALL) -> list[Output]:
        return self.kept.answered(call, answer, at(seconds))


def test_positions_are_asked_for_a_second_after_the_join_and_not_while_a_gap_is_read() -> None:
    asked = Asked(Read(positions=[held("A", "2")], time_ms=5_000), ready=False)
    assert asked.kept.deadline() == NOW.mono + 1
    assert asked.kept.due(at(0.9)) == []
    assert (asked.kept.due(at(1)), asked.kept.deadline()) == ([], NOW.mono + 2)
    asked.ready = True
    assert asked.kept.due(at(2)) == [CALL]
    assert (asked.kept.deadline(), asked.kept.owns(CALL), asked.kept.owns(OTHER)) == (None, True, False)
    event = only(Emit, asked.answer(3)).event
    assert isinstance(event, PositionUpdate)
    assert event.unique_message_id.startswith("snapshot:5000:")
    assert (asked.answer(3), asked.kept.owns(CALL)) == ([], False)


def test_positions_that_cannot_be_read_are_asked_for_at_growing_intervals_up_to_a_bound() -> None:
    asked = Asked(*[Read(failed="no", outputs=[Note("the clock")])] * 4)
    moment, waits = 1.0, []
    for number in range(7):
        assert asked.kept.due(at(moment)) == [CALL]
        outputs = asked.answer(moment, BUSY if number % 2 else GOOD)
        assert only(Note, outputs[-1:]).what.endswith("HTTP 503" if number % 2 else "no")
        assert len(outputs) == (1 if number % 2 else 2)
        due = asked.kept.deadline()
        assert due is not None
        waits.append(due - at(moment).mono)
        moment += waits[-1]
    assert waits == [1, 4, 16, 64, 256, _positions.MAX_WAIT_S, _positions.MAX_WAIT_S]


def test_pages_of_positions_are_put_together_and_not_followed_for_ever() -> None:
    asked = Asked(Read(positions=[held("A", "1")], calls=[OTHER]), Read(positions=[held("B", "1")], notes=["odd"]))
    asked.kept.due(at(1))
    assert asked.answer(1) == [OTHER]
    outputs = asked.answer(1, call=OTHER)
    assert [note.level for note in of(Note, outputs)] == ["error"]
    assert [emit.event.symbol for emit in of(Emit, outputs)] == ["A", "B"]  # type: ignore[union-attr]
    asked = Asked(*[Read(calls=[CALL])] * 99)
    asked.kept.due(at(1))
    outputs, pages = [CALL], 0
    while of(Call, outputs):
        outputs, pages = asked.answer(1), pages + 1
    assert pages == _positions.MAX_PAGES + 1
    assert only(Note, outputs).what.endswith(f"more than {_positions.MAX_PAGES} pages")


def test_a_list_with_an_odd_row_closes_nothing() -> None:
    resume = Resume(since_ms=0, holds=(("A", "BOTH"),))
    reads = iter([Read(notes=["odd"]), Read()])
    kept = Positions(account(resume), calls=lambda: [CALL], parse=lambda *_: next(reads))
    kept.begin(NOW)
    kept.due(at(1))
    assert not of(Emit, kept.answered(CALL, GOOD, at(1)))
    kept.begin(at(1))
    kept.due(at(2))
    kept.answered(CALL, GOOD, at(2))


def test_a_position_that_was_closed_is_told_once_and_may_be_opened_again() -> None:
    kept = Positions(account())
    sizes = ["1", "0", "0", "2", "2"]
    told = [len(kept.live([held("A", size)])) for size in sizes]
    assert told == [1, 1, 0, 1, 0]
    assert Positions(account(Resume(since_ms=0, holds=(("A", "BOTH"),)))).live([held("A", "0")])
    assert not Positions(account()).live([held("A", "0")])


# --- topics ---


def test_requests_have_ids_of_their_own_and_gathered_topics_a_frame() -> None:
    ids = itertools.count(1)
    book: TopicBook[str] = TopicBook(lambda: f"r{next(ids)}", RULES._replace(gather_s=0.5, batch=2))
    book.begin(NOW)
    book.want("abc", NOW)
    assert book.pump(at(0.4)) == []
    assert [request.topics for request in book.pump(at(0.5))] == [("a", "b"), ("c",)]
    book.answered("r1")
    book.drop("ab", at(1))
    book.want("a", at(1.1))
    assert [(request.op, request.topics) for request in book.pump(at(1.5))] == [
        ("unsubscribe", ("b",)), ("subscribe", ("a",)),
    ]  # fmt: skip


def book(**rules: Any) -> TopicBook[str]:
    ids = itertools.count(1)
    made: TopicBook[str] = TopicBook(lambda: f"r{next(ids)}", RULES._replace(**rules))
    made.begin(NOW)
    return made


def frames(made: TopicBook[str], now: Instant) -> list[tuple[str, ...]]:
    return [request.topics for request in made.pump(now)]


def test_what_is_left_of_a_spoiled_frame_stays_apart_from_what_is_new() -> None:
    made = book()
    made.want(["a", "bad", "c"], NOW)
    frames(made, NOW)
    assert made.spoiled("r1", "bad") == ["bad"]
    made.want(["z"], NOW)
    assert frames(made, NOW) == [("a", "c"), ("z",)]


@pytest.mark.parametrize("what", ["pause", "forget", "drop", "refuse", "spoil"])
def test_tries_begin_anew_after_a_pause_a_new_start_or_an_answer(what: str) -> None:
    made = book(tries=2)
    made.want(["a"], NOW)
    assert frames(made, NOW) == [("a",)]
    now = at(1)
    if what == "pause":
        made.pause("r1", 0.0, now)
    elif what == "forget":
        made.forget()
    elif what == "drop":
        made.drop(["a"], now)
    elif what == "refuse":
        made.refused("a")
    else:
        made.spoiled("r1")
    made.want(["a"], now)
    assert frames(made, now)[-1] == ("a",)
    assert made.expired(at(6)) == [], "only once in vain"
    assert frames(made, at(6)) == [("a",)]
    assert made.expired(at(11)) == ["a"]
