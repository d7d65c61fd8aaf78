"""The venue's clock: measured once after a refusal, then known to every connection of the family."""

from __future__ import annotations

import re
from pathlib import Path

import msgspec
import pytest

import exchanges
from exchanges._adapter import Answer, Call, ClockOffset, Instant, Send, Setup
from exchanges._clock import VenueClock
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
