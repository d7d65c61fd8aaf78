"""The giver of a hand-over: what it tells and when, which position it leaves, and how long it waits."""

from __future__ import annotations

import pytest

from connector.core.errors import StateUnavailable
from connector.core.ports import WorkerInfo
from connector.streams.handover import (
    CONFIRM_POLL_S,
    CONFIRM_TIMEOUT_S,
    LINGER_S,
    PAUSE_S,
    READY_TIMEOUT_S,
    TELL_AGAIN_S,
)
from connector.streams.position_store import POSITION_KEEP_S
from connector.streams.takers import REFUSED_FOR_S
from tests.unit.connector.streams.handing import TTL_S, Desk


@pytest.fixture
def desk() -> Desk:
    return Desk()


# --- giving ---


def test_giving_passes_the_lease_and_tells_its_number(desk: Desk) -> None:
    fence = desk.runs()
    desk.handover.give("u1")
    ((kind, message),) = desk.told
    assert (kind, message["id"], message["giver"]) == ("take", "u1", "me")
    assert message["fence"] > fence
    assert desk.state.owners(["u1"]) == {"u1": "other"}
    assert not desk.leases.holds("u1")
    assert desk.handover.giving("u1")
    assert not desk.handover.taking("u1")
    assert desk.handover.busy
    assert "u1" in desk.supervisor.draining
    assert desk.supervisor.has("u1")


def test_the_lease_of_an_offer_lives_as_long_as_its_giver(desk: Desk) -> None:
    desk.runs()
    desk.handover.give("u1")
    assert (desk.state.held("me"), desk.state.held("other")) == ({"u1"}, set())
    desk.clock.seconds += TTL_S + 1
    assert desk.state.bury("me") == [], "it is its taker's"
    assert desk.state.owners(["u1"]) == {"u1": "other"}
    assert desk.state.bury("other") == ["u1"]


def test_nothing_is_given_to_nobody_nor_what_is_not_ours(desk: Desk) -> None:
    desk.handover.give("u1")
    desk.runs()
    desk.draining = {"other"}
    desk.beat()
    desk.handover.give("u1")
    assert (desk.told, desk.handover.busy, desk.leases.holds("u1")) == ([], False, True)


def test_a_stream_that_is_on_its_way_is_not_given_again(desk: Desk) -> None:
    desk.runs()
    desk.handover.give("u1")
    assert not desk.handover.givable("u1")
    assert desk.handover.giving("u1")
    desk.handover.give("u1")
    assert desk.kinds() == ["take"]


def test_a_stream_that_is_being_taken_is_not_given_on(desk: Desk) -> None:
    desk.supervisor.sick.add("u1")
    desk.say("take", giver="other", fence=7)
    assert desk.handover.taking("u1")
    assert not desk.handover.givable("u1")
    desk.handover.give("u1")
    assert desk.told == []
    assert desk.leases.holds("u1")


def test_nothing_is_given_while_redis_is_away(desk: Desk) -> None:
    desk.runs()
    desk.state.away = True
    desk.handover.give("u1")
    assert (desk.told, desk.leases.holds("u1"), desk.handover.busy) == ([], True, False)


def test_a_lease_that_another_has_by_now_is_not_given(desk: Desk) -> None:
    desk.runs()
    desk.clock.seconds += TTL_S + 1
    desk.state.claim(["u1"], "third", 99)
    desk.handover.give("u1")
    assert desk.told == []
    assert not desk.handover.busy


def test_a_stream_without_a_live_session_is_let_go_at_once(desk: Desk) -> None:
    desk.supervisor.sick.add("u1")
    desk.runs()
    desk.handover.give("u1")
    assert [kind for kind, _ in desk.told] == ["take", "released"]
    assert desk.told[1][1] == {"id": "u1", "seamless": False, "clean": True, "fence": 2}
    assert not desk.supervisor.has("u1")
    assert not desk.handover.busy


def left(desk: Desk) -> list[bool]:
    """Whether the channel was told that nobody listens any more, each time that the stream ended here."""
    return [announce for kind, _, _, announce in (call for call in desk.supervisor.calls if call[0] == "unwant")]


