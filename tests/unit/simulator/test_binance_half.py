"""The Binance half, driven without sockets: signatures, subscriptions, listen keys, REST, limits."""

from __future__ import annotations

import base64
import json
from urllib.parse import quote

import pytest
from cryptography.hazmat.primitives.asymmetric import ed25519, padding, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from simulator import controls
from simulator._values import ApiKey
from simulator._venue import Close, Refuse, Request
from simulator.faults import Fault
from simulator.signing import signed_by
from simulator.venues.binance._rest import signed_payload
from tests.unit.simulator.worlds import World, sign, subscribe, ws_api

FAPI = "fapi.binance.com"
API = "api.binance.com"


# --- signatures ---


def test_check_value_of_the_websocket_api():
    key = ApiKey(key="test-key-1", secret="test-secret-1")
    text = "apiKey=test-key-1&recvWindow=5000&timestamp=1795000000000"
    assert signed_by(key, text, "beef34be2378ee26b043f2841a2e7c7ee5bab44b8077090bea79c04fdba24600")


def test_check_value_of_rest_with_a_non_ascii_symbol():
    key = ApiKey(key="k", secret="test-secret-1")
    signature = "d4d588f66b8d076ec9b3cde9d1321d53aa556d6e49ce45e3682314e6b9a01eb9"
    query = f"symbol=%E5%B8%81%E5%AE%89USDT&recvWindow=5000&timestamp=1795000000000&signature={signature}"
    payload = signed_payload(Request(method="GET", host=API, path="/api/v3/openOrders", query=query))
    assert payload == "symbol=%E5%B8%81%E5%AE%89USDT&recvWindow=5000&timestamp=1795000000000"
    assert signed_by(key, payload, signature)


def test_signature_over_query_and_body_together():
    request = Request(method="POST", host=API, path="/api/v3/order", query="symbol=A", body=b"side=BUY&signature=x")
    assert signed_payload(request) == "symbol=Aside=BUY"


@pytest.mark.parametrize("kind", ["rsa", "ed25519"])
@pytest.mark.parametrize("flattened", [False, True])
def test_asymmetric_keys_log_in(kind, flattened):
    private = (
        rsa.generate_private_key(public_exponent=65537, key_size=2048)
        if kind == "rsa"
        else ed25519.Ed25519PrivateKey.generate()
    )
    pem = private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    if flattened:
        pem = pem.replace("\n", " ").strip()
    world = World()
    account = world.account(secret=pem)
    text = f"apiKey=K&timestamp={world.clock().wall_ms}"
    raw = (
        private.sign(text.encode(), padding.PKCS1v15(), SHA256())
        if isinstance(private, rsa.RSAPrivateKey)
        else private.sign(text.encode())
    )
    params = {"apiKey": "K", "timestamp": world.clock().wall_ms, "signature": base64.b64encode(raw).decode()}

    link = ws_api(world)
    answer = world.send(link, {"id": 1, "method": "userDataStream.subscribe.signature", "params": params})

    assert answer[0]["result"] == {"subscriptionId": 0}
    assert link.accounts == {account}


def test_a_public_pem_is_enough():
    private = ed25519.Ed25519PrivateKey.generate()
    pem = private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
    key = controls.api_key("K", pem)
    assert key.kind == "ed25519"
    assert signed_by(key, "text", base64.b64encode(private.sign(b"text")).decode())
    assert not signed_by(key, "other", base64.b64encode(private.sign(b"text")).decode())
    assert not signed_by(key, "text", "not base64!")


# --- WebSocket API ---


def test_several_accounts_share_one_socket_and_keep_their_numbers():
    world = World()
    first, second = world.account(), world.account(key="K2", secret="S2")
    link = ws_api(world)

    answers = subscribe(world, link) + subscribe(world, link, "K2", "S2")
    world.place(second, client_id="two")
    world.place(first, client_id="one")
    frames = [f for f in world.frames(link) if f["event"]["e"] == "executionReport"]

    assert [a["result"]["subscriptionId"] for a in answers] == [0, 1]
    assert [(f["subscriptionId"], f["event"]["c"]) for f in frames] == [(1, "two"), (0, "one")]
    assert answers[0]["rateLimits"][0]["limit"] == 6000


