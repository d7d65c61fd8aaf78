"""A scripted exchange for whole engines: one WebSocket server with accounts, and the venue module that speaks to it.

The client says `login <stream> <1 if it has something to resume>`. The server answers with the last state of every order of
the account (what a real venue tells over REST), then with every event from then on, in one order for all connections.
"""

from __future__ import annotations

import queue
import threading
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from exchanges._adapter import (
    Answer,
    Call,
    Connect,
    Emit,
    Fail,
    FailKind,
    GapReport,
    Instant,
    Live,
    Output,
    Send,
    Subscription,
    UserSubscription,
)
from exchanges._venue import Limits, Rate, Setup
from exchanges.events import AccountEvent, BalanceUpdate, ExecutionReport
from exchanges.ids import Feed
from exchanges.instruments import EMPTY, Instrument, SymbolTable
from tests.integration.streams.rig import quiet_limits
from tests.integration.streams.ws_server import Peer, WsServer

EXCHANGE = "bybit"


class Exchange:
    """The server's side. `publish` and the switches: any thread."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.peers: dict[str, list[Peer]] = defaultdict(list)
        self.states: dict[str, dict[str, dict[str, Any]]] = defaultdict(dict)
        self.told: dict[str, list[str]] = defaultdict(list)
        """Names of everything that was published of an account, in order."""
        self.mute = threading.Event()
        """While set, logins are not answered."""
        self.rejects: set[str] = set()
        self.logins: list[str] = []
        self._threads: list[threading.Thread] = []
        self.server = WsServer(on_peer=self._greet)
        self._stopping = threading.Event()

    def _greet(self, peer: Peer) -> None:
        thread = threading.Thread(target=self._serve, args=(peer,), name="ws-exchange", daemon=True)
        self._threads.append(thread)
        thread.start()

    def _serve(self, peer: Peer) -> None:
        while not peer.gone.is_set() and not self._stopping.is_set():
            try:
                _, stream, _ = peer.next(timeout_s=0.05).split(" ")
            except queue.Empty:
                continue
            while self.mute.is_set() and not peer.gone.wait(0.02):
                continue
            try:
                self._login(peer, stream)
            except OSError:
                return  # the client is gone

    def _login(self, peer: Peer, stream: str) -> None:
        with self.lock:
            self.logins.append(stream)
            if stream in self.rejects:
                peer.send(msgspec.json.encode({"rejected": stream}))
                return
            peer.send(msgspec.json.encode({"orders": list(self.states[stream].values())}))
            self.peers[stream].append(peer)

    def publish(self, stream: str, event: dict[str, Any]) -> None:
        with self.lock:
            self.told[stream].append(name_of(event))
            if "order" in event:
                self.states[stream][event["order"]] = event
            for peer in list(self.peers[stream]):
                try:
                    peer.send(msgspec.json.encode(event))
                except OSError:
                    self.peers[stream].remove(peer)

    def drop(self, stream: str) -> None:
        """Hang up on every connection of an account."""
        with self.lock:
            for peer in self.peers.pop(stream, []):
                peer.drop()

    def stop(self) -> None:
        self._stopping.set()
        self.mute.clear()
        self.server.stop()
        for thread in self._threads:
            thread.join(5)


def order(name: str, status: str, executed: int) -> dict[str, Any]:
    return {"order": name, "status": status, "executed": executed}


def delta(number: int) -> dict[str, Any]:
    return {"delta": number}


def name_of(event: Mapping[str, Any]) -> str:
    """As the event id of the pipeline ends."""
    if "order" in event:
        return f"{event['order']}:{event['status']}:{event['executed']}"
    return f"delta-{event['delta']}"


def _event(raw: Mapping[str, Any], now_ms: int) -> AccountEvent:
    if "delta" in raw:
        return BalanceUpdate(
            asset="USDT", balance_delta="1", clear_time=1, event_time=1, unique_message_id=f"delta-{raw['delta']}"
        )
    return ExecutionReport(
        symbol="BTCUSDT",
        new_client_order_id=f"D-BO-{raw['order']}",
        original_client_order_id=f"D-BO-{raw['order']}",
        order_id=str(raw["order"]),
        order_status=str(raw["status"]),
        order_type="LIMIT",
        side="BUY",
        price="1",
        quantity="9",
        total_trade_quantity=str(raw["executed"]),
        total_quote_trade_quantity=str(raw["executed"]),
        creation_time=1,
        event_time=now_ms,
        order_time=now_ms,
        unique_message_id="x",
    )


class Account:
    """The adapter."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._subscription: UserSubscription | None = None

    def add(self, subscription: Subscription, now: Instant) -> list[Output]:
        assert isinstance(subscription, UserSubscription)
        self._subscription = subscription
        return []

    def start(self, now: Instant) -> list[Output]:
        return [Connect(self._url)]

    def connected(self, now: Instant) -> list[Output]:
        assert self._subscription is not None
        resumes = int(self._subscription.resume is not None)
        return [Send(f"login {self._subscription.stream_id} {resumes}")]

    def received(self, frame: bytes, now: Instant) -> list[Output]:
        assert self._subscription is not None
        stream, resume = self._subscription.stream_id, self._subscription.resume
        raw = msgspec.json.decode(frame)
        if "rejected" in raw:
            return [Fail(kind=FailKind.CREDENTIAL, reason="key refused", stream_id=stream)]
        if "orders" not in raw:
            return [Emit(stream, _event(raw, now.wall_ms))]
        if resume is None:
            return [Live(stream)]
        repaired = [Emit(stream, _event(one, now.wall_ms), repaired=True) for one in raw["orders"]]
        return [*repaired, Live(stream, GapReport(from_ms=resume.since_ms, to_ms=now.wall_ms, orders=len(repaired)))]

    def answered(self, call: Call, answer: Answer, now: Instant) -> list[Output]:
        return []

    def woken(self, now: Instant) -> list[Output]:
        return []

    def deadline(self) -> float | None:
        return None

    def remove(self, stream_id: str, now: Instant) -> list[Output]:
        return []

    def closing(self, now: Instant) -> list[Output]:
        return []


class ScriptedVenue:
    """The venue module."""

    name = "scripted"
    exchanges = (EXCHANGE,)
    feeds: tuple[Feed, ...] = ("user",)

    def __init__(self, url: str) -> None:
        self._url = url

    def limits(self, exchange: str, feed: Feed) -> Limits:
        return quiet_limits(subscriptions_per_connection=1, connects=Rate(1_000, 1.0), join_timeout_s=60.0)

    def user(self, setup: Setup) -> Account:
        return Account(self._url)

    def ticker(self, setup: Setup) -> Account:
        raise ValueError("no tickers")

    def candle(self, setup: Setup) -> Account:
        raise ValueError("no candles")

    def ticker_shards(self, exchange: str, table: SymbolTable) -> Sequence[tuple[str, ...]]:
        return []

    def candle_refusal(self, exchange: str, symbol: str, interval: str, table: SymbolTable) -> str | None:
        return "no candles"

    def candle_group(self, exchange: str, symbol: str, interval: str, table: SymbolTable) -> str:
        return ""

    def instruments(self, exchange: str, options: Mapping[str, str], before: SymbolTable = EMPTY) -> _NoSymbols:
        return _NoSymbols()

    def replay(self, exchange: str, feed: Feed, context: Mapping[str, object]) -> tuple[Account, str]:
        raise ValueError("nothing recorded")


class _NoSymbols:
    def start(self) -> Sequence[Call]:
        return []

    def answered(self, call: Call, answer: Answer) -> Sequence[Call]:
        return []

    def result(self) -> Sequence[Instrument] | None:
        return []
