"""The pages in a real Chromium, in every state that they may show: what stands first, what can be read, what fits."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Iterator
from typing import Any, Final

import pytest

from harness import chromium
from harness.chromium import Chromium
from harness.pages import FORMS, STATES, served, stories

pytestmark = [
    pytest.mark.system,
    pytest.mark.skipif(not chromium.available(), reason="chromium is not installed (Debian: package chromium)"),
]

ANSWERS: Final = {
    "nothing": ("ok", "Ready: no streams are wanted"),
    "healthy": ("ok", "Ready: all 60 streams are live"),
    "exchange_down": ("bad", "14 of 62 streams are not live"),
    "redis_away": ("bad", "Not ready: redis: ConnectionError: Error 111"),
    "broker_away": ("bad", "Not ready: rabbitmq: not connected"),
    "full": ("bad", "Not ready: streams: 212 wanted accounts are run by nobody"),
    "barred": ("ok", "Ready: all 60 streams are live"),
    "crowd": ("bad", "40 of 5000 streams are not live"),
}
READABLE: Final = 4.5
"""Contrast of text to its background (WCAG 2.1, level AA)."""
CONTRAST: Final = """
(() => {
  const light = (text) => {
    const [r, g, b] = text.match(/[0-9.]+/g).slice(0, 3).map((c) => {
      const s = c / 255;
      return s <= 0.03928 ? s / 12.92 : ((s + 0.055) / 1.055) ** 2.4;
    });
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const ground = light(getComputedStyle(document.body).backgroundColor);
  const found = {};
  for (const one of document.querySelectorAll("p, a, td, th, h1, h2, span, figcaption, label")) {
    const ink = light(getComputedStyle(one).color);
    const ratio = (Math.max(ink, ground) + 0.05) / (Math.min(ink, ground) + 0.05);
    const kind = one.tagName + "." + one.className;
    found[kind] = Math.min(found[kind] ?? 99, ratio);
  }
  return found;
})()
"""
TOO_WIDE: Final = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
CUT: Final = """
[...document.querySelectorAll(".wide")].filter((one) => one.scrollWidth > one.clientWidth + 1)
  .map((one) => one.previousElementSibling.textContent)
"""
"""Titles of tables that one has to move sideways to read."""


@pytest.fixture(scope="module")
def browser() -> Iterator[Chromium]:
    with Chromium() as running:
        yield running


def looks_right(browser: Chromium, form: str) -> None:
    assert browser.value(TOO_WIDE) <= 0, "nothing sticks out"
    assert browser.value(CUT) == [], "nothing is cut off"
    pale = {kind: round(ratio, 2) for kind, ratio in browser.value(CONTRAST).items() if ratio < READABLE}
    assert pale == {}
    dark = browser.value("getComputedStyle(document.body).backgroundColor") == "rgb(22, 22, 22)"
    assert dark == bool(FORMS[form].get("dark"))


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("state", STATES)
def test_the_first_page_says_the_truth_first_and_can_be_read(browser: Chromium, state: str, form: str) -> None:
    kind, words = ANSWERS[state]
    with served(STATES[state]) as (url, _):
        browser.open(url, **FORMS[form])
        first = browser.value("(one => [one.className, one.textContent])(document.querySelector('.answer'))")
        assert first[0] == f"answer {kind}"
        assert first[1].startswith(words)
        assert browser.value("document.querySelector('.answer').getBoundingClientRect().bottom") < 250
        looks_right(browser, form)


@pytest.mark.parametrize("form", FORMS)
def test_search_and_stories_can_be_read_and_reached_with_the_keyboard(browser: Chromium, form: str) -> None:
    with served(stories) as (url, _):
        browser.open(f"{url}/streams?text=unknown-mode&not_live=false", **FORMS[form])
        looks_right(browser, form)
        link = browser.value("document.querySelector('td a').href")
        assert link == f"{url}/streams/kucoin-of-unknown-mode"
        assert browser.value("[...document.querySelectorAll('input, a')].every(one => one.tabIndex >= 0)")
        browser.open(link, **FORMS[form])
        assert browser.value("document.querySelector('.answer').textContent").startswith("Live, but not all")
        assert "account mode not known" in browser.value("document.body.innerText")
        looks_right(browser, form)


def test_an_exchange_that_is_down_stands_above_its_accounts(browser: Chromium) -> None:
    """Below fifty rows of one reason nobody found out that it was all of Binance."""
    with served(STATES["exchange_down"]) as (url, _):
        browser.open(url)
        titles = browser.value("[...document.querySelectorAll('h2')].map(one => one.textContent)")
        assert titles.index("Streams") < titles.index("Not live")
        rows: list[list[Any]] = browser.value(
            "[...document.querySelectorAll('table')[0].rows].map(r => [r.className, ...[...r.cells].map(c => c.innerText)])"
        )
        assert rows[0] == ["", "exchange", "wanted", "live", "waiting", "cooling"]
        assert ["bad", "binance", "6", "", "6", ""] in rows
        assert ["", "okx", "16", "16", "", ""] in rows


def test_the_last_hour_counts_what_nobody_runs(browser: Chromium) -> None:
    """It said 0 not live below "212 of 272 streams are not live"."""
    with served(STATES["full"]) as (url, _):
        browser.open(url)
        assert "not live 212" in browser.value("document.querySelectorAll('figcaption')[1].textContent")
        with urllib.request.urlopen(f"{url}/streams.json", timeout=10) as answer:
            rows = json.loads(answer.read())["rows"]
        assert len(rows) == 212
        assert {row["told"]["exchange"] for row in rows} == {"okx"}


def test_a_ban_stands_near_the_top_with_its_end_and_what_to_do(browser: Chromium) -> None:
    """Openings of one exchange waited for two hours, and no page said why or until when."""
    with served(STATES["barred"]) as (url, _):
        browser.open(url)
        lines = browser.value("[...document.querySelectorAll('p.doubt')].map(one => one.textContent)")
        assert [line.split(" until ")[0] for line in lines[:2]] == [
            "binance takes no requests (spot) from this host's own address",
            "kucoin takes no connections from address exit-2.example:8080",
        ]
        assert "(in 2 h): HTTP 418 with Retry-After. Live streams go on, " in lines[0]
        rows = browser.value("[...document.querySelectorAll('tr.bad')].map(one => one.cells[0].innerText)")
        assert sorted(rows) == ["binance", "kucoin", "kucoin"]


def test_the_page_renews_itself(browser: Chromium) -> None:
    with served(STATES["healthy"]) as (url, _):
        browser.open(url)
        assert browser.value("document.querySelector('meta[http-equiv=refresh]').content") == "5"
        assert browser.value("document.scripts.length") == 0