@pytest.mark.parametrize(
    ("key", "secret", "skew_ms", "status", "code"),
    [
        ("nobody", "S", 0, 401, -2015),
        ("", "S", 0, 401, -2014),
        ("K", "wrong", 0, 400, -1022),
        ("K", "S", -5001, 400, -1021),
        ("K", "S", 1000, 400, -1021),
        ("K", "S", 999, 200, None),
        ("K", "S", -5000, 200, None),
    ],
)
def test_subscribe_errors(key, secret, skew_ms, status, code):
    world = World()
    world.account()
    params = {"apiKey": key, "timestamp": world.clock().wall_ms + skew_ms}
    params["signature"] = sign(secret, "&".join(f"{n}={params[n]}" for n in sorted(params)))

    answer = world.send(ws_api(world), {"id": "u1", "method": "userDataStream.subscribe.signature", "params": params})[
        0
    ]

    assert answer["id"] == "u1"
    assert answer["status"] == status
    assert answer.get("error", {}).get("code") == code


def test_subscribing_twice_is_2035_and_unsubscribing_twice_2036():
    world = World()
    world.account()
    link = ws_api(world)
    subscribe(world, link)
    assert subscribe(world, link)[0]["error"]["code"] == -2035
    unsubscribe = {"id": 2, "method": "userDataStream.unsubscribe", "params": {"subscriptionId": 0}}
    assert world.send(link, unsubscribe)[0]["status"] == 200
    assert world.send(link, unsubscribe)[0]["error"]["code"] == -2036
    assert link.accounts == set()
    assert subscribe(world, link)[0]["result"] == {"subscriptionId": 1}, "numbers are not used twice"


def test_session_logon_refuses_hmac_keys_and_text_for_no_session():
    world = World()
    world.account()
    link = ws_api(world)
    params = {"apiKey": "K", "timestamp": world.clock().wall_ms}
    params["signature"] = sign("S", f"apiKey=K&timestamp={params['timestamp']}")
    assert world.send(link, {"id": 1, "method": "session.logon", "params": params})[0]["error"]["code"] == -4056
    error = world.send(link, {"id": 2, "method": "userDataStream.subscribe"})[0]
    assert (error["status"], error["error"]["msg"]) == (401, "WebSocket session not authenticated")


def test_orders_can_be_placed_over_the_websocket_api():
    world = World()
    world.account()
    link = ws_api(world)
    subscribe(world, link)
    params = {
        "apiKey": "K",
        "symbol": "BTCUSDT",
        "side": "BUY",
        "type": "MARKET",
        "quantity": "0.01",
        "timestamp": world.clock().wall_ms,
    }
    params["signature"] = sign("S", "&".join(f"{n}={params[n]}" for n in sorted(params)))
    frames = world.send(link, {"id": 5, "method": "order.place", "params": params})

    assert frames[0]["result"]["status"] == "FILLED"
    assert [f["event"]["x"] for f in frames[1:] if f["event"]["e"] == "executionReport"] == ["NEW", "TRADE"]


def test_rejected_key_answers_with_the_given_code_and_terminates_the_subscription():
    world = World()
    account = world.account()
    link = ws_api(world)
    subscribe(world, link)

    controls.inject(world.hub, Fault(kind="reject_key", account=account, params={"code": "-2008"}), world.clock())

    event = world.frames(link)[0]
    assert event["event"]["e"] == "eventStreamTerminated"
    assert subscribe(world, link)[0]["error"]["code"] == -2008
    controls.inject(world.hub, Fault(kind="accept_key", account=account), world.clock())
    assert subscribe(world, link)[0]["status"] == 200


def test_shutdown_notice_comes_first_and_the_close_later():
    world = World()
    world.account()
    link = ws_api(world)
    controls.inject(world.hub, Fault(kind="maintenance", params={"seconds": "3"}), world.clock())
    assert world.frames(link) == [{"event": {"e": "serverShutdown", "E": world.clock().wall_ms}}]
    world.hub.woken(link, world.clock.move(2.9))
    assert not world.actions(link)
    world.hub.woken(link, world.clock.move(0.2))
    assert world.actions(link) == [Close(1001, "shutdown")]


# --- keep-alive ---


def test_server_pings_every_20_s_and_cuts_after_60_s_without_pong():
    world = World()
    link = ws_api(world)
    seen = []
    for _ in range(60):
        world.hub.woken(link, world.clock.move(1))
        seen += [(world.clock.seconds, type(action).__name__) for action in world.actions(link)]
    assert seen == [(20.0, "Ping"), (40.0, "Ping"), (60.0, "Close")]


