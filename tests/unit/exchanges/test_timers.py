"""Alarms, requests that wait, and pings."""

from __future__ import annotations

from exchanges._adapter import Fail, FailKind, Instant, Send
from exchanges._timers import Alarms, Heartbeat, Waiting, earliest


def at(mono: float) -> Instant:
    return Instant(mono, 0)


def test_alarms_go_off_in_their_order_and_once() -> None:
    alarms: Alarms[str] = Alarms()
    alarms.set("late", 30.0)
    alarms.set("early", 10.0)
    alarms.set("moved", 10.0)
    alarms.set("moved", 20.0)
    alarms.set("cleared", 5.0)
    alarms.clear("cleared")
    alarms.clear("unknown")
    assert alarms.deadline() == 10.0
    assert ("late" in alarms, alarms.at("moved"), alarms.at("cleared")) == (True, 20.0, None)
    assert alarms.due(at(20)) == ["early", "moved"]
    assert alarms.due(at(20)) == []
    assert alarms.deadline() == 30.0


def test_what_waits_is_taken_by_its_answer_or_by_its_deadline() -> None:
    waiting: Waiting[int, str] = Waiting()
    assert waiting.deadline() is None
    waiting.add(1, "one", 10.0)
    waiting.add(2, "two", 12.0)
    assert (waiting.take(1), waiting.take(1)) == ("one", None)
    assert (list(waiting), len(waiting), waiting.deadline()) == ([2], 1, 12.0)
    assert waiting.expired(at(11)) == []
    assert waiting.expired(at(12)) == ["two"]
    assert waiting.deadline() is None


def test_pings_keep_the_deadline_of_the_first_unanswered_one() -> None:
    beat = Heartbeat(20.0, 25.0, lambda: "ping")
    assert (beat.deadline(), beat.due(at(500))) == (None, [])
    beat.start(at(0))
    assert beat.due(at(19)) == []
    assert beat.due(at(20)) == [Send("ping", urgent=True)]
    assert beat.due(at(40)) == [Send("ping", urgent=True)]
    assert beat.deadline() == 45.0
    (fail,) = beat.due(at(45))
    assert isinstance(fail, Fail)
    assert (fail.kind, fail.stream_id) == (FailKind.TRANSIENT, None)
    assert beat.deadline() is None


def test_an_answer_keeps_the_connection_alive() -> None:
    beat = Heartbeat(20.0, 10.0, lambda: "ping")
    beat.start(at(0))
    beat.due(at(20))
    beat.heard()
    assert beat.deadline() == 40.0
    assert beat.due(at(40)) == [Send("ping", urgent=True)]


def test_the_first_of_several_deadlines() -> None:
    assert earliest(None, 3.0, 2.0, None) == 2.0
    assert earliest(None) is None
    assert earliest() is None