@pytest.mark.parametrize("over", [True, False])
def test_who_publishes_last_says_that_an_account_is_closed(desk: Desk, over: bool) -> None:
    """W11: the taker closed it and took it out of `stream:lastEventTime`, and the giver put it in again with an event more.
    A taker that was fenced ends it, too, and somebody else goes on."""
    desk.runs()
    desk.handover.give("u1")
    desk.say("closed", by="other", over=over)
    assert left(desk) == [over]


def test_who_waits_for_its_last_events_says_so_after_them(desk: Desk) -> None:
    desk.runs()
    desk.publish()
    desk.handover.give("u1")
    desk.say("ready", by="other")
    desk.passes(LINGER_S)
    desk.say("closed", by="other", over=True)
    assert left(desk) == []
    desk.pipeline.confirmed(desk.sink.account())
    desk.passes(CONFIRM_POLL_S)
    assert left(desk) == [True]


def test_who_hears_of_a_close_after_everything_says_so_all_the_same(desk: Desk) -> None:
    desk.supervisor.sick.add("u1")
    desk.runs()
    desk.handover.give("u1")
    assert left(desk) == [False]
    desk.say("closed", by="other", over=False)
    assert left(desk) == [False]
    desk.say("closed", by="other", over=True)
    assert left(desk) == [False, True]
    desk.leases.accept("u1", 9)
    desk.say("closed", by="other", over=True)
    assert left(desk) == [False, True], "it runs here again"


@pytest.mark.parametrize("word", ["ready", "closed"])
def test_a_former_taker_does_not_speak_for_the_one_that_has_the_stream_now(desk: Desk, word: str) -> None:
    """It was slow, the stream was taken back and given to another one, and it does not know yet."""
    desk.runs()
    desk.handover.give("u1")
    desk.say(word, by="former")
    desk.passes(LINGER_S)
    assert desk.kinds() == ["take"]
    assert desk.handover.giving("u1")
    desk.say(word, by="other")
    desk.passes(LINGER_S)
    assert desk.kinds() == (["take", "released"] if word == "ready" else ["take"])
    assert not desk.handover.giving("u1")


def test_a_ready_taker_gets_the_stream_after_the_giver_lingered(desk: Desk) -> None:
    desk.runs()
    desk.publish()
    desk.handover.give("u1")
    desk.pipeline.confirmed(desk.sink.account())
    desk.say("ready", by="other")
    assert ("probe", "u1") in desk.supervisor.calls
    desk.passes(LINGER_S - 0.01)
    desk.publish("FILLED", "1")
    assert len(desk.sink.account()) == 2, "what was on its way comes nowhere else"
    assert desk.kinds() == ["take"]
    desk.pipeline.confirmed(desk.sink.account()[1:])
    desk.passes(0.02)
    assert desk.told[1:] == [("released", {"id": "u1", "seamless": True, "clean": True, "fence": 2})]
    assert desk.saved() == [("7", "FILLED")]
    assert not desk.supervisor.has("u1")
    assert not desk.handover.busy


def test_a_second_ready_neither_shortens_nor_prolongs(desk: Desk) -> None:
    desk.runs()
    desk.handover.give("u1")
    desk.say("ready", by="other")
    desk.passes(LINGER_S / 2)
    desk.say("ready", by="other")
    assert desk.kinds() == ["take"]
    desk.passes(LINGER_S / 2 + 0.02)
    assert desk.kinds() == ["take", "released"]


def test_a_taker_that_missed_the_last_word_is_told_again(desk: Desk) -> None:
    desk.say("ready", by="other")
    assert desk.told == [("released", {"id": "u1", "seamless": False})]
    desk.runs("u2")
    desk.say("ready", "u2", by="other")
    assert len(desk.told) == 1, "that one is ours"


def test_a_session_that_died_meanwhile_leaves_a_seam(desk: Desk) -> None:
    desk.runs()
    desk.handover.give("u1")
    desk.say("ready", by="other")
    desk.supervisor.sick.add("u1")
    desk.passes(LINGER_S + 0.02)
    assert desk.told[-1] == ("released", {"id": "u1", "seamless": False, "clean": True, "fence": 2})