def test_a_pong_keeps_the_connection_and_age_ends_it_at_24_h():
    world = World()
    link = ws_api(world)
    closed_at = None
    while closed_at is None:
        world.hub.woken(link, world.clock.move(20))
        world.hub.ponged(link, b"", world.clock())
        if any(isinstance(action, Close) for action in world.actions(link)):
            closed_at = world.clock.seconds
    assert closed_at == 86_400


def test_more_than_five_frames_a_second_close_a_spot_stream_socket():
    world = World()
    link = world.connect("binance", "stream.binance.com", "/ws")
    for number in range(5):
        assert world.send(link, {"method": "SUBSCRIBE", "params": ["x@y"], "id": number})
    world.hub.received(link, "{}", world.clock())
    assert world.actions(link) == [Close(1008, "Too many requests")]


def test_the_same_frames_spread_over_time_are_fine():
    world = World()
    link = world.connect("binance", "stream.binance.com", "/ws")
    for number in range(20):
        assert world.send(link, {"method": "LIST_SUBSCRIPTIONS", "id": number}) == [{"result": [], "id": number}]
        world.clock.move(0.25)


def test_one_connection_too_many_is_refused():
    world = World()
    for _ in range(300):
        world.connect("binance", "stream.binance.com", "/ws")
    refused = world.try_connect("binance", "stream.binance.com", "/ws")
    assert isinstance(refused, Refuse)
    assert refused.status == 429
    world.clock.move(301)
    world.connect("binance", "stream.binance.com", "/ws")


# --- market streams ---


def test_usdm_market_data_flows_on_the_market_path_only():
    world = World(quiet=0.0)
    routed = world.connect("binance", "fstream.binance.com", "/market/stream", "streams=btcusdt@kline_1m/!ticker@arr")
    unrouted = world.connect("binance", "fstream.binance.com", "/stream", "streams=btcusdt@kline_1m/!ticker@arr")
    ack = world.send(unrouted, {"method": "SUBSCRIBE", "params": ["ethusdt@kline_1m"], "id": 7})
    world.hub.pulse(world.clock.move(1))

    assert ack == [{"result": None, "id": 7}]
    assert {frame["stream"] for frame in world.frames(routed)} == {"btcusdt@kline_1m", "!ticker@arr"}
    assert world.frames(unrouted) == []


@pytest.mark.parametrize(("host", "path"), [("fstream.binance.com", "/market/ws"), ("dstream.binance.com", "/ws")])
def test_all_market_array_carries_both_futures_markets(host, path):
    world = World(quiet=0.0)
    link = world.connect("binance", host, f"{path}/!ticker@arr")
    world.hub.pulse(world.clock.move(1))
    frames = world.frames(link)

    assert len(frames) == 1
    kinds = {row["s"]: row["st"] for row in frames[0]}
    assert kinds == {
        "BTCUSDT": 1, "ETHUSDT": 1, "BNBUSDT": 1, "币安USDT": 1,
        "BTCUSD_PERP": 2, "ETHUSD_PERP": 2, "BNBUSD_PERP": 2,
    }  # fmt: skip


def test_spot_all_market_stream_is_mini_only():
    world = World()
    link = world.connect("binance", "stream.binance.com", "/ws")
    world.send(link, {"method": "SUBSCRIBE", "params": ["!miniTicker@arr", "!ticker@arr"], "id": 1})
    controls.set_price(world.hub, "binance", "BTCUSDT", controls.Decimal("60001.5"), world.clock())
    frames = world.frames(link)
    assert [[row["e"] for row in frame] for frame in frames] == [["24hrMiniTicker"]]
    assert frames[0][0]["c"] == "60001.50000000"


def test_closed_candle_comes_exactly_once_and_rest_agrees():
    world = World()
    link = world.connect("binance", "stream.binance.com", "/stream", "streams=btcusdt@kline_1m")
    for _ in range(180):
        world.hub.pulse(world.clock.move(1))
    candles = [frame["data"]["k"] for frame in world.frames(link)]
    closed = [k for k in candles if k["x"]]

    assert len({k["t"] for k in closed}) == len(closed) == 3
    query = f"symbol=BTCUSDT&interval=1m&startTime={closed[0]['t']}&endTime={closed[-1]['t']}"
    rows = json.loads(world.rest("GET", API, "/api/v3/klines", query).body)
    assert [[r[0], r[1], r[2], r[3], r[4], r[5], r[6]] for r in rows] == [
        [k["t"], k["o"], k["h"], k["l"], k["c"], k["v"], k["T"]] for k in closed
    ]


