"""An adapter and its venue's simulated half, joined in memory: no socket, no thread, time moved by hand.

What differs from venue to venue stands in `pair_facts`; deeds on the venue are in `pair_deeds`, the books in `pair_books`.
"""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Callable, Iterable
from decimal import Decimal
from typing import TypeVar
from urllib.parse import urlsplit

from exchanges._adapter import (
    Adapter,
    Answer,
    Call,
    CandleSubscription,
    Connect,
    Emit,
    Fail,
    Instant,
    KeyKind,
    Live,
    Output,
    Resume,
    Send,
    Subscription,
    TickerSubscription,
    UserSubscription,
)
from exchanges._numbers import decimal
from exchanges._venue import Setup
from exchanges.events import ExecutionReport, OrderTradeUpdate, PositionUpdate
from exchanges.ids import Feed, family_of, real_id
from exchanges.instruments import EMPTY, SymbolTable
from simulator import controls
from simulator._link import Link
from simulator._values import ApiKey, Order
from simulator._venue import Close, Frame, Ping, Request, WorldSettings
from simulator.hub import Hub
from tests.unit.exchanges.every_venue import load
from tests.unit.exchanges.pair_books import Books, Row
from tests.unit.exchanges.pair_budget import Budget
from tests.unit.exchanges.pair_deeds import Deeds
from tests.unit.exchanges.pair_facts import (
    BY_SOCKET,
    ELSEWHERE,
    FACTS,
    Facts,
    Seat,
    client_text,
    facts,
    interval_of,
    key_of,
    markets,
    material,
    rejections,
    seats,
    wrong_secret,
)

__all__ = [
    "DOUBLE",
    "FACTS",
    "START",
    "Books",
    "Facts",
    "Pair",
    "Row",
    "Seat",
    "assert_booked",
    "assert_told_as_placed",
    "client_text",
    "facts",
    "interval_of",
    "key_of",
    "markets",
    "rejections",
    "seats",
    "wrong_secret",
]

START = Instant(1000.0, 1_795_000_000_000)
OVERLAP_MS = 5_000
"""How much of the time before a gap is read again."""
DOUBLE = Decimal("1e-9")
"""How near figures must be: some venues (and the paper server) count in doubles."""

Kind = TypeVar("Kind")


