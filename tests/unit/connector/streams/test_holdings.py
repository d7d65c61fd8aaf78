"""Positions of accounts on their way out: behind everything else, never the cause of a lost order; the last arrives."""

from __future__ import annotations

import json
from decimal import Decimal

import msgspec
import pytest

from connector.core.clock import Chance
from connector.core.messages import AccountMessage, PositionEvents
from connector.core.settings import Settings
from connector.sinks._redis_lanes import RedisLanes
from connector.streams.holdings import MAX_KNOWN, MAX_ON_WAY, Holdings
from connector.streams.options import engine_options
from connector.streams.pipeline import Pipeline
from connector.streams.positions import decode_position
from exchanges._adapter import Emit
from exchanges._positions import position
from exchanges.events import PositionUpdate
from tests.unit.connector.streams.test_lines import Sent
from tests.unit.connector.streams.test_tracker import report


def told(symbol: str, size: int, update_ms: int = 0) -> PositionUpdate:
    return position(symbol, quantity=Decimal(size), contracts=Decimal(size), event_ms=1_000 + size, update_ms=update_ms)


def snapshot(event: PositionUpdate) -> PositionUpdate:
    return msgspec.structs.replace(event, snapshot=True)


def opened(sink: Sent, positions: PositionEvents = "all", *, hold: bool = False) -> Pipeline:
    pipeline = Pipeline(sink, Chance(1), positions=positions)
    pipeline.lines.open("u1", "bybitLinear", None, hold=hold)
    return pipeline


def sizes(sink: Sent) -> list[tuple[str, str]]:
    bodies = [json.loads(m.body) for m in sink.messages if isinstance(m, AccountMessage)]
    return [(body["symbol"], body["quantity"]) for body in bodies if body["eventType"] == "positionUpdate"]


def test_a_position_goes_out_at_once_under_its_own_id() -> None:
    sink = Sent()
    pipeline = opened(sink)
    assert pipeline.account(Emit("u1", told("A", 2)), 0.0)
    (message,) = sink.messages
    assert isinstance(message, AccountMessage)
    assert message.event_type == "positionUpdate"
    assert message.event_id == f"bybitLinear:{told('A', 2).unique_message_id}"
    assert message.redis
    assert pipeline.lines.pending("u1") == 1


def test_the_same_state_of_two_connections_is_told_once_and_an_older_one_never() -> None:
    sink = Sent()
    pipeline = opened(sink)
    for event in (told("A", 2, 20), told("A", 2, 20), told("A", 1, 10), told("A", 3, 30)):
        pipeline.account(Emit("u1", event), 0.0)
    assert sizes(sink) == [("A", "2"), ("A", "3")]


def test_a_snapshot_is_told_again_also_without_a_change() -> None:
    sink = Sent()
    pipeline = opened(sink)
    pipeline.account(Emit("u1", told("A", 2, 20)), 0.0)
    pipeline.account(Emit("u1", snapshot(told("A", 2, 20))), 0.0)
    assert sizes(sink) == [("A", "2"), ("A", "2")]


def test_under_pressure_only_the_newest_of_each_waits_and_the_last_arrives() -> None:
    sink = Sent()
    pipeline = opened(sink)
    for size in range(1, MAX_ON_WAY + 11):
        pipeline.account(Emit("u1", told("A", size)), 0.0)
    pipeline.account(Emit("u1", told("B", 1)), 0.0)
    assert len(sink.messages) == MAX_ON_WAY
    pipeline.lines.send_waiting()
    assert sizes(sink)[MAX_ON_WAY:] == [("A", str(MAX_ON_WAY + 10)), ("B", "1")]


def test_confirmed_positions_make_room_for_the_next() -> None:
    sink = Sent()
    pipeline = opened(sink)
    for size in range(1, MAX_ON_WAY + 2):
        pipeline.account(Emit("u1", told("A", size)), 0.0)
    pipeline.confirmed([m for m in sink.messages[:2] if isinstance(m, AccountMessage)])
    pipeline.account(Emit("u1", told("B", 1)), 0.0)
    assert sizes(sink)[-2:] == [("A", str(MAX_ON_WAY + 1)), ("B", "1")]


def test_a_full_sink_keeps_the_position_and_the_session() -> None:
    sink = Sent()
    pipeline = opened(sink)
    sink.full = True
    assert pipeline.account(Emit("u1", told("A", 2)), 0.0)
    assert not pipeline.account(Emit("u1", report("NEW")), 0.0)
    sink.full = False
    pipeline.lines.send_waiting()
    assert sizes(sink)[-1] == ("A", "2")


def test_nothing_is_pressed_on_a_receiver_that_is_away() -> None:
    sink = Sent()
    pipeline = opened(sink)
    for size in range(1, MAX_ON_WAY + 2):
        pipeline.account(Emit("u1", told("A", size)), 0.0)
    sink.connected = False
    pipeline.lines.send_waiting()
    assert len(sink.messages) == MAX_ON_WAY


