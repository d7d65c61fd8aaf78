"""KuCoin's orders, gaps and connections by what a bot would notice: small sizes, missing figures, codes, versions."""

from __future__ import annotations

import json
from typing import Any

import pytest

from exchanges._adapter import (
    Call,
    CandleSubscription,
    Connect,
    Emit,
    EmitCandle,
    EmitTickers,
    Fail,
    FailKind,
    Live,
    Note,
    Output,
    Resume,
    Seen,
    Send,
    TickerSubscription,
)
from exchanges.events import AccountPosition, ExecutionReport
from exchanges.instruments import EMPTY, Instrument, SymbolTable
from exchanges.kucoin import VENUE
from exchanges.kucoin._gap import PAGE
from tests.unit.exchanges.driver import of, params
from tests.unit.exchanges.test_kucoin import (
    DETAIL,
    END,
    LINEAR,
    MONEY,
    SPOT,
    TOKEN,
    UNIFIED,
    WALL,
    A,
    B,
    Driver,
    answered,
    asked,
    candle_frame,
    classic_gap,
    dialled,
    feed,
    fill_row,
    futures_row,
    known,
    liquidations,
    live,
    order,
    orders_of,
    reports,
    row,
    states,
    subscription,
    told_gap,
    unified,
    unified_gap,
    unified_joined,
    unified_live,
    unified_order,
    unified_position,
)

INVERSE = SymbolTable(
    [Instrument(wire="XBTUSDM", pair="BTCUSD", base="BTC", quote="USD", settle="BTC", kind="inverse")]
)
MATCH = {"type": "match", "status": "match", "matchPrice": "100", "matchSize": "0.0005", "tradeId": "t1"}


def report(outputs: Any) -> ExecutionReport:
    (emit,) = of(Emit, outputs)
    assert isinstance(emit.event, ExecutionReport)
    return emit.event


# --- orders ---


@pytest.mark.parametrize("left", [None, ""])
def test_a_match_that_does_not_say_what_is_left_ends_nothing(left: str | None) -> None:
    driver = live()
    driver.frame(order(size="0.002"))
    outputs = driver.frame(order(size="0.002", **MATCH, filledSize="0.0005", remainSize=left))
    assert states(outputs) == [("o1", "PARTIALLY_FILLED", "0.0005")]


def test_a_match_that_does_not_say_what_is_filled_adds_its_own_size() -> None:
    driver = live()
    driver.frame(order(size="0.002"))
    told = report(driver.frame(order(size="0.002", **MATCH, filledSize=None, remainSize="0.0015")))
    assert (told.total_trade_quantity, told.total_quote_trade_quantity) == ("0.0005", "0.05")
    second = {**MATCH, "tradeId": "t2", "matchSize": "0.001"}
    told = report(driver.frame(order(size="0.002", **second, filledSize=None, remainSize="0.0005")))
    assert (told.total_trade_quantity, told.total_quote_trade_quantity) == ("0.0015", "0.15")


@pytest.mark.parametrize("funds", [{"originFunds": "100"}, {"canceledFunds": "39.9"}])
def test_a_market_order_by_funds_is_through_whichever_of_its_funds_is_told(funds: dict[str, object]) -> None:
    driver = live()
    market = {"orderType": "market", "price": None, "size": None, **funds}
    driver.frame(order(**{**market, **MATCH, "filledSize": "0.0005", "remainSize": "1"}))
    outputs = driver.frame(order(**{**market, **END, "filledSize": "0.0005", "canceledSize": "0.3"}))
    assert states(outputs) == [("o1", "FILLED", "0.0005")]


@pytest.mark.parametrize(
    ("exchange", "table", "wire", "cost", "side"),
    [
        ("kucoinLinear", LINEAR, "XBTUSDTM", 5, "SELL"),
        ("kucoinLinear", LINEAR, "XBTUSDTM", -5, "BUY"),
        ("kucoinInverse", INVERSE, "XBTUSDM", 5, "BUY"),
        ("kucoinInverse", INVERSE, "XBTUSDM", -5, "SELL"),
    ],
)
def test_the_side_of_a_liquidation_whose_size_is_gone_is_that_of_its_cost(
    exchange: str, table: SymbolTable, wire: str, cost: float, side: str
) -> None:
    driver = live(exchange, table)
    data = {"symbol": wire, "currentQty": 0, "markPrice": 60111.25, "currentTimestamp": WALL, "currentCost": cost,
            "changeReason": "liquidation"}  # fmt: skip
    frame = {"topic": "/contract/positionAll", "type": "message", "subject": "position.change", "data": data}
    (emit,) = reports(driver.frame(frame))
    assert isinstance(emit.event, ExecutionReport)
    assert (emit.event.side, emit.event.liquidation, emit.event.price) == (side, True, "60111.25")


