"""Announcements as a level: what is, compared with what was announced (contract 3.1; more: tests/unit/bug_rows)."""

from __future__ import annotations

import itertools

import msgspec
import pytest

from connector.core.clock import Chance
from connector.core.errors import StateUnavailable
from connector.core.ports import CandleKey, Role, Wanted, WorkerInfo
from connector.streams.announce import Announcer
from connector.streams.leases import Leases
from connector.streams.pipeline import Pipeline
from tests.unit.connector.streams.fakes import Clock, FakeSink, MoodyState, keys

TTL_S = 8.0
GRACE_S = 600.0
SEEDS = itertools.count()


class Office:
    """Processes of one role. One of them gets the commands: the first that lives."""

    def __init__(self, role: Role = "user") -> None:
        self.role: Role = role
        self.clock = Clock()
        self.state = MoodyState(self.clock)
        self.sink = FakeSink()
        self.sweeps = 0
        self.living: dict[str, Announcer] = {}
        self.lost = False

    def start(self, *owners: str, price_role: str = "all") -> None:
        for owner in owners:
            leases = Leases(self.state, owner, self.role, TTL_S)
            self._heartbeat(owner)
            self.living[owner] = Announcer(
                self.state, leases, Pipeline(self.sink, Chance(1)), self.clock, Chance(next(SEEDS)),
                price_role=price_role, rejoin_grace_s=GRACE_S, sweep=self._sweep, enabled=lambda exchange: exchange != "off",
            )  # fmt: skip

    def _heartbeat(self, owner: str) -> None:
        info = WorkerInfo(owner=owner, role=self.role, host="h", pid=1, started_ms=0, capacity=1, streams=0)
        self.state.heartbeat(info, TTL_S)

    def kill(self, *owners: str) -> None:
        for owner in owners:
            del self.living[owner]

    def end(self, owner: str) -> None:
        """An orderly stop."""
        self.state.retire(owner)
        self.living.pop(owner).lineage.conclude()

    def play(self, seconds: float, *, frozen: str = "") -> None:
        for _ in range(int(seconds)):
            running = [(owner, one) for owner, one in self.living.items() if owner != frozen]
            for owner, one in running:
                self._heartbeat(owner)
                one.lineage.beat()
            if running and running[0][1].look(lost=self.lost):
                self.lost = False
            self.clock.seconds += 1.0

    def _sweep(self) -> None:
        self.sweeps += 1

    @property
    def asked(self) -> int:
        return len(self.sink.services("restart"))


@pytest.fixture
def office() -> Office:
    return Office()


def wanted(name: str, epoch: int, *, exchange: str = "bybit") -> Wanted:
    """Of a stream whose key is not known here."""
    return Wanted(
        stream_id=name, exchange=exchange, user_id="owner", count=1, generation=0, digest="d", credentials=None, epoch=epoch
    )  # fmt: skip


def test_the_first_process_announces_at_once(office: Office) -> None:
    office.start("a")
    office.play(1)
    assert office.sink.services("restart") == [{"restart": "userStream"}]
    office.play(3_600)
    assert office.asked == 1


def test_processes_that_start_together_on_an_empty_state_announce_once(office: Office) -> None:
    office.start("a", "b", "c")
    office.play(30)
    assert office.asked == 1


@pytest.mark.parametrize("orderly", [False, True])
def test_all_processes_gone_and_come_back_three_times_announce_once_each(office: Office, orderly: bool) -> None:
    """`dramatiq workers.user` starts one process a core; a container is back long before the heartbeats have run out."""
    generations = [(f"a{number}", f"b{number}") for number in range(4)]
    lives = set()
    for number, owners in enumerate(generations):
        office.start(*owners)
        office.play(10)
        assert office.asked == number + 1
        lives |= {one.lineage.life for one in office.living.values()}
        office.play(20)
        for owner in owners:
            office.end(owner) if orderly else office.kill(owner)
    assert len(lives) == len(generations)
    assert office.asked == len(generations)