def test_close_candle_now_moves_on_to_the_next_bucket():
    world = World()
    link = world.connect("binance", "dstream.binance.com", "/ws/btcusd_perp@kline_1d")
    start = controls.close_candle(world.hub, "binanceCoinm", "BTCUSD_PERP", "1d", world.clock())
    world.hub.pulse(world.clock.move(1))
    frames = [frame["k"] for frame in world.frames(link)]
    assert (frames[0]["t"], frames[0]["x"]) == (start, True)
    assert all(k["t"] == start + 86_400_000 and not k["x"] for k in frames[1:])


def test_non_ascii_stream_names_work():
    world = World()
    link = world.connect("binance", "stream.binance.com", "/stream", f"streams={quote('币安usdt@ticker')}")
    controls.set_price(world.hub, "binance", "币安USDT", controls.Decimal("0.3"), world.clock())
    assert world.frames(link)[0]["stream"] == "币安usdt@ticker"


def test_unsubscribe_ends_the_flow_and_unknown_names_are_acknowledged():
    world = World()
    link = world.connect("binance", "stream.binance.com", "/ws/btcusdt@miniTicker")
    assert world.send(link, {"method": "UNSUBSCRIBE", "params": ["btcusdt@miniTicker"], "id": "a"}) == [
        {"result": None, "id": "a"}
    ]
    assert world.send(link, {"method": "SUBSCRIBE", "params": ["nope@kline_1m"], "id": 2})[0]["result"] is None
    assert world.send(link, {"method": "NOPE", "id": 3})[0]["code"] == 2
    assert world.send(link, "no json")[0]["code"] == 3
    world.hub.pulse(world.clock.move(1))
    assert world.frames(link) == []


def test_the_201st_stream_closes_a_futures_socket():
    world = World()
    link = world.connect("binance", "fstream.binance.com", "/market/ws")
    world.send(link, {"method": "SUBSCRIBE", "params": [f"s{n}@kline_1m" for n in range(200)], "id": 1})
    world.hub.received(link, json.dumps({"method": "SUBSCRIBE", "params": ["x@y"], "id": 2}), world.clock())
    assert Close(1008, "Too many streams") in world.actions(link)


def test_paths_that_do_not_exist_are_404():
    world = World()
    for host, path in (
        ("stream.binance.us", "/wss"),
        ("fstream.binance.com", "/private"),
        ("ws-api.binance.com", "/x"),
    ):
        refused = world.try_connect("binance", host, path)
        assert isinstance(refused, Refuse)
        assert refused.status == 404


# --- listen keys ---


def listen_key(world: World, key: str = "K", host: str = FAPI, path: str = "/fapi/v1/listenKey") -> str:
    return json.loads(world.rest("POST", host, path, key=key).body)["listenKey"]


@pytest.mark.parametrize(
    ("exchange", "rest_host", "rest_path", "host", "path", "query"),
    [
        ("binanceUsdm", FAPI, "/fapi/v1/listenKey", "fstream.binance.com", "/private/ws", "listenKey={key}&events=A/B"),
        ("binanceUsdm", FAPI, "/fapi/v1/listenKey", "fstream.binance.com", "/private/ws/{key}", ""),
        ("binanceCoinm", "dapi.binance.com", "/dapi/v1/listenKey", "dstream.binance.com", "/ws/{key}", ""),
        ("binanceUS", "api.binance.us", "/api/v3/userDataStream", "stream.binance.us", "/ws/{key}", ""),
    ],
)
def test_listen_key_socket_gets_the_account_of_the_key(exchange, rest_host, rest_path, host, path, query):
    world = World()
    account = world.account()
    symbol = "BTCUSD_PERP" if exchange == "binanceCoinm" else "BTCUSDT"
    key = listen_key(world, host=rest_host, path=rest_path)
    assert listen_key(world, host=rest_host, path=rest_path) == key, "a second POST returns the same key"
    link = world.connect("binance", host, path.format(key=key), query.format(key=key))

    world.place(account, exchange, symbol=symbol, quantity="1", client_id="mine")

    frame = world.frames(link)[0]
    assert (frame if exchange == "binanceUS" else frame["o"])["c"] == "mine"
    assert link.peer.feed == "user"


