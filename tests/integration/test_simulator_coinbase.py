"""The simulated Coinbase over real sockets: what it refuses, and the adapter's whole life against it."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Iterator
from typing import Any

import pytest
import requests
import websocket
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from exchanges._adapter import (
    CandleSubscription,
    Emit,
    EmitCandle,
    EmitTickers,
    Fail,
    FailKind,
    Live,
    Resume,
    TickerSubscription,
    UserSubscription,
)
from exchanges._signing import jwt, load_private_key
from exchanges.coinbase import VENUE
from exchanges.credentials import credentials
from exchanges.events import ExecutionReport
from simulator._venue import Instant, Request
from simulator.simulator import Simulator
from tests.integration.venue_client import VenueClient, client, load, of

pytestmark = pytest.mark.integration

KEY = "organizations/11111111-1111-1111-1111-111111111111/apiKeys/22222222-2222-2222-2222-222222222222"
PEM = (
    ec.generate_private_key(ec.SECP256R1())
    .private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption())
    .decode()
)
SEED = base64.b64encode(Ed25519PrivateKey.generate().private_bytes_raw()).decode()
USER = "advanced-trade-ws-user.coinbase.com"
MARKET = "advanced-trade-ws.coinbase.com"


@pytest.fixture
def sim() -> Iterator[Simulator]:
    with Simulator(venues=["coinbase"], symbols=4, tick_s=0.1, move=0) as running:
        yield running


@pytest.fixture
def account(sim: Simulator) -> str:
    return sim.account("coinbase", KEY, PEM)


def wall() -> int:
    return time.time_ns() // 1_000_000


def token(uri: str | None = None, *, secret: str = PEM, key: str = KEY, shift_s: int = 0, **claims: object) -> str:
    seconds = wall() // 1000 + shift_s
    body: dict[str, object] = {"sub": key, "iss": "cdp", "nbf": seconds, "exp": seconds + 120, **claims}
    if uri:
        body["uri"] = uri
    return jwt(load_private_key(secret), body, {"kid": key, "nonce": "0f"})


class Socket:
    """A raw client."""

    def __init__(self, sim: Simulator, host: str) -> None:
        self.ws = websocket.create_connection(f"{sim.ws_url}/{host}", timeout=5)

    def ask(self, **frame: Any) -> dict[str, Any]:
        self.ws.send(json.dumps(frame))
        return self.next()

    def next(self) -> dict[str, Any]:
        answer: dict[str, Any] = json.loads(self.ws.recv())
        return answer


@pytest.fixture
def socket(sim: Simulator, account: str) -> Iterator[Socket]:
    made = Socket(sim, USER)
    yield made
    made.ws.close()


def user(
    resume: Resume | None = None, key: str = KEY, secret: str = PEM, kind: str | None = "cloud"
) -> UserSubscription:
    made = credentials(key, secret, keys_type=kind)
    return UserSubscription(stream_id="u1", exchange="coinbase", credentials=made, resume=resume)


# --- the venue's refusals ---


@pytest.mark.parametrize(
    "bad",
    [
        {},
        {"secret": SEED},
        {"key": "nobody"},
        {"shift_s": 600},
        {"shift_s": -600},
        {"iss": "coinbase"},
        {"uri": "GET api.coinbase.com/x"},
        {"exp": wall() // 1000 + 9000},
    ],
)
def test_the_user_channel_checks_its_token(socket: Socket, bad: dict[str, Any]) -> None:
    frame = {"type": "subscribe", "channel": "user"}
    if bad:
        frame["jwt"] = token(**bad)
    assert socket.ask(**frame) == {"type": "error", "message": "authentication failure"}
    good = socket.ask(**{**frame, "jwt": token()})
    assert good["channel"] == "subscriptions"
    snapshot = socket.next()
    assert (snapshot["channel"], snapshot["events"][0]["type"]) == ("user", "snapshot")
    assert (good["sequence_num"], snapshot["sequence_num"]) == (0, 1)


def test_heartbeats_come_every_second_and_count_up(socket: Socket) -> None:
    assert socket.ask(type="subscribe", channel="heartbeats")["channel"] == "subscriptions"
    first, second = socket.next(), socket.next()
    assert (first["channel"], second["sequence_num"] - first["sequence_num"]) == ("heartbeats", 1)
    counters = [int(message["events"][0]["heartbeat_counter"]) for message in (first, second)]
    assert counters[1] == counters[0] + 1


def test_unknown_channels_and_products_are_refused(sim: Simulator) -> None:
    made = Socket(sim, MARKET)
    assert made.ask(type="subscribe", channel="nonsense")["type"] == "error"
    refused = made.ask(type="subscribe", channel="ticker_batch", product_ids=["BTC-USD", "NO-USD"])
    assert refused == {"type": "error", "message": "unknown product NO-USD"}
    made.ws.send("{")
    assert made.next()["type"] == "error"
    made.ws.close()


def test_an_alias_is_served_under_the_id_of_its_twin(sim: Simulator) -> None:
    made = Socket(sim, MARKET)
    listed = made.ask(type="subscribe", channel="ticker_batch", product_ids=["BTC-USDC"])
    assert listed["events"][0]["subscriptions"] == {"ticker_batch": ["BTC-USD"]}
    made.ws.close()


def test_a_connection_without_a_subscribe_is_closed_after_five_seconds(sim: Simulator) -> None:
    request = Request(method="GET", host=MARKET, path="/")
    peer = sim.call(lambda hub, _: hub.halves["coinbase"].connect(request, Instant(1.0, wall())))
    assert not hasattr(peer, "status")
    assert peer.deadline() == 6.0
    assert [type(effect).__name__ for effect in peer.woken(Instant(6.0, wall()))] == ["Noted", "Close"]


def get(sim: Simulator, path: str, bearer: str | None = None) -> requests.Response:
    headers = {"Authorization": f"Bearer {bearer}"} if bearer else {}
    return requests.get(f"{sim.url}/api.coinbase.com/api/v3/brokerage{path}", headers=headers, timeout=5)


def test_rest_tokens_are_bound_to_method_and_path(sim: Simulator, account: str) -> None:
    uri = "GET api.coinbase.com/api/v3/brokerage/accounts"
    assert get(sim, "/accounts?limit=5").status_code == 401
    assert get(sim, "/accounts?limit=5", token()).status_code == 401
    assert get(sim, "/accounts?limit=5", token(uri.replace("GET", "POST"))).status_code == 401
    page = get(sim, "/accounts?limit=5", token(uri))
    assert page.status_code == 200
    assert len(page.json()["accounts"]) == 5
    assert page.json()["has_next"] is True


def test_refused_keys_answer_as_the_venue_does(sim: Simulator, account: str) -> None:
    uri = "GET api.coinbase.com/api/v3/brokerage/accounts"
    sim.reject_key(account, "403")
    assert get(sim, "/accounts", token(uri)).status_code == 403
    sim.reject_key(account, "SIWC")
    assert "SIWC" in get(sim, "/accounts", token(uri)).text
    sim.accept_key(account)
    assert get(sim, "/accounts", token(uri)).status_code == 200


def test_public_calls_are_limited_by_address(sim: Simulator) -> None:
    request = Request(method="GET", host="api.coinbase.com", path="/api/v3/brokerage/time")
    half, at = sim.hub.halves["coinbase"], Instant(1.0, wall())
    replies = [sim.call(lambda hub, _: half.rest(request, at)) for _ in range(11)]
    assert [reply.status for reply in replies] == [200] * 10 + [429]
    assert b"rate_limit_exceeded" in replies[-1].body


def test_orders_can_be_placed_and_canceled_over_rest(sim: Simulator, account: str) -> None:
    base, host = f"{sim.url}/api.coinbase.com", "api.coinbase.com"
    path = "/api/v3/brokerage/orders"
    body = {
        "client_order_id": "D-1",
        "product_id": "BTC-USD",
        "side": "BUY",
        "order_configuration": {"limit_limit_gtc": {"base_size": "0.5", "limit_price": "50000"}},
    }
    headers = {"Authorization": f"Bearer {token(f'POST {host}{path}')}"}
    made = requests.post(f"{base}{path}", json=body, headers=headers, timeout=5).json()
    assert made["success"] is True
    order_id = made["success_response"]["order_id"]
    headers = {"Authorization": f"Bearer {token(f'POST {host}{path}/batch_cancel')}"}
    ended = requests.post(f"{base}{path}/batch_cancel", json={"order_ids": [order_id]}, headers=headers, timeout=5)
    assert ended.json()["results"][0]["success"] is True
    one = get(sim, f"/orders/historical/{order_id}", token(f"GET {host}{path}/historical/{order_id}")).json()["order"]
    assert (one["status"], one["client_order_id"]) == ("CANCELLED", "D-1")


# --- the adapter ---


def joined(sim: Simulator, resume: Resume | None = None) -> VenueClient:
    made = client(VENUE, "coinbase", "user", sim.gateway).begin(user(resume))
    made.wait(Live)
    return made


def reports(found: VenueClient, count: int) -> list[ExecutionReport]:
    def orders() -> list[ExecutionReport]:
        return [e.event for e in of(found.outputs, Emit) if isinstance(e.event, ExecutionReport)]

    found.until(lambda _: len(orders()) >= count)
    return orders()


def test_orders_that_were_open_before_are_not_announced_again(sim: Simulator, account: str) -> None:
    for number in range(60):  # two pages of the snapshot
        sim.place(
            account, "coinbase", symbol="BTC-USD", side="BUY", quantity="0.1", price="50000", client_id=f"o{number}"
        )
    with joined(sim) as found:
        sim.place(account, "coinbase", symbol="BTC-USD", side="BUY", quantity="0.1", price="50000", client_id="last")
        assert [event.new_client_order_id for event in reports(found, 1)] == ["last"]


@pytest.mark.parametrize(
    ("key", "secret", "kind"),
    [(KEY, PEM.replace("\n", "\\n"), "cloud"), ("bare-uuid", SEED, None), ("LEGACYKEY", "legacysecret", "legacy")],
)
def test_every_kind_of_key_logs_in(sim: Simulator, key: str, secret: str, kind: str | None) -> None:
    sim.account("coinbase", key, secret)
    with client(VENUE, "coinbase", "user", sim.gateway).begin(
        user(Resume(since_ms=wall()), key, secret, kind)
    ) as found:
        (live,) = found.wait(Live)
    assert live.gap is not None
    assert live.gap.missing == ()


def test_a_lost_message_ends_the_connection(sim: Simulator, account: str) -> None:
    with joined(sim) as found:
        sim.fault("lose", venue="coinbase", feed="user", times=1)
        sim.place(account, "coinbase", symbol="BTC-USD", side="BUY", quantity="1", price="50000")
        fail = found.wait(Fail)[0]
    assert (fail.kind, fail.stream_id) == (FailKind.TRANSIENT, None)
    assert "gap" in fail.reason


def test_tickers_of_every_product_arrive_with_their_twins(sim: Simulator) -> None:
    table = load(VENUE.instruments("coinbase", {}), sim.gateway)
    (shard,) = VENUE.ticker_shards("coinbase", table)
    assert "BTC-USDC" not in shard
    subscription = TickerSubscription(stream_id="t", exchange="coinbase", symbols=shard)
    with client(VENUE, "coinbase", "ticker", sim.gateway, table).begin(subscription) as found:
        found.wait(Live)

        def prices(symbol: str) -> list[float]:
            return [t.price for e in of(found.outputs, EmitTickers) for t in e.tickers if t.symbol == symbol]

        found.until(lambda _: all(prices(symbol) for symbol in (*shard, "BTC-USDC")))
        sim.set_price("coinbase", "BTC-USD", "12345.5")
        found.until(lambda _: prices("BTC-USDC")[-1] == prices("BTC-USD")[-1] == 12345.5)
        assert not of(found.outputs, Fail)


def test_candles_missed_during_a_reconnect_come_over_rest(sim: Simulator) -> None:
    hour = 3_600_000
    resume = wall() // hour * hour - 4 * hour
    one = CandleSubscription(
        stream_id="c", exchange="coinbase", symbol="BTC-USD", interval="1h", resume_start_ms=resume
    )
    with client(VENUE, "coinbase", "candle", sim.gateway).begin(one) as found:
        (live,) = found.wait(Live)
        starts = [emit.candle.start for emit in of(found.outputs, EmitCandle)]
    assert starts[:3] == [resume + hour, resume + 2 * hour, resume + 3 * hour]
    assert live.gap is not None
    assert (live.gap.candles, live.gap.missing) == (len(starts), ())
