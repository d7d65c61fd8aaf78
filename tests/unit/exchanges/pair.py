"""An adapter and its venue's simulated half, joined in memory: no socket, no thread, time moved by hand.

What differs from venue to venue stands in `FACTS`; a new exchange id needs a line there only where it differs.
"""

from __future__ import annotations

import itertools
from base64 import b64encode
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import NamedTuple, TypeVar
from urllib.parse import urlsplit

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from connector.streams.tracker import OrderTracker, known_order
from exchanges._adapter import (
    Adapter,
    Answer,
    Call,
    CandleSubscription,
    Connect,
    Emit,
    Fail,
    Instant,
    Live,
    Output,
    Rate,
    Resume,
    Send,
    Setup,
    Subscription,
    TickerSubscription,
    UserSubscription,
)
from exchanges._numbers import decimal
from exchanges.credentials import Credentials, credentials
from exchanges.events import ExecutionReport, OrderEvent, OrderTradeUpdate
from exchanges.ids import Feed, family_of, is_paper, real_id
from exchanges.instruments import EMPTY, SymbolTable
from simulator import controls
from simulator._link import Link
from simulator._values import ApiKey, Order, Symbol
from simulator._venue import Close, Frame, Ping, Request, WorldSettings
from simulator.controls import OrderRef
from simulator.demo import demo_key
from simulator.engine import NewOrder
from simulator.faults import Fault
from simulator.hub import Hub
from simulator.venues import halves
from tests.unit.exchanges.every_venue import INTERVALS, load, venue_names

START = Instant(1000.0, 1_795_000_000_000)
OVERLAP_MS = 5_000
"""How much of the time before a gap is read again."""
DOUBLE = Decimal("1e-9")
"""How near figures must be: some venues (and the paper server) count in doubles."""
PAPER_SEATS = ("paperBinance", "paperBinanceUsdm")
"""The paper ids are all alike: one of spot and one of futures stand for them."""

Kind = TypeVar("Kind")


class Seat(NamedTuple):
    """One exchange id, and the kind of account where the venue has several."""

    exchange: str
    account: str = ""

    @property
    def name(self) -> str:
        """The venue's name: of its package and of its half."""
        return "paper" if is_paper(self.exchange) else family_of(self.exchange)

    def __str__(self) -> str:
        return f"{self.exchange}-{self.account}" if self.account else self.exchange


@dataclass(frozen=True)
class Facts:
    """What the suite must know about an exchange id."""

    accounts: tuple[str, ...] = ("",)
    """Kinds of accounts that speak another protocol; the half tells them by the beginning of the key."""
    wallet: bool = True
    """The account stream tells balances."""
    remembers: bool = True
    """The venue can tell later what happened in a gap."""
    key: bool = True
    """Whoever joins proves who they are."""
    join_is_signed: bool = True
    """A wrong secret shows at the join; else with the first signed call, which a gap makes."""
    symbols: Mapping[str, str] = field(default_factory=dict)
    """Kind of account → part of the venue's code of what it trades; else the first symbol."""
    rejections: tuple[str, ...] = ()
    """Codes by which the venue says that a key is no good (any more)."""
    waits_for_account: bool = False
    """A key that is not known may become known: no failure, but a note."""
    skew: bool = True
    """The venue refuses stamps of a wrong clock, and tells its time."""
    contracts: bool = False
    """`totalTradeQuantity` counts contracts (contract 2.1); else units of the base currency."""
    swapped: bool = False
    """The two totals are exchanged on the wire (contract 2.1)."""
    symbol_topics: bool = True
    """Each symbol's ticker is subscribed by itself, and refused by itself."""
    liquidations: bool = True
    """Liquidations are told, though they have no client id of ours."""
    elsewhere: str = ""
    """What of a gap the venue can't be asked for: its report names this whenever anything may have happened there."""
    modify: bool = True
    """The venue changes open orders, and the half plays it."""


_OTHER_SYMBOLS = "closed orders on other symbols can't be asked for"
_OTHER_PAIRS = "closed orders on other pairs can't be asked for"

_NEW_SYMBOLS = "orders on symbols that were not used before can't be asked for"
ELSEWHERE = {"kucoin-unified": _NEW_SYMBOLS}
"""The same by seat, where kinds of accounts differ in it."""

