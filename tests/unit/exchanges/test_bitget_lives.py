"""Bitget's orders, questions, gaps and prices by what a bot would notice: small sizes, missing figures, silence of REST."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import pytest

from exchanges._adapter import (
    Answer,
    Call,
    CandleSubscription,
    Connect,
    Emit,
    EmitCandle,
    EmitTickers,
    Fail,
    FailKind,
    Instant,
    Live,
    Note,
    Output,
    Resume,
    Seen,
    Send,
    TickerSubscription,
)
from exchanges._repair import Repaired
from exchanges.bitget import VENUE
from exchanges.bitget._asking import MAX_ASKED, TRIES, WAIT_S, Asking
from exchanges.bitget._report import ASK_FORCED, ASK_STATE, ASK_UNIT, Told
from exchanges.events import AccountEvent, AccountPosition, ExecutionReport
from exchanges.instruments import EMPTY, SymbolTable
from tests.unit.exchanges.driver import after, json_answer, of
from tests.unit.exchanges.test_bitget import (
    OK,
    SPOT,
    TABLES,
    USDM,
    WALL,
    Driver,
    args_of,
    asked,
    candle_frame,
    dialled,
    fee_frame,
    feed,
    known,
    live,
    order,
    repairing,
    row,
    settings,
    subscription,
)
from tests.unit.exchanges.test_bitget_unified import COINM, Room, contract, sizes

NOW = Instant(1_000.0, WALL)


def report(outputs: Sequence[object]) -> ExecutionReport:
    (emit,) = of(Emit, outputs)
    assert isinstance(emit.event, ExecutionReport)
    return emit.event


def futures(**fields: object) -> dict[str, Any]:
    frame: dict[str, Any] = order(size="2", newSize=None, **fields)
    frame["arg"]["instType"] = "USDT-FUTURES"
    return frame


# --- orders that REST is asked for ---


def event(status: str = "NEW", order_id: str = "1") -> ExecutionReport:
    return ExecutionReport(
        symbol="BTCUSDT", new_client_order_id="c", original_client_order_id="c", order_id=order_id, order_status=status,
        order_type="LIMIT", side="BUY", price="1", quantity="1", total_trade_quantity="0", total_quote_trade_quantity="0",
        creation_time=1, event_time=1, order_time=1, unique_message_id="u",
    )  # fmt: skip


class Desk:
    """Questions of one account, and a clock."""

    def __init__(self) -> None:
        self.asking = Asking(self._single, lambda call, _: call)
        self.seconds = 0.0
        self.found = Repaired()

    @staticmethod
    def _single(order_id: str, symbol: str) -> Call:
        return Call(tag="order", method="GET", url=f"https://x/{symbol}", context=order_id)

    @property
    def now(self) -> Instant:
        return after(NOW, self.seconds)

    @staticmethod
    def live(told: AccountEvent) -> list[Output]:
        return [Emit("s1", told)]

    def ask(self, why: str, order_id: str = "1", told: ExecutionReport | None = None) -> list[Output]:
        return self.asking.ask(order_id, "BTCUSDT", Told(event=told, ask=why), self.live, self.now)

    def answer(self, call: Call, found: Repaired, status: int = 200) -> list[Output]:
        answer: Answer = json_answer({}, status)
        return self.asking.answered(call, answer, lambda *_: found, self.live, self.now)

    def wake(self) -> list[Output]:
        deadline = self.asking.deadline()
        assert deadline is not None
        self.seconds = deadline - NOW.mono
        return self.asking.due(self.live, self.now)


def test_a_state_is_asked_for_after_a_while_and_given_up_after_three_silent_tries() -> None:
    desk = Desk()
    assert desk.ask(ASK_STATE) == []
    asked_at: list[float] = []
    outputs = desk.wake()
    while calls := of(Call, outputs):
        (call,) = calls
        assert (call.timeout_s, call.attempt, call.context) == (WAIT_S, len(asked_at) + 1, "1")
        asked_at.append(desk.seconds)
        outputs = desk.answer(call, Repaired(), 503) or desk.wake()
    assert asked_at == [WAIT_S, 2 * WAIT_S, 3 * WAIT_S]
    assert len(asked_at) == TRIES
    assert outputs == [Note("order 1: REST does not tell its state", "error")]
    assert desk.asking.deadline() is None


@pytest.mark.parametrize(("why", "wait_s"), [(ASK_UNIT, 2 * WAIT_S), (ASK_FORCED, WAIT_S)])
def test_what_waits_for_an_answer_that_does_not_come_is_given_up(why: str, wait_s: float) -> None:
    desk = Desk()
    held = event("FILLED") if why == ASK_FORCED else None
    (call,) = of(Call, desk.ask(why, told=held))
    assert desk.asking.owns(call)
    assert desk.asking.deadline() == NOW.mono + wait_s
    assert desk.asking.due(desk.live, after(NOW, wait_s - 0.1)) == []
    outputs = desk.wake()
    assert outputs[0] == Note(f"order 1: REST does not tell its {why}", "error")
    assert outputs[1:] == ([Emit("s1", held)] if held else [])
    assert not desk.asking.owns(call)


def test_a_forced_fill_does_not_wait_for_a_second_answer() -> None:
    desk = Desk()
    held = event("FILLED")
    (call,) = of(Call, desk.ask(ASK_FORCED, told=held))
    assert desk.answer(call, Repaired(retry=True)) == [
        Note("order 1: REST does not tell its liquidation", "error"), Emit("s1", held),
    ]  # fmt: skip


def test_an_order_is_asked_for_once_at_a_time_and_the_newest_of_its_events_is_kept() -> None:
    desk = Desk()
    first, second = event("PARTIALLY_FILLED"), event("FILLED")
    (call,) = of(Call, desk.ask(ASK_FORCED, told=first))
    assert desk.ask(ASK_FORCED, told=second) == []
    assert desk.ask(ASK_STATE) == []
    assert desk.answer(call, Repaired(missing=["odd"])) == [Note("order 1: odd", "error"), Emit("s1", second)]
    (call,) = of(Call, desk.ask(ASK_FORCED, told=first))
    assert desk.answer(call, Repaired(events=[second])) == [Emit("s1", second)], "what REST says counts"


def test_only_so_many_orders_are_asked_for_together_and_the_next_is_told_as_it_stands() -> None:
    """A venue that renames a word does so for all orders at once."""
    desk = Desk()
    for number in range(MAX_ASKED):
        assert desk.ask(ASK_STATE, str(number)) == []
    told = event("FILLED", "next")
    note = Note(f"order next is not asked for: {MAX_ASKED} others wait for their answers", "error")
    assert desk.ask(ASK_FORCED, "next", told) == [note, Emit("s1", told)]
    assert desk.ask(ASK_STATE, "next") == [note]
    assert desk.ask(ASK_STATE, "0") == [], "one that waits may say more"
    assert len(of(Call, desk.wake())) == MAX_ASKED


def test_a_state_that_no_page_lists_ends_as_rest_tells_it() -> None:
    driver = live()
    (note,) = driver.frame(order(status="melting"))
    assert note == Note("order state melting is not known", "error")
    (call,) = of(Call, driver.wake())
    assert driver.mono == NOW.mono + WAIT_S
    assert call.url.endswith("/api/v2/spot/trade/orderInfo?orderId=1")
    told = report(driver.answer(call, {"code": "00000", "data": [row("1", status="cancelled")]}))
    assert (told.order_id, told.order_status) == ("1", "CANCELED")


@pytest.mark.parametrize("fields", [{"accBaseVolume": "0"}, {"accBaseVolume": "2", "priceAvg": "", "price": ""}])
def test_a_full_fill_without_a_size_or_a_price_is_asked_for(fields: dict[str, object]) -> None:
    driver = live()
    (note,) = driver.frame(order(status="filled", **fields))
    assert note == Note("order state filled without a filled size or a price", "error")
    (call,) = of(Call, driver.wake())
    done = row("1", status="filled", baseVolume="2", quoteVolume="198")
    assert report(driver.answer(call, {"code": "00000", "data": [done]})).total_quote_trade_quantity == "198"


# --- orders ---


def test_an_order_below_one_unit_is_told_with_its_own_figures() -> None:
    driver = live()
    small = {"newSize": "0.0002", "price": "0.5"}
    new = report(driver.frame(order(**small)))
    assert (new.order_status, new.quantity, new.price, new.total_quote_trade_quantity) == ("NEW", "0.0002", "0.5", "0")
    half = report(driver.frame(order(status="partially_filled", accBaseVolume="0.0001", priceAvg="0.4", **small)))
    assert (half.total_trade_quantity, half.total_quote_trade_quantity, half.price) == ("0.0001", "0.00004", "0.4")
    end = report(driver.frame(order(status="cancelled", accBaseVolume="0.0001", priceAvg="", **small)))
    assert (end.order_status, end.price, end.total_quote_trade_quantity) == ("CANCELED", "0.4", "0.00004")
    assert (end.creation_time, end.order_time) == (WALL, WALL + 1)


def test_a_fill_without_an_average_is_valued_at_the_limit() -> None:
    told = report(live().frame(order(status="partially_filled", accBaseVolume="0.5", priceAvg="")))
    assert (told.price, told.total_quote_trade_quantity) == ("100", "50")


@pytest.mark.parametrize(
    ("fields", "quantity"),
    [
        ({"newSize": "0.7"}, "0.7"),
        ({"newSize": "", "size": "50"}, "0.5"),  # an old server: quote money
        ({"newSize": None, "size": "50"}, "0.5"),
        ({"newSize": "", "size": "0.7", "side": "sell"}, "0.7"),
        ({"newSize": "", "size": "0.7", "price": ""}, "0.7"),
        ({"newSize": "50", "orderType": "market", "accBaseVolume": "0.3", "priceAvg": "99"}, "0.3"),
        ({"newSize": "0.7", "orderType": "market", "side": "sell", "accBaseVolume": "0.3", "priceAvg": "99"}, "0.7"),
    ],
)
def test_the_size_of_a_spot_order_is_in_coins_whatever_the_row_states(fields: dict[str, object], quantity: str) -> None:
    assert report(live().frame(order(**fields))).quantity == quantity


@pytest.mark.parametrize("name", ["clientOid", "clientOId"])
def test_the_client_id_of_an_order_is_found_under_either_name(name: str) -> None:
    frame: Any = futures(clientOid=None)
    frame["data"][0][name] = "D-1"
    assert report(live("bitgetUsdm").frame(frame)).new_client_order_id == "D-1"


def test_an_order_without_a_side_is_not_told_as_a_buy() -> None:
    assert live().frame(order(side=None)) == [Note("order 1 tells no side", "error")]
    driver, calls = repairing("bitget", Resume(since_ms=WALL - 60_000))
    outputs = answered(driver, calls, {"closed orders": [row("1", status="cancelled", side=None)]})
    assert not [emit for emit in of(Emit, outputs) if isinstance(emit.event, ExecutionReport)]
    assert "order 1: order 1 tells no side" in missing(outputs)


def test_fees_are_told_only_if_every_fill_was_seen_or_the_row_states_them() -> None:
    driver = live()
    told = report(driver.frame(fee_frame("t1", "0.0001", "0.0001", "-0.0000001")))
    assert (told.fee_paid, told.fee_asset) == ("0.0000001", "BTC")
    lacking = fee_frame("t3", "0.0001", "0.0003", "-0.0000001")
    assert not report(driver.frame(lacking)).fee_paid
    no_fill = fee_frame("t4", "0", "0.0003", "-0.5")
    assert not report(driver.frame(no_fill)).fee_paid
    late = fee_frame("t2", "0.0001", "0.0003", "-0.0000001")
    assert report(driver.frame(late)).fee_paid == "0.0000003"


def test_fees_of_futures_stand_in_the_margin_coin() -> None:
    detail = json.dumps({"BTC": {"feeCoinCode": "BTC", "totalFee": -9}})
    fee = {"marginCoin": "usdt", "fee": "-0.25", "feeDetail": detail}
    done = row("7", status="filled", baseVolume="2", quoteVolume="198", tradeSide="open", posSide="long", **fee)
    driver, calls = repairing("bitgetUsdm", Resume(since_ms=WALL - 60_000))
    outputs = answered(driver, calls, {"closed orders": {"entrustedList": [done], "endId": None}}, only_first=True)
    (told,) = [emit.event for emit in of(Emit, outputs) if isinstance(emit.event, ExecutionReport)]
    assert (told.fee_paid, told.fee_asset) == ("0.25", "USDT")


@pytest.mark.parametrize(
    ("words", "forced"), [("burst_close_long", True), ("Burst_Close_Long", True), ("close", False)]
)
def test_a_forced_trade_after_a_gap_is_a_liquidation(words: str, forced: bool) -> None:
    done = row("7", status="filled", baseVolume="2", quoteVolume="198", side="sell", tradeSide=words)
    driver, calls = repairing("bitgetUsdm", Resume(since_ms=WALL - 60_000))
    outputs = answered(driver, calls, {"closed orders": {"entrustedList": [done], "endId": None}}, only_first=True)
    (told,) = [emit.event for emit in of(Emit, outputs) if isinstance(emit.event, ExecutionReport)]
    assert (told.liquidation is True) is forced


def test_a_final_state_stays_and_a_full_fill_may_correct_a_cancel() -> None:
    driver = live()
    assert report(driver.frame(order(status="cancelled"))).order_status == "CANCELED"
    assert driver.frame(order(status="live")) == [Seen("s1")]
    assert report(driver.frame(order(status="filled", accBaseVolume="2", priceAvg="99"))).order_status == "FILLED"
    assert driver.frame(order(status="cancelled", accBaseVolume="2", priceAvg="99")) == [Seen("s1")]


@pytest.mark.parametrize(
    ("held", "trade", "side"),
    [("long", "open", "BUY"), ("long", "close", "SELL"), ("short", "open", "SELL"), ("short", "close", "BUY")],
)
def test_in_hedge_mode_position_and_trade_tell_the_side_alone(held: str, trade: str, side: str) -> None:
    frame = futures(side=None, posSide=held, tradeSide=trade)
    assert report(live("bitgetUsdm").frame(frame)).side == side


@pytest.mark.parametrize(("side", "told"), [("buy", "BUY"), ("sell", "SELL")])
def test_a_word_for_a_trade_that_tells_no_side_leaves_the_one_of_the_row(side: str, told: str) -> None:
    assert report(live("bitgetUsdm").frame(futures(side=side, tradeSide="settle_all", posSide="net"))).side == told


def test_an_order_without_a_fill_has_no_fee() -> None:
    assert not report(live().frame(order(feeDetail=[{"feeCoin": "BTC", "fee": "-0.1"}]))).fee_paid


def test_what_is_remembered_of_orders_is_bounded_and_those_in_use_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("exchanges.bitget._report.MAX_ORDERS", 2)
    driver = live()
    fill = {"status": "partially_filled", "accBaseVolume": "1"}
    driver.frame(order(**fill, priceAvg="99"))
    driver.frame(order(**fill, priceAvg="98", orderId="2"))
    driver.frame(order(**fill, priceAvg="", tradeId="t"))
    driver.frame(order(orderId="3"))
    prices = [report(driver.frame(order(**fill, priceAvg="", orderId=order_id))).price for order_id in ("1", "2")]
    assert prices == ["99", "100"], "of the second one only the limit is left"


@pytest.mark.parametrize("word", ["live", "new", "init"])
def test_every_word_for_an_open_order_is_one(word: str) -> None:
    assert report(live().frame(order(status=word))).order_status == "NEW"


def test_a_row_without_one_of_its_times_has_the_other() -> None:
    driver = live()
    told = report(driver.frame(order(cTime="")))
    assert (told.creation_time, told.order_time, told.event_time) == (WALL + 1, WALL + 1, WALL + 1)
    told = report(driver.frame(order(orderId="2", uTime="")))
    assert (told.creation_time, told.order_time) == (WALL, WALL)


@pytest.mark.parametrize(
    ("fields", "free", "locked"),
    [
        ({"equity": "10", "unrealizedPL": "2", "available": "5", "frozen": "9"}, "5", "3"),
        ({"equity": "", "available": "5", "frozen": "0.5"}, "5", "0.5"),
        ({"available": "0.25", "frozen": "1"}, "0.25", "1"),
    ],
)
def test_what_of_a_futures_wallet_is_locked_is_its_equity_without_what_is_free(
    fields: dict[str, object], free: str, locked: str
) -> None:
    arg = {"instType": "USDT-FUTURES", "channel": "account", "coin": "default"}
    push = {"action": "snapshot", "arg": arg, "data": [{"marginCoin": "USDT", **fields}], "ts": WALL}
    driver = live("bitgetUsdm")
    (emit,) = of(Emit, driver.frame(push))
    assert isinstance(emit.event, AccountPosition)
    (balance,) = emit.event.balances
    assert (balance.asset, balance.free, balance.locked, emit.event.event_time) == ("USDT", free, locked, WALL)
    assert driver.frame({**push, "data": []}) == [Seen("s1")]


def test_a_spot_wallet_is_told_with_all_that_is_held_back() -> None:
    arg = {"instType": "SPOT", "channel": "account", "coin": "default"}
    coin = {"coin": "USDT", "available": "0.5", "frozen": "0.25", "locked": "0.125"}
    (emit,) = of(Emit, live().frame({"action": "snapshot", "arg": arg, "data": [coin], "ts": WALL}))
    assert isinstance(emit.event, AccountPosition)
    assert [(one.free, one.locked) for one in emit.event.balances] == [("0.5", "0.375")]


# --- gaps ---


def answered(
    driver: Driver, calls: Sequence[Call], replies: dict[str, object], *, only_first: bool = False
) -> list[Output]:
    """Answer all calls by tag, and those that follow with nothing; `only_first`: each reply goes to one call."""
    left = dict(replies)
    outputs: list[Output] = []
    todo = list(calls)
    while todo:
        call = todo.pop(0)
        data = left.pop(call.tag, []) if only_first else left.get(call.tag, [])
        if data == [] and "/mix/order/" in call.url:
            data = {"entrustedList": None, "endId": None}
        body = data if isinstance(data, dict) and "code" in data else {"code": "00000", "data": data}
        told = driver.answer(call, body)
        outputs += [output for output in told if not isinstance(output, Call)]
        todo += of(Call, told)
    return outputs


def missing(outputs: list[Output]) -> tuple[str, ...]:
    (went,) = of(Live, outputs)
    assert went.gap is not None
    return went.gap.missing


def test_an_order_that_is_as_it_was_published_is_not_told_again() -> None:
    half = known("1", status="PARTIALLY_FILLED", executed="0.0001", executed_quote="0.01")
    listed = {"open orders": [row("1", status="partially_filled", baseVolume="0.0001", quoteVolume="0.01"),
                              row("2", status="live")]}  # fmt: skip
    driver, calls = repairing(
        "bitget", Resume(since_ms=WALL - 60_000, orders=(half, known("2", status="PARTIALLY_FILLED")))
    )
    told = [emit.event for emit in of(Emit, answered(driver, calls, listed))]
    assert [(one.order_id, one.order_status) for one in told if isinstance(one, ExecutionReport)] == [("2", "NEW")]
    more = {"open orders": [row("1", status="partially_filled", baseVolume="0.0002", quoteVolume="0.02")]}
    driver, calls = repairing("bitget", Resume(since_ms=WALL - 60_000, orders=(half,)))
    told = [emit.event for emit in of(Emit, answered(driver, calls, more))]
    assert [one.total_trade_quantity for one in told if isinstance(one, ExecutionReport)] == ["0.0002"]


def test_pages_that_never_end_are_read_up_to_a_bound_that_is_named() -> None:
    driver, calls = repairing("bitget", Resume(since_ms=WALL - 60_000))
    rows = [row(str(n), status="cancelled") for n in range(100, 0, -1)]
    read = 0
    todo, outputs = list(calls), list[Output]()
    while todo:
        call = todo.pop(0)
        read += call.tag == "closed orders"
        told = driver.answer(call, {"code": "00000", "data": rows if call.tag == "closed orders" else []})
        outputs += [output for output in told if not isinstance(output, Call)]
        todo += of(Call, told)
    (phrase,) = [phrase for phrase in missing(outputs) if "pages" in phrase]
    assert phrase == f"closed orders: more than {read} pages"


@pytest.mark.parametrize(("days", "late"), [(89, False), (91, True)])
@pytest.mark.parametrize("mode", [OK, {"code": "40085", "msg": "Unified Account"}], ids=["classic", "unified"])
def test_what_is_older_than_the_venue_remembers_is_named_once(days: int, late: bool, mode: object) -> None:
    driver, calls = repairing("bitgetUsdm" if mode != OK else "bitget", Resume(since_ms=WALL - days * 86_400_000), mode)
    replies: dict[str, object] = {} if mode == OK else {
        "balances": {"assets": []}, "open orders": {"list": []}, "closed orders": {"list": []},
    }  # fmt: skip
    outputs = answered(driver, calls, replies)
    assert missing(outputs).count("closed orders older than 90 days") == int(late)


def test_an_order_that_rest_does_not_know_yet_is_asked_for_once_more() -> None:
    driver, calls = repairing("bitget", Resume(since_ms=WALL - 60_000, orders=(known("1"),)))
    (single,) = [call for one in calls for call in of(Call, driver.answer(one, OK))]
    unknown = {"code": "43001", "msg": "The order does not exist"}
    outputs = driver.answer(single, unknown)
    again: list[Call] = of(Call, outputs)
    while not again:
        again = of(Call, driver.wake())
        driver.frame(b"pong")
    assert again[0].attempt == 2
    outputs = driver.answer(again[0], unknown)
    assert "order 1: not known to the venue" in missing(outputs)
    (mode,) = of(Call, outputs)
    assert mode.url.endswith("/api/v3/account/settings"), "has the account moved?"
    assert driver.answer(mode, settings("classic")) == []
    driver.mono += 100
    driver.frame(b"pong")
    driver.frame(order(status="melting"))
    calls: list[Call] = []
    while not calls:
        calls = [call for call in of(Call, driver.wake()) if call.tag == "order"]
        driver.frame(b"pong")
    (call,) = calls
    outputs = driver.answer(call, {"code": "00000", "data": [row("1", status="cancelled")]})
    assert of(Emit, outputs)
    assert not of(Call, outputs), "it was doubted once"


def test_odd_answers_of_a_gap_are_named_by_what_they_were_about() -> None:
    driver, calls = repairing("bitget", Resume(since_ms=WALL - 60_000, orders=(known("1"),)))
    coins = [7, {"coin": "USDT", "available": "1"}]
    refused = {"code": "40099", "msg": "odd"}
    replies: dict[str, object] = {"closed orders": {"odd": 1}, "order": 7, "balances": coins, "open orders": refused}
    outputs = answered(driver, calls, replies)
    named = missing(outputs)
    assert "closed orders: the answer is not understood" in named
    assert "order 1: the answer is not understood" in named
    assert any(phrase.startswith("open orders: 40099") for phrase in named)
    assert any(phrase.startswith("1 balances") for phrase in named)
    driver, calls = repairing("bitget", Resume(since_ms=WALL - 60_000, orders=(known("1"),)))
    outputs = answered(driver, calls, {"order": {"code": "40099", "msg": "odd"}})
    assert any(phrase.startswith("order 1: 40099") for phrase in missing(outputs))


def test_a_unified_gap_is_walked_in_months_and_its_orders_of_other_markets_are_named() -> None:
    mode = {"code": "40085", "msg": "Unified Account"}
    driver, calls = repairing(
        "bitgetCoinm", Resume(since_ms=WALL - 40 * 86_400_000, orders=(known("9", symbol="BTCUSD"),)), mode
    )
    closed = [call.url for call in calls if call.tag == "closed orders"]
    assert len(closed) == 2
    assert f"&startTime={WALL - 40 * 86_400_000}" in closed[0]
    assert f"&endTime={WALL - 10 * 86_400_000}&" in closed[0]
    assert f"&startTime={WALL - 10 * 86_400_000}" in closed[1]
    assert f"&endTime={WALL + 60_000}&" in closed[1]
    other = contract("filled", category="usdt-futures", symbol="BTCUSDT", orderId="9")
    replies: dict[str, object] = {"balances": {"assets": []}, "open orders": {"list": []}, "closed orders": {"list": []},
                                  "order": other}  # fmt: skip
    assert "order 9: the venue has it in another market" in missing(answered(driver, calls, replies))


def test_pages_of_a_unified_account_that_never_end_are_read_up_to_a_bound_that_is_named() -> None:
    mode = {"code": "40085", "msg": "Unified Account"}
    driver, calls = repairing("bitgetCoinm", Resume(since_ms=WALL - 60_000), mode)
    page = {"list": [{"orderId": str(n)} for n in range(100)], "cursor": "55"}
    read, outputs, todo = 0, list[Output](), list(calls)
    while todo:
        call = todo.pop(0)
        read += call.tag == "closed orders"
        data = {"assets": []} if call.tag == "balances" else page if call.tag == "closed orders" else {"list": []}
        told = driver.answer(call, {"code": "00000", "data": data})
        outputs += [output for output in told if not isinstance(output, Call)]
        todo += of(Call, told)
    assert f"closed orders: more than {read} pages" in missing(outputs)


def test_an_open_order_of_a_gap_without_a_fill_is_worth_nothing_yet() -> None:
    driver, calls = repairing("bitget", Resume(since_ms=WALL - 60_000))
    listed = {"open orders": [row("1", quoteVolume="5", priceAvg="99")]}
    told = [emit.event for emit in of(Emit, answered(driver, calls, listed))]
    (found,) = [one for one in told if isinstance(one, ExecutionReport)]
    assert (found.order_status, found.total_trade_quantity, found.total_quote_trade_quantity) == ("NEW", "0", "0")
    assert found.price == "100"


# --- unified accounts ---


def test_a_step_back_of_a_unified_order_is_no_question() -> None:
    room = Room()
    market = {"orderType": "market", "price": "", "clientOid": ""}
    assert report(room.push(contract("filled", execType="normal", **market))).order_status == "FILLED"
    outputs = room.push(contract("partially_filled", cumExecQty="400", cumExecValue="400", **market))
    assert outputs == [Seen("s1")]


def test_a_full_fill_of_contracts_of_any_size_is_told_in_coins() -> None:
    (told,) = Room().told(contract("filled", qty="1", cumExecQty="1", cumExecValue="1"))
    assert sizes(told)[2:] == (pytest.approx(1 / 80_000), 1.0, 80_000.0)


def test_a_side_that_contradicts_the_position_is_told_and_noted() -> None:
    outputs = Room().push(contract(side="buy", tradeSide="close", posSide="long"))
    assert of(Note, outputs)[0].what == "side buy contradicts close of long"
    assert report(outputs).side == "SELL"


# --- prices ---


def ticks(exchange: str, table: SymbolTable, *symbols: str) -> Driver:
    driver = feed(VENUE.ticker, exchange, table, TickerSubscription(stream_id="t", exchange=exchange, symbols=symbols))
    driver.ack(driver.connected())
    return driver


def tick(product: str = "SPOT", action: str = "snapshot", **fields: object) -> dict[str, object]:
    arg = {"instType": product, "channel": "ticker", "instId": "BTCUSDT"}
    values = {"instId": "BTCUSDT", "lastPr": "0.00002", "askSz": "0.5", "bidSz": "0.25", "baseVolume": "7", **fields}
    return {"action": action, "arg": arg, "data": [values], "ts": WALL}


@pytest.mark.parametrize("figure", ["0.5", ""])
def test_a_price_below_one_unit_is_a_price_on_the_fast_and_on_the_slow_way(figure: str) -> None:
    (emit,) = of(EmitTickers, ticks("bitget", SPOT, "BTCUSDT").frame(tick(askSz=figure)))
    (told,) = emit.tickers
    assert (told.symbol, told.time, told.price, told.best_ask, told.best_bid) == (
        "BTCUSDT",
        WALL,
        0.00002,
        0.00002,
        0.00002,
    )
    assert (told.volume, told.best_ask_qnt, told.best_bid_qnt) == (7.0, float(figure or 0), 0.25)


@pytest.mark.parametrize("price", ["0", "-1", "1e999", "inf", "nan", "", None])
def test_what_is_no_price_only_counts_as_data(price: object) -> None:
    assert ticks("bitget", SPOT, "BTCUSDT").frame(tick(lastPr=price)) == [Seen("t")]


def test_a_figure_beside_the_price_that_is_none_costs_itself() -> None:
    for odd in ("1e999", "inf", "nan"):
        (emit,) = of(EmitTickers, ticks("bitget", SPOT, "BTCUSDT").frame(tick(baseVolume=odd)))
        assert (emit.tickers[0].volume, emit.tickers[0].best_ask_qnt) == (0.0, 0.5)


def test_a_tick_of_another_product_or_of_another_kind_is_no_price_here() -> None:
    driver = ticks("bitget", SPOT, "BTCUSDT")
    for frame in (
        tick("USDT-FUTURES"),
        tick("USDT-FUTURES", askSz=""),
        tick(action="update"),
        tick(action="update", askSz=""),
    ):
        assert driver.frame(frame) == [Seen("t")]
    other: dict[str, Any] = tick()
    other["arg"]["channel"] = "books"
    assert driver.frame(other) == [Note("channel books is not known")]
    assert driver.frame({**tick(askSz=""), "ts": "soon"}) == [Note("ticker is not understood")]
    odd: dict[str, Any] = tick()
    odd["data"] = [7, *odd["data"]]
    outputs = driver.frame(odd)
    assert of(Note, outputs)[0].what.startswith("1 tickers")
    assert of(EmitTickers, outputs)
    driver.remove("t")
    assert driver.frame(tick()) == driver.frame(tick(askSz="")) == []


def test_a_shard_may_grow_on_its_socket_and_starts_anew_when_it_moves_to_the_other() -> None:
    driver = ticks("bitget", SPOT, "BTCUSDT")
    grown = TickerSubscription(stream_id="t", exchange="bitget", symbols=("BTCUSDT", "ETHUSDT"))
    assert not of(Fail, driver.add(grown))
    mixed = TickerSubscription(stream_id="t", exchange="bitgetCoinm", symbols=("BTCUSDZ26", "BTCUSD_CM"))
    driver = Driver(VENUE.ticker, "bitgetCoinm", COINM)
    driver.add(mixed)
    (connect,) = of(Connect, driver.start())
    assert connect.url.endswith("/v3/ws/public"), "one of the new ones is enough"
    (fail,) = of(Fail, driver.add(TickerSubscription(stream_id="t", exchange="bitgetCoinm", symbols=("BTCUSDZ26",))))
    assert (fail.kind, fail.reason) == (FailKind.TRANSIENT, "the symbols of this shard moved to v2")


# --- candles ---


def test_a_candle_that_cannot_be_had_is_refused_with_a_sentence() -> None:
    for exchange, example in (("bitget", "BTCUSDT"), ("bitgetUsdm", "BTCUSDT or BTCPERP"), ("bitgetCoinm", "BTCUSD")):
        table = COINM if exchange == "bitgetCoinm" else TABLES[exchange]
        driver = Driver(VENUE.candle, exchange, table)
        wanted = CandleSubscription(stream_id="c", exchange=exchange, symbol="NOONE", interval="1m")
        (fail,) = of(Fail, driver.add(wanted))
        assert (fail.kind, fail.stream_id) == (FailKind.REQUEST, "c")
        assert fail.reason == f"{exchange} lists no symbol 'NOONE': pair ids look like {example}."
    wanted = CandleSubscription(stream_id="c", exchange="bitgetCoinm", symbol="BTCUSD", interval="1m")
    (fail,) = of(Fail, Driver(VENUE.candle, "bitgetCoinm", EMPTY).add(wanted))
    assert (fail.kind, "not loaded yet" in fail.reason) == (FailKind.TRANSIENT, True)


def test_odd_candles_cost_themselves() -> None:
    driver = feed(VENUE.candle, "bitget", SPOT, asked("a", "1m"))
    driver.ack(driver.connected())
    frame: Any = candle_frame("candle1m", WALL)
    frame["data"] = [["1", "2"], *frame["data"]]
    outputs = driver.frame(frame)
    assert of(Note, outputs)[0].what.startswith("1 candles")
    assert [one.candle.volume for one in of(EmitCandle, outputs)] == ["20"]
    assert driver.frame({**candle_frame("candle1m", WALL), "data": 7}) == [Note("candle is not understood")]
    assert driver.frame({"action": "update", "data": []}) == [Note("push of an unknown channel")]
    arg = {"instType": "SPOT", "channel": "books", "instId": "BTCUSDT"}
    assert driver.frame({"action": "update", "arg": arg, "data": []}) == [Note("push of an unknown channel")]


def test_past_candles_of_futures_are_asked_by_product_and_what_cannot_be_read_is_told() -> None:
    wanted = CandleSubscription(stream_id="a", exchange="bitgetUsdm", symbol="BTCPERP", interval="1h",
                                resume_start_ms=WALL - 7_200_000)  # fmt: skip
    driver = feed(VENUE.candle, "bitgetUsdm", USDM, wanted)
    (call,) = of(Call, driver.ack(driver.connected()))
    assert call.url.startswith("https://api.bitget.com/api/v2/mix/market/candles?endTime=")
    assert "granularity=1H&limit=" in call.url
    assert call.tag == "candles"
    assert f"&productType=USDC-FUTURES&startTime={WALL - 7_200_000}&symbol=BTCPERP" in call.url
    outputs = driver.answer(call, {"code": "00000", "data": {"odd": 1}})
    (went,) = of(Live, outputs)
    assert went.gap is not None
    assert "unreadable answer" in went.gap.missing[0]


# --- the connection ---


def test_errors_that_mean_no_topic_change_none_and_leave_the_others_waiting() -> None:
    shard = TickerSubscription(stream_id="t", exchange="bitget", symbols=("BTCUSDT", "ETHUSDT"))
    driver = feed(VENUE.ticker, "bitget", SPOT, shard)
    args = args_of(driver.connected())
    assert driver.frame({"event": "error", "code": 30001, "msg": "doesn't exist"}) == [Note("error 30001")]
    assert driver.frame({"event": "error", "code": 0, "msg": "odd"}) == [Note("error 0")]
    stranger = {"instType": "SPOT", "channel": "ticker", "instId": "OTHER"}
    assert driver.frame({"event": "error", "arg": stranger, "code": 30001, "msg": "no"}) == [Note("error 30001")]
    assert driver.frame({"event": "unsubscribe", "arg": args[0]}) == []
    assert driver.frame({"event": "subscribe"}) == [Note("event subscribe")]
    assert driver.frame({"arg": args[0]}) == [Note("event none")]
    assert driver.frame({"event": "subscribe", "arg": args[0]}) == []
    assert driver.frame({"event": "subscribe", "arg": args[1]}) == [Live("t")]


def test_a_connection_on_which_nothing_is_answered_ends_after_the_second_try() -> None:
    shard = TickerSubscription(stream_id="t", exchange="bitget", symbols=("BTCUSDT", "ETHUSDT"))
    driver = feed(VENUE.ticker, "bitget", SPOT, shard)
    assert len(args_of(driver.connected())) == 2
    assert len(args_of(driver.wake())) == 2
    (fail,) = of(Fail, driver.wake())
    assert (fail.kind, fail.stream_id) == (FailKind.TRANSIENT, None)


def test_an_account_says_what_it_was_refused_and_ends_without_orders() -> None:
    driver, _ = dialled("bitgetUsdm")
    args = args_of(driver.frame({"event": "login", "code": 0}))
    orders = [arg for arg in args if arg["channel"] == "orders"]
    outputs = driver.frame({"event": "error", "arg": orders[0], "code": 30001, "msg": "no"})
    assert of(Note, outputs)[0].what == "refused: USDT-FUTURES/orders/default: 30001 no"
    assert not of(Fail, outputs)
    (fail,) = of(Fail, driver.frame({"event": "error", "arg": orders[1], "code": 30001, "msg": "no"}))
    assert (fail.kind, fail.stream_id) == (FailKind.TRANSIENT, None)


def test_a_login_that_is_answered_with_a_code_is_refused_and_one_that_is_not_answered_says_so() -> None:
    for code, reason in ((30011, "30011 no"), ("99999", "99999 no")):
        driver, _ = dialled()
        (fail,) = of(Fail, driver.frame({"event": "login", "code": code, "msg": "no"}))
        assert (fail.kind, fail.stream_id, fail.reason) == (FailKind.CREDENTIAL, "s1", reason)
        assert driver.frame({"event": "login", "code": 0}) == []
    driver, _ = dialled()
    (fail,) = of(Fail, driver.wake())
    assert (fail.reason, fail.stream_id) == ("no answer to the login", None)


def test_a_login_waits_for_the_venues_clock_as_long_as_that_takes() -> None:
    driver, _ = dialled()
    (clock,) = of(Call, driver.frame({"event": "error", "code": 30013, "msg": "Invalid timestamp"}))
    driver.mono += 15
    assert not of(Fail, list(driver.adapter.woken(driver.now)))
    assert of(Send, driver.answer(clock, {"code": "00000", "data": {"serverTime": str(WALL)}}))


def test_frames_of_an_account_that_left_publish_nothing() -> None:
    driver = live()
    left = driver.remove("s1")
    while not of(Send, left):
        left = driver.wake()
    assert json.loads(of(Send, left)[0].text)["op"] == "unsubscribe"
    assert driver.frame(order()) == []


def test_a_second_account_is_refused_on_the_same_connection() -> None:
    driver = live()
    (fail,) = of(Fail, driver.add(subscription()))
    assert fail.kind is FailKind.REQUEST