def test_a_start_after_an_orderly_end_need_not_wait_for_anything(office: Office) -> None:
    office.start("a")
    office.play(30)
    office.end("a")
    office.start("b")
    office.play(1)
    assert office.asked == 2


def test_a_rolling_restart_announces_nothing(office: Office) -> None:
    office.start("a", "b")
    office.play(30)
    for old, new in (("a", "c"), ("b", "d"), ("c", "e")):
        office.start(new)
        office.play(3)
        office.end(old)
    office.play(60)
    assert office.asked == 1


def test_a_rolling_restart_that_stops_the_old_process_within_a_second_announces_nothing(office: Office) -> None:
    office.start("a")
    office.play(30)
    office.start("b")
    office.play(1)
    office.end("a")
    office.play(60)
    assert office.asked == 1


def test_a_process_that_starts_right_after_a_flush_joins_those_whose_heartbeats_are_not_back_yet(
    office: Office,
) -> None:
    """It found itself alone, began a life of its own, and everybody was asked twice."""
    office.start("a")
    office.play(30)
    office.state.flush()
    living = office.living["a"]
    for _ in range(2):
        living.lineage.beat()
        living.look(lost=False)
    office.start("b")
    office.living["b"].lineage.beat()
    office.play(60)
    assert office.asked == 2


def test_a_process_that_ends_right_after_a_flush_does_not_end_the_life_of_the_others(office: Office) -> None:
    """Their heartbeats were not back yet: it took itself for the last one, and everybody was asked twice."""
    office.start("a", "b")
    office.play(30)
    office.state.flush()
    for owner in ("a", "b"):
        office.living[owner].lineage.beat()
    office.living["a"].look(lost=False)
    office.end("b")
    office.play(60)
    assert office.asked == 2
    office.end("a")
    office.start("c")
    office.play(1)
    assert office.asked == 3, "the last one of all still ends it"


def test_a_process_that_starts_when_redis_is_back_after_an_outage_joins_those_who_sat_it_out(office: Office) -> None:
    """Their heartbeats and their life had run out, and nobody was asked to do anything."""
    office.start("a")
    office.play(30)
    office.clock.seconds += 20
    office.start("b")
    office.living["b"].lineage.beat()
    office.play(60)
    assert office.asked == 1


def test_a_killed_process_beside_others_announces_nothing(office: Office) -> None:
    office.start("a", "b")
    office.play(30)
    office.kill("a")
    office.play(60)
    assert office.asked == 1


def test_a_process_that_stood_still_announces_nothing_when_it_goes_on(office: Office) -> None:
    office.start("a", "b")
    office.play(30)
    office.play(45, frozen="a")
    office.play(60)
    assert office.asked == 1


def test_a_process_whose_life_ran_out_while_it_stood_still_joins_the_next_one(office: Office) -> None:
    office.start("a")
    office.play(30)
    office.start("b")
    office.play(20, frozen="a")
    assert office.asked == 2, "nobody was alive"
    office.play(60)
    assert office.asked == 2


def test_a_state_that_forgot_everything_is_announced_although_the_announcer_lives(office: Office) -> None:
    office.start("a", "b")
    office.play(30)
    office.state.flush()
    office.play(10)
    assert office.asked == 2


def test_a_flush_together_with_a_crash_is_announced(office: Office) -> None:
    """E2: the survivors write back only what they hold; what the dead one held is known to nobody."""
    office.start("a", "b")
    office.play(30)
    office.state.flush()
    office.kill("a")
    office.start("c")
    office.play(10)
    assert office.asked == 2
    office.play(60)
    assert office.asked == 2


def test_lost_commands_are_asked_for_whoever_is_live(office: Office) -> None:
    office.start("a", "b")
    office.play(30)
    office.lost = True
    office.play(1)
    assert office.asked == 2
    office.play(60)
    assert office.asked == 2


