"""An account that is blind is found by name, with the reason, since when and when it is tried again (review B1)."""

from __future__ import annotations

from typing import cast

import pytest

from connector.core.errors import StateUnavailable
from connector.state.memory_state import MemoryState
from connector.streams.session import Session
from connector.streams.stories import (
    BLIND,
    BLIND_KEEP_S,
    BLIND_LIMIT,
    ENDED,
    MARKETS,
    MARKETS_KEEP_S,
    NOTES_KEPT,
    STORY,
    Blind,
    Story,
    read_blind,
    read_markets,
    read_story,
)
from exchanges._adapter import Fail, FailKind, GapReport
from exchanges.credentials import credentials
from tests.unit.connector.streams.fakes import Bench, ticker, transient, user


def told(bench: Bench, state: MemoryState, stream_id: str = "u1") -> Story:
    bench.supervisor.stories.tell(state, "me")
    text = state.get(STORY + stream_id)
    assert text is not None
    return read_story(text)


def blind(state: MemoryState, owner: str = "me") -> tuple[Blind, ...]:
    text = state.get(BLIND + owner)
    return () if text is None else read_blind(text)


@pytest.fixture
def bench() -> Bench:
    return Bench()


@pytest.fixture
def state(bench: Bench) -> MemoryState:
    return MemoryState(bench.clock)


def test_a_stream_that_can_not_connect_says_why_since_when_and_when_it_is_tried(
    bench: Bench, state: MemoryState
) -> None:
    bench.want()
    began_ms = bench.clock.wall_ms()
    bench.run()
    for _ in range(3):
        bench.advance(1.0)
        bench.lost(fail=transient("no route to the venue"))
    story = told(bench, state)
    assert (story.state, story.reason, story.refusal) == ("waiting", "no route to the venue", "")
    assert story.since_ms == began_ms, "of being blind, not of the last try"
    assert story.next_try_ms > bench.clock.wall_ms()
    assert [row.stream_id for row in blind(state)] == ["u1"]
    (tried,) = [move for move in story.moves if move.reason]
    assert (tried.state, tried.times) == ("waiting", 3), "tries that end alike are one line"
    bench.advance(3)
    bench.live()
    story = told(bench, state)
    assert (story.state, story.reason, story.next_try_ms) == ("live", "", 0)
    assert story.since_ms > began_ms
    assert blind(state) == ()
    assert "no route to the venue" in [move.reason for move in story.moves], "what came before stays"


def test_a_refused_key_is_told_with_what_was_refused(bench: Bench, state: MemoryState) -> None:
    bench.want()
    bench.live()
    bench.refused(Fail(kind=FailKind.CREDENTIAL, reason="bybit 10003: invalid key", stream_id="u1"))
    for _ in range(3):
        bench.advance(120)
        if bench.placement.made and not bench.last.closed:
            bench.refused(Fail(kind=FailKind.CREDENTIAL, reason="bybit 10003: invalid key", stream_id="u1"))
    (row,) = blind_after(bench, state)
    assert (row.state, row.refusal) == ("cooling", "credential")


def blind_after(bench: Bench, state: MemoryState) -> tuple[Blind, ...]:
    bench.supervisor.stories.tell(state, "me")
    return blind(state)


def test_a_gap_is_part_of_the_story(bench: Bench, state: MemoryState) -> None:
    bench.want()
    bench.live()
    bench.lost()
    bench.advance(60)
    bench.live(gap=GapReport(from_ms=1_000, to_ms=2_000, missing=("balances: not asked",)))
    gap = told(bench, state).last_gap
    assert gap is not None
    assert (gap.from_ms, gap.to_ms, gap.missing) == (1_000, 2_000, ("balances: not asked",))


def test_a_closed_stream_is_told_as_ended_and_one_that_moved_is_left_to_its_owner(
    bench: Bench, state: MemoryState
) -> None:
    bench.want()
    bench.want(user("u2"))
    bench.live("u1")
    told(bench, state)
    bench.unwant("u1", last_holder=True, announce=True)
    bench.unwant("u2")
    assert told(bench, state).state == ENDED
    assert told(bench, state, "u2").state != ENDED
    assert blind(state) == ()


def test_what_the_state_could_not_take_is_written_the_next_time(bench: Bench, state: MemoryState) -> None:
    class Away(MemoryState):
        def put_all(self, texts: object, ttl_s: float) -> None:
            raise StateUnavailable("away")

    bench.want()
    bench.live()
    bench.supervisor.stories.tell(Away(bench.clock), "me")
    assert told(bench, state).state == "live"