def test_wrong_market_or_unrouted_private_socket_stays_silent():
    world = World()
    account = world.account()
    key = listen_key(world)
    silent = [
        world.connect("binance", "fstream.binance.com", f"/ws/{key}"),
        world.connect("binance", "dstream.binance.com", f"/ws/{key}"),
    ]
    world.place(account, "binanceUsdm", quantity="1")
    assert [world.frames(link) for link in silent] == [[], []]


def test_an_expired_listen_key_says_so_once_and_the_socket_goes_quiet():
    world = World(listen_key_s=60)
    account = world.account()
    key = listen_key(world)
    link = world.connect("binance", "fstream.binance.com", "/private/stream", f"listenKey={key}")
    world.hub.woken(link, world.clock.move(59))
    assert json.loads(world.rest("PUT", FAPI, "/fapi/v1/listenKey", key="K").body) == {"listenKey": key}
    world.hub.woken(link, world.clock.move(59))
    assert world.frames(link) == [], "the PUT moved the end"
    world.hub.woken(link, world.clock.move(2))
    assert world.frames(link) == [
        {"stream": key, "data": {"e": "listenKeyExpired", "E": world.clock().wall_ms, "listenKey": key}}
    ]
    world.place(account, "binanceUsdm", quantity="1")
    assert world.frames(link) == []
    assert json.loads(world.rest("PUT", FAPI, "/fapi/v1/listenKey", key="K").body)["code"] == -1125
    assert listen_key(world) != key


def test_delete_silences_every_socket_of_the_key():
    world = World()
    account = world.account()
    key = listen_key(world)
    link = world.connect("binance", "fstream.binance.com", "/private/ws", f"listenKey={key}")
    assert world.rest("DELETE", FAPI, "/fapi/v1/listenKey", key="K").status == 200
    world.place(account, "binanceUsdm", quantity="1")
    assert world.frames(link) == []


def test_binance_us_names_the_key_when_it_extends_it():
    world = World()
    world.account()
    key = listen_key(world, host="api.binance.us", path="/api/v3/userDataStream")
    path = "/api/v3/userDataStream"
    assert world.rest("PUT", "api.binance.us", path, f"listenKey={key}", key="K").body == b"{}"
    assert json.loads(world.rest("PUT", "api.binance.us", path, "listenKey=x", key="K").body)["code"] == -1125
    assert json.loads(world.rest("PUT", "api.binance.us", path, key="K").body)["code"] == -1102


def test_spot_listen_keys_are_gone():
    world = World()
    world.account()
    assert world.rest("POST", API, "/api/v3/userDataStream", key="K").status == 410


# --- REST ---


def test_gap_repair_calls_tell_what_the_engine_did():
    world = World()
    account = world.account()
    order = world.place(account, client_id="D-BO-1")
    controls.fill(
        world.hub, controls.OrderRef(order_id=order.order_id), world.clock(), quantity=controls.Decimal("0.1")
    )

    opened = world.signed("GET", API, "/api/v3/openOrders")
    one = world.signed("GET", API, "/api/v3/order", f"symbol=BTCUSDT&orderId={opened[0]['orderId']}")
    by_client = world.signed("GET", API, "/api/v3/order", "symbol=BTCUSDT&origClientOrderId=D-BO-1")
    everything = world.signed("GET", API, "/api/v3/allOrders", f"symbol=BTCUSDT&startTime={world.clock().wall_ms - 5}")
    trades = world.signed("GET", API, "/api/v3/myTrades", f"symbol=BTCUSDT&orderId={one['orderId']}")
    balances = world.signed("GET", API, "/api/v3/account", "omitZeroBalances=true")["balances"]

    assert opened[0] == one == by_client == everything[0]
    assert (one["status"], one["executedQty"], one["cummulativeQuoteQty"]) == (
        "PARTIALLY_FILLED", "0.10000000", "6100.00000000",
    )  # fmt: skip
    assert [t["quoteQty"] for t in trades] == ["6100.00000000"]
    assert {"asset": "USDT", "free": "9984750.00000000", "locked": "9150.00000000"} in balances