def test_a_stream_that_is_taken_over_tells_its_positions_behind_what_was_held_back() -> None:
    sink = Sent()
    pipeline = opened(sink, hold=True)
    pipeline.account(Emit("u1", told("A", 2)), 0.0)
    pipeline.account(Emit("u1", report("NEW")), 0.0)
    pipeline.lines.send_waiting()
    assert not sink.messages
    assert pipeline.lines.let_through("u1", None)
    kinds = [m.event_type for m in sink.messages if isinstance(m, AccountMessage)]
    assert kinds == ["executionReport", "positionUpdate"]


def test_an_update_that_giver_and_taker_saw_is_told_once() -> None:
    """Both have a session in the last second of a hand-over, and the newest state waited in the taker."""
    given, taken = Sent(), Sent()
    giver, taker = opened(given), opened(taken, hold=True)
    for pipeline in (giver, taker):
        pipeline.account(Emit("u1", told("A", 2, update_ms=7)), 0.0)
    taker.account(Emit("u1", told("B", 1, update_ms=8)), 0.0)
    giver.confirmed([message for message in given.messages if isinstance(message, AccountMessage)])
    last = giver.lines.last_word("u1", giver.lines.take("u1", 9), out=True, revoke=True)
    assert taker.lines.let_through("u1", decode_position(last))
    assert sizes(given) == [("A", "2")]
    assert sizes(taken) == [("B", "1")]


def test_nothing_of_a_closed_stream_follows() -> None:
    sink = Sent()
    pipeline = opened(sink)
    for size in range(1, MAX_ON_WAY + 2):
        pipeline.account(Emit("u1", told("A", size)), 0.0)
    pipeline.lines.fence("u1")
    before = len(sink.messages)
    pipeline.lines.send_waiting()
    assert len(sink.messages) == before


@pytest.mark.parametrize(("setting", "redis"), [("rabbitmq", False), ("all", True)])
def test_positions_go_to_redis_only_by_the_setting(setting: PositionEvents, redis: bool) -> None:
    sink = Sent()
    opened(sink, setting).account(Emit("u1", told("A", 2)), 0.0)
    (message,) = sink.messages
    lanes = RedisLanes(account_limit=10, candle_limit=10, service_limit=10, ticker_rows=10)
    lanes.add(message)
    assert bool(lanes.account) is redis
    assert lanes.queued() == int(redis)


def test_positions_can_be_turned_off() -> None:
    sink = Sent()
    opened(sink, "none").account(Emit("u1", told("A", 2)), 0.0)
    assert not sink.messages


def test_without_rabbitmq_nobody_takes_what_is_kept_from_redis() -> None:
    found = {
        value: engine_options(Settings.from_env({"SINKS": "redis", "POSITION_EVENTS": value}), "user").position_events
        for value in ("rabbitmq", "all", "none")
    }
    assert found == {"rabbitmq": "none", "all": "all", "none": "none"}
    assert engine_options(Settings.from_env({}), "user").position_events == "rabbitmq"


def test_what_is_held_stands_in_the_saved_position_and_in_the_next_resume() -> None:
    sink = Sent()
    pipeline = opened(sink)
    for event in (told("A", 2), told("B", 1), told("B", 0)):
        pipeline.account(Emit("u1", event), 0.0)
    pipeline.confirmed([m for m in sink.messages if isinstance(m, AccountMessage)])
    saved = pipeline.lines.dirty_positions(lambda _: 5_000, 5_000, 1_000)["u1"]
    position_of = decode_position(saved)
    assert position_of is not None
    assert position_of.holds == [("A", "BOTH")]
    other = Pipeline(Sent(), Chance(1))
    other.lines.open("u1", "bybitLinear", position_of)
    resume = other.lines.resume("u1", 5_000)
    assert resume is not None
    assert resume.holds == (("A", "BOTH"),)


def test_what_was_not_confirmed_is_not_saved_as_held() -> None:
    sink = Sent()
    pipeline = opened(sink)
    pipeline.account(Emit("u1", report("NEW")), 0.0)
    pipeline.confirmed([m for m in sink.messages if isinstance(m, AccountMessage)])
    pipeline.account(Emit("u1", told("A", 2)), 0.0)
    pipeline.lines._lines["u1"].live_until_ms = 4_000
    position_of = decode_position(pipeline.lines.dirty_positions(lambda _: 5_000, 5_000, 1_000)["u1"])
    assert position_of is not None
    assert position_of.holds == []


def test_the_memory_of_closed_positions_is_bounded() -> None:
    known = Holdings()
    for number in range(3 * MAX_KNOWN):
        known.admit(told(f"S{number}", 1))
        known.admit(told(f"S{number}", 0))
    known.admit(told("A", 1))
    assert len(known._told) <= MAX_KNOWN
    assert known.held() == [("A", "BOTH")]


def test_positions_never_push_balances_out_of_the_memory_of_ids() -> None:
    sink = Sent()
    pipeline = opened(sink)
    for size in range(1, 1_000):
        pipeline.account(Emit("u1", told("A", size)), 0.0)
    assert not pipeline.lines._lines["u1"].tracker._seen
