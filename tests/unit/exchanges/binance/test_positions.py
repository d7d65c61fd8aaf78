"""Positions of Binance's futures: all of them over REST, changes out of frames, leverage and margin where they are told."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from msgspec import UNSET

from exchanges._adapter import Answer, Call, Emit, Instant, Note, Output
from exchanges.binance import VENUE, _errors
from exchanges.binance._user_listen_key import ListenKeyUser
from exchanges.events import PositionUpdate
from exchanges.instruments import EMPTY, Instrument, SymbolTable
from tests.unit.exchanges.binance.support import NOW, TABLE, account, later, ok, refused, setup
from tests.unit.exchanges.driver import frame, of, only, params, path

COINS = SymbolTable(
    [
        Instrument(wire="BTCUSD_PERP", pair="BTCUSD_PERP", base="BTC", quote="USD", contract_size="100"),
        Instrument(wire="ETHUSD_PERP", pair="ETHUSD_PERP", base="ETH", quote="USD", contract_size="10"),
    ]
)
AT = later(1.0)


def row(symbol: str = "BTCUSDT", amount: str = "0.5", **fields: object) -> dict[str, object]:
    return {"symbol": symbol, "positionAmt": amount, **fields}


class Held:
    """An account that is live and has asked for its positions."""

    def __init__(self, exchange: str = "binanceUsdm", table: SymbolTable = TABLE) -> None:
        made = VENUE.user(setup(exchange, table))
        assert isinstance(made, ListenKeyUser)
        self.adapter = made
        made.add(account("a", exchange), NOW)
        made.answered(only(Call, made.start(NOW)), ok({"listenKey": "LK"}), NOW)
        made.connected(NOW)
        self.call = only(Call, made.woken(AT))

    def answer(self, *rows: object) -> list[Output]:
        return self.reply(ok(list(rows)))

    def reply(self, answer: Answer, now: Instant = AT) -> list[Output]:
        return list(self.adapter.answered(self.call, answer, now))

    def changed(self, symbol: str = "BTCUSDT", **fields: object) -> PositionUpdate:
        """What a frame of the account tells of a position."""
        told = {"s": symbol, "pa": "0.7", "ep": "91000", "up": "3.5", "mt": "cross", "iw": "0", "ps": "BOTH", **fields}
        outputs = self.frame({"e": "ACCOUNT_UPDATE", "E": 8, "T": 7, "a": {"m": "ORDER", "B": [], "P": [told]}})
        (position,) = told_of(outputs)
        return position

    def frame(self, value: Mapping[str, Any]) -> list[Output]:
        return list(self.adapter.received(frame(value), AT))

    def leverage(self, value: object, symbol: str = "BTCUSDT") -> None:
        self.frame({"e": "ACCOUNT_CONFIG_UPDATE", "E": 8, "T": 7, "ac": {"s": symbol, "l": value}})


def told_of(outputs: list[Output]) -> list[PositionUpdate]:
    return [emit.event for emit in of(Emit, outputs) if isinstance(emit.event, PositionUpdate)]


@pytest.mark.parametrize(
    ("exchange", "where"), [("binanceUsdm", "/fapi/v3/positionRisk"), ("binanceCoinm", "/dapi/v1/positionRisk")]
)
def test_all_positions_are_asked_for_once_and_signed(exchange: str, where: str) -> None:
    call = Held(exchange).call
    assert (call.tag, call.method, path(call), call.weight) == ("all positions", "GET", where, 5)
    assert (call.headers, call.stream_id) == ({"X-MBX-APIKEY": "key-a"}, "a")
    assert params(call)["timestamp"] == str(AT.wall_ms)
    assert "signature" in params(call)


def test_a_position_of_the_answer_is_read_whole() -> None:
    held = Held()
    (told,) = told_of(
        held.answer(
            row(positionSide="LONG", entryPrice="91000.50", markPrice="91250", unRealizedProfit="125.5",
                liquidationPrice="60000", leverage="20", marginType="ISOLATED", isolatedWallet="0", updateTime="7"),
        )
    )  # fmt: skip
    assert (told.symbol, told.position_side, told.contracts, told.quantity) == ("BTCUSDT", "LONG", "0.5", "0.5")
    assert (told.entry_price, told.mark_price, told.liquidation_price) == ("91000.5", "91250", "60000")
    assert (told.unrealized_pnl, told.leverage, told.margin_type) == ("125.5", "20", "isolated")
    assert (told.update_time, told.event_time, told.snapshot) == (7, AT.wall_ms, True)


def test_what_a_row_leaves_out_is_not_told() -> None:
    (told,) = told_of(Held().answer(row(amount="-0.5")))
    assert (told.position_side, told.contracts, told.margin_type) == ("BOTH", "-0.5", "cross")
    assert (told.entry_price, told.mark_price, told.liquidation_price, told.leverage) == (UNSET, UNSET, UNSET, UNSET)
    assert (told.unrealized_pnl, told.update_time) == (UNSET, UNSET)


@pytest.mark.parametrize(("wallet", "mode"), [("12.5", "isolated"), ("0", "cross"), ("", "cross")])
def test_an_isolated_position_is_one_with_a_wallet_where_no_mode_is_told(wallet: str, mode: str) -> None:
    (told,) = told_of(Held().answer(row(isolatedWallet=wallet)))
    assert told.margin_type == mode


def test_frames_of_positions_have_the_leverage_that_was_told_last() -> None:
    held = Held()
    held.answer(row(leverage="20"), row("ETHUSDT", leverage=""))
    assert held.changed().leverage == "20"
    assert held.changed("ETHUSDT").leverage == UNSET
    held.leverage(10)
    held.leverage(5, "ETHUSDT")
    assert held.changed(pa="0.8").leverage == "10"
    assert held.changed("ETHUSDT", pa="0.8").leverage == "5"
    held.leverage(0)
    held.frame({"e": "ACCOUNT_CONFIG_UPDATE", "E": 8, "T": 7, "ai": {"j": True}})
    assert held.changed(pa="0.9").leverage == "10"


def test_a_position_of_a_frame_is_read_whole() -> None:
    held = Held()
    held.answer()
    told = held.changed(ps="SHORT", pa="-0.7", mt="ISOLATED")
    assert (told.symbol, told.position_side, told.contracts, told.quantity) == ("BTCUSDT", "SHORT", "-0.7", "-0.7")
    assert (told.entry_price, told.unrealized_pnl, told.margin_type) == ("91000", "3.5", "isolated")
    assert (told.update_time, told.event_time, told.snapshot) == (7, 8, False)


def test_positions_of_another_market_are_left_out_of_answers_and_frames() -> None:
    held = Held()
    assert told_of(held.answer(row("BTCUSD_PERP"))) == []
    told = {"s": "BTCUSD_PERP", "pa": "1", "ep": "91000"}
    assert not told_of(held.frame({"e": "ACCOUNT_UPDATE", "E": 8, "T": 7, "a": {"m": "ORDER", "P": [told]}}))


def test_contracts_of_coins_are_told_as_coins_where_their_size_is_known() -> None:
    rows = (row("BTCUSD_PERP", "-50", entryPrice="50000"), row("ETHUSD_PERP", "3", entryPrice="3000"))
    assert [(told.contracts, told.quantity) for told in told_of(Held("binanceCoinm", COINS).answer(*rows))] == [
        ("-50", "-0.1"), ("3", "0.01"),
    ]  # fmt: skip
    (told, _) = told_of(Held("binanceCoinm", EMPTY).answer(*rows))
    assert (told.contracts, told.quantity) == ("-50", UNSET)


def test_an_odd_row_is_an_error_and_costs_only_itself() -> None:
    outputs = Held().answer(7, row())
    assert [event.symbol for event in told_of(outputs)] == ["BTCUSDT"]
    note = only(Note, outputs)
    assert (note.level, note.what.split(" that")[0]) == ("error", "1 positions")
    assert not of(Note, Held().answer(row()))


@pytest.mark.parametrize(
    ("answer", "says"),
    [(refused(400, -1102, "bad parameter"), "bad parameter"), (ok({"rows": []}), "array"), (Answer(200, {}, b"<"), "")],
)
def test_positions_that_cannot_be_read_are_asked_for_again(answer: Answer, says: str) -> None:
    held = Held()
    outputs = held.reply(answer)
    note = only(Note, outputs)
    assert note.what.startswith("the positions could not be read and are asked for again: ")
    assert says in note.what
    assert not of(Call, outputs)
    again = only(Call, held.adapter.woken(later(2.0)))
    assert path(again) == "/fapi/v3/positionRisk"


def test_a_refusal_for_our_clock_asks_for_the_time_of_the_venue() -> None:
    outputs = Held().reply(refused(400, _errors.CLOCK, "Timestamp for this request"))
    assert path(only(Call, outputs)) == "/fapi/v1/time"