@pytest.mark.parametrize("size", [1, 0.5])
def test_a_liquidation_of_one_contract_or_less_is_one(size: float) -> None:
    ((event,), _) = liquidations([fill_row("x1", size=size)])
    assert (event.quantity, event.liquidation) == (str(size), True)
    assert liquidations([fill_row("x1", size=0)])[0] == []


# --- gaps ---


def test_an_order_that_was_replaced_but_is_still_listed_as_open_is_not_told() -> None:
    """The list of open orders was read in the middle of an alter."""
    before = known("A", client_order_id="D-A", creation_time_ms=WALL - 90_000)
    listed = [row("B", active=True, clientOid="D-A", createdAt=WALL - 10_000),
              row("A", active=True, clientOid="D-A", createdAt=WALL - 90_000)]  # fmt: skip

    def reply(call: Call) -> object:
        return {"open orders": listed, "open symbols": {"symbols": []}, "closed orders": {"items": []}}.get(
            call.tag, []
        )

    told, _ = classic_gap("kucoin", SPOT, WALL - 60_000, reply, before)
    assert states(told) == [("B", "NEW", "0")]
    assert told_gap(told).missing == ("closed orders on other symbols can't be asked for",)


def test_a_futures_order_that_ended_in_the_very_moment_in_which_the_gap_begins_is_told() -> None:
    since = WALL - 60_000
    done = [futures_row(n, isActive=False, status="done", updatedAt=time) for n, time in ((1, since), (2, since - 1))]

    def reply(call: Call) -> object:
        return done if call.tag == "recent orders" else {"items": []}

    told, made = classic_gap("kucoinLinear", LINEAR, since, reply)
    assert [order_id for order_id, _, _ in states(told)] == ["f1"]
    weights = {call.tag: (call.weight, call.pool) for call in made}
    pool = weights["open orders"][1]
    assert weights == {"open orders": (2, pool), "recent orders": (5, pool), "liquidations": (5, pool),
                       "balance": (5, pool)}  # fmt: skip


def test_the_balance_of_an_inverse_account_is_asked_for_while_its_symbols_load() -> None:
    _, made = classic_gap("kucoinInverse", EMPTY, WALL - 60_000, lambda call: {"items": []})
    assert [params(call)["currency"] for call in made if call.tag == "balance"] == ["XBT"]


@pytest.mark.parametrize("quote", ["USDT", "USDC", "BTC", "ETH", "KCS"])
def test_a_coin_that_is_held_was_bought_with_one_of_the_usual_ones(quote: str) -> None:
    table = SymbolTable([Instrument(wire=f"SOL-{quote}", pair=f"SOL-{quote}", base="SOL", quote=quote)])

    def reply(call: Call) -> object:
        if call.tag == "balances":
            return [{"currency": "SOL", "type": "trade", "available": "0.0001", "holds": "0"}]
        return {"symbols": []} if call.tag == "open symbols" else {"items": []}

    _, made = classic_gap("kucoin", table, WALL - 60_000, reply)
    closed = [call for call in made if call.tag == "closed orders"]
    assert [(params(call)["symbol"], call.weight) for call in closed] == [(f"SOL-{quote}", 2)]
    assert [call.weight for call in made if call.tag == "balances"] == [5]


@pytest.mark.parametrize("code", ["100001", "100004", "404000", "400100", "900014"])
def test_every_code_for_an_order_that_is_gone_says_that_the_venue_does_not_know_it(code: str) -> None:
    def reply(call: Call) -> object:
        if call.tag == "order":
            return code
        return {"closed orders": {"items": []}, "open symbols": {"symbols": []}}.get(call.tag, [])

    told, _ = classic_gap("kucoin", SPOT, WALL - 60_000, reply, known("o1"))
    assert "order o1: not known to the venue" in told_gap(told).missing


