"""The simulator over real sockets, seen by plain clients: logins, order frames, TLS, addresses, faults, control API."""

from __future__ import annotations

import errno
import hashlib
import hmac
import json
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator

import pytest
import requests
import websocket

from simulator.simulator import Simulator

pytestmark = pytest.mark.integration

WAIT_S = 10.0
WS_API = "ws-api.binance.com:443/ws-api/v3"
STREAM = "stream.binance.com:9443"


@pytest.fixture
def sim() -> Iterator[Simulator]:
    with Simulator(seed=7, tick_s=0.2, venues=("binance", "paper"), symbols=3) as simulator:
        yield simulator


class Client:
    """A WebSocket client whose reads have a deadline."""

    def __init__(self, url: str, **options: object) -> None:
        self.ws = websocket.create_connection(url, timeout=WAIT_S, **options)

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.ws.abort() if self.ws.sock else None
        self.ws.shutdown()

    def send(self, message: object) -> None:
        self.ws.send(message if isinstance(message, str) else json.dumps(message))

    def receive(self) -> object:
        text = self.ws.recv()
        try:
            return json.loads(text)
        except ValueError:
            return text

    def until(self, wanted: Callable[[object], bool]) -> object:
        """The next frame that is wanted; others are skipped."""
        end = time.monotonic() + WAIT_S
        while time.monotonic() < end:
            frame = self.receive()
            if wanted(frame):
                return frame
        raise AssertionError("the frame did not come")

    def silent(self, seconds: float) -> bool:
        self.ws.settimeout(seconds)
        try:
            self.ws.recv_data_frame(True)
        except websocket.WebSocketTimeoutException:
            return True
        finally:
            self.ws.settimeout(WAIT_S)
        return False

    def rest(self) -> list[int]:
        """Opcodes of what was under way, until nothing comes any more."""
        opcodes: list[int] = []
        self.ws.settimeout(0.3)
        try:
            while True:
                opcodes.append(self.ws.recv_data_frame(True)[0])
        except websocket.WebSocketTimeoutException:
            return opcodes

    def end(self) -> str:
        """Read until the connection ends; says how: `reset` or `close <code>`."""
        end = time.monotonic() + WAIT_S
        while time.monotonic() < end:
            try:
                code, frame = self.ws.recv_data_frame(True)
            except (ConnectionResetError, websocket.WebSocketConnectionClosedException):
                return "reset"
            if code == websocket.ABNF.OPCODE_CLOSE:
                return f"close {int.from_bytes(frame.data[:2])}"
        raise AssertionError("the connection did not end")