def test_the_last_word_waits_for_confirmations(desk: Desk) -> None:
    desk.runs()
    desk.publish()
    desk.handover.give("u1")
    desk.say("ready", by="other")
    desk.passes(LINGER_S)
    assert desk.handover.giving("u1")
    desk.passes(CONFIRM_TIMEOUT_S - 0.5)
    assert desk.kinds() == ["take"]
    desk.pipeline.confirmed(desk.sink.account())
    desk.passes(0.02)
    assert desk.kinds() == ["take", "released"]
    assert desk.saved() == [("7", "NEW")]


def test_the_last_word_waits_for_the_slower_sink(desk: Desk) -> None:
    desk.runs()
    desk.handover.give("u1")
    desk.sink.slow = True
    desk.say("ready", by="other")
    desk.passes(LINGER_S + 1)
    assert desk.kinds() == ["take"]
    desk.sink.slow = False
    desk.passes(0.02)
    assert desk.kinds() == ["take", "released"]


def test_a_fill_that_the_slower_sink_never_got_is_told_again_by_the_taker(desk: Desk) -> None:
    """The position that was handed over knew it, and what Redis had not taken was revoked: nobody told Redis."""
    desk.runs()
    desk.publish()
    desk.pipeline.confirmed(desk.sink.account())
    before = desk.saved()
    desk.handover.give("u1")
    desk.sink.slow = True
    desk.say("ready", by="other")
    desk.passes(LINGER_S)
    desk.passes(CONFIRM_TIMEOUT_S + 0.1)
    assert desk.saved() == before
    assert desk.sink.revoked == ["u1"], "nothing of it comes behind what the taker tells"
    assert desk.told[-1] == ("released", {"id": "u1", "seamless": False, "clean": False, "fence": 2})


def test_confirmations_are_not_waited_for_for_ever(desk: Desk) -> None:
    desk.runs()
    desk.publish()
    desk.pipeline.confirmed(desk.sink.account())
    desk.pipeline.lines.dirty_positions(lambda _: desk.clock.wall_ms(), desk.clock.wall_ms(), 0)
    desk.publish("FILLED", "1")
    revoked: list[str] = []
    desk.sink.revoke = revoked.append  # type: ignore[attr-defined]
    desk.handover.give("u1")
    desk.say("ready", by="other")
    desk.passes(LINGER_S)
    desk.passes(CONFIRM_TIMEOUT_S + 0.02)
    assert desk.kinds() == ["take", "released"]
    assert desk.saved() == [("7", "NEW")], "the taker finds the rest by gap repair"
    assert revoked == ["u1"]


def test_a_position_is_kept_for_its_time(desk: Desk) -> None:
    desk.runs()
    desk.handover.give("u1")
    desk.say("ready", by="other")
    desk.passes(LINGER_S + 0.02)
    assert desk.saved() == []
    desk.clock.seconds += POSITION_KEEP_S - 10
    assert desk.saved() == []
    desk.clock.seconds += 20
    assert desk.saved() is None


def test_the_taker_is_told_though_the_position_could_not_be_saved(desk: Desk) -> None:
    def refuse(_positions: object, _keep_s: float, _owner: str) -> None:
        raise StateUnavailable("away")

    desk.runs()
    desk.handover.give("u1")
    desk.say("ready", by="other")
    desk.state.save_positions = refuse  # type: ignore[assignment]
    desk.passes(LINGER_S + 0.02)
    assert desk.kinds() == ["take", "released"]
    assert not desk.supervisor.has("u1")


# --- offers are repeated, and end ---


def test_an_offer_is_repeated_every_two_seconds(desk: Desk) -> None:
    desk.runs()
    desk.checked()
    desk.handover.give("u1")
    desk.checked(TELL_AGAIN_S - 0.1)
    assert desk.kinds() == ["take"]
    desk.checked(0.1)
    assert desk.kinds() == ["take", "take"]
    desk.checked(TELL_AGAIN_S - 0.1)
    assert desk.kinds() == ["take", "take"]
    assert len({message["fence"] for _, message in desk.told}) == 1


def test_an_offer_keeps_the_lease_alive_in_the_takers_name(desk: Desk) -> None:
    desk.runs()
    desk.handover.give("u1")
    for _ in range(int(3 * TTL_S)):
        desk.checked()
    assert desk.state.owners(["u1"]) == {"u1": "other"}
    assert desk.handover.giving("u1")