def test_an_announcement_that_its_process_did_not_live_to_make_is_made_by_the_next(office: Office) -> None:
    office.start("a", "b")
    office.play(1)
    assert office.asked == 1
    office.kill("a")  # within the second in which nobody has written down that it is out
    office.play(30)
    assert office.asked == 2


def test_an_announcement_that_waited_for_the_broker_and_went_with_its_process_is_made_by_the_next(
    office: Office,
) -> None:
    office.start("a", "b")
    office.sink.connected = False
    office.play(20)
    assert office.asked == 1
    office.living["a"].settle()
    office.kill("a")
    office.play(5)
    assert office.asked == 2
    office.sink.connected = True
    office.play(30)
    assert office.asked == 2, "written down as made"


def test_two_that_find_the_same_difference_announce_once(office: Office) -> None:
    office.start("a", "b")
    office.play(30)
    first, second = office.living.values()
    text = office.state.get("announced:user")
    assert first.look(lost=True)
    assert office.state.get("announced:user") != text
    assert not office.state.swap("announced:user", text, "stale"), "who read the old one comes too late"
    assert not second.look(lost=False), "the other makes it"
    for _ in range(3):
        office.clock.seconds += 1.0
        made = second.look(lost=False)
    assert made, "it is due, and the other may have died"


def test_what_was_announced_just_before_the_commands_went_to_another_process_is_not_announced_again(
    office: Office,
) -> None:
    """W7: it was said and not yet written down as made, and the other one made it again within a second."""
    office.start("a", "b")
    office.play(30)
    former, next_one = office.living.values()
    assert former.look(lost=True)
    office.clock.seconds += 1.0
    assert not next_one.look(lost=False)
    former.settle()
    for _ in range(10):
        office.clock.seconds += 1.0
        next_one.look(lost=False)
    assert office.asked == 2


def test_who_comes_too_late_to_write_down_what_it_announced_leaves_that_to_the_process_that_makes_it_again(
    office: Office,
) -> None:
    """Else the one that has it now would find it made before it said anything."""
    office.start("a", "b")
    office.play(30)
    former, next_one = office.living.values()
    office.sink.connected = False
    assert former.look(lost=True)
    assert next_one.look(lost=True), "a queue that is new is waited for by nobody"
    text = office.state.get("announced:user")
    office.sink.connected = True
    former.settle()
    assert office.state.get("announced:user") == text
    next_one.settle()
    assert office.state.get("announced:user") != text


def test_keys_that_went_with_a_process_are_asked_for_each_time_and_within_ten_seconds(office: Office) -> None:
    """E8: without keys in the state, a process killed and back within the life of its heartbeat, twice."""
    office.start("a", "b")
    office.play(30)
    for number in range(2):
        epoch = office.state.begin_epoch(0) - 1
        office.state.remember(wanted(f"u{number}", epoch))
        office.play(10)
        assert office.asked == number + 2
        office.play(60)
        assert office.asked == number + 2, "who does not come back is not asked again and again"


def test_streams_that_run_or_are_switched_off_or_whose_keys_are_known_are_no_orphans(office: Office) -> None:
    office.start("a")
    office.play(30)
    office.state.open("known", "bybit", "owner", keys(), 0)
    epoch = office.state.wanted(["known"])["known"].epoch
    office.state.remember(wanted("runs", epoch))
    office.state.claim(["runs"], "u2", 3600.0)
    office.state.remember(wanted("off", epoch, exchange="off"))
    office.play(60)
    assert office.asked == 1


def test_a_stream_without_an_owner_for_a_moment_is_no_orphan(office: Office) -> None:
    office.start("a")
    office.play(30)
    office.state.open("known", "bybit", "owner", keys(), 0)
    office.state.remember(wanted("u", office.state.wanted(["known"])["known"].epoch))
    for _ in range(20):
        office.play(3)
        office.state.claim(["u"], "u2", 1.5)
        office.play(2)
    assert office.asked == 1


