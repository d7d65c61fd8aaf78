from __future__ import annotations

from dataclasses import replace

from connector.streams.watchdog import FeedSilence, Stall, stalls


def feed(name: str, exchange: str, silent_s: float, *, feed: str = "ticker", had_data: bool = True) -> FeedSilence:
    return FeedSilence(name, exchange, "bybit", feed, silent_s, had_data, 50.0)  # type: ignore[arg-type]


def test_a_silent_family_is_judged_at_its_own_limit() -> None:
    assert stalls([feed("a", "bybit", 51.0), feed("b", "bybitLinear", 60.0)]) == [
        Stall("a", "bybit", "price", 51.0),
        Stall("b", "bybitLinear", "price", 60.0),
    ]


def test_a_market_beside_a_delivering_sibling_is_judged_at_180_s() -> None:
    assert stalls([feed("a", "bybit", 179.0), feed("b", "bybitLinear", 1.0)]) == []
    assert stalls([feed("a", "bybit", 181.0), feed("b", "bybitLinear", 1.0)]) == [Stall("a", "bybit", "price", 181.0)]


def test_one_silent_socket_of_a_market_is_found_while_the_others_deliver() -> None:
    """Bug B23."""
    assert stalls([feed("a", "bybit", 51.0), feed("b", "bybit", 1.0)]) == [Stall("a", "bybit", "price", 51.0)]


def test_tickers_do_not_hide_dead_candles() -> None:
    assert stalls([feed("c", "bybit", 51.0, feed="candle"), feed("t", "bybitLinear", 1.0)]) == [
        Stall("c", "bybit", "candle", 51.0)
    ]


def test_a_feed_that_never_delivered_is_a_connect_stall() -> None:
    assert stalls([feed("a", "bybit", 50.0, had_data=False)]) == [Stall("a", "bybit", "connect", 50.0)]


def test_a_market_of_two_thin_contracts_is_not_restarted_for_being_quiet() -> None:
    thin = [replace(feed(name, "bybit", 300.0), symbols=2) for name in "ab"]
    assert stalls(thin) == []
    assert stalls([replace(thin[0], symbols=5)]) == [Stall("a", "bybit", "price", 300.0)]
    assert stalls([replace(thin[0], silent_s=901.0)]) == [Stall("a", "bybit", "price", 901.0)], "but not for ever"
