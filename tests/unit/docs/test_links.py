"""Whoever reads a comment has what it points to: sections of the contract, pages of venues, rows of the bug table, files."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
DOCS = ROOT / "docs"
PACKAGES = ("bench", "cli", "connector", "exchanges", "harness", "simulator", "tasks", "tests", "workers")
CONTRACT = re.compile(r"\b[Cc]ontract (?:sections? )?(\d+(?:\.\d+)?)")
VENUE = re.compile(r"\bvenues/([a-z-]+)\.md(?:,? sections?)?((?:,? (?:and |to )?\d+)*)")
BUG = re.compile(r"\b[Bb]ugs? ((?:[A-Z]\d+(?:, | and | to )?)+)")
PAGE = re.compile(r"\bdocs/([\w/-]+\.md)")
LINK = re.compile(r"\]\((?!https?:)([^)#\s]+)(?:#[^)]*)?\)")
ABSENT = re.compile(r"\bvenue (?:file|page)s?\b|\bdesign (?:section )?\d|\bstyle\.md|\bfindings\b|\bplatform[- ]notes")
"""What stands on no page of this repository."""
ANCHOR = re.compile(r"\]\((?!https?:)([^)#\s]*)#([^)\s]+)\)")
SECTION = re.compile(r"\b[Ss]ections? \d")
OWNED = re.compile(r"\.md\b|\b[Cc]ontract\b|\bRFC\b|\bdocs/venues\b")
"""A line that says of which page its section is."""


def sources() -> Iterator[tuple[str, str]]:
    """Name and text of every module but this one, which names what must not be named."""
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            if path != Path(__file__):
                yield str(path.relative_to(ROOT)), path.read_text()


SOURCES = dict(sources())


def headings(page: Path) -> set[str]:
    """Numbers of the sections of a page."""
    return set(re.findall(r"^#+ (\d+(?:\.\d+)?)\b", page.read_text(), re.MULTILINE))


def bugs() -> set[str]:
    return set(re.findall(r"^\| ([A-Z]\d+) \|", (DOCS / "bugs.md").read_text(), re.MULTILINE))


def test_sections_of_the_contract_exist() -> None:
    known = headings(DOCS / "contract.md")
    named = {(number, name) for name, text in SOURCES.items() for number in CONTRACT.findall(text)}
    assert len(named) > 50
    assert not [one for one in named if one[0] not in known]


def test_pages_of_venues_and_their_sections_exist() -> None:
    missing = []
    for name, text in SOURCES.items():
        for venue, numbers in VENUE.findall(text):
            page = DOCS / "venues" / f"{venue}.md"
            if not page.exists() or set(re.findall(r"\d+", numbers)) - headings(page):
                missing.append((name, venue, numbers))
    assert not missing


def test_rows_of_the_bug_table_exist() -> None:
    known = bugs()
    named = {
        (bug, name)
        for name, text in SOURCES.items()
        for row in BUG.findall(text)
        for bug in re.findall(r"[A-Z]\d+", row)
    }
    assert not [one for one in named if one[0] not in known]


def test_files_that_comments_name_exist() -> None:
    assert not [(n, page) for n, text in SOURCES.items() for page in PAGE.findall(text) if not (DOCS / page).exists()]


def test_no_comment_points_to_a_page_that_the_reader_does_not_have() -> None:
    assert not [(name, found[0]) for name, text in SOURCES.items() if (found := ABSENT.search(text))]


@pytest.mark.parametrize("page", sorted(DOCS.rglob("*.md")), ids=lambda page: str(page.relative_to(DOCS)))
def test_links_between_pages_lead_somewhere(page: Path) -> None:
    broken = [link for link in LINK.findall(page.read_text()) if not (page.parent / link).exists()]
    assert not broken


def anchors(page: Path) -> set[str]:
    """What links to headings of a page may end in."""
    made = set()
    for heading in re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE):
        text = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).strip().lower()
        made.add(re.sub(r"[^\w\- ]", "", text).replace(" ", "-"))
    return made


@pytest.mark.parametrize("page", [*sorted(DOCS.rglob("*.md")), ROOT / "README.md", ROOT / "CONTRIBUTING.md"], ids=str)
def test_links_to_headings_find_them(page: Path) -> None:
    for target, anchor in ANCHOR.findall(page.read_text()):
        there = (page.parent / target).resolve() if target else page
        assert anchor in anchors(there), f"{target}#{anchor}"


def test_a_section_is_named_with_its_page() -> None:
    lines = [
        (name, line.strip()) for name, text in SOURCES.items() for line in text.splitlines() if SECTION.search(line)
    ]
    assert not [one for one in lines if not OWNED.search(one[1])]


@pytest.mark.parametrize("page", sorted((DOCS / "venues").glob("*.md")), ids=lambda page: page.stem)
def test_a_page_of_a_venue_says_where_it_comes_from_and_of_when_it_is(page: Path) -> None:
    head = page.read_text()[:3_000]
    assert re.search(r"\[[^\]]+\]\(https://", head), "no page of the venue with its address"
    assert re.search(r"20\d\d", head), "no date"
    assert "unverified" in head, "what can't be confirmed has no mark"