def test_nothing_is_written_while_nothing_changes_and_a_flushed_state_hears_again(
    bench: Bench, state: MemoryState
) -> None:
    bench.want()
    bench.supervisor.stories.tell(state, "me")
    state.flush()
    bench.supervisor.stories.tell(state, "me")
    assert (state.get(STORY + "u1"), blind(state)) == (None, ())
    bench.clock.seconds += 11
    assert [row.stream_id for row in blind_after(bench, state)] == ["u1"]


def test_the_list_of_a_dead_process_runs_out(bench: Bench, state: MemoryState) -> None:
    bench.want()
    assert blind_after(bench, state)
    bench.clock.seconds += BLIND_KEEP_S + 1
    assert blind(state) == ()


def test_one_process_lists_a_bounded_number_of_streams(bench: Bench, state: MemoryState) -> None:
    for number in range(BLIND_LIMIT + 5):
        bench.want(user(f"u{number}"))
    assert len(blind_after(bench, state)) == BLIND_LIMIT


def test_what_an_adapter_notices_stays_with_the_stream(bench: Bench, state: MemoryState) -> None:
    """An account whose mode KuCoin does not tell was live and perhaps deaf, and only the log knew."""
    session = bench.open_live()
    for _ in range(3):
        bench.supervisor.noticed(cast(Session, session), "account mode not known, taken for classic")
        bench.advance(60)
    (note,) = told(bench, state).notes
    assert (note.reason, note.state, note.times) == ("account mode not known, taken for classic", "live", 3)
    assert [move.state for move in told(bench, state).moves if move.state not in {"waiting", "live"}] == []
    for number in range(NOTES_KEPT + 3):
        bench.supervisor.noticed(cast(Session, session), f"unknown kind {number}")
    bench.run()
    assert [one.reason for one in told(bench, state).notes][-1] == f"unknown kind {NOTES_KEPT + 2}"
    assert len(told(bench, state).notes) == NOTES_KEPT


# --- tickers and candles ---

MARKET = "ticker:bybit#0"


def names(state: MemoryState, owner: str = "me") -> list[str] | None:
    text = state.get(MARKETS + owner)
    return None if text is None else read_markets(text)


def test_a_live_price_stream_has_a_story_and_is_named(bench: Bench, state: MemoryState) -> None:
    bench.want(ticker())
    bench.live(MARKET)
    bench.lost(fail=transient("no route to the venue"))
    bench.advance(3)
    bench.live(MARKET)
    story = told(bench, state, MARKET)
    assert (story.state, story.feed, story.owner) == ("live", "ticker", "me")
    assert [move.state for move in story.moves][-3:] == ["live", "waiting", "live"]
    assert names(state) == [MARKET]


def test_the_names_of_price_streams_are_written_when_they_change_and_before_they_run_out(
    bench: Bench, state: MemoryState
) -> None:
    bench.supervisor.stories.tell(state, "me")
    assert names(state) is None, "a process with accounts names none"
    bench.want(ticker())
    bench.want(user())
    bench.supervisor.stories.tell(state, "me")
    assert names(state) == [MARKET]
    state.flush()
    for _ in range(int(MARKETS_KEEP_S)):
        bench.clock.seconds += 1
        bench.supervisor.stories.tell(state, "me")
    assert names(state) == [MARKET]
    bench.unwant(MARKET)
    bench.supervisor.stories.tell(state, "me")
    assert names(state) == []


def test_a_price_stream_that_was_given_away_is_left_to_whoever_tells_it(bench: Bench, state: MemoryState) -> None:
    bench.want(ticker())
    bench.live(MARKET)
    told(bench, state, MARKET)
    bench.unwant(MARKET)
    taker = Bench()
    taker.want(ticker())
    taker.live(MARKET)
    taker.supervisor.stories.tell(state, "other")
    story = told(bench, state, MARKET)
    assert (story.owner, story.state) == ("other", "live")
    taker.unwant(MARKET)
    taker.supervisor.stories.tell(state, "other")
    story = told(bench, state, MARKET)
    assert (story.owner, story.state) == ("other", ENDED), "nobody asks for it any more"


def test_no_reason_carries_a_secret(bench: Bench, state: MemoryState) -> None:
    credentials("AKstorycanary0123", "SKstorycanary98765")
    bench.want()
    bench.lost(fail=transient("refused: SKstorycanary98765"))
    story = told(bench, state)
    assert "refused" in story.reason
    assert "SKstorycanary98765" not in repr((story, blind(state)))


def test_streams_that_nobody_runs_are_listed_by_who_looked(bench: Bench, state: MemoryState) -> None:
    bench.supervisor.stories.tell(state, "me", ["lonely"])
    assert [(row.stream_id, row.state) for row in blind(state)] == [("lonely", "unowned")]
