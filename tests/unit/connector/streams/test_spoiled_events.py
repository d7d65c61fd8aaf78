"""What waited on disk for the broker and came back unreadable is read again at the venue, while its process lives."""

from __future__ import annotations

import pytest

from connector.streams.lifecycle import StreamState
from connector.streams.lines import OVERLAP_MS
from connector.streams.positions import decode_position, encode_position
from connector.streams.tracker import Position
from exchanges._adapter import Emit, GapReport, UserSubscription
from exchanges.events import BalanceUpdate
from tests.unit.connector.streams.fakes import Bench
from tests.unit.connector.streams.test_tracker import report

NEW, CANCELED = report("NEW"), report("CANCELED")


@pytest.fixture
def bench() -> Bench:
    return Bench()


def confirmed_until_now(bench: Bench) -> int:
    """A stream whose order is told, confirmed and saved. Returns the live time of its position."""
    bench.open_live()
    bench.pipeline.account(Emit("u1", NEW), 1.0)
    bench.pipeline.confirmed(bench.sink.account())
    return position_ms(bench)


def position_ms(bench: Bench) -> int:
    """The live time of the position that is saved now."""
    bench.last.last_byte_ms = bench.clock.wall_ms()
    positions = bench.pipeline.lines.dirty_positions(bench.supervisor.live_ms, bench.clock.wall_ms(), 0)
    position = decode_position(positions["u1"])
    assert position is not None
    return position.live_until_ms


def spoiled(bench: Bench, *streams: str) -> None:
    """The session has heard something up to the moment at which it shows."""
    bench.last.last_byte_ms = bench.clock.wall_ms()
    bench.supervisor.spoiled(streams)
    bench.advance(10)


def subscription(bench: Bench) -> UserSubscription:
    found = bench.placement.joins[-1][2]
    assert isinstance(found, UserSubscription)
    return found


def told(bench: Bench) -> list[str]:
    return [message.event_id for message in bench.sink.account()]


def test_an_order_whose_end_the_disk_spoiled_is_read_again_and_told(bench: Bench) -> None:
    """Its consumer heard of it only after the next start of the process."""
    since_ms = confirmed_until_now(bench)
    bench.advance(20)
    bench.pipeline.account(Emit("u1", CANCELED), 1.0)
    spoiled(bench, "u1")
    assert len(bench.placement.made) == 2
    resume = subscription(bench).resume
    assert resume is not None
    assert resume.since_ms == since_ms - OVERLAP_MS
    assert [order.status for order in resume.orders] == ["NEW"]
    bench.pipeline.account(Emit("u1", NEW, repaired=True), 1.0)
    bench.pipeline.account(Emit("u1", CANCELED, repaired=True), 1.0)
    assert told(bench) == ["bybit:BTCUSDT:7:NEW:0", "bybit:BTCUSDT:7:CANCELED:0", "bybit:BTCUSDT:7:CANCELED:0"]


def test_a_spoiled_event_does_not_hold_the_position_back_for_good(bench: Bench) -> None:
    """It stood where the disk had spoiled something until the process ended, and was written again every second."""
    since_ms = confirmed_until_now(bench)
    bench.pipeline.account(Emit("u1", CANCELED), 1.0)
    spoiled(bench, "u1")
    bench.pipeline.account(Emit("u1", CANCELED, repaired=True), 1.0)
    bench.live(gap=GapReport(from_ms=since_ms, to_ms=bench.clock.wall_ms()))
    assert position_ms(bench) == since_ms, "what was read again is not confirmed yet"
    bench.pipeline.confirmed(bench.sink.account()[-1:])
    assert position_ms(bench) == bench.clock.wall_ms() > since_ms


def test_a_position_that_is_saved_before_the_repair_does_not_pass_what_was_lost(bench: Bench) -> None:
    since_ms = confirmed_until_now(bench)
    bench.pipeline.account(Emit("u1", CANCELED), 1.0)
    bench.pipeline.account(Emit("u1", report("NEW", order="8")), 1.0)
    spoiled(bench, "u1")
    bench.pipeline.confirmed(bench.sink.account()[-1:])
    assert bench.pipeline.lines.pending("u1") == 0
    assert position_ms(bench) == since_ms


def test_a_change_of_a_balance_is_not_told_twice_because_something_else_was_spoiled(bench: Bench) -> None:
    confirmed_until_now(bench)
    deposit = BalanceUpdate(asset="USDT", balance_delta="5", clear_time=1, event_time=1, unique_message_id="d1")
    bench.pipeline.account(Emit("u1", deposit), 1.0)
    bench.pipeline.account(Emit("u1", CANCELED), 1.0)
    spoiled(bench, "u1")
    bench.pipeline.account(Emit("u1", deposit), 1.0)
    assert told(bench).count("bybit:d1") == 1


def test_a_stream_that_never_had_all_confirmed_is_read_from_where_it_began(bench: Bench) -> None:
    known = Position(live_until_ms=bench.clock.wall_ms() - 60_000)
    bench.want(position=encode_position(known))
    bench.live()
    bench.advance(20)
    bench.pipeline.account(Emit("u1", NEW), 1.0)
    spoiled(bench, "u1")
    resume = subscription(bench).resume
    assert resume is not None
    assert resume.since_ms == known.live_until_ms - OVERLAP_MS


def test_a_stream_without_any_past_is_read_since_it_was_live_first(bench: Bench) -> None:
    bench.open_live()
    live_ms = bench.clock.wall_ms()
    bench.advance(20)
    bench.pipeline.account(Emit("u1", NEW), 1.0)
    spoiled(bench, "u1")
    resume = subscription(bench).resume
    assert resume is not None
    assert resume.since_ms == live_ms - OVERLAP_MS


def test_a_stream_that_is_on_its_way_to_another_process_is_left_to_its_next_owner(bench: Bench) -> None:
    confirmed_until_now(bench)
    bench.pipeline.account(Emit("u1", CANCELED), 1.0)
    bench.supervisor.drain("u1")
    bench.run()
    spoiled(bench, "u1", "gone")
    assert bench.state_of() is StreamState.DRAINING
    assert bench.pipeline.lines.pending("u1") == 1
    assert len(bench.placement.made) == 1
