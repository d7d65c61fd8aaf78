"""How long what stands in Redis lives, and that a command which leaves something out does not erase it."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from connector.state.redis_state import KEEP_FENCE_MS
from tests.unit.connector.state.backing import LONG_S, NOW, want
from tests.unit.connector.state.test_redis_state import SECRETS, FakeBacking


@pytest.fixture
def backing() -> Iterator[FakeBacking]:
    backing = FakeBacking()
    yield backing
    backing.end()


def lives_ms(backing: FakeBacking, key: str) -> int:
    """How long a key still lives; -1 = for ever, -2 = it is not there."""
    return int(backing.client().pttl(f"t:{key}"))  # type: ignore[arg-type]


def about(found_ms: int, wanted_ms: float) -> bool:
    return wanted_ms - 10_000 < found_ms <= wanted_ms


def test_a_lease_and_its_last_number_live_as_long_as_they_should(backing: FakeBacking) -> None:
    state = backing.state()
    mine = state.claim(["a"], "w1", LONG_S)
    assert about(lives_ms(backing, "lease:a"), LONG_S * 1_000)
    assert about(lives_ms(backing, "fenced:a"), KEEP_FENCE_MS)
    state.renew(mine, "w1", 2 * LONG_S)
    assert about(lives_ms(backing, "lease:a"), 2 * LONG_S * 1_000)
    handed = state.hand_over("a", mine["a"], "w1", "w2", LONG_S)
    assert handed is not None
    assert about(lives_ms(backing, "lease:a"), LONG_S * 1_000)
    assert about(lives_ms(backing, "fenced:a"), KEEP_FENCE_MS)
    backing.flush()
    assert state.renew({"a": handed}, "w2", LONG_S) == set()
    assert about(lives_ms(backing, "lease:a"), LONG_S * 1_000)
    assert about(lives_ms(backing, "fenced:a"), KEEP_FENCE_MS)


def test_the_counter_of_numbers_never_ends_and_starts_at_the_clock(backing: FakeBacking) -> None:
    """Redis forgot it: whatever was handed out before was smaller."""
    before_us = time.time_ns() // 1_000
    fence = backing.state().claim(["a"], "w1", LONG_S)["a"]
    assert before_us - 1_000_000 < fence <= time.time_ns() // 1_000
    assert lives_ms(backing, "fence") == -1
    assert backing.state().claim(["b"], "w1", LONG_S)["b"] == fence + 1


def test_taking_back_raises_the_counter_only_if_it_is_behind(backing: FakeBacking) -> None:
    state = backing.state()
    mine = state.claim(["a", "b"], "w1", LONG_S)
    backing.flush()
    state.renew({"b": mine["b"]}, "w1", LONG_S)
    state.renew({"a": mine["a"]}, "w1", LONG_S)
    assert int(backing.client().get("t:fence")) == mine["b"]  # type: ignore[arg-type]


# --- credentials ---


def test_an_open_by_a_process_without_the_key_leaves_the_sealed_credentials(backing: FakeBacking) -> None:
    """Else nobody could start the stream after a restart."""
    backing.state().open("s1", "kraken", "u", SECRETS, NOW)

    backing.state(keys=None).open("s1", "kraken", "u", SECRETS, NOW)

    assert want(backing.state()).credentials == SECRETS
    assert want(backing.state()).count == 2
