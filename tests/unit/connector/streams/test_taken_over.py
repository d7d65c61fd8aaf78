"""The taker of a hand-over: what it tells and when, what ends its waiting, and what it does when both sides meet."""

from __future__ import annotations

from typing import cast

import pytest

from connector.core.errors import StateUnavailable
from connector.streams.handover import (
    RELEASE_TIMEOUT_S,
    Handover,
)
from connector.streams.position_store import PositionStore
from connector.streams.supervisor import Supervisor
from tests.unit.connector.streams.handing import TTL_S, Desk


@pytest.fixture
def desk() -> Desk:
    return Desk()


def test_taking_opens_beside_the_giver_and_tells_when_it_is_live(desk: Desk) -> None:
    desk.supervisor.sick.add("u1")
    desk.say("take", giver="other", fence=7)
    assert (desk.leases.fence("u1"), desk.handover.taking("u1"), desk.told) == (7, True, [])
    assert desk.supervisor.held["u1"]
    desk.say("take", giver="other", fence=7)
    assert desk.told == [], "not yet"
    assert desk.supervisor.calls.count(("want", "u1")) == 1
    desk.handover.live("u1")
    assert desk.told == [("ready", {"id": "u1", "by": "me"})]
    desk.handover.live("u1")
    assert len(desk.told) == 1


def test_ready_is_repeated_to_a_giver_that_asks_again(desk: Desk) -> None:
    """The first one may have got lost."""
    desk.say("take", giver="other", fence=7)
    desk.handover.live("u1")
    desk.say("take", giver="other", fence=7)
    assert desk.kinds() == ["ready", "ready"]


def test_ready_is_repeated_by_itself_after_a_second(desk: Desk) -> None:
    desk.checked()
    desk.say("take", giver="other", fence=7)
    desk.handover.live("u1")
    desk.checked(0.9)
    assert desk.kinds() == ["ready"]
    desk.checked(0.1)
    desk.checked()
    assert desk.kinds() == ["ready"] * 3


def test_who_has_the_stream_already_says_so(desk: Desk) -> None:
    fence = desk.runs()
    desk.say("take", giver="other", fence=fence)
    assert desk.told == [("ready", {"id": "u1", "by": "me"})]
    assert not desk.handover.busy


def test_a_live_stream_that_nobody_gave_tells_nothing(desk: Desk) -> None:
    desk.runs()
    desk.handover.live("u1")
    assert desk.told == []


def test_the_last_word_of_the_giver_releases_what_was_held(desk: Desk) -> None:
    desk.say("take", giver="other", fence=7)
    desk.handover.live("u1")
    desk.say("released", seamless=False)
    assert ("release", "u1", True) in desk.supervisor.calls
    assert desk.supervisor.seams == [("u1", False)]
    assert not desk.handover.busy
    desk.say("released")
    assert desk.supervisor.seams == [("u1", False)], "a repeated word changes nothing"


def test_a_last_word_says_that_it_is_seamless_unless_told_otherwise(desk: Desk) -> None:
    desk.say("take", giver="other", fence=7)
    desk.handover.live("u1")
    desk.say("released")
    assert desk.supervisor.seams == [("u1", True)]


def test_a_position_that_can_not_be_read_makes_the_end_unclean(desk: Desk) -> None:
    desk.say("take", giver="other", fence=7)
    desk.handover.live("u1")
    desk.state.away = True
    desk.say("released", fence=7)
    assert ("release", "u1", False) in desk.supervisor.calls


def test_what_was_taken_is_kept_by_the_takers_heartbeat_once_the_giver_is_done(desk: Desk) -> None:
    """Until then it is kept by the giver's."""
    desk.checked()
    fence = desk.state.claim(["u1"], "other", 60.0)["u1"]
    taken = desk.state.hand_over("u1", fence, "other", "me", 60.0)
    assert taken is not None
    desk.say("take", giver="other", fence=taken)
    desk.handover.live("u1")
    desk.checked()
    assert desk.state.held("me") == set()
    desk.say("released", fence=taken)
    desk.checked()
    assert desk.state.held("me") == {"u1"}


def taken_back(desk: Desk) -> None:
    """This process was slow when its giver looked: it took the stream back, and this one was not told."""
    desk.checked()
    fence = desk.state.claim(["u1"], "me", 60.0)["u1"]
    desk.say("take", giver="other", fence=fence)
    desk.handover.live("u1")
    assert desk.state.hand_over("u1", fence, "me", "other", 60.0)


def test_a_taker_does_not_go_on_without_a_giver_that_took_the_stream_back(desk: Desk) -> None:
    """World 5187: the giver had given it to a third process since, and knew nothing of this one any more."""
    taken_back(desk)
    desk.say("released", seamless=False)
    assert desk.fenced == ["u1"]
    assert desk.supervisor.seams == []
    assert not desk.leases.holds("u1")


def test_a_taker_does_not_go_on_without_a_silent_giver_that_took_the_stream_back(desk: Desk) -> None:
    taken_back(desk)
    desk.leases.beat = lambda info: set()  # type: ignore[method-assign]  # whose next look at this lease is a minute off
    for _ in range(int(RELEASE_TIMEOUT_S) + 1):
        desk.checked()
    assert desk.fenced == ["u1"]
    assert desk.supervisor.seams == []