_VENUES: Mapping[str, Facts] = {
    "binance": Facts(rejections=("-2015", "-2014"), skew=True, elsewhere=_OTHER_SYMBOLS),
    "bybit": Facts(rejections=("10003", "33004")),
    "okx": Facts(rejections=("50111", "60005")),
    "kucoin": Facts(accounts=("", "unified"), rejections=("400003",), elsewhere=_OTHER_SYMBOLS),
    "bitget": Facts(accounts=("", "unified"), rejections=("40006", "40037")),
    "coinbase": Facts(wallet=False, rejections=("401",)),
    "kraken": Facts(rejections=("EAPI:Invalid key",), skew=False),
    "hyperliquid": Facts(
        wallet=False, key=False, skew=False, rejections=("missing",), liquidations=False, symbol_topics=False
    ),
    "paper": Facts(remembers=False, waits_for_account=True, skew=False, rejections=("1",)),
}

FACTS: Mapping[str, Facts] = {
    "binanceUsdm": Facts(join_is_signed=False, rejections=("-2015",), skew=False),
    "binanceCoinm": Facts(
        join_is_signed=False, rejections=("-2015",), skew=False, contracts=True, elsewhere=_OTHER_PAIRS
    ),
    "binanceUS": Facts(join_is_signed=False, rejections=("-2015",), skew=False, elsewhere=_OTHER_SYMBOLS),
    "bybitInverse": Facts(rejections=("10003", "33004"), swapped=True),
    "okxLinear": Facts(
        accounts=("", "xperp"), symbols={"xperp": "_XPERP"}, rejections=("50111", "60005"), contracts=True
    ),
    "bitgetCoinm": Facts(
        accounts=("", "unified", "unified-dated"), symbols={"unified": "_CM"}, rejections=("40006", "40037")
    ),
    "okxInverse": Facts(rejections=("50111", "60005"), contracts=True),
    "kucoinLinear": Facts(accounts=("", "unified"), rejections=("400003",), contracts=True),
    "kucoinInverse": Facts(accounts=("", "unified"), rejections=("400003",), contracts=True),
}
"""By exchange id where it differs from its venue."""


def facts(exchange: str) -> Facts:
    found = FACTS.get(exchange)
    return found if found is not None else _VENUES[Seat(exchange).name]


def seats() -> list[Seat]:
    """Every kind of account of every exchange id that has both an adapter and a half."""
    ids = [e for name in venue_names() if name in halves() and name != "paper" for e in load(name).exchanges]
    return [Seat(exchange, account) for exchange in (*ids, *PAPER_SEATS) for account in facts(exchange).accounts]


def markets(feed: Feed) -> list[str]:
    """Every exchange id with a half that has this feed."""
    return [e for name in venue_names() if name in halves() and feed in load(name).feeds for e in load(name).exchanges]


def key_of(seat: Seat) -> ApiKey:
    key = demo_key(seat.name)
    return controls.api_key(f"{seat.account}{key.key}", key.secret, key.passphrase)


def material(key: ApiKey) -> Credentials:
    """What an open command brings for a key."""
    keys_type = "cloud" if key.kind == "ecdsa" else None
    return credentials(key.key, key.secret, key.passphrase or None, keys_type=keys_type)


def wrong_secret(key: ApiKey) -> ApiKey:
    """A key of the same form with another secret."""
    if key.kind == "ecdsa":
        other = ec.derive_private_key(7, ec.SECP256R1())
        secret = other.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption()).decode()
    else:
        secret = b64encode(b"another secret of this length").decode()
    return controls.api_key(key.key, secret, key.passphrase)


class Row(NamedTuple):
    """What stands in somebody's books about an order."""

    status: str
    executed: Decimal
    average: Decimal


class Books:
    """A consumer: books per client id what the tracker lets out. `state` is what the next connection resumes from."""

    def __init__(self, exchange: str) -> None:
        self._exchange = exchange
        self._tracker = OrderTracker(exchange)
        self.rows: dict[str, Row] = {}
        self.told: list[OrderEvent] = []
        self.last_ms = 0

    def take(self, emit: Emit) -> None:
        admitted = self._tracker.admit(emit.event, repaired=emit.repaired)
        if admitted is None or not isinstance(admitted.event, ExecutionReport | OrderTradeUpdate):
            return
        event, known = admitted.event, known_order(admitted.event)
        self.told.append(event)
        swapped = facts(self._exchange).swapped and isinstance(event, ExecutionReport)
        executed = decimal(known.executed_quote if swapped else known.executed)
        self.rows[known.client_order_id] = Row(event.order_status, executed, average_of(event))

    def resume(self, since_ms: int) -> Resume:
        return self._tracker.resume(since_ms)