# --- the grace period ---


def test_what_nobody_asked_for_again_is_closed_after_the_grace_period(office: Office) -> None:
    for name in ("u1", "u2"):
        office.state.open(name, "bybit", "owner", keys(), 0)
    office.start("a")
    office.play(30)
    office.state.open("u1", "bybit", "owner", keys(), 0)
    office.play(GRACE_S - 60)
    assert office.state.wanted_ids() == {"u1", "u2"}
    office.play(40)
    assert office.state.wanted_ids() == {"u1"}
    assert office.state.wanted(["u1"])["u1"].count == 1
    assert office.sweeps == 1


def test_the_grace_period_does_not_end_with_its_process(office: Office) -> None:
    """E11: it was a job of the process that had announced."""
    office.state.open("u", "bybit", "owner", keys(), 0)
    office.start("a", "b")
    office.play(GRACE_S / 2)
    office.kill("a")
    office.play(GRACE_S / 2 - 30)
    assert office.state.wanted_ids() == {"u"}
    office.play(60)
    assert office.state.wanted_ids() == set()
    assert office.asked == 1


def test_the_grace_period_does_not_follow_the_wall_clock_nor_run_while_its_process_stands_still(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    """E11: a step of the clock ended it at once, and what was not asked for again yet lost its past."""
    office.state.open("u", "bybit", "owner", keys(), 0)
    office.start("a")
    office.play(30)
    monkeypatch.setattr(office.clock, "wall_ms", lambda: 2_000_000_000_000)
    office.play(30)
    office.clock.seconds += GRACE_S
    office.play(30)
    assert office.state.wanted_ids() == {"u"}
    office.play(GRACE_S)
    assert office.state.wanted_ids() == set()


def test_a_state_that_is_away_makes_the_caller_try_again(office: Office) -> None:
    office.start("a")
    office.living["a"].lineage.beat()
    announcer = office.living["a"]
    assert announcer.look(lost=True)
    office.state.away = True
    for call in (
        announcer.lineage.beat,
        announcer.lineage.conclude,
        announcer.settle,
        lambda: announcer.look(lost=True),
    ):
        with pytest.raises(StateUnavailable):
            call()
    assert office.asked == 1


def test_what_another_version_wrote_is_announced_again(office: Office) -> None:
    office.state.put("announced:user", "owner-of-an-old-version")
    office.start("a")
    office.play(30)
    assert office.asked == 1


def test_candles_that_nobody_asked_for_again_are_forgotten_after_the_grace_period() -> None:
    office = Office("price")
    old, again = (CandleKey("okx", f"{name}-USDT", "candle1H") for name in "AB")
    office.start("a")
    office.play(30)
    for key in (old, again):
        office.state.add_candle(key)
    office.kill("a")
    office.start("b")
    office.play(20)
    assert office.asked == 2
    office.state.add_candle(again)
    office.play(GRACE_S - 60)
    assert office.state.candles() == {old, again}
    office.play(90)
    assert office.state.candles() == {again}
    office.play(3_600)
    assert office.state.candles() == {again}


def test_candle_services_have_one_boot_id_and_a_life_of_their_own_beside_those_for_tickers() -> None:
    office = Office("price")
    office.start("p1", price_role="candle")
    office.play(30)
    ticker = WorkerInfo(
        owner="t", role="price", host="h", pid=1, started_ms=0, capacity=1, streams=0, feeds=("ticker",)
    )  # fmt: skip
    office.state.heartbeat(ticker, 3600.0)
    office.end("p1")
    office.start("p2", price_role="candle")
    office.play(1)
    boots = [body["bootId"] for body in office.sink.services("restart")]
    assert len(set(boots)) == 2
    text = office.state.get("announced:price")
    assert text is not None
    assert msgspec.json.decode(text)["id"] == boots[-1]
