"""What is special about KuCoin, with its simulated half on the other side: versions of an API, alter, blind spots of gaps."""

from __future__ import annotations

import pytest

from exchanges._adapter import Call, Note
from exchanges.events import ExecutionReport
from simulator.venues.kucoin import KuCoin
from tests.unit.exchanges.pair import Pair, Seat, assert_booked

UNIFIED = [Seat("kucoin", "unified"), Seat("kucoinLinear", "unified"), Seat("kucoinInverse", "unified")]
ALL = [Seat("kucoin"), Seat("kucoinLinear"), Seat("kucoinInverse"), *UNIFIED]


def half(pair: Pair) -> KuCoin:
    found = pair.hub.halves["kucoin"]
    assert isinstance(found, KuCoin)
    return found


def versions(pair: Pair) -> set[str]:
    return {call.url.split("/api/ua/v")[1][0] for call in pair.calls if "/api/ua/v" in call.url}


# --- unified accounts ---


@pytest.mark.parametrize("seat", UNIFIED, ids=str)
@pytest.mark.parametrize(("there", "used"), [({1, 2}, {"2"}), ({2}, {"2"}), ({1}, {"1", "2"})])
def test_a_unified_account_is_found_and_its_gap_read_at_whichever_version_there_is(
    seat: Seat, there: set[int], used: set[str]
) -> None:
    pair = Pair(seat)
    half(pair).state.versions = there
    pair.joined()
    order = pair.place("DBO1")
    pair.until(lambda: pair.status("DBO1") == "NEW")
    pair.drop()
    pair.fill(order)
    pair.t += 5
    pair.calls.clear()
    pair.again()
    assert_booked(pair, "DBO1", order)
    assert versions(pair) == used
    assert "path" not in pair.missing()


def test_an_account_whose_mode_no_version_tells_is_not_silently_taken_for_classic() -> None:
    pair = Pair(Seat("kucoin"))
    half(pair).state.versions = set()
    pair.joined()
    assert [note for note in pair.of(Note) if "neither version" in note.what]
    asked = len([call for call in pair.of(Call) if call.tag == "account mode"])
    pair.wait(700)
    assert len([call for call in pair.of(Call) if call.tag == "account mode"]) == asked + 2
    order = pair.place("DBO1")
    pair.fill(order)
    pair.until(lambda: pair.status("DBO1") == "FILLED")


@pytest.mark.parametrize("version", [2, 3])
def test_a_key_that_takes_one_version_of_signing_only_is_not_called_bad(version: int) -> None:
    for seat in (Seat("kucoin"), Seat("kucoin", "unified")):
        pair = Pair(seat)
        half(pair).state.key_versions = {str(version)}
        pair.joined()
        pair.drop()
        pair.t += 5
        pair.again()


@pytest.mark.parametrize("strict", [True, False])
def test_spot_orders_of_a_unified_gap_are_told_whether_or_not_the_lists_want_a_symbol(strict: bool) -> None:
    pair = Pair(Seat("kucoin", "unified"))
    half(pair).state.wants_symbol = {1, 2} if strict else {1}
    pair.joined()
    seen = pair.place("DBO1")
    pair.until(lambda: pair.status("DBO1") == "NEW")
    pair.drop()
    other = pair.hub.world.markets.symbols(pair.market)[1]
    new, bought = pair.place("DBO2"), pair.place("DBO3", of=other)
    pair.fill(bought)
    pair.cancel(seen)
    pair.t += 5
    pair.again()
    for name, order in (("DBO1", seen), ("DBO2", new), ("DBO3", bought)):
        assert_booked(pair, name, order)
    assert pair.missing() == ("orders on symbols that were not used before can't be asked for" if strict else "")


# --- classic accounts ---


def test_a_spot_order_opened_and_filled_while_nobody_watched_is_told_though_its_symbol_is_new() -> None:
    pair = Pair(Seat("kucoin")).joined()
    pair.drop()
    order = pair.place("DBO1", of=pair.hub.world.markets.symbols(pair.market)[1])
    pair.fill(order, 3)
    pair.fill(order)
    pair.t += 5
    pair.again()
    assert_booked(pair, "DBO1", order)


def test_every_page_of_open_futures_orders_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("exchanges.kucoin._gap.FUTURES_PAGE", 4)
    pair = Pair(Seat("kucoinLinear")).joined()
    pair.drop()
    orders = {f"DBO{number}": pair.place(f"DBO{number}", 1) for number in range(11)}
    pair.t += 5
    pair.again()
    for name, order in orders.items():
        assert_booked(pair, name, order)


# --- alter ---


@pytest.mark.parametrize("seat", ALL, ids=str)
@pytest.mark.parametrize("away", [False, True])
def test_an_altered_order_lives_on_under_its_client_id(seat: Seat, away: bool) -> None:
    pair = Pair(seat)
    half(pair).replaces = True
    pair.joined()
    order = pair.place("DBO1", 20)
    pair.fill(order, 5)
    pair.until(lambda: pair.status("DBO1") == "PARTIALLY_FILLED")
    if away:
        pair.drop()
    pair.modify(order, 18, order.price)
    if away:
        pair.t += 5
        pair.again()
    pair.wait(5)
    assert pair.status("DBO1") == "PARTIALLY_FILLED"
    ends = [emit for emit in pair.orders() if isinstance(emit.event, ExecutionReport)]
    assert not [emit for emit in ends if emit.event.order_status == "CANCELED"]  # type: ignore[union-attr]
    pair.drop()
    pair.t += 5
    pair.again()
    newest = pair.newest(order)
    pair.fill(newest)
    pair.until(lambda: pair.status("DBO1") == "FILLED")
    assert_booked(pair, "DBO1", order)
