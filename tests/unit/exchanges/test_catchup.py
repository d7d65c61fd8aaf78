"""Missed candles: what is asked for, what of the answers is published, and when the stream goes on."""

from __future__ import annotations

from email.utils import formatdate

import msgspec
import pytest

from exchanges._adapter import Answer, Call, CandleSubscription, EmitCandle, Instant, Live, Note, Output
from exchanges._catchup import ATTEMPTS, BUDGET_S, RETRY_S, Bar, CatchUp, Page
from tests.unit.exchanges.driver import of

MINUTE = 60_000
START = 1_795_000_020_000
NOW = Instant(1000.0, START + 30_000)
LATER = Instant(1200.0, START + 10 * MINUTE)
GOOD = Answer(200, {}, b"")


def bar(minutes: int, close: str = "2") -> Bar:
    return Bar(START + minutes * MINUTE, "1", "3", "0.5", close, "7")


def request(from_ms: int, to_ms: int) -> Call:
    return Call(tag="candles", method="GET", url=f"https://venue/candles?from={from_ms}&to={to_ms}")


def made(since: int | None, *, running: bool) -> CatchUp:
    """A stream of one-minute candles whose last published one opened `since` minutes from now."""
    resume = None if since is None else START + since * MINUTE
    subscription = CandleSubscription(
        stream_id="c", exchange="bybit", symbol="BTCUSDT", interval="1", resume_start_ms=resume
    )
    return CatchUp(subscription, MINUTE, running=running)


def begun(since: int, *, running: bool, limit: int = 100) -> tuple[CatchUp, Call]:
    route = made(since, running=running)
    (call,) = route.begin(request, limit, NOW)
    assert isinstance(call, Call)
    return route, call


def answered(route: CatchUp, call: Call, page: Page, answer: Answer = GOOD, now: Instant = NOW) -> list[Output]:
    return route.answered(call, answer, lambda *_: page, now)