@pytest.mark.parametrize(("coin", "told"), [("XBT", "BTC"), ("USDT", None), ("USDC", None)])
def test_while_the_symbols_of_inverse_contracts_load_every_other_coin_is_theirs(coin: str, told: str | None) -> None:
    driver = live("kucoinInverse", EMPTY)
    data = {"currency": coin, "availableBalance": "0.01", "holdBalance": "0", "timestamp": str(WALL)}
    frame = {"topic": "/contractAccount/wallet", "type": "message", "subject": "walletBalance.change", "data": data}
    events = [emit.event for emit in of(Emit, driver.frame(frame))]
    assert [one.asset for event in events if isinstance(event, AccountPosition) for one in event.balances] == (
        [told] if told else []
    )


# --- unified accounts ---


def test_a_unified_order_below_one_unit_keeps_its_price_and_one_that_is_not_live_tells_nothing() -> None:
    driver = unified_live()
    told = report(driver.frame(unified_order(p="0.5", q="0.001")))
    assert (told.price, told.quantity, told.order_type) == ("0.5", "0.001", "LIMIT")
    told = report(
        driver.frame(unified_order(oi="u2", ci="D-2", p="0", oT="MARKET", os=3, fS="0.001", aP="0.5", q="0.001"))
    )
    assert (told.price, told.total_quote_trade_quantity, told.order_type) == ("0.5", "0.0005", "MARKET")
    for status in (0, 1):
        assert driver.frame(unified_order(oi="u3", os=status)) == [Seen("s1")]


def test_words_for_who_made_an_order_are_noted_once_each_and_not_without_end() -> None:
    driver = unified_live()
    assert not of(Note, driver.frame(unified_order(oS="user", oi="a", ci="a")))
    notes = [
        note for n in range(60) for note in of(Note, driver.frame(unified_order(oS=f"S{n}", oi=f"o{n}", ci=f"c{n}")))
    ]
    assert len(notes) == 21


def test_a_unified_session_says_what_it_was_refused_and_what_it_does_not_know() -> None:
    driver = unified()
    (login,) = of(Send, driver.frame({"message": "welcome"}))
    (fail,) = of(Fail, driver.frame({"id": json.loads(login.text)["id"], "result": False, "reason": "sign"}))
    assert (fail.reason, fail.stream_id) == ("login: sign", "s1")
    assert unified_live().frame({"odd": 1}) == [Note("frame of an unknown kind")]


def test_the_positions_of_a_unified_account_are_asked_for_at_the_version_that_it_has() -> None:
    driver = Driver(VENUE.user, "kucoinLinear", LINEAR)
    driver.add(subscription("kucoinLinear"))
    (first,) = of(Call, driver.start())
    (second,) = of(Call, driver.answer(first, {"code": "404000", "msg": "Not found"}, 404))
    driver.answer(second, UNIFIED)
    assert of(Live, unified_joined(driver))
    (positions,) = of(Call, driver.wake())
    assert "/api/ua/v1/" in positions.url


@pytest.mark.parametrize("field", ["U", "currentTimestamp", "ts"])
def test_a_unified_liquidation_has_its_time_and_its_beginning_wherever_they_stand(field: str) -> None:
    frame = unified_position(cR="LIQUIDATION", U=None, oT=WALL - 7)
    frame["d"] |= {field: WALL * 10**6}  # type: ignore[operator]
    (emit,) = reports(unified_live().frame(frame))
    assert isinstance(emit.event, ExecutionReport)
    assert (emit.event.order_time, emit.event.new_client_order_id) == (WALL, f"liq-XBTUSDTM-{WALL - 7}")


# --- gaps of unified accounts ---

GONE = "orders on symbols that were not used before can't be asked for"


@pytest.mark.parametrize("code", ["400100", "400200", "400370"])
def test_every_code_for_a_parameter_makes_unified_spot_lists_be_asked_by_symbol(code: str) -> None:
    driver, calls = unified_gap("kucoin", SPOT, known("o2"))

    def reply(call: Call) -> object:
        if call.tag == "balances":
            return MONEY
        if call.tag == "order":
            return DETAIL
        return code if "symbol=" not in call.url else {"items": []}

    told, _ = answered(driver, calls, reply)
    assert told_gap(told).missing == (GONE,)
    assert orders_of(told) == [("o2", "FILLED", "2")]
    times = [emit.event.event_time for emit in of(Emit, told) if isinstance(emit.event, AccountPosition)]
    assert set(times) == {WALL}


