"""Kinds of keys: found out once, remembered for the next connections, and told while the old ones still work."""

from __future__ import annotations

import logging
from typing import cast

import pytest

from connector.core.metrics import METRICS
from connector.streams.session import Session
from exchanges._adapter import KeyKind, UserSubscription
from tests.unit.connector.streams.fakes import Bench, user

DAY_S = 86_400.0


@pytest.fixture
def bench() -> Bench:
    return Bench()


def learn(bench: Bench, kind: str = "old", advice: str = "make a new key", warn_ms: int = 0) -> None:
    told = KeyKind(stream_id="u1", kind=kind, advice=advice, warn_ms=warn_ms)
    bench.supervisor.key_learnt(cast(Session, bench.last), told)
    bench.run()


def given(bench: Bench) -> str:
    """The kind that the newest session was started with."""
    subscription = bench.placement.joins[-1][2]
    assert isinstance(subscription, UserSubscription)
    return subscription.key_kind


def reconnect(bench: Bench) -> None:
    before = len(bench.placement.joins)
    bench.lost()
    bench.advance(120)
    assert len(bench.placement.joins) > before


def warnings(caplog: pytest.LogCaptureFixture) -> int:
    return sum("keys that the venue will refuse" in record.getMessage() for record in caplog.records)


def test_the_next_connection_starts_with_what_the_one_before_found_out(bench: Bench) -> None:
    bench.want()
    bench.live()
    assert given(bench) == ""
    learn(bench)
    reconnect(bench)
    assert given(bench) == "old"


def test_after_a_day_it_is_found_out_anew(bench: Bench) -> None:
    bench.want()
    bench.live()
    learn(bench)
    bench.advance(DAY_S)
    reconnect(bench)
    assert given(bench) == ""


def test_another_key_and_a_forced_restart_are_looked_at_anew(bench: Bench) -> None:
    bench.want()
    for spec in (user(key="2"), user(key="2", generation=1)):
        bench.live()
        learn(bench)
        bench.want(spec)
        bench.advance(5)
        assert given(bench) == ""


def test_old_kinds_are_counted_and_warned_of_once_a_day_from_the_date_on(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    bench.want()
    bench.live()
    learn(bench, warn_ms=bench.clock.wall_ms() + 3_600_000)
    keys = bench.supervisor.keys
    with caplog.at_level(logging.WARNING):
        keys.tell()
        assert warnings(caplog) == 0
        for _ in range(3):
            bench.advance(2 * 3600)
            keys.tell()
            keys.tell()
        days = warnings(caplog)
        assert 1 <= days <= 2
        bench.advance(DAY_S)
        keys.tell()
    assert warnings(caplog) == days + 1
    assert METRICS.value("old_keys", exchange="bybit") == 1
    assert keys.old() == {"bybit": 1}
    bench.unwant()
    keys.tell()
    assert keys.old() == {}
    assert b"old_keys" not in METRICS.dump()


def test_a_kind_that_stays_is_not_counted(bench: Bench) -> None:
    bench.want()
    bench.live()
    learn(bench, advice="")
    bench.supervisor.keys.tell()
    assert b"old_keys" not in METRICS.dump()
