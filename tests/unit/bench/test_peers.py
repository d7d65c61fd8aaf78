"""All read the same bytes, and who can't read a market has no figure there."""

from __future__ import annotations

import json

import pytest

from bench.peers import markdown, one, ratios
from bench.peers_feeds import BYTES, CCXT, CRYPTOFEED, EVENTS, FEEDS, frames, reader


@pytest.mark.parametrize("exchange", FEEDS)
def test_the_service_finds_a_ticker_for_each_symbol(exchange: str) -> None:
    read = reader(EVENTS, exchange, 7)
    assert read is not None
    assert read(frames(exchange, 7)) == 7


@pytest.mark.parametrize("exchange", FEEDS)
def test_frames_differ_in_their_symbols_only(exchange: str) -> None:
    first, *others = {raw.replace(b"COIN1", b"COIN0") for raw in frames(exchange, 2)}
    assert not others
    assert json.loads(first)


def test_cryptofeed_is_not_asked_for_a_channel_that_it_does_not_read() -> None:
    assert reader(CRYPTOFEED, "binance", 1) is None


def test_a_peer_that_is_not_installed_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    def gone(name: str) -> None:
        raise ImportError(name=name)

    monkeypatch.setattr("bench.peers_feeds.importlib.import_module", gone)
    with pytest.raises(Exception, match=r"pip install -e '\.\[peers\]'"):
        one(CCXT, 0.0)


def test_ratios_are_those_of_one_round() -> None:
    rounds = [
        {EVENTS: {"okx": 2.0}, BYTES: {"okx": 2.5}, CCXT: {"okx": 40.0}},
        {EVENTS: {"okx": 4.0}, BYTES: {"okx": 5.0}, CCXT: {"okx": 88.0}},
        {EVENTS: {"okx": 2.0}, BYTES: {"okx": 2.4}, CCXT: {"okx": 42.0}},
    ]
    rows = ratios(rounds)
    assert [(row["peer"], row["us"], row["ratio"]) for row in rows] == [
        (EVENTS, 2.0, 1.0), (BYTES, 2.5, 1.2), (CCXT, 42.0, 21.0)
    ]  # fmt: skip
    assert markdown(rows).splitlines()[-1] == "| okx | 2 µs (1) | 2.5 µs (1.2) | 42 µs (21) | – |"