def test_only_the_history_of_unified_spot_may_have_moved() -> None:
    driver, calls = unified_gap("kucoin", SPOT)

    def reply(call: Call) -> object:
        if call.tag == "closed orders" and "/api/ua/v2/" in call.url:
            return "404000"
        return MONEY if call.tag == "balances" else {"items": []}

    told, made = answered(driver, calls, reply)
    assert ["/v1/" in call.url for call in made if call.tag == "closed orders"] == [False, True]
    assert told_gap(told).missing == ()


def test_a_full_page_of_unified_open_orders_is_the_last_if_it_says_so() -> None:
    driver, calls = unified_gap("kucoinLinear", LINEAR)
    rows = [{**DETAIL, "orderId": f"p{n}", "symbol": "XBTUSDTM", "status": 2} for n in range(200)]

    def reply(call: Call) -> object:
        if call.tag == "balances":
            return MONEY
        return {"items": rows if call.tag == "open orders" else [], "lastId": 7, "totalPage": 1}

    told, made = answered(driver, calls, reply)
    assert [call.tag for call in made] == ["balances", "open orders", "closed orders"]
    assert len(orders_of(told)) == 200


def test_unified_orders_that_no_list_names_are_asked_for_twenty_at_a_time() -> None:
    driver, calls = unified_gap("kucoinLinear", LINEAR, *(known(f"o{n}", symbol="BTCUSDT") for n in range(25)))
    steps: list[int] = []
    while calls:
        steps.append(len([call for call in calls if call.tag == "order"]))
        answers = {"balances": MONEY, "order": None}
        calls = [
            following
            for call in calls
            for following in of(
                Call, driver.answer(call, {"code": "200000", "data": answers.get(call.tag, {"items": []})})
            )
        ]
    assert [step for step in steps if step] == [20, 5]


# --- the connection ---


@pytest.mark.parametrize("text", ["token is expired", "token is invalid", "Token expired", "token invalid", "401"])
def test_a_token_that_the_socket_refuses_is_asked_for_anew(text: str) -> None:
    driver = dialled()
    sends = of(Send, driver.frame({"id": "id1", "type": "welcome"}))
    error = {"id": json.loads(sends[0].text)["id"], "type": "error", "code": 400, "data": text}
    (fail,) = of(Fail, driver.frame(error))
    assert (fail.kind, fail.stream_id, fail.reason) == (FailKind.TRANSIENT, None, f"400 {text}")


def token(**server: object) -> dict[str, Any]:
    (usual,) = TOKEN["data"]["instanceServers"]  # type: ignore[index]
    return {"code": "200000", "data": {"token": "t", "instanceServers": [{**usual, **server}]}}


@pytest.mark.parametrize(("interval_ms", "first_s"), [(5_000, 4.0), (18_000, 14.4), (60_000, 14.4)])
def test_pings_are_as_often_as_the_venue_wants_and_never_rarer_than_usual(interval_ms: int, first_s: float) -> None:
    driver = Driver(VENUE.candle, "kucoin", SPOT)
    (call,) = of(Call, driver.start())
    assert of(Connect, driver.answer(call, token(pingInterval=interval_ms, pingTimeout=3_000)))
    driver.connected()
    driver.frame({"id": "1", "type": "welcome"})
    begun = driver.mono
    assert of(Send, driver.wake())
    assert driver.mono - begun == pytest.approx(first_s)
    (fail,) = of(Fail, driver.wake())
    assert driver.mono - begun == pytest.approx(first_s + 3)
    assert fail.kind is FailKind.TRANSIENT


def test_an_answer_without_a_token_or_a_server_opens_nothing() -> None:
    for data in (
        {"token": "", "instanceServers": token()["data"]["instanceServers"]},
        {"token": "t", "instanceServers": []},
    ):
        driver = Driver(VENUE.candle, "kucoin", SPOT)
        (call,) = of(Call, driver.start())
        (fail,) = driver.answer(call, {"code": "200000", "data": data})
        assert isinstance(fail, Fail)
        assert (fail.kind, fail.reason) == (FailKind.TRANSIENT, "the token answer names no server")


def test_a_private_topic_is_asked_for_as_one_by_itself() -> None:
    for exchange, table in (("kucoin", SPOT), ("kucoinLinear", LINEAR)):
        frames = [json.loads(send.text) for send in of(Send, dialled(exchange, table).frame({"type": "welcome"}))]
        assert frames
        assert {(frame["type"], frame["privateChannel"], frame["response"]) for frame in frames} == {
            ("subscribe", True, True)
        }


