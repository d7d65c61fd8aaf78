"""The book of topics: what is asked for, when, how often, and what its answers lead to."""

from __future__ import annotations

import itertools
from functools import partial

from hypothesis import given, settings
from hypothesis import strategies as st

from exchanges._adapter import Instant
from exchanges._topics import Request, Rules, TopicBook, chunks
from tests.unit.exchanges.driver import after

NOW = Instant(1000.0, 1_795_000_000_000)
at = partial(after, NOW)
RULES = Rules(batch=3, ack_s=5.0)


def book(rules: Rules = RULES) -> TopicBook[str]:
    ids = itertools.count(1)
    return TopicBook(lambda: f"r{next(ids)}", rules)


def begun(*topics: str, rules: Rules = RULES) -> tuple[TopicBook[str], list[Request[str]]]:
    """A book right after its connection came up, and its first frames."""
    made = book(rules)
    made.want(topics, NOW)
    made.begin(NOW)
    return made, made.pump(NOW)


def test_nothing_goes_out_before_the_venue_takes_it() -> None:
    made = book()
    made.want("abcd", NOW)
    assert (made.pump(NOW), made.deadline(), made.settled) == ([], None, False)
    made.begin(NOW)
    assert made.pump(NOW) == [Request("subscribe", "r1", ("a", "b", "c")), Request("subscribe", "r2", ("d",))]


def test_a_frame_or_a_single_topic_is_acknowledged_once() -> None:
    made, _ = begun(*"abcd")
    assert made.answered("r1") == ["a", "b", "c"]
    assert made.answered("r1") == []
    assert not made.settled
    assert made.acknowledged("d")
    assert not made.acknowledged("d")
    assert made.settled
    assert (made.confirmed, made.deadline()) == ({"a", "b", "c", "d"}, None)


def test_what_is_confirmed_is_not_asked_for_again() -> None:
    made, _ = begun("a")
    made.answered("r1")
    made.want(["a", "b"], NOW)
    assert made.pump(NOW) == [Request("subscribe", "r2", ("b",))]


def test_what_is_on_its_way_is_not_asked_for_again() -> None:
    made, _ = begun("a")
    made.want(["a", "b"], NOW)
    assert made.pump(NOW) == [Request("subscribe", "r2", ("b",))]
    assert made.refused("a")
    assert made.answered("r2") == ["b"]
    assert made.settled


def test_topics_that_come_and_go_within_a_moment_share_their_frames() -> None:
    made, _ = begun("a", rules=RULES._replace(gather_s=0.5))
    made.answered("r1")
    made.want(["b"], at(1))
    made.drop(["a"], at(1.2))
    made.want(["c"], at(1.4))
    assert made.pump(at(1.4)) == []
    assert made.deadline() == at(1.5).mono
    assert made.pump(at(1.5)) == [Request("unsubscribe", "r2", ("a",)), Request("subscribe", "r3", ("b", "c"))]


def test_what_is_dropped_before_it_was_asked_for_leaves_no_trace() -> None:
    made = book()
    made.want(["a"], NOW)
    made.drop(["a", "unknown"], NOW)
    made.begin(NOW)
    assert (made.pump(NOW), made.deadline(), made.settled) == ([], None, True)


def test_what_is_dropped_on_its_way_is_left_again_and_its_answer_ignored() -> None:
    made, _ = begun("a", "b")
    made.drop(["a"], NOW)
    assert made.pump(NOW) == [Request("unsubscribe", "r2", ("a",))]
    assert made.answered("r1") == ["b"]
    assert made.confirmed == {"b"}


def test_an_unanswered_frame_is_asked_again_until_it_is_given_up() -> None:
    made, _ = begun("a", "b", rules=RULES._replace(tries=2))
    made.acknowledged("b")
    assert made.deadline() == at(5).mono
    assert made.expired(at(4.9)) == []
    assert made.expired(at(5)) == []
    assert made.pump(at(5)) == [Request("subscribe", "r2", ("a",))]
    assert made.expired(at(10)) == ["a"]
    assert made.settled


def test_a_later_frame_may_take_longer_as_it_waits_for_those_before_it() -> None:
    made, _ = begun(*"abcdefg", rules=RULES._replace(pace_s=0.25))
    assert made.expired(at(5)) == ["a", "b", "c"]
    assert made.expired(at(5.25)) == ["d", "e", "f"]
    assert made.deadline() == at(5.5).mono


def test_only_so_many_frames_wait_for_an_answer_together() -> None:
    made, requests = begun(*"abcdefg", rules=RULES._replace(in_flight=2))
    assert [request.id for request in requests] == ["r1", "r2"]
    assert made.in_flight == ("r1", "r2")
    assert made.deadline() == at(5).mono
    made.answered("r1")
    assert made.pump(at(1)) == [Request("subscribe", "r3", ("g",))]