def test_futures_calls_speak_their_own_fields():
    world = World()
    account = world.account()
    world.place(account, "binanceUsdm", order_type="MARKET", quantity="0.1", price="0", client_id="m1")
    world.place(account, "binanceCoinm", symbol="BTCUSD_PERP", order_type="MARKET", quantity="5", price="0")

    usdm = world.signed("GET", FAPI, "/fapi/v1/allOrders", "symbol=BTCUSDT")[0]
    coinm = world.signed("GET", "dapi.binance.com", "/dapi/v1/allOrders", "symbol=BTCUSD_PERP")[0]
    assert usdm["orderId"] > 2**53
    assert (usdm["avgPrice"], usdm["executedQty"], usdm["cumQuote"]) == ("61250.50", "0.100", "6125.05000000")
    assert (coinm["executedQty"], coinm["pair"]) == ("5", "BTCUSD")
    assert world.signed("GET", FAPI, "/fapi/v3/balance")[0]["asset"] == "USDT"
    assert world.signed("GET", FAPI, "/fapi/v3/positionRisk")[0]["positionAmt"] == "0.100"
    assert world.signed("GET", FAPI, "/fapi/v1/userTrades", "symbol=BTCUSDT")[0]["qty"] == "0.100"
    assert world.signed("GET", "dapi.binance.com", "/dapi/v1/userTrades")[0]["baseQty"]


def test_orders_placed_amended_and_canceled_over_rest():
    world = World()
    world.account()
    link = ws_api(world)
    subscribe(world, link)
    order = "symbol=BTCUSDT&side=BUY&type=LIMIT&timeInForce=GTC&quantity=0.2&price=60000&newClientOrderId=c1"
    placed = world.signed("POST", API, "/api/v3/order", order)
    amended = world.signed(
        "PUT", API, "/api/v3/order/amend/keepPriority", "symbol=BTCUSDT&origClientOrderId=c1&newQty=0.1"
    )
    cancel = f"symbol=BTCUSDT&orderId={placed['orderId']}&newClientOrderId=cancel-1"
    canceled = world.signed("DELETE", API, "/api/v3/order", cancel)

    reports = [f["event"] for f in world.frames(link) if f["event"]["e"] == "executionReport"]
    assert [(r["x"], r["X"]) for r in reports] == [("NEW", "NEW"), ("REPLACED", "NEW"), ("CANCELED", "CANCELED")]
    assert (reports[1]["C"], reports[1]["c"]) == ("c1", amended["amendedOrder"]["clientOrderId"])
    assert (reports[2]["c"], reports[2]["C"]) == ("cancel-1", reports[1]["c"])
    assert canceled["origClientOrderId"] == reports[1]["c"]
    assert world.signed("DELETE", API, "/api/v3/order", cancel)["code"] == -2011


@pytest.mark.parametrize(
    ("method", "host", "path", "query", "code"),
    [
        ("GET", API, "/api/v3/allOrders", "", -1102),
        ("GET", API, "/api/v3/allOrders", "symbol=NOPE", -1121),
        ("GET", "dapi.binance.com", "/dapi/v1/openOrders", "symbol=BTCUSDT", -1121),
        ("GET", API, "/api/v3/order", "symbol=BTCUSDT&orderId=1", -2013),
        ("GET", API, "/api/v3/myTrades", "symbol=BTCUSDT&startTime=0&endTime=90000000", -1127),
        ("POST", FAPI, "/fapi/v1/order", "symbol=BTCUSDT&side=BUY&type=STOP_MARKET&quantity=1", -4120),
        ("POST", API, "/api/v3/order", "symbol=BTCUSDT&side=BUY&type=LIMIT&quantity=9999999&price=1", 0),
        ("POST", API, "/api/v3/order", "symbol=BTCUSDT&side=BUY&type=LIMIT&quantity=9999999&price=60000", -2010),
        ("POST", API, "/api/v3/order", "symbol=BTCUSDT&side=BUY&type=LIMIT&quantity=abc&price=60000", -1100),
    ],
)
def test_request_errors(method, host, path, query, code):
    world = World()
    world.account()
    assert world.signed(method, host, path, query).get("code", 0) == code


def test_a_query_signed_before_encoding_is_a_bad_signature():
    world = World()
    world.account()
    stamp = f"recvWindow=5000&timestamp={world.clock().wall_ms}"
    signature = sign("S", f"symbol=币安USDT&{stamp}")
    query = f"symbol={quote('币安USDT')}&{stamp}&signature={signature}"
    assert json.loads(world.rest("GET", API, "/api/v3/openOrders", query, "K").body)["code"] == -1022


