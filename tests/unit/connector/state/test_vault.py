"""Sealed credentials: keys, rotation, and what error texts say."""

from __future__ import annotations

import traceback

import pytest
from cryptography.fernet import Fernet

from connector.core.errors import InvalidSetting
from connector.state.derived import derived_key, weakness
from connector.state.vault import Vault
from exchanges.credentials import credentials

A, B = (Fernet.generate_key().decode() for _ in range(2))


@pytest.mark.parametrize("passphrase", [None, "", "p – ü"])
def test_material_comes_back_as_it_was(passphrase: str | None) -> None:
    given = credentials("key", "-----BEGIN PRIVATE KEY-----\nabc\n-----END PRIVATE KEY-----", passphrase)
    vault = Vault([A])

    assert vault.open(vault.seal(given)) == given


def test_the_first_key_seals_and_every_key_opens() -> None:
    given = credentials("key", "secret")
    rotated = Vault.from_setting(f" {B} , {A},")
    assert rotated is not None

    assert rotated.open(Vault([A]).seal(given)) == given
    assert Vault([B]).open(rotated.seal(given)) == given
    assert Vault([A]).open(rotated.seal(given)) is None


@pytest.mark.parametrize(
    "sealed", [b"", b"garbage", Fernet(A).encrypt(b"not json"), Fernet(A).encrypt(b'{"key": 1}')], ids=range(4)
)
def test_what_is_no_sealed_material_opens_to_none(sealed: bytes) -> None:
    assert Vault([A]).open(sealed) is None


@pytest.mark.parametrize("text", [None, "", "  ", ",", " , "])
def test_an_empty_setting_is_no_vault(text: str | None) -> None:
    assert Vault.from_setting(text) is None


@pytest.mark.parametrize(
    "broken",
    ["short-canary", A[:-3] + "!!=", A + "canary", A[:20] + "$" + A[20:], "ключ-canary", A[:-2]],
    ids=["short", "foreign letters", "too long", "one letter slipped in", "not ASCII", "cut off"],
)
def test_a_broken_key_is_told_by_its_place_and_never_shown(broken: str) -> None:
    with pytest.raises(InvalidSetting, match="CREDENTIALS_KEYS: key 2 of 3") as caught:
        Vault.from_setting(f"{A},{broken},{B}")

    shown = "".join(traceback.format_exception(caught.value))
    assert broken not in shown
    assert A[:-3] not in shown


def test_a_list_without_keys_is_refused() -> None:
    with pytest.raises(InvalidSetting, match="CREDENTIALS_KEYS"):
        Vault([])


def test_a_vault_prints_nothing() -> None:
    assert A not in repr(Vault([A]))


# --- without a setting ---

GOOD = "Tr0ub4dor-and-three-more"
GIVEN = credentials("key", "secret", "phrase")


@pytest.mark.parametrize("setting", [None, "", " ", ","])
def test_without_a_setting_the_key_is_made_from_a_good_password(setting: str | None) -> None:
    """A default deployment of several processes kept all accounts in the one that read the commands."""
    one, other = Vault.from_setting(setting, GOOD), Vault.from_setting(setting, GOOD)
    assert one is not None
    assert other is not None
    assert other.open(one.seal(GIVEN)) == GIVEN
    changed = Vault.from_setting(setting, GOOD + "!")
    assert changed is not None
    assert changed.open(one.seal(GIVEN)) is None


@pytest.mark.parametrize(
    "weak",
    ["", "guest", "fifteen-letters", "a" * 40, "abcabcabcabcabcabc", "password12345678", "guest-guest-guest-1"],
)
def test_a_weak_password_makes_no_key(weak: str) -> None:
    assert weakness(weak) is not None
    assert Vault.from_setting(None, weak) is None


@pytest.mark.parametrize("text", ["none", "NONE", " none "])
def test_none_keeps_keys_in_memory_whatever_the_password(text: str) -> None:
    assert Vault.from_setting(text, GOOD) is None


def test_keys_that_are_set_for_the_first_time_still_open_what_the_password_sealed() -> None:
    before, after = Vault.from_setting(None, GOOD), Vault.from_setting(A, GOOD)
    assert before is not None
    assert after is not None
    assert after.open(before.seal(GIVEN)) == GIVEN
    assert before.open(after.seal(GIVEN)) is None, "the first of those that are set seals"


def test_the_key_of_a_password_is_the_same_in_every_version() -> None:
    """Another one would make every account's key unreadable with an update."""
    assert derived_key(GOOD) == "yznIYO8S6zKguZh68dNeoclll2hoOTAxGl8tqIR5F6o="