def test_frames_stay_within_the_allowance() -> None:
    made, requests = begun(*"abcdefghi", rules=RULES._replace(burst=2, refill_s=10.0))
    assert len(requests) == 2
    made.answered("r1")
    made.answered("r2")
    due = made.deadline()
    assert due == at(10).mono
    assert made.pump(at(9.9)) == []
    assert made.pump(Instant(due, NOW.wall_ms)) == [Request("subscribe", "r3", ("g", "h", "i"))]


def test_a_pause_holds_everything_and_repeats_what_was_turned_away() -> None:
    made, _ = begun("a")
    made.pause("r1", 2.0, NOW)
    made.want(["b"], at(1))
    assert made.pump(at(1)) == []
    assert made.deadline() == at(2).mono
    assert made.pump(at(2)) == [Request("subscribe", "r2", ("a", "b"))]


def test_a_named_bad_topic_costs_the_others_a_second_frame() -> None:
    made, _ = begun("a", "bad", "c")
    assert made.spoiled("r1", "bad") == ["bad"]
    assert made.pump(NOW) == [Request("subscribe", "r2", ("a", "c"))]


def test_an_unnamed_bad_topic_is_found_by_halving() -> None:
    made, pending = begun("a", "b", "bad", "d", rules=RULES._replace(batch=10))
    bad: list[str] = []
    for _ in range(20):
        if not pending:
            break
        request = pending.pop(0)
        bad += made.spoiled(request.id) if "bad" in request.topics else []
        if "bad" not in request.topics:
            made.answered(request.id)
        pending += made.pump(NOW)
    assert bad == ["bad"]
    assert made.confirmed == {"a", "b", "d"}
    assert made.settled


def test_one_refused_topic_leaves_the_others_of_its_frame_waiting() -> None:
    made, _ = begun("a", "b")
    assert made.only is None
    assert made.refused("a")
    assert not made.refused("a")
    assert made.only == "b"
    assert made.answered("r1") == ["b"]


def test_a_connection_that_starts_anew_knows_nothing() -> None:
    made, _ = begun("a", "b")
    made.acknowledged("a")
    made.forget()
    assert (made.settled, made.confirmed, made.pump(NOW)) == (True, set(), [])


def test_chunks_hold_everything_in_order() -> None:
    assert chunks("abcdefg", 3) == [("a", "b", "c"), ("d", "e", "f"), ("g",)]
    assert chunks([], 3) == []


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["want", "drop", "ack", "ack all", "refuse", "spoil", "name", "pause", "wait"]),
        st.sets(st.sampled_from("abcdefgh"), max_size=4),
    ),
    max_size=40,
)


@settings(max_examples=100, deadline=None)
@given(steps=STEPS)
def test_whatever_happens_every_wanted_topic_is_settled_in_the_end(steps: list[tuple[str, set[str]]]) -> None:
    """Nothing is lost or left hanging, and a deadline that has passed never stays due."""
    made = book(Rules(batch=3, ack_s=5.0, tries=2, gather_s=0.5, in_flight=3, burst=4, refill_s=3.0))
    made.begin(NOW)
    now, wanted, flying = NOW, set[str](), dict[str, tuple[str, ...]]()

    def pump() -> None:
        flying.update({request.id: request.topics for request in made.pump(now) if request.op == "subscribe"})

    def advance(seconds: float) -> None:
        nonlocal now
        now = after(now, seconds)
        wanted.difference_update(made.expired(now))
        pump()
        due = made.deadline()
        assert due is None or due > now.mono

    for kind, topics in steps:
        request_id = next(iter(made.in_flight), "")
        if kind == "want":
            wanted |= topics
            made.want(sorted(topics), now)
        elif kind == "drop":
            wanted -= topics
            made.drop(sorted(topics), now)
        elif kind == "ack":
            for topic in topics:
                made.acknowledged(topic)
        elif kind == "ack all":
            assert set(made.answered(request_id)) <= set(flying.get(request_id, ()))
        elif kind == "refuse":
            wanted -= {topic for topic in topics if made.refused(topic)}
        elif kind in ("spoil", "name"):
            wanted.difference_update(made.spoiled(request_id, min(topics, default=None) if kind == "name" else None))
        elif kind == "pause":
            made.pause(request_id, 2.0, now)
        else:
            advance(1.0)
        pump()
    for _ in range(200):
        due = made.deadline()
        if due is None:
            break
        advance(max(due - now.mono, 0.0))
        for request_id in made.in_flight:
            made.answered(request_id)
    assert made.settled
    assert made.confirmed == wanted