def test_too_much_weight_is_429_then_a_ban_of_two_minutes():
    world = World()
    world.account()
    statuses = []
    for _ in range(100):
        reply = world.rest("GET", FAPI, "/fapi/v1/klines", "symbol=BTCUSDT&interval=1m", "K")
        assert reply.status == 200
    for _ in range(55):
        assert world.signed("GET", FAPI, "/fapi/v1/openOrders") == []
    for _ in range(30):
        reply = world.rest("GET", "dapi.binance.com", "/dapi/v1/time")
        statuses.append(reply.status)
    assert statuses[0] == 429, "the pool is shared with COIN-M"
    assert statuses[-1] == 418
    banned = json.loads(reply.body)["msg"]
    assert f"banned until {world.clock().wall_ms + 120_000}" in banned
    assert reply.headers["Retry-After"] == "120"
    assert world.rest("GET", API, "/api/v3/time").status == 200, "spot has its own pool"
    world.clock.move(121)
    assert world.rest("GET", FAPI, "/fapi/v1/time").status == 200


def test_clock_skew_is_what_the_venue_answers_and_checks():
    world = World()
    world.account()
    controls.inject(
        world.hub, Fault(kind="clock_skew", venue="binance", standing=True, params={"ms": "-7000"}), world.clock()
    )
    served = json.loads(world.rest("GET", API, "/api/v3/time").body)["serverTime"]
    assert served == world.clock().wall_ms - 7000
    assert world.signed("GET", API, "/api/v3/openOrders")["code"] == -1021


def test_exchange_info_lists_every_symbol_with_its_market_fields():
    world = World()
    spot = json.loads(world.rest("GET", API, "/api/v3/exchangeInfo").body)["symbols"]
    coinm = json.loads(world.rest("GET", "dapi.binance.com", "/dapi/v1/exchangeInfo").body)["symbols"]
    assert {row["symbol"]: row["status"] for row in spot} == dict.fromkeys(
        ["BTCUSDT", "ETHUSDT", "BNBUSDT", "币安USDT"], "TRADING"
    )
    assert {row["symbol"]: row["contractSize"] for row in coinm} == {
        "BTCUSD_PERP": 100,
        "ETHUSD_PERP": 10,
        "BNBUSD_PERP": 10,
    }


def test_all_orders_wants_a_symbol_on_spot_a_symbol_or_pair_on_coinm_and_neither_on_usdm():
    world = World()
    account = world.account()
    world.place(account, "binanceUsdm", client_id="a")
    world.place(account, "binanceUsdm", symbol="ETHUSDT", price="2000", client_id="b")
    world.place(account, "binanceCoinm", symbol="BTCUSD_PERP", quantity="5", client_id="c")
    world.place(account, "binanceCoinm", symbol="ETHUSD_PERP", quantity="5", price="2000", client_id="d")

    def asked(host: str, path: str, query: str = "") -> object:
        answer = world.signed("GET", host, path, query)
        return answer["code"] if isinstance(answer, dict) else [row["clientOrderId"] for row in answer]

    assert asked(API, "/api/v3/allOrders") == -1102
    assert asked("api.binance.us", "/api/v3/allOrders") == -1102
    assert asked(FAPI, "/fapi/v1/allOrders") == ["a", "b"]
    assert asked(FAPI, "/fapi/v1/allOrders", "symbol=ETHUSDT") == ["b"]
    dapi = "dapi.binance.com"
    assert asked(dapi, "/dapi/v1/allOrders") == -1102
    assert asked(dapi, "/dapi/v1/allOrders", "pair=ETHUSD") == ["d"]
    assert asked(dapi, "/dapi/v1/allOrders", "symbol=BTCUSD_PERP") == ["c"]
    assert asked(dapi, "/dapi/v1/allOrders", "symbol=BTCUSD_PERP&pair=BTCUSD") == -1128


def test_binance_us_refuses_a_parameter_that_it_does_not_know():
    world = World()
    world.account()
    assert world.signed("GET", "api.binance.us", "/api/v3/account", "omitZeroBalances=true")["code"] == -1104
    assert "balances" in world.signed("GET", "api.binance.us", "/api/v3/account")


def test_each_futures_wallet_tells_when_it_moved_itself():
    world = World()
    account = world.account()
    world.place(account, "binanceCoinm", symbol="BTCUSD_PERP", order_type="MARKET", quantity="5", price="0")
    rows = world.signed("GET", "dapi.binance.com", "/dapi/v1/balance")
    moved = {row["asset"]: row["updateTime"] for row in rows}
    assert moved["BTC"] > 0
    assert moved["ETH"] == 0
