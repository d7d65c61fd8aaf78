"""A place in a lane is used once: what runs, ran or was given up can't start again."""

from __future__ import annotations

import pytest

from tasks.lanes import Lanes, Ticket


def test_a_job_that_gave_up_is_dropped_and_can_not_run_again() -> None:
    lanes, ran = Lanes(), list[str]()
    ticket = lanes.ticket("a")
    ticket.run(lambda: bool(ran.append("1")))  # None: gives up
    assert ticket.dropped
    assert ticket.brought
    ticket.run(lambda: not ran.append("again"))
    assert ran == ["1"]


def test_a_job_that_is_done_is_not_dropped_and_can_not_run_again() -> None:
    lanes, ran = Lanes(), list[str]()
    ticket = lanes.ticket("a")
    ticket.run(lambda: not ran.append("1"))
    assert not ticket.dropped
    assert ticket.brought
    ticket.run(lambda: not ran.append("again"))
    ticket.drop()
    assert (ran, ticket.dropped) == (["1"], False)


def test_a_place_that_was_dropped_never_runs() -> None:
    lanes, ran = Lanes(), list[str]()
    first, second = lanes.ticket("a"), lanes.ticket("a")
    first.drop()
    assert (first.dropped, second.dropped, len(lanes)) == (True, True, 0)
    first.run(lambda: not ran.append("1"))
    second.run(lambda: not ran.append("2"))
    assert ran == []


def test_what_was_dropped_stays_so_when_it_is_skipped() -> None:
    lanes = Lanes()
    ticket = lanes.ticket("a")
    ticket.drop()
    ticket.skip()
    assert ticket.dropped


def test_what_is_behind_a_job_that_gives_up_never_runs() -> None:
    lanes, ran = Lanes(), list[str]()
    first, parked, waiting = (lanes.ticket("a") for _ in range(3))
    parked.run(lambda: not ran.append("parked"))
    first.run(lambda: False)
    waiting.run(lambda: not ran.append("waiting"))
    assert ran == []
    assert parked.dropped
    assert waiting.dropped
    assert len(lanes) == 0


def test_a_parked_job_that_runs_is_left_alone() -> None:
    lanes, ran = Lanes(), list[str]()
    first, second, third = (lanes.ticket("a") for _ in range(3))

    def work() -> bool:
        ran.append("2")
        second.run(lambda: not ran.append("a second time"))
        second.skip()
        second.drop()
        third.run(lambda: not ran.append("3"))
        assert ran == ["2"], "the third waits for the second"
        return True

    second.run(work)
    first.run(lambda: True)
    assert ran == ["2", "3"]
    assert not second.dropped
    assert len(lanes) == 0


def test_a_first_job_that_runs_is_left_alone() -> None:
    lanes, ran = Lanes(), list[str]()
    first, second = lanes.ticket("a"), lanes.ticket("a")

    def work() -> bool:
        first.drop()
        first.skip()
        first.run(lambda: not ran.append("a second time"))
        second.run(lambda: not ran.append("2"))
        return not ran.append("1")

    first.run(work)
    assert ran == ["1", "2"]


def test_a_parked_place_can_be_dropped_with_what_is_behind_it() -> None:
    lanes, ran = Lanes(), list[str]()
    first, second, third = (lanes.ticket("a") for _ in range(3))
    second.run(lambda: not ran.append("2"))
    assert second.brought
    second.drop()
    third.run(lambda: not ran.append("3"))
    assert (second.dropped, third.dropped, first.dropped) == (True, True, False)
    first.run(lambda: not ran.append("1"))
    assert ran == ["1"]
    assert len(lanes) == 0


def test_a_skipped_place_is_over_and_not_dropped() -> None:
    lanes, ran = Lanes(), list[str]()
    first, second = lanes.ticket("a"), lanes.ticket("a")
    assert not first.brought
    second.run(lambda: not ran.append("2"))
    first.skip()
    assert (ran, first.brought, first.dropped) == (["2"], True, False)
    first.run(lambda: not ran.append("1"))
    assert ran == ["2"]
    assert len(lanes) == 0


def test_skipping_a_later_place_starts_nothing_early() -> None:
    lanes, ran = Lanes(), list[str]()
    first, second, third = (lanes.ticket("a") for _ in range(3))
    third.run(lambda: not ran.append("3"))
    second.skip()
    assert ran == []
    first.run(lambda: not ran.append("1"))
    assert ran == ["1", "3"]


@pytest.mark.parametrize("how", [Ticket.skip, Ticket.drop])
def test_places_without_a_lane_end_like_others(how: object) -> None:
    lanes, ran = Lanes(), list[str]()
    ticket = lanes.ticket(None)
    how(ticket)  # type: ignore[operator]
    ticket.run(lambda: not ran.append("1"))
    assert (ran, len(lanes)) == ([], 0)
    assert ticket.dropped == (how is Ticket.drop)


def test_the_first_of_several_errors_is_raised_and_all_jobs_run() -> None:
    lanes, ran = Lanes(), list[str]()
    first, second, third = (lanes.ticket("a") for _ in range(3))

    def fails(name: str) -> bool:
        ran.append(name)
        raise ValueError(name)

    second.run(lambda: fails("2"))
    third.run(lambda: not ran.append("3"))
    with pytest.raises(ValueError, match="1"):
        first.run(lambda: fails("1"))
    assert ran == ["1", "2", "3"]
    assert not first.dropped


def test_a_place_tells_where_it_stands() -> None:
    lanes = Lanes()
    ticket = lanes.ticket("a")
    assert repr(ticket) == "Ticket(1, waiting)"
    ticket.drop()
    assert repr(ticket) == "Ticket(1, dropped)"
