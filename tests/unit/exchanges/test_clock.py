"""The venue's clock: measured once after a refusal, then known to every connection of the family."""

from __future__ import annotations

import re
from pathlib import Path

import msgspec
import pytest

import exchanges
from exchanges._adapter import Answer, Call, ClockOffset, Instant, Send
from exchanges._clock import ClockCheck, VenueClock
from exchanges._venue import Setup
from tests.unit.exchanges.driver import of
from tests.unit.exchanges.every_venue import NOW, Drive, every_feed, load, setup, subscription

ACCOUNTS = [(name, exchange) for name, exchange, feed in every_feed() if feed == "user" and name != "paper"]


def measured(exchange: str, offsets: list[int]) -> Setup:
    """A setup whose family measured these offsets, one after the other."""
    return msgspec.structs.replace(setup(exchange), clock_offset_ms=lambda: offsets.pop(0))


def test_a_connection_follows_what_the_others_measured() -> None:
    clock = VenueClock(measured("okx", [250, 900]))
    assert clock.stamp(NOW) == NOW.wall_ms + 250
    assert clock.stamp(Instant(NOW.mono + 1, NOW.wall_ms + 1000)) == NOW.wall_ms + 1900


def test_a_step_of_our_clock_under_a_connection_moves_no_stamp() -> None:
    """Bug of nonces: a host that was set ahead and back was refused by Kraken for as long as it had been ahead."""
    clock = VenueClock(measured("kraken", [0, -120_000, 0]))
    stepped = Instant(NOW.mono + 1, NOW.wall_ms + 121_000)
    back = Instant(NOW.mono + 2, NOW.wall_ms + 2_000)
    assert [clock.stamp(now) - NOW.wall_ms for now in (NOW, stepped, back)] == [0, 1_000, 2_000]


def test_its_own_measurement_replaces_it_and_is_told() -> None:
    clock = VenueClock(measured("okx", [250]))
    assert clock.read(NOW.wall_ms - 7000, NOW) == ClockOffset(-7000)
    assert (clock.offset_ms, clock.stamp(NOW)) == (-7000, NOW.wall_ms - 7000)


def told(check: ClockCheck, venue_ms: object, now: Instant = NOW) -> ClockOffset | None:
    return check.told(Answer(200, {}, str(venue_ms).encode()), now)


def read(answer: Answer) -> int | None:
    return int(answer.body) if answer.body.isdigit() else None


TIME = Call(tag="time", method="GET", url="https://venue.example/time", pool="public")


def test_a_refusal_is_believed_when_the_time_was_asked_for_often_enough() -> None:
    check = ClockCheck(VenueClock(setup("okx")), TIME, read, tries=2)
    first, second = check.ask("login"), check.ask(("auth", "refused"))
    assert first == msgspec.structs.replace(TIME, context="login")
    assert second == msgspec.structs.replace(TIME, context=("auth", "refused"))
    assert check.ask() is None


def test_the_time_that_was_told_is_signed_with_and_what_tells_none_changes_nothing() -> None:
    clock = VenueClock(measured("okx", [250, 250]))
    check = ClockCheck(clock, TIME, read)
    assert told(check, "no time") is None
    assert clock.offset_ms == 250
    assert told(check, NOW.wall_ms + 40) == ClockOffset(40)
    assert clock.stamp(NOW) == NOW.wall_ms + 40


@pytest.mark.parametrize(("off_ms", "guilty"), [(999, False), (1_000, True), (-999, False), (-1_000, True)])
def test_a_stamp_that_was_hardly_wrong_is_not_the_reason(off_ms: int, guilty: bool) -> None:
    """Where a dead key and a wrong clock are refused in the same words."""
    clock = VenueClock(setup("coinbase"))
    check = ClockCheck(clock, TIME, read, skew_ms=1_000)
    clock.stamp(NOW)
    later = Instant(NOW.mono + 2.0, NOW.wall_ms + 2_000)
    assert (told(check, later.wall_ms + off_ms, later) is not None) is guilty
    assert clock.offset_ms == (off_ms if guilty else 0)


def signed(name: str, made: Setup, now: Instant) -> list[object]:
    """Everything that an account's connection sends up to the first answer that it needs."""
    drive = Drive(load(name).user(made), lambda call: Answer(0, {}, b"", "timeout"))
    drive.now = now
    drive.begin(subscription(made.exchange, "user"))
    calls = [(call.url, dict(call.headers)) for call in of(Call, drive.outputs)]
    return [*calls, *(send.text for send in of(Send, drive.outputs))]


@pytest.mark.parametrize(("name", "exchange"), ACCOUNTS, ids=[exchange for _, exchange in ACCOUNTS])
def test_a_new_connection_signs_with_the_measured_clock(name: str, exchange: str) -> None:
    late = Instant(NOW.mono, NOW.wall_ms - 90_000)
    assert signed(name, measured(exchange, [90_000] * 9), late) == signed(name, setup(exchange), NOW)


def test_no_adapter_keeps_the_time_of_an_input() -> None:
    """What was kept is old when the next input comes, and whoever forgets to renew it signs with it."""
    package = Path(exchanges.__path__[0])
    keeps = re.compile(r"^ *(\w+\.)+\w+(, [\w.]+)* = (.*, )?now$", re.MULTILINE)
    found = {str(path.relative_to(package)) for path in package.rglob("*.py") if keeps.search(path.read_text())}
    assert found == {"_repair.py"}  # when the gap began to be read