def test_a_taker_that_does_not_get_live_in_time_gets_the_stream_all_the_same(desk: Desk) -> None:
    desk.runs()
    desk.publish()
    desk.pipeline.confirmed(desk.sink.account())
    desk.handover.give("u1")
    for _ in range(int(READY_TIMEOUT_S) - 1):
        desk.checked()
    assert "released" not in desk.kinds()
    desk.checked()
    assert desk.told[-1] == ("released", {"id": "u1", "seamless": False, "clean": True, "fence": 2})
    assert desk.saved() == [("7", "NEW")]


def test_a_taker_that_died_loses_the_stream_again(desk: Desk) -> None:
    desk.runs()
    desk.handover.give("u1")
    (_, offer) = desk.told[0]
    desk.alive = ["me"]
    for _ in range(int(TTL_S) + 1):
        desk.checked()
    assert desk.leases.holds("u1")
    fence = desk.leases.fence("u1")
    assert fence is not None
    assert fence > offer["fence"]
    assert desk.state.owners(["u1"]) == {"u1": "me"}
    assert ("keep", "u1") in desk.supervisor.calls
    assert not desk.handover.busy
    assert "released" not in desk.kinds()


def test_a_taker_that_drains_loses_the_stream_again(desk: Desk) -> None:
    desk.runs()
    desk.handover.give("u1")
    desk.draining = {"other"}
    desk.checked()
    assert desk.leases.holds("u1")
    assert not desk.handover.busy


def test_a_taker_that_died_and_was_buried_loses_the_stream_again(desk: Desk) -> None:
    """Nobody else gets it meanwhile: the giver still publishes."""
    desk.runs()
    desk.handover.give("u1")
    desk.alive = ["me"]
    desk.passes(TTL_S)
    assert desk.state.bury("other") == []
    assert desk.state.claim(["u1"], "third", 99) == {}
    desk.checked()
    desk.checked()
    assert desk.leases.holds("u1")
    assert not desk.handover.busy


def test_what_a_third_process_has_is_let_go(desk: Desk) -> None:
    desk.runs()
    desk.handover.give("u1")
    desk.state.release({"u1": 2}, "other")
    assert desk.state.claim(["u1"], "third", 99)
    desk.checked(0.5)
    assert not desk.supervisor.has("u1")
    assert not desk.handover.busy
    assert desk.told[-1] == ("released", {"id": "u1", "seamless": False, "clean": True, "fence": 2})


def test_what_a_third_process_has_is_not_taken_back_from_a_dead_taker(desk: Desk) -> None:
    desk.runs()
    desk.handover.give("u1")
    desk.alive = ["me"]
    desk.state.release({"u1": 2}, "other")
    assert desk.state.claim(["u1"], "third", 99)
    desk.checked(0.5)
    assert not desk.leases.holds("u1")
    assert not desk.supervisor.has("u1")


def test_a_refused_stream_goes_on_here_and_is_not_offered_for_ten_minutes(desk: Desk) -> None:
    """Else it would be offered again at once, and again."""
    desk.runs()
    desk.handover.give("u1")
    desk.say("refused")
    assert desk.leases.holds("u1")
    assert ("keep", "u1") in desk.supervisor.calls
    assert not desk.handover.busy
    desk.handover.give("u1")
    desk.clock.seconds += REFUSED_FOR_S - 0.1
    assert not desk.handover.givable("u1")
    desk.clock.seconds += 0.1
    assert desk.handover.givable("u1")
    assert desk.handover.givable("u1")
    assert desk.kinds() == ["take"]


def test_a_refusal_that_comes_too_late_changes_nothing(desk: Desk) -> None:
    desk.say("refused")
    assert not desk.leases.holds("u1")
    assert desk.handover.givable("u1")


def test_while_nobody_knows_who_lives_nothing_is_decided(desk: Desk) -> None:
    desk.runs()
    desk.checked()
    desk.handover.give("u1")
    desk.state.away = True
    for _ in range(60):
        desk.passes(1.0)
        desk.leases.beat(
            WorkerInfo(owner="me", role="user", host="h", pid=1, started_ms=0, capacity=9, streams=0, draining=False)
        )
        desk.handover.check()
    assert desk.kinds() == ["take"]
    assert desk.handover.giving("u1")
    assert desk.supervisor.has("u1")


