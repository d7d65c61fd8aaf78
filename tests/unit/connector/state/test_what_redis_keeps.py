"""How long what stands in Redis lives, and that a command which leaves something out does not erase it."""

from __future__ import annotations

import time
from collections.abc import Iterator

import msgspec
import pytest

from connector.core.copies import Copy
from connector.state._ownership import KEEP_FENCE_MS
from connector.state.memory_state import NONCE_S
from connector.state.redis_state import KEEP_BUCKET_MS
from exchanges.credentials import credentials
from tests.unit.connector.state.backing import KEY, LONG_S, NOW, want
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
    return wanted_ms - 10_000 < found_ms <= wanted_ms + 1_000  # the script that blocks knows whole seconds only


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


@pytest.mark.parametrize("behind", [0, 1])
def test_marks_of_commands_without_an_id_end_after_ten_minutes_whatever_became_of_them(
    backing: FakeBacking, behind: int
) -> None:
    """What a copy left behind when its mark was taken back stood for good, and hid an equal command of much later."""
    state = backing.state()
    copy = Copy("body", "B", again=True)
    if behind:
        state.open("s1", "kraken", "u", KEY, NOW, nonce="a1", copy=Copy("body", "A", again=False, behind=behind))
    state.open("s1", "kraken", "u", KEY, NOW, nonce="b1", copy=copy)
    assert about(lives_ms(backing, "mark:body"), NONCE_S * 1_000)
    state.drop_marks([(copy, "b1")])
    assert about(lives_ms(backing, "mark:body"), NONCE_S * 1_000)


def test_of_marks_that_were_taken_back_nothing_is_left(backing: FakeBacking) -> None:
    state = backing.state()
    copy = Copy("body", "A", again=False, behind=3)
    state.open("s1", "kraken", "u", KEY, NOW, nonce="a1", copy=copy)
    state.drop_marks([(copy, "a1")])
    assert lives_ms(backing, "mark:body") == -2


# --- credentials ---


def test_an_open_by_a_process_without_the_key_leaves_the_sealed_credentials(backing: FakeBacking) -> None:
    """Else nobody could start the stream after a restart."""
    backing.state().open("s1", "kraken", "u", SECRETS, NOW)

    backing.state(keys=None).open("s1", "kraken", "u", SECRETS, NOW)

    assert want(backing.state()).credentials == SECRETS
    assert want(backing.state()).count == 2


# --- the counting of opens ---


def test_what_a_command_writes_stands_under_the_prefix_only(backing: FakeBacking) -> None:
    state = backing.state()
    state.begin_epoch(NOW)
    backing.flush()
    state.open("s1", "kraken", "u", SECRETS, NOW)
    state.remember(want(state))
    state.restart("s1")
    state.claim(["s1"], "w1", LONG_S)
    state.close("s1")
    keys: list[bytes] = backing.client().keys("*")  # type: ignore[assignment]
    assert [key for key in keys if not key.startswith(b"t:")] == []


def test_an_open_brings_back_the_epoch_that_redis_forgot(backing: FakeBacking) -> None:
    state = backing.state()
    epoch = state.begin_epoch(NOW)
    backing.flush()
    state.open("s1", "kraken", "u", SECRETS, NOW)
    assert int(backing.client().get("t:epoch")) == epoch  # type: ignore[arg-type]


def test_an_open_ends_the_memory_of_a_close(backing: FakeBacking) -> None:
    """Else an entry that Redis evicts later could not be remembered."""
    state = backing.state()
    state.open("s1", "kraken", "u", SECRETS, NOW)
    state.close("s1")
    state.open("s1", "kraken", "u", SECRETS, NOW)
    wanted = want(state)
    backing.client().delete("t:stream:s1")
    state.remember(wanted)
    assert want(state).count == 1


def test_a_process_without_the_key_remembers_no_empty_credentials(backing: FakeBacking) -> None:
    state = backing.state(keys=None)
    state.open("s1", "kraken", "u", SECRETS, NOW)
    wanted = want(state)
    backing.flush()
    state.remember(wanted)
    assert not backing.client().hexists("t:stream:s1", "sealed")


def test_new_material_takes_the_old_sealed_credentials_along(backing: FakeBacking) -> None:
    """Also when it comes from a process that can't seal: nobody may connect with the old key."""
    backing.state().open("s1", "kraken", "u", SECRETS, NOW)
    backing.state(keys=None).open("s1", "kraken", "u", KEY, NOW)
    found = want(backing.state())
    assert (found.digest, found.credentials) == (KEY.digest, None)


@pytest.mark.parametrize("option", ["keys_type", "okx_source", "bybit_host", "environment"])
def test_every_option_is_kept_when_another_sender_leaves_it_out(backing: FakeBacking, option: str) -> None:
    state = backing.state()
    state.open("s1", "kraken", "u", credentials("k", "s", **{option: "eu"}), NOW)  # type: ignore[arg-type]
    state.open("s1", "kraken", "u", credentials("k", "s"), NOW)
    found = want(backing.state()).credentials
    assert found is not None
    assert getattr(found, option) == "eu"
    state.open("s1", "kraken", "u", credentials("other", "s"), NOW)
    found = want(backing.state()).credentials
    assert found is not None
    assert getattr(found, option) is None


def test_a_generation_that_is_remembered_never_goes_back(backing: FakeBacking) -> None:
    """The count of subscribers has nothing to do with it."""
    state = backing.state()
    for _ in range(9):
        state.open("s1", "kraken", "u", SECRETS, NOW)
    old = want(state)
    for _ in range(3):
        state.restart("s1")
    state.remember(old)
    assert want(state).generation == 3
    backing.flush()
    state.open("s1", "kraken", "u", SECRETS, NOW)
    state.remember(msgspec.structs.replace(old, generation=5))
    assert want(state).generation == 5


# --- budgets ---


def test_a_bucket_lives_a_period_and_its_ban_longer_than_its_last_grant(backing: FakeBacking) -> None:
    now_ms = time.time_ns() // 1_000_000
    state = backing.state()
    state.take("b", 1, 10, 60.0, now_ms)
    assert about(lives_ms(backing, "bucket:b"), KEEP_BUCKET_MS + 60_000)
    state.take("ahead", 1, 10, 60.0, now_ms)
    state.take("ahead", 1, 10, 60.0, now_ms - 30_000)
    assert about(lives_ms(backing, "bucket:ahead"), KEEP_BUCKET_MS + 90_000)


def test_a_ban_lives_until_its_end(backing: FakeBacking) -> None:
    now_ms = time.time_ns() // 1_000_000
    state = backing.state()
    state.block("b", now_ms + 7_200_000)
    assert about(lives_ms(backing, "bucket:b"), KEEP_BUCKET_MS + 7_200_000)
    state.block("b", now_ms + 1_000)
    assert about(lives_ms(backing, "bucket:b"), KEEP_BUCKET_MS + 7_200_000), "a shorter ban takes nothing away"