def told(outputs: list[Output]) -> list[tuple[int, bool]]:
    """Minute and origin of every candle that went out."""
    return [((emit.candle.start - START) // MINUTE, emit.repaired) for emit in of(EmitCandle, outputs)]


def gap(outputs: list[Output]) -> tuple[int, tuple[str, ...]]:
    live = outputs[-1]
    assert isinstance(live, Live)
    assert live.gap is not None
    return live.gap.candles, live.gap.missing


def test_a_stream_that_was_never_live_has_no_gap() -> None:
    route = made(None, running=False)
    assert route.begin(request, 100, NOW) == [Live("c")]
    assert told(route.live(bar(0), LATER)) == [(0, False)]


@pytest.mark.parametrize(("running", "since"), [(True, 0), (False, -1), (False, 0)])
def test_nothing_is_asked_when_no_candle_can_have_closed(running: bool, since: int) -> None:
    outputs = made(since, running=running).begin(request, 100, NOW)
    assert gap(outputs) == (0, ())


@pytest.mark.parametrize(("running", "first"), [(True, -3), (False, -2)])
def test_a_running_candle_is_read_once_more_and_a_closed_one_is_not(running: bool, first: int) -> None:
    route, call = begun(-3, running=running)
    assert call.url.endswith(f"from={START + first * MINUTE}&to={NOW.wall_ms}")
    outputs = answered(route, call, Page(bars=[bar(minute) for minute in range(0, -5, -1)]))
    assert told(outputs) == [(minute, True) for minute in range(first, 0)]
    assert gap(outputs) == (-first, ())


def test_live_candles_wait_for_the_missed_ones_and_follow_them() -> None:
    route, call = begun(-3, running=False)
    assert route.live(bar(-1), LATER) == []
    assert route.live(bar(0), LATER) == []
    assert told(answered(route, call, Page(bars=[bar(-2), bar(-1)]))) == [(-2, True), (-1, True), (0, False)]


def test_closed_candles_go_out_once_and_in_rising_order() -> None:
    route = made(None, running=False)
    route.begin(request, 100, NOW)
    assert [told(route.live(bar(minute), LATER)) for minute in (0, 0, -1, 1)] == [[(0, False)], [], [], [(1, False)]]


def test_a_running_candle_goes_out_as_often_as_it_changes() -> None:
    route = made(None, running=True)
    route.begin(request, 100, NOW)
    emits = of(EmitCandle, [output for close in "123" for output in route.live(bar(0, close), LATER)])
    assert [emit.candle.close for emit in emits] == ["1", "2", "3"]
    assert len({emit.candle.unique_message_id for emit in emits}) == 3


def test_the_venue_s_word_that_a_candle_has_ended_outweighs_our_clock() -> None:
    route, call = begun(-3, running=False)
    assert told(answered(route, call, Page(bars=[bar(-2), bar(0)], ended=True))) == [(-2, True), (0, True)]


def test_pages_are_put_together() -> None:
    route, call = begun(-5, running=False)
    second = msgspec.structs.replace(call, url="https://venue/2")
    assert answered(route, call, Page(bars=[bar(-2), bar(-1)], more=second)) == [second]
    assert route.owns(second)
    assert not route.owns(call)
    assert told(answered(route, second, Page(bars=[bar(-4), bar(-3)]))) == [(minute, True) for minute in range(-4, 0)]


def test_a_gap_longer_than_the_venue_s_memory_is_read_as_far_as_it_goes_and_said() -> None:
    route, call = begun(-500, running=False, limit=10)
    assert call.url.startswith(f"https://venue/candles?from={NOW.wall_ms - 9 * MINUTE}")
    assert gap(answered(route, call, Page(bars=[bar(-1)]))) == (1, ("older candles than the venue hands out",))


@pytest.mark.parametrize(
    ("answer", "page"),
    [
        (Answer(500, {}, b""), Page()),
        (Answer(0, {}, b"", "timeout"), Page()),
        (GOOD, Page(failed="50011 too many requests", retry=True)),
    ],
)
def test_a_failure_that_passes_is_asked_again_and_given_up_in_the_end(answer: Answer, page: Page) -> None:
    route, call = begun(-3, running=False)
    now = NOW
    for attempt in range(1, ATTEMPTS):
        assert answered(route, call, page, answer, now) == []
        assert route.deadline() == now.mono + RETRY_S * attempt
        now = Instant(now.mono + RETRY_S * attempt, NOW.wall_ms)
        (again,) = route.due(now)
        assert isinstance(again, Call)
        assert (again.url, again.attempt) == (call.url, attempt + 1)
        call = again
    count, missing = gap(answered(route, call, page, answer, now))
    assert count == 0
    assert missing[0].endswith(f"after {ATTEMPTS} tries")
    assert (route.done, route.deadline()) == (True, None)


def test_the_venue_says_how_long_to_wait() -> None:
    route, call = begun(-3, running=False)
    answered(route, call, Page(), Answer(429, {"retry-after": "7"}, b""))
    assert route.deadline() == NOW.mono + 7


def test_a_failure_for_good_is_said_at_once() -> None:
    route, call = begun(-3, running=False)
    assert gap(answered(route, call, Page(failed="no such symbol"))) == (0, ("candles: no such symbol",))


def test_silence_does_not_hold_the_stream_for_ever() -> None:
    route, call = begun(-3, running=False)
    route.live(bar(0), LATER)
    late = Instant(NOW.mono + BUDGET_S, NOW.wall_ms)
    outputs = route.due(late)
    assert told(outputs) == [(0, False)]
    assert gap(outputs) == (0, ("candles: no answer in time",))
    assert answered(route, call, Page(bars=[bar(-1)]), now=late) == []


def test_what_fails_without_a_gap_is_only_noted() -> None:
    class Halves(CatchUp):
        """Reads the begun period also without a gap."""

        def begin(self, *arguments: object) -> list[Output]:
            self._since = self._last = START - 10 * MINUTE
            return super().begin(*arguments)  # type: ignore[arg-type]

    route = Halves(made(None, running=False).subscription, MINUTE, running=False)
    (call,) = route.begin(request, 100, NOW)
    assert isinstance(call, Call)
    assert answered(route, call, Page(failed="no")) == [Note("candles: no"), Live("c")]


@pytest.mark.parametrize("running", [True, False])
@pytest.mark.parametrize("start", [START + 10**10, START * 1000, START // 1000, 0, -1])
def test_a_candle_of_another_time_or_unit_does_not_silence_the_ones_after_it(running: bool, start: int) -> None:
    route = made(None, running=running)
    route.begin(request, 100, NOW)
    odd = msgspec.structs.replace(bar(0), start=start)
    assert [emit.candle.start for emit in of(EmitCandle, route.live(odd, LATER))] == [start], "goes out to be counted"
    assert told(route.live(bar(0), LATER)) == [(0, False)]


def test_an_odd_candle_of_the_history_is_not_where_the_next_gap_begins() -> None:
    route, call = begun(-3, running=False)
    odd = msgspec.structs.replace(bar(0), start=START * 1000)
    outputs = answered(route, call, Page(bars=[bar(-2), odd, bar(-1)], ended=True))
    assert told(outputs) == [(-2, True), (-1, True)]


@pytest.mark.parametrize("figure", ["", "NaN", "Infinity", "0", "-1"])
@pytest.mark.parametrize("name", ["open", "high", "low", "close"])
def test_a_candle_without_a_figure_is_not_published(name: str, figure: str) -> None:
    route, call = begun(-3, running=True)
    odd = msgspec.structs.replace(bar(-1), **{name: figure})
    assert told(answered(route, call, Page(bars=[bar(-2), odd]))) == [(-2, True)]
    assert route.live(msgspec.structs.replace(bar(0), **{name: figure}), LATER) == []


def test_a_date_in_retry_after_is_waited_for() -> None:
    route, call = begun(-3, running=False)
    until = formatdate((NOW.wall_ms + 8_000) / 1000, usegmt=True)
    answered(route, call, Page(), Answer(429, {"retry-after": until}, b""))
    deadline = route.deadline()
    assert deadline is not None
    assert 6.9 <= deadline - NOW.mono <= 8.0
