"""Times as venues write them, and which of them can be true."""

from __future__ import annotations

from email.utils import formatdate

import pytest

from exchanges._plausible import AHEAD_MS, plausible, plausible_candle
from exchanges._times import retry_after_s

NOW_MS = 1_796_000_000_000
IN_20_S = formatdate(NOW_MS / 1000 + 20, usegmt=True)
DAY_MS = 86_400_000


@pytest.mark.parametrize(
    ("header", "wait_s"),
    [
        ("7", 7.0),
        (" 7 ", 7.0),
        ("0", 0.0),
        (IN_20_S, 20.0),
        ("Wed, 21 Oct 2015 07:28:00 GMT", 0.0),
        ("Wed, 21 Oct 2115 07:28:00 GMT", 86_400.0),
        ("99999999999999999999", 86_400.0),
        ("soon", None),
        ("", None),
        (None, None),
        ("-5", None),
        ("\uff17", None),
    ],
)
def test_retry_after_is_seconds_or_a_date(header: str | None, wait_s: float | None) -> None:
    assert retry_after_s(header, NOW_MS) == wait_s


def test_a_time_of_another_unit_or_of_the_future_is_not_plausible() -> None:
    assert plausible(NOW_MS, NOW_MS)
    assert plausible(NOW_MS + AHEAD_MS, NOW_MS)
    assert not plausible(NOW_MS + AHEAD_MS + 1, NOW_MS)
    for odd in (NOW_MS * 1000, NOW_MS // 1000, 0, -1, NOW_MS + 365 * DAY_MS):
        assert not plausible(odd, NOW_MS)


def test_a_candle_may_open_one_interval_ahead() -> None:
    assert plausible_candle(NOW_MS + DAY_MS, DAY_MS, NOW_MS)
    assert not plausible_candle(NOW_MS + DAY_MS + 1, DAY_MS, NOW_MS)
    assert plausible_candle(NOW_MS + AHEAD_MS, 1_000, NOW_MS)
