"""The Binance and paper adapters against the simulated venues, over real sockets."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator
from decimal import Decimal
from typing import TypeVar
from urllib.parse import urlsplit

import pytest
import requests
import websocket
from cryptography.hazmat.primitives.asymmetric import ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from exchanges import venue_of
from exchanges._adapter import (
    Adapter,
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
    KnownOrder,
    Live,
    Output,
    Outputs,
    Resume,
    Rotate,
    Seen,
    Send,
    Setup,
    TickerSubscription,
    UserSubscription,
)
from exchanges.credentials import credentials
from exchanges.events import (
    AccountPosition,
    AccountUpdate,
    BalanceUpdate,
    ExecutionReport,
    OrderTradeUpdate,
    UserDataStreamExpired,
)
from exchanges.instruments import EMPTY, SymbolTable
from simulator.simulator import Simulator

pytestmark = pytest.mark.integration

T = TypeVar("T")
WAIT_S = 15.0
SPOT_SHAPED = ("binance", "binanceUS")
EXCHANGES = ("binance", "binanceUS", "binanceUsdm", "binanceCoinm")
# What a gap can't be asked for when the account's balances changed during it.
NOT_ASKED = {
    "binance": ("closed orders on other symbols can't be asked for",),
    "binanceUS": ("closed orders on other symbols can't be asked for",),
    "binanceCoinm": ("closed orders on other pairs can't be asked for",),
}


@pytest.fixture
def sim() -> Iterator[Simulator]:
    with Simulator(seed=3, venues=("binance", "paper"), symbols=4, tick_s=0.2, quiet=0.0, limits=False) as simulator:
        yield simulator


class Runner:
    """Carries out one adapter's outputs on a real socket, on the test's own thread."""

    def __init__(self, sim: Simulator, exchange: str, feed: str = "user", table: SymbolTable = EMPTY) -> None:
        venue = venue_of(exchange)
        assert venue is not None
        numbers = itertools.count(1)
        setup = Setup(exchange=exchange, new_id=lambda: f"t{next(numbers)}", table=lambda: table)
        make = {"user": venue.user, "ticker": venue.ticker, "candle": venue.candle}[feed]
        self.adapter: Adapter = make(setup)
        self.gateway = sim.gateway
        self.outputs: list[Output] = []
        self.socket: websocket.WebSocket | None = None
        self.ended = False

    def __enter__(self) -> Runner:
        return self

    def __exit__(self, *_: object) -> None:
        if self.socket is not None:
            self.socket.close(timeout=1)

    def now(self) -> Instant:
        return Instant(time.monotonic(), time.time_ns() // 1_000_000)

    def start(self, *subscriptions: UserSubscription | TickerSubscription | CandleSubscription) -> Runner:
        for one in subscriptions:
            self.take(self.adapter.add(one, self.now()))
        self.take(self.adapter.start(self.now()))
        return self

    def url(self, url: str, scheme: str) -> str:
        parts = urlsplit(url)
        return f"{scheme}://{self.gateway}/{parts.netloc}{parts.path}" + (f"?{parts.query}" if parts.query else "")

    def take(self, outputs: Outputs) -> None:
        for output in outputs:
            self.outputs.append(output)
            if isinstance(output, Connect):
                self.socket = websocket.create_connection(self.url(output.url, "ws"), timeout=WAIT_S)
                self.take(self.adapter.connected(self.now()))
            elif isinstance(output, Send) and self.socket is not None:
                self.socket.send(output.text)
            elif isinstance(output, Call):
                url = self.url(output.url, "http")
                answer = requests.request(output.method, url, headers=dict(output.headers), timeout=WAIT_S)
                headers = {name.lower(): value for name, value in answer.headers.items()}
                told = Answer(answer.status_code, headers, answer.content)
                self.take(self.adapter.answered(output, told, self.now()))
            elif isinstance(output, Fail) and output.stream_id is None:
                self.ended = True

    def wait(self, kind: type[T], count: int = 1) -> list[T]:
        """Read until there are so many outputs (or events) of a kind."""
        end = time.monotonic() + WAIT_S
        while len(found := self.of(kind)) < count:
            assert time.monotonic() < end, f"no {kind.__name__}: {self.outputs[-6:]}"
            self.turn()
        return found

    def turn(self) -> None:
        due = self.adapter.deadline()
        if due is not None and due <= time.monotonic():
            self.take(self.adapter.woken(self.now()))
        assert self.socket is not None
        self.socket.settimeout(0.1)
        try:
            opcode, data = self.socket.recv_data()
        except websocket.WebSocketTimeoutException:
            return
        assert opcode != websocket.ABNF.OPCODE_CLOSE, data
        self.take(self.adapter.received(data, self.now()))

    def of(self, kind: type[T]) -> list[T]:
        said: list[object] = list(self.outputs)
        said += [output.event for output in self.outputs if isinstance(output, Emit)]
        return [one for one in said if isinstance(one, kind)]


def account(
    stream: str, exchange: str, key: str, secret: str = "secret", resume: Resume | None = None
) -> UserSubscription:
    return UserSubscription(stream_id=stream, exchange=exchange, credentials=credentials(key, secret), resume=resume)


def symbol_of(exchange: str) -> str:
    return "BTCUSD_PERP" if exchange == "binanceCoinm" else "BTCUSDT"


def size_of(exchange: str) -> str:
    return "4" if exchange == "binanceCoinm" else "0.4"


def order_of(runner: Runner, exchange: str) -> list[tuple[str, Decimal]]:
    kind = ExecutionReport if exchange in SPOT_SHAPED else OrderTradeUpdate
    return [(event.order_status, Decimal(event.total_trade_quantity)) for event in runner.of(kind)]


@pytest.mark.parametrize("exchange", EXCHANGES)
def test_an_account_goes_live_and_tells_orders_fills_and_balances(sim: Simulator, exchange: str) -> None:
    owner = sim.account("binance", "key1", "secret")
    with Runner(sim, exchange).start(account("a", exchange, "key1")) as runner:
        assert runner.wait(Live) == [Live("a")]
        symbol, size = symbol_of(exchange), Decimal(size_of(exchange))
        order = sim.place(owner, exchange, symbol=symbol, side="BUY", quantity=size, price="60000", client_id="D-BO-1")
        sim.fill(order.order_id, quantity=size / 4)
        sim.fill(order.order_id)
        kind = ExecutionReport if exchange in SPOT_SHAPED else OrderTradeUpdate
        runner.wait(kind, 3)
        assert order_of(runner, exchange) == [("NEW", 0), ("PARTIALLY_FILLED", size / 4), ("FILLED", size)]
        assert runner.wait(AccountPosition if exchange in SPOT_SHAPED else AccountUpdate)
        sim.transfer(owner, exchange, "BTC", "1.5")
        if exchange == "binance":
            assert Decimal(runner.wait(BalanceUpdate)[0].balance_delta) == Decimal("1.5")


def pem(key: ed25519.Ed25519PrivateKey | rsa.RSAPrivateKey) -> str:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


def test_many_accounts_with_all_kinds_of_keys_share_one_connection(sim: Simulator) -> None:
    secrets = {
        "hmac": "secret",
        "ed25519": pem(ed25519.Ed25519PrivateKey.generate()),
        "rsa": pem(rsa.generate_private_key(public_exponent=65537, key_size=2048)).replace("\n", " "),
    }
    owners = {name: sim.account("binance", f"key-{name}", secret) for name, secret in secrets.items()}
    sim.account("binance", "key-late", "secret")
    subscriptions = [account(name, "binance", f"key-{name}", secret) for name, secret in secrets.items()]
    with Runner(sim, "binance").start(*subscriptions) as runner:
        runner.wait(Live, 3)
        for owner in owners.values():
            sim.place(owner, "binance", symbol="BTCUSDT", side="BUY", quantity="0.1", price="60000")
        runner.wait(ExecutionReport, 3)
        assert sorted(emit.stream_id for emit in runner.of(Emit) if isinstance(emit.event, ExecutionReport)) == sorted(
            owners
        )
        runner.take(runner.adapter.add(account("late", "binance", "key-late"), runner.now()))
        assert runner.wait(Live, 4)[-1] == Live("late")
        runner.take(runner.adapter.add(account("bad", "binance", "key-unknown"), runner.now()))
        (fail,) = runner.wait(Fail)
        assert (fail.stream_id, fail.kind) == ("bad", FailKind.CREDENTIAL)


@pytest.mark.parametrize("exchange", EXCHANGES)
def test_a_refused_key_is_a_credential_failure(sim: Simulator, exchange: str) -> None:
    with Runner(sim, exchange).start(account("a", exchange, "nobody")) as runner:
        (fail,) = runner.of(Fail) or runner.wait(Fail)
        assert (fail.stream_id, fail.kind) == ("a", FailKind.CREDENTIAL)


def test_a_wrong_clock_is_corrected(sim: Simulator) -> None:
    sim.account("binance", "key1", "secret")
    sim.fault("clock_skew", venue="binance", ms=-90_000)
    with Runner(sim, "binance").start(account("a", "binance", "key1")) as runner:
        assert runner.wait(Live) == [Live("a")]
        assert any(call.tag == "time" for call in runner.of(Call))


def test_a_terminated_subscription_comes_back_with_what_was_missed(sim: Simulator) -> None:
    owner = sim.account("binance", "key1", "secret")
    with Runner(sim, "binance").start(account("a", "binance", "key1")) as runner:
        runner.wait(Live)
        order = sim.place(owner, "binance", symbol="BTCUSDT", side="BUY", quantity="0.4", price="60000")
        runner.wait(ExecutionReport)
        sim.fault("terminate", account=owner)
        sim.fill(order.order_id, quantity="0.1")
        sim.fill(order.order_id)
        live = runner.wait(Live, 2)[-1]
        assert live.gap is not None
        assert order_of(runner, "binance") == [
            ("NEW", 0),
            ("PARTIALLY_FILLED", Decimal("0.1")),
            ("FILLED", Decimal("0.4")),
        ]


@pytest.mark.parametrize("exchange", EXCHANGES)
def test_the_gap_of_a_reconnect_is_repaired(sim: Simulator, exchange: str) -> None:
    owner = sim.account("binance", "key1", "secret")
    symbol, size = symbol_of(exchange), Decimal(size_of(exchange))
    kind = ExecutionReport if exchange in SPOT_SHAPED else OrderTradeUpdate
    with Runner(sim, exchange).start(account("a", exchange, "key1")) as runner:
        runner.wait(Live)
        resting, partly, filled, canceled = [
            sim.place(owner, exchange, symbol=symbol, side="BUY", quantity=size, price="60000", client_id=f"D-BO-{n}")
            for n in range(4)
        ]
        ids = [str(event.order_id) for event in runner.wait(kind, 4)]
    since_ms = time.time_ns() // 1_000_000 - 60_000
    sim.fill(partly.order_id, quantity=size / 4)
    sim.fill(filled.order_id, quantity=size / 4)
    sim.fill(filled.order_id)
    sim.cancel(canceled.order_id)
    orders = tuple(
        KnownOrder(
            order_id=order_id, client_order_id=f"D-BO-{number}", symbol=symbol, status="NEW", price="60000",
            quantity=str(size),
        )
        for number, order_id in enumerate(ids)
    )  # fmt: skip
    resume = Resume(since_ms=since_ms, orders=orders)
    with Runner(sim, exchange).start(account("a", exchange, "key1", resume=resume)) as runner:
        (live,) = runner.wait(Live)
        assert live.gap is not None
        assert live.gap.missing == NOT_ASKED.get(exchange, ())
        told = {
            order_id: [
                (event.order_status, Decimal(event.total_trade_quantity))
                for event in runner.of(kind)
                if str(event.order_id) == order_id
            ]
            for order_id in ids
        }
        assert list(told.values()) == [
            [],
            [("PARTIALLY_FILLED", size / 4)],
            [("PARTIALLY_FILLED", size / 4), ("FILLED", size)],
            [("CANCELED", 0)],
        ]
        assert all(emit.repaired for emit in runner.of(Emit))
        assert len(runner.of(AccountPosition if exchange in SPOT_SHAPED else AccountUpdate)) == 1
        after = order_of(runner, exchange)
        sim.fill(resting.order_id)
        runner.wait(kind, len(after) + 1)
        assert order_of(runner, exchange)[-1] == ("FILLED", size)


@pytest.mark.parametrize("exchange", ["binanceUsdm", "binanceCoinm", "binanceUS"])
def test_an_expired_listen_key_ends_the_connection(sim: Simulator, exchange: str) -> None:
    owner = sim.account("binance", "key1", "secret")
    with Runner(sim, exchange).start(account("a", exchange, "key1")) as runner:
        runner.wait(Live)
        sim.fault("expire_token", account=owner)
        assert runner.wait(Fail)[0].kind is FailKind.TRANSIENT
        assert len(runner.of(UserDataStreamExpired)) == (exchange != "binanceUS")


@pytest.mark.parametrize("exchange", EXCHANGES)
def test_tickers_arrive_for_the_own_market_only(sim: Simulator, exchange: str) -> None:
    with Runner(sim, exchange, "ticker").start(TickerSubscription(stream_id="t", exchange=exchange)) as runner:
        assert runner.wait(EmitTickers, 3)
        assert runner.wait(Live) == [Live("t")]
        symbols = {ticker.symbol for emit in runner.of(EmitTickers) for ticker in emit.tickers}
        assert symbols
        assert all(("_" in symbol) == (exchange == "binanceCoinm") for symbol in symbols)


@pytest.mark.parametrize("exchange", EXCHANGES)
def test_candles_are_subscribed_and_missed_ones_read(sim: Simulator, exchange: str) -> None:
    minute = time.time_ns() // 60_000_000_000 * 60_000
    symbols = ["BTC", "ETH"]
    suffix = "USD_PERP" if exchange == "binanceCoinm" else "USDT"
    wanted = [
        CandleSubscription(
            stream_id=name, exchange=exchange, symbol=name + suffix, interval="1m", resume_start_ms=minute - 5 * 60_000
        )
        for name in symbols
    ]
    with Runner(sim, exchange, "candle").start(*wanted) as runner:
        runner.wait(Live, 2)
        runner.wait(Seen, 2)
        for name in symbols:
            starts = [emit.candle.start for emit in runner.of(EmitCandle) if emit.stream_id == name]
            assert starts[:4] == [minute - number * 60_000 for number in (4, 3, 2, 1)]


@pytest.mark.parametrize(("exchange", "feed"), [("binance", "user"), ("binance", "ticker")])
def test_a_maintenance_notice_rotates(sim: Simulator, exchange: str, feed: str) -> None:
    sim.account("binance", "key1", "secret")
    one = account("a", exchange, "key1") if feed == "user" else TickerSubscription(stream_id="a", exchange=exchange)
    with Runner(sim, exchange, feed).start(one) as runner:
        runner.wait(Live)
        sim.fault("maintenance", venue="binance", seconds=30)
        assert runner.wait(Rotate)


def test_symbols_are_loaded(sim: Simulator) -> None:
    venue = venue_of("binance")
    assert venue is not None
    for exchange in EXCHANGES:
        loader = venue.instruments(exchange, {})
        runner = Runner(sim, exchange)
        (call,) = loader.start()
        loader.answered(call, Answer(200, {}, requests.get(runner.url(call.url, "http"), timeout=WAIT_S).content))
        table = SymbolTable(loader.result() or ())
        assert table.wire(symbol_of(exchange)) is not None
        assert venue.candle_refusal(exchange, symbol_of(exchange), "1m", table) is None
        assert venue.candle_refusal(exchange, "BTC-USDT", "1m", table)


def test_a_paper_account_goes_live_and_tells_its_orders(sim: Simulator) -> None:
    owner = sim.account("paper", "pk1", "ps1")
    with Runner(sim, "paperBinance").start(account("p", "paperBinance", "pk1", "ps1")) as runner:
        assert runner.wait(Live) == [Live("p")]
        order = sim.place(
            owner, "binance", symbol="BTCUSDT", side="BUY", quantity="0.4", price="60000", client_id="D-BO-1"
        )
        sim.fill(order.order_id, quantity="0.1")
        sim.fill(order.order_id)
        runner.wait(ExecutionReport, 3)
        assert order_of(runner, "binance") == [
            ("NEW", 0),
            ("PARTIALLY_FILLED", Decimal("0.1")),
            ("FILLED", Decimal("0.4")),
        ]
        assert runner.wait(AccountPosition)


def test_an_unknown_paper_account_keeps_its_socket(sim: Simulator) -> None:
    with Runner(sim, "paperBinance").start(account("p", "paperBinance", "nobody", "x")) as runner:
        end = time.monotonic() + WAIT_S
        while not any("does not know" in str(output) for output in runner.outputs):
            assert time.monotonic() < end
            runner.turn()
        assert not runner.of(Fail)
        assert runner.adapter.deadline() is not None