def test_an_account_whose_mode_cannot_be_read_is_a_classic_one() -> None:
    driver = Driver(VENUE.user, "kucoin", SPOT)
    assert list(driver.adapter.closing(driver.now)) == []
    driver.add(subscription())
    (mode,) = of(Call, driver.start())
    assert (mode.weight, mode.pool) == (30, "unified")
    (token_call,) = of(Call, driver.answer(mode, {"code": "200000", "data": 7}))
    assert token_call.url.endswith("/bullet-private")
    assert list(driver.adapter.closing(driver.now)) == []


# --- tickers ---


def tickers(exchange: str, table: SymbolTable, *symbols: str) -> Driver:
    return feed(VENUE.ticker, exchange, table, TickerSubscription(stream_id="t", exchange=exchange, symbols=symbols))


def test_without_names_all_of_a_market_is_asked_for() -> None:
    (send,) = of(Send, tickers("kucoin", SPOT).frame({"type": "welcome"}))
    assert json.loads(send.text)["topic"] == "/market/ticker:all"
    (send,) = of(Send, tickers("kucoinLinear", LINEAR).frame({"type": "welcome"}))
    assert json.loads(send.text)["topic"] == "/contractMarket/ticker:ETHUSDTM,XBTUSDTM"


def test_a_refusal_of_the_whole_market_is_the_venues_trouble() -> None:
    driver = tickers("kucoin", SPOT)
    (send,) = of(Send, driver.frame({"type": "welcome"}))
    error = {"id": json.loads(send.text)["id"], "type": "error", "code": 404, "data": "topic not found"}
    (fail,) = of(Fail, driver.frame(error))
    assert (fail.kind, fail.stream_id, fail.reason) == (FailKind.TRANSIENT, None, "404 topic not found")


@pytest.mark.parametrize(
    ("exchange", "table", "topic", "symbol", "wire", "pair"),
    [
        ("kucoin", SPOT, "/market/ticker:all", "BTC-USDT", "BTC-USDT", "BTC-USDT"),
        ("kucoinLinear", LINEAR, "/contractMarket/ticker:XBTUSDTM", "ticker", "XBTUSDTM", "BTCUSDT"),
    ],
)
def test_only_a_price_on_the_topic_of_prices_is_one(
    exchange: str, table: SymbolTable, topic: str, symbol: str, wire: str, pair: str
) -> None:
    driver = tickers(exchange, table)
    driver.ack(driver.frame({"type": "welcome"}))

    def push(topic: str, data: object) -> list[Output]:
        return driver.frame({"topic": topic, "type": "message", "subject": symbol, "data": data})

    tick = {"symbol": wire, "price": "0.00002", "time": WALL, "ts": WALL * 10**6}
    (emit,) = of(EmitTickers, push(topic, tick))
    assert [(one.symbol, one.price, one.time) for one in emit.tickers] == [(pair, 0.00002, WALL)]
    for data in (
        None,
        {**tick, "price": "1e999"},
        {**tick, "price": "inf"},
        {**tick, "price": "nan"},
        {**tick, "price": "0"},
        {**tick, "price": "-1"},
        7,
    ):
        assert push(topic, data) == [Seen("t")]
    assert push("/market/other:all", tick) == [Note("topic /market/other is not known")]
    driver.remove("t")
    for at, data in ((topic, tick), (topic, None), ("/market/other:all", tick)):
        assert push(at, data) == [], "nobody wants it any more"


# --- candles ---


def test_a_candle_that_cannot_be_had_is_refused_with_a_sentence() -> None:
    for exchange, table, example in (("kucoin", SPOT, "BTC-USDT"), ("kucoinLinear", LINEAR, "BTCUSDT"),
                                     ("kucoinInverse", INVERSE, "BTCUSD")):  # fmt: skip
        driver = Driver(VENUE.candle, exchange, table)
        wanted = CandleSubscription(stream_id="a", exchange=exchange, symbol="NOONE", interval="1m")
        (fail,) = of(Fail, driver.add(wanted))
        assert (fail.kind, fail.stream_id) == (FailKind.REQUEST, "a")
        assert fail.reason == f"{exchange} lists no symbol 'NOONE': pair ids look like {example}."


