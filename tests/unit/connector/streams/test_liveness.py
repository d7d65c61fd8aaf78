"""The opt-in guard that recreates accounts without events (contract 4.6)."""

from __future__ import annotations

from typing import cast

import pytest

from connector.streams.lifecycle import StreamState
from connector.streams.liveness import LivenessGuard, LivenessRules, due
from connector.streams.supervisor import Supervisor
from exchanges._adapter import Emit
from tests.unit.connector.streams.fakes import Bench, user
from tests.unit.connector.streams.test_tracker import report

RULES = LivenessRules()


def exchanges(stream_id: str) -> str | None:
    return {"p": "paperBybit", "q": "paperOkx", "r": "bybit"}.get(stream_id[0])


def test_only_silent_paper_accounts_are_recreated_the_most_silent_first() -> None:
    silent = {"p1": 1_300.0, "q1": 5_000.0, "p2": 1_199.0, "r1": 9_000.0, "x": 9_000.0}
    assert due(silent, exchanges, {}, 10_000.0, RULES) == ["q1", "p1"]


def test_live_accounts_too_when_it_is_said() -> None:
    rules = LivenessRules(paper_only=False)
    assert due({"p1": 1_300.0, "r1": 9_000.0}, exchanges, {}, 10_000.0, rules) == ["r1", "p1"]


def test_not_again_within_the_cooldown_and_not_too_many_at_once() -> None:
    silent = {f"p{number}": 2_000.0 + number for number in range(40)}
    first = due(silent, exchanges, {}, 10_000.0, RULES)
    assert first == [f"p{number}" for number in range(39, 24, -1)]
    recent = dict.fromkeys(first, 10_000.0)
    second = due(silent, exchanges, recent, 10_120.0, RULES)
    assert set(first) & set(second) == set()
    assert set(due(silent, exchanges, recent, 13_600.0, RULES)) == set(first)


def test_the_cooldown_is_never_shorter_than_the_silence() -> None:
    rules = LivenessRules(cooldown_s=10.0, stale_s=1_000.0)
    assert due({"p1": 2_000.0}, exchanges, {"p1": 9_500.0}, 10_000.0, rules) == []


class Guarded(Bench):
    def __init__(self) -> None:
        super().__init__()
        self.guard = LivenessGuard(RULES, cast(Supervisor, self.supervisor), self.pipeline, self.clock)

    def scan(self, seconds: float) -> None:
        self.advance(seconds)
        self.guard.scan()
        self.run()


@pytest.fixture
def bench() -> Guarded:
    return Guarded()


def test_a_silent_account_is_recreated_once_and_keeps_its_stream(bench: Guarded) -> None:
    bench.open_live(user("u1", exchange="paperBybit"))
    for _ in range(9):
        bench.scan(120)
    assert len(bench.placement.made) == 1
    bench.scan(240)
    bench.advance(1)
    assert len(bench.placement.made) == 2
    bench.live()
    assert bench.state_of() is StreamState.LIVE
    for _ in range(20):
        bench.scan(120)
    assert len(bench.placement.made) == 2, "not again within an hour"
    assert bench.sink.closed() == []


def test_an_account_with_events_is_left_alone(bench: Guarded) -> None:
    bench.open_live(user("u1", exchange="paperBybit"))
    for number in range(30):
        bench.pipeline.account(Emit("u1", report("PARTIALLY_FILLED", executed=str(number))), bench.clock.mono())
        bench.scan(120)
    assert len(bench.placement.made) == 1


def test_streams_that_are_not_live_are_not_judged(bench: Guarded) -> None:
    bench.want(user("u1", exchange="paperBybit"))
    bench.last.dialling = True
    for _ in range(30):
        bench.scan(120)
    assert len(bench.placement.made) == 1


def test_without_rules_it_does_nothing(bench: Guarded) -> None:
    LivenessGuard(None, cast(Supervisor, bench.supervisor), bench.pipeline, bench.clock).scan()


def test_it_forgets_what_it_recreated_long_ago(bench: Guarded) -> None:
    bench.open_live(user("u1", exchange="paperBybit"))
    bench.scan(1)
    bench.scan(1_300)
    assert bench.guard._recreated
    bench.unwant()
    bench.scan(4_000)
    assert bench.guard._recreated == {}
