"""Where third-party SDKs showed the simulator to be poorer or stricter than the venues (docs/conformance.md)."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from exchanges._signing import jwt, load_private_key
from simulator._venue import Request
from simulator.signing import hmac_base64
from tests.unit.simulator.worlds import World, sign

CDP_KEY = "organizations/1/apiKeys/2"


def public_rest(world: World, venue: str, host: str, path: str, query: str = "") -> Any:
    reply = world.hub.rest(venue, Request(method="GET", host=host, path=path, query=query), world.clock()).reply
    assert reply is not None
    assert reply.status == 200
    return json.loads(reply.body)


# --- Bybit ---


@pytest.mark.parametrize("expires", [int, str])
def test_a_bybit_login_may_give_its_deadline_as_text(expires: type) -> None:
    world = World(("bybit",))
    account = world.account("bybit")
    link = world.connect("bybit", "stream.bybit.com", "/v5/private")
    deadline = world.clock().wall_ms + 5_000
    args = ["K", expires(deadline), sign("S", f"GET/realtime{deadline}")]
    assert world.send(link, {"op": "auth", "args": args})[0]["success"] is True
    assert account in link.accounts


def test_a_bybit_login_with_a_deadline_that_is_no_number_is_refused() -> None:
    world = World(("bybit",))
    world.account("bybit")
    link = world.connect("bybit", "stream.bybit.com", "/v5/private")
    answer = world.send(link, {"op": "auth", "args": ["K", "soon", sign("S", "GET/realtimesoon")]})
    assert answer[0]["success"] is False


@pytest.mark.parametrize("category", ["linear", "inverse"])
def test_a_bybit_ticker_of_derivatives_tells_the_worth_of_the_open_interest(category: str) -> None:
    """ccxt takes tickers without it for spot, and finds another market of the same name."""
    world = World(("bybit",), move=0.0)
    wire = "BTCUSDT" if category == "linear" else "BTCUSD"
    link = world.connect("bybit", "stream.bybit.com", f"/v5/public/{category}")
    frames = world.send(link, {"op": "subscribe", "args": [f"tickers.{wire}"]})
    row = next(frame["data"] for frame in frames if frame.get("type") == "snapshot")
    price, interest = Decimal(row["lastPrice"]), Decimal(row["openInterest"])
    worth = interest * price if category == "linear" else interest / price
    assert abs(Decimal(row["openInterestValue"]) - worth) < Decimal("0.0001")
    assert "usdIndexPrice" not in row


@pytest.mark.parametrize(("exchange", "derivative"), [("bybit", False), ("bybitLinear", True), ("bybitInverse", True)])
def test_bybit_orders_on_derivatives_have_the_fields_that_spot_orders_lack(exchange: str, derivative: bool) -> None:
    """ccxt knows a contract's order by `tpslMode`."""
    world = World(("bybit",))
    account = world.account("bybit")
    link = world.connect("bybit", "stream.bybit.com", "/v5/private")
    deadline = world.clock().wall_ms + 5_000
    world.send(link, {"op": "auth", "args": ["K", deadline, sign("S", f"GET/realtime{deadline}")]})
    world.send(link, {"op": "subscribe", "args": ["order"]})
    wire = "BTCUSD" if exchange == "bybitInverse" else "BTCUSDT"
    world.place(account, exchange, symbol=wire, quantity="10" if exchange == "bybitInverse" else "0.01")
    row = world.frames(link)[0]["data"][0]
    for name in ("tpslMode", "tpTriggerBy", "slTriggerBy", "triggerDirection", "lastPriceOnCreated", "closedPnl"):
        assert (name in row) is derivative


# --- KuCoin ---


def test_perpetual_contracts_of_kucoin_tell_when_funding_comes() -> None:
    """ccxt takes a contract without it for a dated one, and looks for its last day in vain."""
    rows = public_rest(World(("kucoin",)), "kucoin", "api-futures.kucoin.com", "/api/v1/contracts/active")["data"]
    assert rows
    assert all(0 < row["nextFundingRateTime"] <= 8 * 3_600_000 and row["expireDate"] is None for row in rows)


@pytest.mark.parametrize("action", ["subscribe", "SUBSCRIBE"])
def test_kucoins_unified_socket_takes_the_action_in_either_case(action: str) -> None:
    """The venue's own SDK writes it in capitals, its documentation does not."""
    world = World(("kucoin",))
    account = world.account("kucoin", "unified-1", "S")
    link = world.connect("kucoin", "wsapi-push.kucoin.com", "/")
    stamp = str(world.clock().wall_ms)
    login = {
        "id": "1",
        "op": "auth",
        "kc-api-key": "unified-1",
        "kc-api-timestamp": stamp,
        "kc-api-sign": hmac_base64("S", f"{stamp}POST/api/websocket/users/verify"),
        "kc-api-passphrase": hmac_base64("S", ""),
    }
    assert world.send(link, login)[-1] == {"id": "1", "result": True}
    answer = world.send(link, {"id": "2", "action": action, "channel": "orderAll", "tradeType": "UNIFIED"})
    assert answer == [{"id": "2", "result": True}]
    world.place(account, "kucoin", symbol="BTC-USDT")
    assert [frame["T"] for frame in world.frames(link)] == ["orderAll.UNIFIED"]


# --- Bitget ---


def test_bitget_contracts_tell_the_step_of_their_prices() -> None:
    """ccxt multiplies it with the decimal places."""
    world = World(("bitget",))
    for product in ("USDT-FUTURES", "COIN-FUTURES"):
        path = "/api/v2/mix/market/contracts"
        rows = public_rest(world, "bitget", "api.bitget.com", path, f"productType={product}")["data"]
        assert rows
        assert all(row["priceEndStep"] == "1" and Decimal(row["minTradeNum"]) > 0 for row in rows)


# --- Coinbase ---


def key_pem() -> str:
    key = ec.generate_private_key(ec.SECP256R1())
    return key.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption()).decode()


@pytest.mark.parametrize("issuer", ["cdp", "coinbase-cloud"])
def test_coinbase_tokens_of_the_older_issuer_are_accepted(issuer: str) -> None:
    world, pem = World(("coinbase",)), key_pem()
    account = world.account("coinbase", CDP_KEY, pem)
    link = world.connect("coinbase", "advanced-trade-ws-user.coinbase.com", "/")
    world.send(link, {"type": "subscribe", "channel": "user", "jwt": token(world, pem, iss=issuer)})
    assert account in link.accounts


@pytest.mark.parametrize("claim", ["uri", "uris"])
def test_coinbase_tokens_may_list_the_request_that_they_are_for(claim: str) -> None:
    world, pem = World(("coinbase",)), key_pem()
    world.account("coinbase", CDP_KEY, pem)
    wanted = "GET api.coinbase.com/api/v3/brokerage/accounts"
    for uri, status in ((wanted, 200), (wanted + "/x", 401)):
        made = token(world, pem, iss="cdp", **{claim: [uri] if claim == "uris" else uri})
        headers = {"authorization": f"Bearer {made}"}
        request = Request(method="GET", host="api.coinbase.com", path="/api/v3/brokerage/accounts", headers=headers)
        reply = world.hub.rest("coinbase", request, world.clock()).reply
        assert reply is not None
        assert reply.status == status


def token(world: World, pem: str, **claims: object) -> str:
    seconds = world.clock().wall_ms // 1000
    body = {"sub": CDP_KEY, "nbf": seconds, "exp": seconds + 120, **claims}
    return jwt(load_private_key(pem), body, {"kid": CDP_KEY, "nonce": "0f"})