def average_of(event: OrderEvent) -> Decimal:
    """Average fill price as the backend works it out."""
    if isinstance(event, OrderTradeUpdate):
        return decimal(event.average_price)
    base, quote = decimal(event.total_trade_quantity), decimal(event.total_quote_trade_quantity)
    return quote / base if base else Decimal(0)


@dataclass
class _Budget:
    """A venue's REST allowance, kept as the service keeps it: calls wait for room."""

    rate: Rate
    used: deque[tuple[float, int]] = field(default_factory=deque)

    def wait(self, weight: int, mono: float) -> float:
        """Seconds until a call of this weight may go."""
        while self.used and self.used[0][0] <= mono - self.rate.per_s:
            self.used.popleft()
        total = sum(spent for _, spent in self.used)
        if total + weight <= self.rate.limit or not self.used:
            return 0.0
        for at, spent in self.used:
            total -= spent
            if total + weight <= self.rate.limit:
                return at + self.rate.per_s - mono
        return self.rate.per_s

    def spend(self, weight: int, mono: float) -> None:
        self.used.append((mono, weight))


class Pair:
    """One adapter, one connection, one simulated venue with one account. `out` is everything that the adapter said."""

    def __init__(self, seat: Seat, *, symbols: int = 3, limits: bool = True, tick_s: float = 1.0) -> None:
        self.seat, self.name, self.exchange = seat, seat.name, seat.exchange
        self.market = real_id(seat.exchange)
        self.facts = facts(seat.exchange)
        self.venue = load(self.name)
        names = (self.name,) if self.name != "paper" else ("paper", family_of(self.market))
        settings = WorldSettings(symbols=symbols, tick_s=tick_s, quiet=0.0, limits=limits)
        self.hub = Hub(settings, names)
        self.t = 0.0
        self.key = key_of(seat)
        self.account = controls.add_account(self.hub, self.name, self.key).account_id
        self.books = Books(seat.exchange)
        self.meanwhile: Callable[[Call], None] | None = None
        """Called before each REST call is answered: what happens during a repair."""
        self.calls: list[Call] = []
        self.out: list[Output] = []
        self.link: Link | None = None
        self.adapter: Adapter | None = None
        self.ended = True
        self.last_live_ms = self.now.wall_ms
        self._secrets = tuple(text for text in (self.key.key, self.key.secret, self.key.passphrase) if text)
        self._ids = itertools.count(1)
        self._waiting: deque[Call] = deque()
        self._budgets: dict[str, _Budget] = {}
        self._offset_ms = 0
        self._next_ping = float("inf")
        self._next_pulse = 0.0
        self.table = self.load()

    @property
    def now(self) -> Instant:
        return Instant(START.mono + self.t, START.wall_ms + round(self.t * 1000))

    def load(self) -> SymbolTable:
        """The venue's symbol list, all pages."""
        loader = self.venue.instruments(self.exchange, {})
        todo = list(loader.start())
        while todo:
            call = todo.pop()
            todo += loader.answered(call, self.rest(call))
        found = loader.result()
        assert found is not None, "the half's symbol list can't be read"
        return SymbolTable(found) if found else EMPTY

    @property
    def elsewhere(self) -> str:
        return ELSEWHERE.get(str(self.seat), self.facts.elsewhere)

    def rest(self, call: Call) -> Answer:
        url = urlsplit(call.url)
        headers = {name.lower(): value for name, value in call.headers.items()}
        request = Request(
            method=call.method,
            host=url.hostname or "",
            path=url.path,
            query=url.query,
            headers=headers,
            body=(call.body or "").encode(),
        )
        assert request.host in self.hub.hosts, f"{call} goes to a host that no half plays"
        reply = self.hub.rest(self.name, request, self.now).reply
        if reply is None:
            return Answer(0, {}, b"", "connection reset")
        return Answer(reply.status, {name.lower(): text for name, text in reply.headers.items()}, reply.body)

    # --- connections ---

    def open(self, feed: Feed, subscription: Subscription) -> Pair:
        """A new connection; what the one before it said is forgotten."""
        make = {"user": self.venue.user, "ticker": self.venue.ticker, "candle": self.venue.candle}[feed]
        limits = self.venue.limits(self.exchange, feed)
        for pool, rate in limits.rest.items():
            self._budgets.setdefault(pool, _Budget(rate))
        self._pools = frozenset(limits.rest)
        self._ping_s = limits.ping_interval_s
        setup = Setup(
            exchange=self.exchange,
            new_id=lambda: f"p{next(self._ids)}",
            table=lambda: self.table,
            options={"PAPER_WS": "paper-trading"},
            clock_offset_ms=lambda: self._offset_ms,
        )
        self.adapter, self.out, self.link, self.ended = make(setup), [], None, False
        self._waiting.clear()
        self.take(self.adapter.add(subscription, self.now))
        self.take(self.adapter.start(self.now))
        return self

    def user(self, resume: Resume | None = None, key: ApiKey | None = None) -> Pair:
        account = material(key or self.key)
        return self.open(
            "user", UserSubscription(stream_id="u", exchange=self.exchange, credentials=account, resume=resume)
        )

    def joined(self) -> Pair:
        """A stream of the account that is live, with its gap read."""
        self.user()
        self.until(self.live)
        return self

    def again(self) -> Pair:
        """The next connection, which resumes where the books stand, until its gap is read."""
        self.reconnect()
        self.until(self.whole)
        return self

    def reconnect(self) -> Pair:
        return self.user(self.books.resume(self.last_live_ms - OVERLAP_MS))

    def tickers(self, symbols: Iterable[str] | None = None) -> Pair:
        shard = self.venue.ticker_shards(self.exchange, self.table)[0]
        wanted = tuple(shard if symbols is None else symbols)
        return self.open("ticker", TickerSubscription(stream_id="t", exchange=self.exchange, symbols=wanted))

    def candles(self, *, missed: int = 0) -> Pair:
        pair, interval = self.pair_id, interval_of(self.exchange)
        start = self.now.wall_ms // 300_000 * 300_000 - 300_000 * missed if missed else None
        subscription = CandleSubscription(
            stream_id="c", exchange=self.exchange, symbol=pair, interval=interval, resume_start_ms=start
        )
        return self.open("candle", subscription)

    def drop(self, seconds: float = 10.0) -> None:
        """The connection is lost; some time passes."""
        self.last_live_ms = self.now.wall_ms
        self._close()
        self.t += seconds

    def _close(self) -> None:
        self.ended = True
        if self.link is not None:
            self.hub.closed(self.link, self.now)

    # --- what the adapter says ---

    def take(self, outputs: Iterable[Output]) -> None:
        for output in outputs:
            self._check(output)
            self.out.append(output)
            if isinstance(output, Call):
                assert output.pool in self._pools, f"{output} is of the pool {output.pool}, which has no budget"
                self._waiting.append(output)
            elif isinstance(output, Connect):
                self._connect(output)
            elif isinstance(output, Send) and self.link is not None:
                self.hub.received(self.link, output.text, self.now)
            elif isinstance(output, Emit):
                self.books.take(output)
            elif isinstance(output, Fail) and output.stream_id is None:
                self._close()
                return

    def _check(self, output: Output) -> None:
        """Whatever is printed of an output shows no secret."""
        shown = repr(output)
        assert not any(secret in shown for secret in self._secrets), f"a secret in {type(output).__name__}"

    def _connect(self, connect: Connect) -> None:
        assert self.adapter is not None
        url = urlsplit(connect.url)
        headers = {name.lower(): value for name, value in connect.headers}
        request = Request(method="GET", host=url.hostname or "", path=url.path, query=url.query, headers=headers)
        assert request.host in self.hub.hosts, f"{connect} goes to a host that no half plays"
        link = self.hub.connect(self.name, request, self.now)
        assert isinstance(link, Link), f"{connect} was refused: {link}"
        self.link = link
        self.hub.opened(link, self.now)
        self._next_ping = self.now.mono + self._ping_s if self._ping_s else float("inf")
        self.take(self.adapter.connected(self.now))

    # --- time ---

    def turn(self) -> None:
        """Everything that is due now, then the next moment at which something will be."""
        self._next_pulse = self.hub.pulse(self.now)
        self._perform()
        self._wake()
        self._read()
        self._jump()

    def _perform(self) -> None:
        for call in list(self._waiting):
            budget = self._budgets[call.pool]
            if self.ended or self.adapter is None:
                return
            if budget.wait(call.weight, self.now.mono) > 0:
                continue
            budget.spend(call.weight, self.now.mono)
            self._waiting.remove(call)
            self.calls.append(call)
            if self.meanwhile is not None:
                self.meanwhile(call)
            self.take(self.adapter.answered(call, self.rest(call), self.now))

    def _wake(self) -> None:
        if self.ended or self.adapter is None:
            return
        due = self.adapter.deadline()
        if due is not None and due <= self.now.mono:
            self.take(self.adapter.woken(self.now))
            after = self.adapter.deadline()
            assert self.ended or after is None or after > self.now.mono, "a deadline that has passed stays due"

    def _read(self) -> None:
        link = self.link
        if link is None or self.ended or self.adapter is None:
            return
        if self.now.mono >= self._next_ping and self._ping_s:
            self._next_ping = self.now.mono + self._ping_s
            self.hub.pinged(link, b"", self.now)
        self.hub.woken(link, self.now)
        for action in link.take(self.now.mono):
            if self.ended:
                return
            if isinstance(action, Frame):
                data = action.data.encode() if isinstance(action.data, str) else action.data
                self.take(self.adapter.received(data, self.now))
            elif isinstance(action, Ping):
                self.hub.ponged(link, action.payload, self.now)
            elif isinstance(action, Close):
                self._close()
        if link.aborted:
            self._close()

    def _jump(self) -> None:
        """Move to the next moment at which anybody wants to do something: at least 1 ms, at most 5 s away."""
        now = self.now.mono
        times = [self._next_pulse, self._next_ping]
        if self.adapter is not None and not self.ended:
            times += [due for due in [self.adapter.deadline()] if due is not None]
            times += [now + self._budgets[call.pool].wait(call.weight, now) for call in self._waiting]
            times += [due for due in [self.link.deadline() if self.link is not None else None] if due is not None]
        self.t += min(max(min(times) - now, 0.001), 5.0)

    def until(self, found: Callable[[], object], seconds: float = 120.0) -> None:
        """Let time pass until something holds; fails if the connection ends before, or it takes too long."""
        end = self.t + seconds
        while not found():
            assert not self.ended, f"the connection ended: {self.out[-5:]}"
            assert self.t < end, f"not seen in {seconds} s: {self.out[-5:]}"
            self.turn()

    def wait(self, seconds: float) -> None:
        """Let time pass, whatever happens."""
        end = self.t + seconds
        while self.t < end:
            self.turn()

    def keep(self) -> None:
        """Open the next connection if this one has ended, as the service would."""
        if self.ended:
            self.drop(1.0)
            self.again()

    def wait_for_failure(self, seconds: float = 120.0) -> None:
        """Let time pass until something failed, or for so long."""
        end = self.t + seconds
        while self.t < end and not self.ended and not self.of(Fail):
            self.turn()

    # --- what was seen ---

    def of(self, kind: type[Kind]) -> list[Kind]:
        return [output for output in self.out if isinstance(output, kind)]

    def live(self) -> bool:
        return bool(self.of(Live))

    def whole(self) -> bool:
        """Live, and nothing of the gap is still being read."""
        return any(live.gap is None or live.gap.complete for live in self.of(Live))

    def orders(self) -> list[Emit]:
        return [o for o in self.of(Emit) if isinstance(o.event, ExecutionReport | OrderTradeUpdate)]

    def balances(self) -> list[Emit]:
        return [o for o in self.of(Emit) if not isinstance(o.event, ExecutionReport | OrderTradeUpdate)]

    def missing(self) -> str:
        """All that the gap reports name as missing."""
        return "\n".join(phrase for live in self.of(Live) if live.gap for phrase in live.gap.missing)

    def status(self, client_id: str) -> str:
        row = self.books.rows.get(client_id)
        return row.status if row else ""

    # --- deeds on the venue ---

    @property
    def symbol(self) -> Symbol:
        """The first of the market, or the one that this kind of account is for."""
        symbols = self.hub.world.markets.symbols(self.market)
        own = self.facts.symbols.get(self.seat.account, "")
        return next(symbol for symbol in symbols if own in symbol.wire)

    @property
    def pair_id(self) -> str:
        """The platform's name of `symbol`."""
        found = self.table.wire(self.symbol.wire)
        return found.pair if found is not None else self.symbol.pair_id

    def step(self, count: int, symbol: Symbol | None = None) -> Decimal:
        """So many of the smallest amounts."""
        return count * Decimal(1).scaleb(-(symbol or self.symbol).quantity_decimals)

    def place(self, client_id: str = "DBO1", steps: int = 10, **more: object) -> Order:
        """A limit order that rests 10 % below the price, or what `more` says."""
        symbol = more.pop("of", None) or self.symbol
        assert isinstance(symbol, Symbol)
        price = self.hub.world.markets.quote(self.market, symbol.wire).price * Decimal("0.9")
        fields: dict[str, object] = {
            "symbol": symbol.wire,
            "side": "BUY",
            "quantity": self.step(steps, symbol),
            "client_id": client_text(self.exchange, client_id),
        }
        if more.get("order_type") != "MARKET":
            fields["price"] = price.quantize(Decimal(1).scaleb(-symbol.price_decimals))
        hold = bool(more.pop("hold", False))
        new = NewOrder(**{**fields, **more})  # type: ignore[arg-type]
        return controls.place(self.hub, self.account, self.market, new, self.now, hold=hold)

    def fill(self, order: Order, steps: int | None = None, **more: Decimal) -> Order:
        symbol = self.hub.world.markets.symbol(self.market, order.symbol)
        quantity = None if steps is None else self.step(steps, symbol)
        return controls.fill(self.hub, OrderRef(order_id=order.order_id), self.now, quantity=quantity, **more)

    def cancel(self, order: Order) -> Order:
        return controls.cancel(self.hub, OrderRef(order_id=order.order_id), self.now)

    def modify(self, order: Order, steps: int, price: Decimal | None = None) -> Order:
        """Another size (of the whole order) and price, as the venue does it; returns the order that goes on."""
        size = self.step(steps, self.hub.world.markets.symbol(self.market, order.symbol))
        return controls.modify(self.hub, OrderRef(order_id=order.order_id), self.now, quantity=size, price=price)

    def fault(self, kind: str, **more: object) -> None:
        controls.inject(self.hub, Fault(kind=kind, **more), self.now)  # type: ignore[arg-type]

    def truth(self, order: Order) -> Row:
        """What the simulator's books have under the client id of an order, in the units that the backend expects.

        An order that was modified into others counts with all that was executed of them.
        """
        engine = self.hub.world.engine
        symbol = self.hub.world.markets.symbol(self.market, order.symbol)
        assert symbol is not None
        newest = self.newest(order)
        executed, value, one = Decimal(0), Decimal(0), newest
        while True:
            executed, value = executed + one.executed, value + one.value
            older = engine.locate(one.replaces)
            if older is None:
                break
            one = older
        units = executed * symbol.contract_size
        average = (units / value if symbol.inverse else value / units) if executed else Decimal(0)
        return Row(newest.status, self.units(executed, value, symbol), average)

    def newest(self, order: Order) -> Order:
        """The newest state of an order, or of the one that it was modified into."""
        now = self.hub.world.engine.locate(order.order_id)
        assert now is not None
        following = self.hub.world.engine.locate(now.replaced_by)
        return now if following is None else self.newest(following)

    def units(self, executed: Decimal, value: Decimal, symbol: Symbol) -> Decimal:
        if self.facts.contracts or self.facts.swapped:
            return executed
        return value if symbol.inverse else executed * symbol.contract_size


def assert_booked(pair: Pair, client: str, order: Order) -> None:
    """What a consumer has under the client id is what the venue did."""
    assert client in pair.books.rows, f"nothing was told of {client}; the venue has {pair.truth(order)}"
    told, truth = pair.books.rows[client], pair.truth(order)
    assert told.status == truth.status, f"{client}: told {told}, the venue has {truth}"
    assert abs(told.executed - truth.executed) <= truth.executed * DOUBLE, f"{client}: told {told}, not {truth}"
    assert abs(told.average - truth.average) <= truth.average * DOUBLE, f"{client}: told {told}, not {truth}"


def client_text(exchange: str, text: str) -> str:
    """A client id as the venue takes it."""
    if family_of(exchange) == "hyperliquid" and not is_paper(exchange):
        return f"0x{text.encode().hex():0>32}"
    return text


def interval_of(exchange: str) -> str:
    """The 5-minute candle of an exchange id: the one that all have."""
    codes = INTERVALS.get(exchange, INTERVALS.get(family_of(exchange), ()))
    return next(code for code in codes if code in ("5m", "5", "5min", "candle5m"))
