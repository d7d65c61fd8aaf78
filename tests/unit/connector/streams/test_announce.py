"""Announcements of the user role (those of the price role: tests/unit/bug_rows/test_announcements.py)."""

from __future__ import annotations

import pytest

from connector.core.clock import Chance
from connector.core.errors import StateUnavailable
from connector.core.ports import WorkerInfo
from connector.streams.announce import Announcer
from connector.streams.leases import Leases
from connector.streams.pipeline import Pipeline
from tests.unit.connector.streams.fakes import Clock, FakeSink, MoodyState, keys


class Office:
    def __init__(self) -> None:
        self.clock = Clock()
        self.state = MoodyState(self.clock)
        self.sink = FakeSink()
        self.sweeps = 0

    def announcer(self, owner: str) -> Announcer:
        """Of a process that is live."""
        self.state.heartbeat(self.info(owner), 12.0)
        return Announcer(
            self.state, Leases(self.state, owner, "user", 8.0), Pipeline(self.sink, Chance(1)), self.clock, Chance(1),
            price_role="all", rejoin_grace_s=600.0, sweep=self._sweep,
        )  # fmt: skip

    @staticmethod
    def info(owner: str) -> WorkerInfo:
        return WorkerInfo(owner=owner, role="user", host="h", pid=1, started_ms=0, capacity=1, streams=0)

    def _sweep(self) -> None:
        self.sweeps += 1

    def asked(self) -> int:
        return len(self.sink.services("restart"))


@pytest.fixture
def office() -> Office:
    return Office()


def test_the_first_process_announces(office: Office) -> None:
    assert office.announcer("a").user_started() is not None
    assert office.sink.services("restart") == [{"restart": "userStream"}]


def test_processes_that_start_together_on_an_empty_state_do_not_leave_it_to_each_other(office: Office) -> None:
    announcers = [office.announcer(name) for name in "abc"]
    epochs = [announcer.user_started() for announcer in announcers]
    assert sum(epoch is not None for epoch in epochs) == 1
    assert office.asked() == 1


def test_a_rolling_restart_announces_nothing(office: Office) -> None:
    office.announcer("a").user_started()
    assert office.announcer("b").user_started() is None
    office.state.retire("a")
    assert office.announcer("c").user_started() is None
    assert office.asked() == 1


def test_a_rolling_restart_whose_old_process_ends_before_the_new_one_gets_commands_announces_nothing(
    office: Office,
) -> None:
    old = office.announcer("a")
    old.user_started()
    old.price_started()
    new = office.announcer("b")
    new._leases.beat(office.info("b"))
    new.met()
    office.state.retire("a")
    office.sink.messages.clear()
    assert new.user_started() is None
    new.price_started()
    assert new.boot_id == old.boot_id
    assert office.sink.messages == []
    assert new.user_started(lost=True) is not None


def test_a_start_after_all_others_ended_announces(office: Office) -> None:
    office.announcer("a").user_started()
    office.state.retire("a")
    assert office.announcer("b").user_started() is not None
    assert office.asked() == 2


def test_a_process_that_joins_after_the_state_forgot_everything_announces(office: Office) -> None:
    first = office.announcer("a")
    first.user_started()
    office.state.flush()
    office.announcer("a")
    assert office.announcer("b").user_started() is not None


def test_what_nobody_asked_for_again_is_closed(office: Office) -> None:
    now_ms = office.clock.wall_ms()
    for name in ("u1", "u2"):
        office.state.open(name, "bybit", "owner", keys(), now_ms)
    announcer = office.announcer("a")
    epoch = announcer.user_started()
    assert epoch is not None
    office.state.open("u1", "bybit", "owner", keys(), now_ms)
    announcer.close_stale(epoch)
    assert office.state.wanted_ids() == {"u1"}
    assert office.sweeps == 1


def test_a_state_that_is_away_makes_the_caller_try_again(office: Office) -> None:
    announcer = office.announcer("a")
    office.state.away = True
    with pytest.raises(StateUnavailable):
        announcer.user_started()
    with pytest.raises(StateUnavailable):
        announcer.close_stale(1)
    assert office.asked() == 0