@pytest.mark.parametrize("rows", [[], ["x"] * 7, ["1"]])
def test_an_odd_candle_costs_itself(rows: list[str]) -> None:
    driver = feed(VENUE.candle, "kucoin", SPOT, asked("a", "1min"))
    driver.ack(driver.frame({"id": "1", "type": "welcome"}))
    frame = candle_frame("1min", 1_793_001_600, 5)
    frame["data"]["candles"] = rows  # type: ignore[index]
    assert driver.frame(frame) == [Note("candle is not understood")]
    assert of(EmitCandle, driver.frame(candle_frame("1min", 1_793_001_600, 5)))
    assert driver.frame(candle_frame("1min", 1_793_001_600, 5)) == [Seen("a")], "the same push again"


def test_past_candles_that_cannot_be_read_are_told_as_missing() -> None:
    driver = feed(VENUE.candle, "kucoin", SPOT, asked("a", "1min", resume_start_ms=WALL - 600_000))
    calls = of(Call, driver.ack(driver.frame({"id": "1", "type": "welcome"})))
    assert [call.weight for call in calls] == [3]
    outputs = driver.answer(calls[0], {"code": "200000", "data": {"odd": 1}})
    assert told_gap(outputs).missing[0].endswith("unreadable answer")


@pytest.mark.parametrize(
    ("exchange", "table", "symbol", "begin", "rows"),
    [("kucoin", SPOT, "BTC-USDT", "startAt", 1500), ("kucoinLinear", LINEAR, "BTCUSDT", "from", 500)],
)
def test_a_long_gap_of_candles_is_read_as_far_as_one_answer_reaches(
    exchange: str, table: SymbolTable, symbol: str, begin: str, rows: int
) -> None:
    minute = 60_000
    wanted = CandleSubscription(
        stream_id="a", exchange=exchange, symbol=symbol, interval="1m", resume_start_ms=WALL - 3_000 * minute
    )
    driver = feed(VENUE.candle, exchange, table, wanted)
    (call,) = of(Call, driver.ack(driver.frame({"type": "welcome"})))
    start_ms = int(params(call)[begin]) * (1000 if begin == "startAt" else 1)
    assert rows - 1 <= (WALL - start_ms) / minute <= rows + 1
    assert start_ms % minute == 0


def test_a_candle_of_a_symbol_that_no_list_tells_yet_is_refused_with_why() -> None:
    wanted = CandleSubscription(stream_id="a", exchange="kucoinLinear", symbol="BTCUSDT", interval="1m")
    (fail,) = of(Fail, Driver(VENUE.candle, "kucoinLinear", EMPTY).add(wanted))
    assert fail.reason == "The symbols of kucoinLinear are not loaded yet, so 'BTCUSDT' can't be looked up."


def test_a_classic_page_of_closed_orders_that_is_not_full_is_the_last() -> None:
    short = [row(f"p{number}", cancelExist=True, clientOid="") for number in range(PAGE - 1)]

    def reply(call: Call) -> object:
        if call.tag == "closed orders":
            return {"items": short, "lastId": 7}
        return {"symbols": ["BTC-USDT"]} if call.tag == "open symbols" else []

    told, made = classic_gap("kucoin", SPOT, WALL - 60_000, reply)
    assert len([call for call in made if call.tag == "closed orders"]) == 1
    assert len(states(told)) == PAGE - 1


def test_an_altered_order_that_goes_on_in_a_gap_is_told_with_its_part_before() -> None:
    """Found by value: two parts of one client id, each below one unit."""
    driver = live()
    driver.frame(order(**A, size="0.002"))
    driver.frame(order(**A, size="0.002", **MATCH, filledSize="0.0005", remainSize="0.0015"))
    told = report(driver.frame(order(**B, size="0.0015", price="90")))
    assert (told.order_id, told.order_status) == ("B", "PARTIALLY_FILLED")
    assert (told.total_trade_quantity, told.total_quote_trade_quantity, told.quantity) == ("0.0005", "0.05", "0.002")


def test_a_stream_that_knows_nothing_of_before_asks_for_nothing() -> None:
    for exchange, table in (("kucoin", SPOT), ("kucoinLinear", LINEAR)):
        driver = dialled(exchange, table)
        assert not of(Call, driver.ack(driver.frame({"id": "id1", "type": "welcome"})))
        driver = dialled(exchange, table, Resume(since_ms=WALL - 60_000))
        assert of(Call, driver.ack(driver.frame({"id": "id1", "type": "welcome"})))
