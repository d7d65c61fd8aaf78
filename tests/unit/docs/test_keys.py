"""docs/keys.md says of each exchange what `connector check` says: every code of the tables, in the words of the code."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from connector.streams.advice import advice
from exchanges import key_advice, key_type_advice, venue_of, venues
from exchanges._adapter import FailKind

PAGE = (Path(__file__).parents[3] / "docs" / "keys.md").read_text()
SECTIONS = {
    heading.lower().removesuffix(" trading"): text
    for heading, text in re.findall(r"^## ([^\n]+)\n(.*?)(?=^## |\Z)", PAGE, re.MULTILINE | re.DOTALL)
}
"""The text below each heading, by venue."""
ROW = re.compile(r"^\| `([^`]+)` \| (.+) \|$", re.MULTILINE)


def test_every_exchange_has_a_section_and_a_row() -> None:
    assert set(SECTIONS) == set(venues())
    overview = PAGE.split("\n## ")[0]
    for heading in re.findall(r"^## ([^\n]+)", PAGE, re.MULTILINE):
        assert f"| [{heading}](#{heading.lower().replace(' ', '-')}) |" in overview


@pytest.mark.parametrize("venue", sorted(venues()))
def test_the_table_of_an_exchange_is_the_code_s(venue: str) -> None:
    rows = dict(ROW.findall(SECTIONS[venue]))
    assert set(key_advice(venue)) <= set(rows), "every code that has an advice"
    assert rows == {said: advice(venue, FailKind.CREDENTIAL, said) for said in rows}
    if key_type_advice(venue):
        assert key_type_advice(venue) in SECTIONS[venue]


@pytest.mark.parametrize("venue", sorted(set(venues()) - {"paper"}))
def test_every_id_of_an_exchange_is_named(venue: str) -> None:
    named = set(re.findall(r"`(\w+)`", SECTIONS[venue]))
    assert set(venues()[venue].exchanges) <= named


@pytest.mark.parametrize("venue", sorted(set(venues()) - {"paper"}))
def test_who_has_no_test_network_is_said(venue: str) -> None:
    """As the commands of the platform are refused or taken."""
    for exchange in venues()[venue].exchanges:
        found = venue_of(exchange)
        assert found is not None
        if found.sandbox_refusal(exchange) is None:
            assert "sandbox" in SECTIONS[venue], exchange
        else:
            assert re.search("no (sandbox|test network)", SECTIONS[venue], re.IGNORECASE), exchange