class Pair(Deeds):
    """One adapter, one connection, one simulated venue with one account. `out` is everything that the adapter said."""

    def __init__(self, seat: Seat, *, symbols: int = 3, limits: bool = True, tick_s: float = 5.0) -> None:
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
        self.queue_s: float | None = None
        """How long each call that precedes a connect waits for a budget; all are signed as of when they leave then."""
        self.calls: list[Call] = []
        self.out: list[Output] = []
        self.link: Link | None = None
        self.adapter: Adapter | None = None
        self.ended = True
        self.refused = False
        """The account was: the session gives its adapter no further input (see `Fail`)."""
        self.last_live_ms = self.now.wall_ms
        self.longest_silence_s = 0.0
        """The longest time in which the venue sent nothing at all."""
        self._heard = self.now.mono
        self._secrets = tuple(text for text in (self.key.key, self.key.secret, self.key.passphrase) if text)
        self._ids = itertools.count(1)
        self._waiting: deque[Call] = deque()
        self._budgets: dict[str, Budget] = {}
        self._offset_ms = 0
        self.named: set[str] = set()
        """What the reports of all gaps have named as missing."""
        self.key_kind = ""
        """What a connection found out about the key, for the next ones."""
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
        for pool, rate in {**limits.rest, **limits.own_rest}.items():
            self._budgets.setdefault(pool, Budget(rate))
        self._pools = frozenset({**limits.rest, **limits.own_rest})
        self._ping_s = limits.ping_interval_s
        setup = Setup(
            exchange=self.exchange,
            new_id=lambda: f"p{next(self._ids)}",
            table=lambda: self.table,
            options={"PAPER_WS": "paper-trading"},
            clock_offset_ms=lambda: self._offset_ms,
        )
        self.adapter, self.out, self.link, self.ended, self.refused = make(setup), [], None, False, False
        self._alone = feed == "user" and limits.subscriptions_per_connection == 1
        self._waiting.clear()
        self.take(self.adapter.add(subscription, self.now))
        self.take(self.adapter.start(self.now))
        return self

    def user(self, resume: Resume | None = None, key: ApiKey | None = None) -> Pair:
        return self.open("user", self._subscription(resume, key or self.key))

    def account_again(self) -> UserSubscription:
        """The account once more, resumed where the books stand."""
        return self._subscription(self.books.resume(self.last_live_ms - OVERLAP_MS), self.key)

    def _subscription(self, resume: Resume | None, key: ApiKey) -> UserSubscription:
        return UserSubscription(
            stream_id="u",
            exchange=self.exchange,
            credentials=material(key),
            resume=resume,
            key_kind=self.key_kind if key is self.key else "",
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
        """The connection is lost, unless it had ended before; some time passes."""
        self._close()
        self.t += seconds

    def _close(self) -> None:
        if not self.ended:
            self.ended, self.last_live_ms = True, self.now.wall_ms
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
            elif isinstance(output, Live) and output.gap is not None:
                self.named.update(output.gap.missing)
            elif isinstance(output, KeyKind):
                self.key_kind = output.kind
            elif isinstance(output, Fail) and output.stream_id is None:
                self._close()
                return
            elif isinstance(output, Fail) and self._alone:
                self.refused = True
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
        self.link, self._heard = link, self.now.mono
        self.hub.opened(link, self.now)
        self._next_ping = self.now.mono + self._ping_s if self._ping_s else float("inf")
        self.take(self.adapter.connected(self.now))

    # --- time ---

    def turn(self) -> None:
        """Everything that is due now, then the next moment at which something will be."""
        self._next_pulse = self.hub.pulse(self.now)
        self._perform()
        self._wake()
        self.read()
        self._jump()

    def _perform(self) -> None:
        for call in list(self._waiting):
            budget = self._budgets[call.pool]
            if self.ended or self.refused or self.adapter is None:
                return
            if budget.wait(call.weight, self.now.mono) > 0:
                continue
            budget.spend(call.weight, self.now.mono)
            self._waiting.remove(call)
            self.calls.append(call)
            if self.meanwhile is not None:
                self.meanwhile(call)
            self.take(self.adapter.answered(call, self.rest(self._leaves(call)), self.now))

    def _leaves(self, call: Call) -> Call:
        """What the venue gets of a call, once it may be made."""
        if self.queue_s is None:
            return call
        if self.link is None:
            self.t += self.queue_s
        return call.again(self.now) if call.again is not None else call

    def _wake(self) -> None:
        if self.ended or self.refused or self.adapter is None:
            return
        due = self.adapter.deadline()
        if due is not None and due <= self.now.mono:
            self.take(self.adapter.woken(self.now))
            after = self.adapter.deadline()
            assert self.ended or self.refused or after is None or after > self.now.mono, (
                "a deadline that has passed stays due"
            )

    def read(self) -> None:
        link = self.link
        if link is None or self.ended or self.adapter is None:
            return
        if self.now.mono >= self._next_ping and self._ping_s:
            self._next_ping = self.now.mono + self._ping_s
            self.hub.pinged(link, b"", self.now)
        self.hub.woken(link, self.now)
        for action in link.take(self.now.mono):
            self.longest_silence_s = max(self.longest_silence_s, self.now.mono - self._heard)
            self._heard = self.now.mono
            if self.ended:
                return
            if isinstance(action, Frame) and not self.refused:
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
        times = [self._next_pulse]
        if self.adapter is not None and not self.ended:
            times.append(self._next_ping)
            times += [due for due in [self.adapter.deadline()] if due is not None and not self.refused]
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
        self.longest_silence_s = max(self.longest_silence_s, self.now.mono - self._heard)

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
        return [
            o for o in self.of(Emit) if not isinstance(o.event, ExecutionReport | OrderTradeUpdate | PositionUpdate)
        ]

    def missing(self) -> str:
        """All that complete gap reports name as missing."""
        gaps = [live.gap for live in self.of(Live) if live.gap is not None and live.gap.complete]
        return "\n".join(phrase for gap in gaps for phrase in gap.missing)

    def status(self, client_id: str) -> str:
        row = self.books.rows.get(client_id)
        return row.status if row else ""


def unseen(pair: Pair, client: str, order: Order) -> bool:
    """An order of which nothing was told, because it came and went without a fill, and a gap has named that."""
    came_and_went = (pair.truth(order).status, order.executed) == ("CANCELED", 0)
    named = str(pair.seat) in BY_SOCKET and pair.elsewhere in pair.named
    return named and came_and_went and client not in pair.books.rows


def assert_booked(pair: Pair, client: str, order: Order) -> None:
    """What a consumer has under the client id is what the venue did."""
    if unseen(pair, client, order):
        return
    assert client in pair.books.rows, f"nothing was told of {client}; the venue has {pair.truth(order)}"
    told, truth = pair.books.rows[client], pair.truth(order)
    assert told.status == truth.status, f"{client}: told {told}, the venue has {truth}"
    assert abs(told.executed - truth.executed) <= truth.executed * DOUBLE, f"{client}: told {told}, not {truth}"
    assert abs(told.average - truth.average) <= truth.average * DOUBLE, f"{client}: told {told}, not {truth}"


def assert_told_as_placed(pair: Pair, order: Order) -> None:
    """Every report names the order as it was placed: symbol, side, type and size, and a time of this story."""
    assert pair.books.told
    symbol = pair.hub.world.markets.symbol(pair.market, order.symbol)
    assert symbol is not None
    sizes = {order.quantity, order.quantity * symbol.contract_size}
    for told in pair.books.told:
        named = (told.symbol, told.side, told.order_type)
        assert named == (pair.pair_id, order.side, order.order_type), named
        if not symbol.inverse:  # else in money or in coins, as the totals are
            assert decimal(told.quantity) in sizes, told
        assert START.wall_ms <= told.order_time <= pair.now.wall_ms + 1_000, told
        assert not told.liquidation, told
        if told.order_status == "NEW":
            assert decimal(told.price) == order.price, told