def test_time_in_which_nobody_could_answer_does_not_count(desk: Desk) -> None:
    desk.runs()
    desk.checked()
    desk.handover.give("u1")
    desk.clock.seconds += READY_TIMEOUT_S
    desk.checked(PAUSE_S)
    assert "released" not in desk.kinds()
    for _ in range(int(READY_TIMEOUT_S) - 1):
        desk.checked()
    assert "released" not in desk.kinds()
    desk.checked()
    desk.checked()
    assert "released" in desk.kinds()


# --- draining ---


def test_a_drain_gives_everything_and_ends_when_all_is_gone(desk: Desk) -> None:
    desk.runs("u1")
    desk.runs("u2")
    desk.handover.drain(lambda: desk.drained.append(True))
    assert desk.kinds() == ["take", "take"]
    for stream in ("u1", "u2"):
        assert desk.drained == []
        desk.say("ready", stream, by="other")
        desk.passes(LINGER_S + 0.02)
    assert desk.drained == [True]
    desk.checked()
    assert desk.drained == [True]


def test_a_drain_without_anybody_else_ends_at_once(desk: Desk) -> None:
    desk.alive = ["me"]
    desk.clock.seconds += TTL_S + 1
    desk.beat()
    desk.runs()
    desk.handover.drain(lambda: desk.drained.append(True))
    desk.passes(0.0)
    assert desk.drained == [True]
    assert desk.leases.holds("u1")


def test_a_drain_ends_with_what_everybody_refuses(desk: Desk) -> None:
    desk.runs()
    desk.handover.drain(lambda: desk.drained.append(True))
    desk.passes(0.0)
    assert desk.drained == []
    desk.say("refused")
    assert desk.drained == [True]


def test_a_drain_tries_again_what_redis_could_not_pass(desk: Desk) -> None:
    desk.runs()
    desk.state.away = True
    desk.handover.drain(lambda: desk.drained.append(True))
    desk.state.away = False
    desk.passes(0.0)
    assert (desk.told, desk.drained) == ([], [])
    desk.checked()
    assert desk.kinds() == ["take"]


def test_at_the_deadline_everything_is_let_go_with_its_position(desk: Desk) -> None:
    desk.runs()
    desk.publish()
    desk.pipeline.confirmed(desk.sink.account())
    desk.handover.give("u1")
    desk.handover.abandon()
    assert desk.told[-1] == ("released", {"id": "u1", "seamless": False, "clean": True, "fence": 2})
    assert desk.saved() == [("7", "NEW")]
    assert not desk.supervisor.has("u1")


def test_at_the_deadline_what_is_being_taken_stays(desk: Desk) -> None:
    desk.supervisor.sick.add("u1")
    desk.say("take", giver="other", fence=7)
    desk.handover.abandon()
    assert desk.handover.taking("u1")
    assert desk.told == []


def test_who_drains_takes_nothing(desk: Desk) -> None:
    desk.handover.drain(lambda: None)
    desk.say("take", giver="other", fence=7)
    assert (desk.told, desk.handover.busy, desk.leases.holds("u1")) == ([], False, False)


def test_a_taker_that_dies_while_the_last_word_waits_changes_nothing(desk: Desk) -> None:
    desk.runs()
    desk.publish()
    desk.handover.give("u1")
    desk.say("ready", by="other")
    desk.passes(LINGER_S)
    assert desk.handover.giving("u1")
    desk.alive = ["me"]
    desk.clock.seconds += TTL_S + 1
    desk.beat()
    desk.handover.check()
    assert desk.handover.giving("u1")
    desk.say("refused")
    assert not desk.leases.holds("u1"), "the last event is published: it is too late to go on here"
    desk.passes(0.0)
    assert not desk.handover.busy


def test_a_drain_is_not_over_while_a_stream_lingers(desk: Desk) -> None:
    desk.runs()
    desk.handover.drain(lambda: desk.drained.append(True))
    desk.say("ready", by="other")
    desk.checked(LINGER_S / 2)
    assert desk.handover.giving("u1")
    assert desk.drained == []
    desk.handover.abandon()
    desk.passes(0.0)
    assert desk.drained == [True]
    assert desk.kinds() == ["take", "released"]