def wait_for(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + WAIT_S
    while not condition():
        if time.monotonic() > end:
            raise AssertionError("it did not happen")
        threading.Event().wait(0.01)


def log_in(sim: Simulator, key: str = "K", secret: str = "S") -> Client:
    client = Client(f"{sim.ws_url}/{WS_API}")
    stamp = int(time.time() * 1000)
    text = f"apiKey={key}&recvWindow=5000&timestamp={stamp}"
    signature = hmac.new(secret.encode(), text.encode(), hashlib.sha256).hexdigest()
    params = {"apiKey": key, "recvWindow": 5000, "timestamp": stamp, "signature": signature}
    client.send({"id": "u1", "method": "userDataStream.subscribe.signature", "params": params})
    answer = client.receive()
    assert isinstance(answer, dict)
    assert answer["result"] == {"subscriptionId": 0}
    return client


def report(client: Client) -> dict:
    return client.until(lambda f: isinstance(f, dict) and f.get("event", {}).get("e") == "executionReport")["event"]


def test_an_order_flows_to_the_socket_in_the_documented_steps(sim: Simulator) -> None:
    account = sim.account("binance", "K", "S")
    with log_in(sim) as client:
        order = sim.place(
            account, "binance", symbol="BTCUSDT", side="BUY", quantity="0.25", price="61000", client_id="c"
        )
        sim.fill(order.order_id, quantity="0.1")
        sim.cancel(order.order_id, request_id="cancel-1")
        seen = [report(client) for _ in range(3)]
    assert [(r["x"], r["X"], r["c"], r["C"], r["z"]) for r in seen] == [
        ("NEW", "NEW", "c", "", "0.00000000"),
        ("TRADE", "PARTIALLY_FILLED", "c", "", "0.10000000"),
        ("CANCELED", "CANCELED", "cancel-1", "c", "0.10000000"),
    ]
    assert [e.status for e in sim.journal()] == ["NEW", "PARTIALLY_FILLED", "CANCELED"]
    assert sim.stats()["noted"]["binance"]["login"] == 1


def test_a_listen_key_expires_on_the_socket_that_stays_open(sim: Simulator) -> None:
    account = sim.account("binance", "K", "S")
    headers = {"X-MBX-APIKEY": "K"}
    url = f"{sim.url}/fapi.binance.com/fapi/v1/listenKey"
    key = requests.post(url, headers=headers, timeout=WAIT_S).json()["listenKey"]
    with Client(f"{sim.ws_url}/fstream.binance.com/private/ws?listenKey={key}") as client:
        sim.place(account, "binanceUsdm", symbol="BTCUSDT", side="SELL", quantity="0.1", price="70000", client_id="x")
        assert client.receive()["o"]["c"] == "x"
        sim.fault("expire_token", account=account)
        assert client.receive()["e"] == "listenKeyExpired"
        assert requests.put(url, headers=headers, timeout=WAIT_S).json()["code"] == -1125
        sim.place(account, "binanceUsdm", symbol="BTCUSDT", side="SELL", quantity="0.1", price="70000")
        assert client.silent(0.2)


def test_pings_go_both_ways(sim: Simulator) -> None:
    with Client(f"{sim.ws_url}/{STREAM}/ws") as client:
        client.ws.ping("hello")
        opcode, frame = client.ws.recv_data_frame(True)
        assert (opcode, frame.data) == (websocket.ABNF.OPCODE_PONG, b"hello")


def test_market_streams_and_subscribe_frames(sim: Simulator) -> None:
    with Client(f"{sim.ws_url}/{STREAM}/stream") as client:
        client.send({"method": "SUBSCRIBE", "params": ["!miniTicker@arr", "btcusdt@kline_1m"], "id": 1})
        assert client.receive() == {"result": None, "id": 1}
        assert client.until(lambda f: f["stream"] == "!miniTicker@arr")
        client.until(lambda f: f["stream"] == "btcusdt@kline_1m" and not f["data"]["k"]["x"])
        start = sim.close_candle("binance", "BTCUSDT", "1m")
        closed = client.until(lambda f: f["stream"] == "btcusdt@kline_1m" and f["data"]["k"]["x"])
        assert closed["data"]["k"]["t"] == start


# --- addresses ---


def test_tls_gateway_with_the_simulators_own_certificate() -> None:
    with Simulator(tls=True, venues=("binance",)) as sim:
        sim.account("binance", "K", "S")
        assert sim.ca_file is not None
        context = ssl.create_default_context(cafile=str(sim.ca_file))
        with Client(f"{sim.ws_url}/{STREAM}/ws", sslopt={"context": context}) as client:
            client.send({"method": "LIST_SUBSCRIPTIONS", "id": 3})
            assert client.receive() == {"result": [], "id": 3}
        answer = requests.get(f"{sim.url}/api.binance.com/api/v3/time", verify=str(sim.ca_file), timeout=WAIT_S)
        assert answer.json()["serverTime"] > 0
        with pytest.raises(ssl.SSLCertVerificationError):
            Client(f"{sim.ws_url}/{STREAM}/ws")
        folder = sim.ca_file.parent
        # The certificate also names the venues, for clients that keep the host and change only the address.
        raw = socket.create_connection(("127.0.0.1", sim.port), timeout=WAIT_S)
        with context.wrap_socket(raw, server_hostname="stream.binance.com") as wrapped:
            wrapped.sendall(b"GET /api/v3/ping HTTP/1.1\r\nHost: api.binance.com\r\nConnection: close\r\n\r\n")
            assert wrapped.recv(12) == b"HTTP/1.1 200"
    assert not folder.exists()


def test_the_host_header_is_enough(sim: Simulator) -> None:
    host = {"Host": "api.binance.com"}
    assert requests.get(f"{sim.url}/api/v3/time", headers=host, timeout=WAIT_S).status_code == 200
    with Client(f"{sim.ws_url}/ws", host="stream.binance.com") as client:
        client.send({"method": "LIST_SUBSCRIPTIONS", "id": 3})
        assert client.receive() == {"result": [], "id": 3}
    assert requests.get(f"{sim.url}/api/v3/time", timeout=WAIT_S).status_code == 404


@pytest.mark.parametrize("prefix", ["", "/paper-trading", "/localhost:7506"])
def test_paper_trading_at_the_root_and_behind_the_gateway(sim: Simulator, prefix: str) -> None:
    account = sim.account("paper", "pk1", "ps1")
    with Client(f"{sim.ws_url}{prefix}/socket.io/?EIO=4&transport=websocket") as client:
        assert str(client.receive()).startswith('0{"sid"')
        client.send("40")
        assert str(client.receive()).startswith('40{"sid"')
        client.send('42["subscribeOrder",{"key":"pk1","secret":"ps1"}]')
        assert client.receive() == '42["order",{"type":"info","info":"subscribed"}]'
        sim.place(account, "binance", symbol="BTCUSDT", side="BUY", quantity="0.01", price="61000", client_id="p1")
        assert '"externalId":"p1"' in str(client.receive())


# --- faults, each seen from outside ---


def test_drop_is_a_reset(sim: Simulator) -> None:
    sim.account("binance", "K", "S")
    with log_in(sim) as client:
        assert sim.fault("drop", venue="binance", feed="user").hit == 1
        assert client.end() == "reset"
    wait_for(lambda: sim.stats()["open"] == {})


def test_close_has_a_code(sim: Simulator) -> None:
    with Client(f"{sim.ws_url}/{STREAM}/ws") as client:
        sim.fault("close", host="stream.binance.com", code=1012)
        assert client.end() == "close 1012"


def test_stalled_connection_says_nothing_and_then_goes_on(sim: Simulator) -> None:
    account = sim.account("binance", "K", "S")
    with log_in(sim) as client:
        sim.fault("stall", account=account)
        client.ws.ping("x")
        sim.place(account, "binance", symbol="BTCUSDT", side="BUY", quantity="0.1", price="61000", client_id="late")
        assert client.silent(0.3)

        def over(hub, _):
            for link in hub.links.values():
                link.stalled_until = 0.0
                link.notify()

        sim.call(over)
        assert report(client)["c"] == "late"


def test_half_open_connection_ignores_pings_and_even_the_close(sim: Simulator) -> None:
    with Client(f"{sim.ws_url}/{STREAM}/ws/!miniTicker@arr") as client:
        client.receive()
        sim.fault("half_open", feed="market")
        client.ws.ping("x")
        client.ws.send_close()
        opcodes = client.rest()
        assert websocket.ABNF.OPCODE_PONG not in opcodes
        assert websocket.ABNF.OPCODE_CLOSE not in opcodes
    wait_for(lambda: sim.stats()["open"] == {})


def test_garbage_text_and_binary(sim: Simulator) -> None:
    with Client(f"{sim.ws_url}/{STREAM}/ws") as client:
        sim.fault("garbage")
        assert client.receive() == '{"e":"executionReport","E":17950000'
        sim.fault("garbage", data="\x00\x01", binary=1)
        assert client.ws.recv_data() == (websocket.ABNF.OPCODE_BINARY, b"\x00\x01")


def test_duplicate_and_reordered_frames(sim: Simulator) -> None:
    account = sim.account("binance", "K", "S")
    with log_in(sim) as client:
        sim.fault("duplicate", account=account)
        sim.place(account, "binance", symbol="BTCUSDT", side="BUY", quantity="0.1", price="61000", client_id="a")
        first = [client.receive() for _ in range(3)]
        sim.fault("reorder", account=account)
        sim.place(account, "binance", symbol="BTCUSDT", side="BUY", quantity="0.1", price="61000", client_id="b")
        second = [client.receive() for _ in range(2)]
    assert [f["event"]["e"] for f in first] == ["executionReport", "executionReport", "outboundAccountPosition"]
    assert [f["event"]["e"] for f in second] == ["outboundAccountPosition", "executionReport"]


@pytest.mark.parametrize("status", [403, 429, 503])
def test_refused_upgrades(sim: Simulator, status: int) -> None:
    sim.fault("refuse", status=status, retry_after=9)
    with pytest.raises(websocket.WebSocketBadStatusException) as refused:
        Client(f"{sim.ws_url}/{STREAM}/ws")
    assert refused.value.status_code == status
    assert refused.value.resp_headers["retry-after"] == "9"
    Client(f"{sim.ws_url}/{STREAM}/ws").ws.close()


def test_an_upgrade_that_ends_in_a_reset(sim: Simulator) -> None:
    sim.fault("refuse", status="reset")
    with pytest.raises((ConnectionError, websocket.WebSocketConnectionClosedException)):
        Client(f"{sim.ws_url}/{STREAM}/ws")


def test_unreachable_refuses_tcp_and_comes_back_on_the_same_port(sim: Simulator) -> None:
    with Client(f"{sim.ws_url}/{STREAM}/ws") as client:
        sim.fault("unreachable", for_s=0.5)

        def refused() -> bool:
            with socket.socket() as probe:
                return probe.connect_ex(("127.0.0.1", sim.port)) == errno.ECONNREFUSED

        wait_for(refused)
        client.send({"method": "LIST_SUBSCRIPTIONS", "id": 1})
        assert client.receive() == {"result": [], "id": 1}, "open connections stay"
        wait_for(lambda: not refused())


def test_rest_errors_resets_and_garbage(sim: Simulator) -> None:
    url = f"{sim.url}/api.binance.com/api/v3/time"
    sim.fault("rest_error", status=429, retry_after=3)
    answer = requests.get(url, timeout=WAIT_S)
    assert (answer.status_code, answer.headers["Retry-After"], answer.json()["code"]) == (429, "3", -1003)
    sim.fault("rest_reset")
    with pytest.raises(requests.ConnectionError):
        requests.get(url, timeout=WAIT_S)
    sim.fault("rest_garbage")
    assert requests.get(url, timeout=WAIT_S).text.startswith("<html>")
    sim.fault("rest_slow", seconds=60)
    with pytest.raises(requests.Timeout):
        requests.get(url, timeout=0.2)
    assert requests.get(url, timeout=WAIT_S).status_code == 200


def test_late_acknowledgements(sim: Simulator) -> None:
    with Client(f"{sim.ws_url}/{STREAM}/ws") as client:
        sim.fault("delay_acks", seconds=0.4)
        client.send({"method": "LIST_SUBSCRIPTIONS", "id": 1})
        client.send({"method": "LIST_SUBSCRIPTIONS", "id": 2})
        assert [client.receive()["id"] for _ in range(2)] == [2, 1]


def test_a_24_hour_cut_on_demand_and_a_shutdown_notice(sim: Simulator) -> None:
    with Client(f"{sim.ws_url}/{STREAM}/ws") as client:
        sim.fault("maintenance", seconds=0.1)
        assert client.receive()["e"] == "serverShutdown"
        assert client.end() == "close 1001"
    with Client(f"{sim.ws_url}/{STREAM}/ws") as client:
        sim.fault("cut")
        assert client.end() == "close 1000"


def test_too_many_frames_close_the_connection(sim: Simulator) -> None:
    with Client(f"{sim.ws_url}/{STREAM}/ws") as client:
        for number in range(6):
            client.send({"method": "LIST_SUBSCRIPTIONS", "id": number})
        assert client.end() == "close 1008"


# --- control API and life ---


def test_the_control_api_over_http(sim: Simulator) -> None:
    base = f"{sim.url}/__control"
    made = requests.post(f"{base}/accounts", json={"venue": "binance", "key": "K", "secret": "S"}, timeout=WAIT_S)
    account = made.json()["account"]
    with log_in(sim) as client:
        body = {"account": account, "exchange": "binance", "symbol": "BTCUSDT", "side": "BUY", "order_type": "MARKET"}
        placed = requests.post(f"{base}/orders", json={**body, "quantity": "0.1"}, timeout=WAIT_S)
        assert placed.json()["status"] == "FILLED"
        assert [report(client)["X"] for _ in range(2)] == ["NEW", "FILLED"]
        requests.post(f"{base}/faults", json={"kind": "close", "params": {"code": "1011"}}, timeout=WAIT_S)
        assert client.end() == "close 1011"
    journal = requests.get(f"{base}/journal", timeout=WAIT_S).json()
    assert [row["status"] for row in journal] == ["NEW", "FILLED"]
    assert requests.get(f"{base}/health", timeout=WAIT_S).json() == {"status": "ok"}
    assert "journal" in requests.get(f"{base}/", timeout=WAIT_S).text


def test_reset_drops_connections_and_accounts(sim: Simulator) -> None:
    sim.account("binance", "K", "S")
    with log_in(sim) as client:
        sim.reset()
        assert client.end() == "reset"
    sim.account("binance", "K", "S")
    log_in(sim).ws.close()


def test_stop_with_open_stalled_and_half_open_connections_is_prompt_and_leaves_no_thread() -> None:
    sim = Simulator(venues=("binance",)).start()
    port = sim.port
    clients = [Client(f"{sim.ws_url}/{STREAM}/ws") for _ in range(6)]
    connections = [row["connection"] for row in sim.connections()]
    sim.fault("stall", connection=connections[0])
    sim.fault("half_open", connection=connections[1])
    sim.stop()
    sim.stop()
    assert [client.end() for client in clients] == ["reset"] * 6
    assert not any(thread.name == "simulator" for thread in threading.enumerate())
    with Simulator(port, venues=("binance",)) as again:
        assert again.port == port
    for client in clients:
        client.ws.shutdown()


def test_a_taken_port_is_told_to_the_caller(sim: Simulator) -> None:
    with pytest.raises(OSError, match="in use"):
        Simulator(sim.port, venues=("binance",)).start()


def test_many_accounts_from_many_threads(sim: Simulator) -> None:
    accounts = [sim.account("binance", f"K{n}", "S") for n in range(20)]
    clients = [log_in(sim, f"K{n}") for n in range(20)]

    def trade(account: str) -> None:
        for number in range(5):
            order = sim.place(
                account,
                "binance",
                symbol="BTCUSDT",
                side="BUY",
                quantity="0.1",
                price="61000",
                client_id=f"{account}-{number}",
            )
            sim.fill(order.order_id)

    threads = [threading.Thread(target=trade, args=(account,)) for account in accounts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(WAIT_S)
    for account, client in zip(accounts, clients, strict=True):
        seen = [report(client) for _ in range(10)]
        assert [r["c"] for r in seen] == [f"{account}-{n // 2}" for n in range(10)]
        assert [r["E"] for r in seen] == sorted({r["E"] for r in seen})
        client.ws.close()


def test_firehose_rows_carry_the_send_time(sim: Simulator) -> None:
    sim.firehose(20, ["binance"])
    with Client(f"{sim.ws_url}/{STREAM}/ws/!miniTicker@arr") as client:
        frames = [client.receive() for _ in range(10)]
    stamps = [{row["E"] for row in frame} for frame in frames]
    assert all(len(stamp) == 1 for stamp in stamps)
    assert [min(s) for s in stamps] == sorted({min(s) for s in stamps})