def test_a_taker_waits_while_the_state_can_not_say_whose_the_stream_is(desk: Desk) -> None:
    desk.say("take", giver="other", fence=7)
    desk.handover.live("u1")
    desk.state.away = True
    with pytest.raises(StateUnavailable):
        desk.say("released")
    assert desk.handover.taking("u1")
    desk.state.away = False
    desk.say("released")
    assert desk.supervisor.seams == [("u1", True)]


def test_a_giver_that_died_is_not_waited_for_though_the_taker_is_not_live(desk: Desk) -> None:
    desk.supervisor.sick.add("u1")
    desk.say("take", giver="other", fence=7)
    desk.alive = ["me"]
    for _ in range(int(TTL_S) + 1):
        desk.checked()
    assert ("release", "u1", False) in desk.supervisor.calls
    assert desk.supervisor.seams == [("u1", False)]
    assert not desk.handover.busy


def test_a_giver_that_is_silent_is_not_waited_for_longer_than_its_time(desk: Desk) -> None:
    desk.checked()
    desk.say("take", giver="other", fence=7)
    for _ in range(20):
        desk.checked()
    assert desk.supervisor.seams == [], "this process is not ready: the giver goes on"
    desk.handover.live("u1")
    for _ in range(int(RELEASE_TIMEOUT_S) - 1):
        desk.checked()
    assert desk.supervisor.seams == []
    desk.checked()
    assert desk.supervisor.seams == [("u1", False)]
    assert ("release", "u1", False) in desk.supervisor.calls


def test_what_can_not_be_opened_is_refused_and_given_up(desk: Desk) -> None:
    desk.starts = False
    desk.say("take", giver="other", fence=7)
    assert desk.told == [("refused", {"id": "u1", "full": False, "by": "me", "fence": 7})]
    assert not desk.leases.holds("u1")
    assert not desk.handover.busy


def test_what_can_not_be_opened_because_redis_is_away_is_not_refused(desk: Desk) -> None:
    """The giver offers it again."""
    desk.handover = Handover(
        desk.state, desk.leases, cast(Supervisor, desk.supervisor), desk.pipeline, desk.clock, desk.loop,
        lambda stream_id: bool(desk.state.wanted([stream_id])), PositionStore(desk.state, None),
        lambda: True, desk._fence,
    )  # fmt: skip
    desk.state.away = True
    desk.say("take", giver="other", fence=7)
    assert desk.told == []
    assert not desk.leases.holds("u1")
    assert not desk.handover.busy


# --- both at once ---


def test_a_stream_that_comes_back_before_it_left_leaves_first(desk: Desk) -> None:
    desk.runs()
    desk.handover.give("u1")
    (_, offer) = desk.told[0]
    desk.say("take", giver="other", fence=offer["fence"])
    assert desk.kinds() == ["take"], "that is an echo of our own offer"
    desk.say("take", giver="other", fence=offer["fence"] + 1)
    assert desk.kinds() == ["take", "released"]
    assert not desk.supervisor.has("u1")
    desk.say("take", giver="other", fence=offer["fence"] + 1)
    assert desk.handover.taking("u1")


def test_a_stream_that_is_closed_while_it_is_taken_is_told_to_the_giver(desk: Desk) -> None:
    desk.supervisor.sick.add("u1")
    desk.say("take", giver="other", fence=7)
    desk.handover.end("u1", over=True)
    assert desk.told == [("closed", {"id": "u1", "by": "me", "over": True})]
    assert not desk.handover.busy


def test_a_stream_that_is_closed_while_it_is_given_ends_here(desk: Desk) -> None:
    desk.runs()
    desk.handover.drain(lambda: desk.drained.append(True))
    desk.handover.end("u1")
    desk.passes(0.0)
    assert not desk.supervisor.has("u1")
    assert not desk.handover.busy
    assert desk.drained == [True]
    assert desk.kinds() == ["take"]


def test_the_taker_tells_that_the_stream_was_closed(desk: Desk) -> None:
    desk.runs()
    desk.handover.give("u1")
    desk.say("closed")
    assert not desk.supervisor.has("u1")
    assert not desk.handover.busy


def test_a_giver_does_not_close_what_is_taken_here(desk: Desk) -> None:
    desk.supervisor.sick.add("u1")
    desk.say("take", giver="other", fence=7)
    desk.say("closed")
    assert desk.handover.taking("u1")
    desk.say("closed", "unknown")
    desk.handover.end("unknown")


def test_a_stream_that_was_closed_can_be_offered_again(desk: Desk) -> None:
    desk.runs()
    desk.handover.give("u1")
    desk.say("refused")
    assert not desk.handover.givable("u1")
    desk.handover.end("u1")
    assert desk.handover.givable("u1")


def test_words_that_nobody_knows_change_nothing(desk: Desk) -> None:
    desk.runs()
    desk.say("shout")
    assert desk.told == []
    assert desk.leases.holds("u1")


def test_a_repeated_offer_with_another_number_opens_no_second_session(desk: Desk) -> None:
    desk.supervisor.sick.add("u1")
    desk.say("take", giver="other", fence=7)
    desk.say("take", giver="other", fence=9)
    assert desk.supervisor.calls.count(("want", "u1")) == 1
    assert desk.told == []
    assert desk.handover.taking("u1")


def test_a_refusal_of_what_is_taken_here_changes_nothing(desk: Desk) -> None:
    desk.supervisor.sick.add("u1")
    desk.say("take", giver="other", fence=7)
    desk.say("refused")
    assert desk.handover.taking("u1")
    assert desk.leases.fence("u1") == 7
