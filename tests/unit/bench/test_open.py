"""Which accounts the measurement of openings makes, and its one division."""

from __future__ import annotations

from collections import Counter

from bench.crowd import PASSPHRASE, accounts
from bench.open import PLACES, per_second


def test_accounts_are_spread_over_the_venues_in_turn() -> None:
    made = accounts(PLACES, 11)
    assert Counter(account.venue for account in made) == {
        place[0]: 3 if number < 1 else 2 for number, place in enumerate(PLACES)
    }
    assert len({(account.venue, account.key) for account in made}) == 11


def test_only_venues_with_a_passphrase_get_one() -> None:
    assert {account.venue for account in accounts(PLACES, 5) if account.passphrase} == PASSPHRASE


def test_a_rate_over_no_time_is_not_infinite() -> None:
    assert (per_second(500, 2.0), per_second(1, 0.0)) == (250.0, 0.0)
