"""Frames wait for the venue's message limit in their order, and nobody sends more than it takes."""

from __future__ import annotations

import math

from connector.streams.unsent import MAX_UNSENT, Unsent
from exchanges._venue import Rate


def test_more_frames_than_the_venue_takes_wait_until_the_oldest_no_longer_counts() -> None:
    unsent = Unsent(Rate(2, 10.0))
    for text in ("a", "b", "c"):
        assert unsent.add(text, urgent=False)
    assert [unsent.next(100.0), unsent.next(101.0), unsent.next(109.9)] == ["a", "b", None]
    assert unsent.next_due() == 110.0
    assert unsent.next(110.0) == "c"
    assert unsent.next_due() == math.inf


def test_an_urgent_frame_goes_out_first_and_counts_like_the_others() -> None:
    unsent = Unsent(Rate(1, 1.0))
    unsent.add("later", urgent=False)
    unsent.add("pong", urgent=True)
    assert [unsent.next(0.0), unsent.next(0.5), unsent.next(1.0)] == ["pong", None, "later"]


def test_so_many_frames_wait_at_most() -> None:
    unsent = Unsent(Rate(1, 1.0))
    assert all(unsent.add("x", urgent=False) for _ in range(MAX_UNSENT))
    assert not unsent.add("x", urgent=True)
