"""Parts of a large collection: each member has its turn, and no part grows with the whole beyond its share."""

from __future__ import annotations

from connector.core.slices import LEAST, Slices


def test_a_small_collection_is_whole_in_each_look() -> None:
    slices: Slices[int] = Slices(10)
    few = range(LEAST)
    assert [slices.next(few) for _ in range(3)] == [list(few)] * 3


def test_a_large_one_is_gone_through_once_in_a_round() -> None:
    slices: Slices[int] = Slices(10)
    many = range(100_003)
    looks = [slices.next(many) for _ in range(10)]
    assert [member for look in looks for member in look] == list(many)
    assert max(map(len, looks)) == 10_001
    assert slices.next(many)[0] == 0


def test_who_joins_within_a_round_has_a_turn_in_the_next() -> None:
    slices: Slices[int] = Slices(2)
    members = dict.fromkeys(range(1_000))
    first = slices.next(members)
    members[5_000] = None
    second = slices.next(members)
    assert 5_000 not in first + second
    assert 5_000 in slices.next(members) + slices.next(members)


def test_nothing_has_no_parts() -> None:
    slices: Slices[int] = Slices(10)
    assert (slices.next([]), slices.next([]), slices.next([1])) == ([], [], [1])
