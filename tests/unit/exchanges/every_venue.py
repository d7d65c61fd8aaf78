"""What the shared suite over all venues needs: every adapter, driven through the `Venue` interface alone."""

from __future__ import annotations

import functools
import importlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import cast

import exchanges
from exchanges._adapter import (
    Adapter,
    Answer,
    Call,
    CandleSubscription,
    Connect,
    Fail,
    Instant,
    KnownOrder,
    Output,
    Resume,
    Subscription,
    TickerSubscription,
    UserSubscription,
)
from exchanges._venue import Setup, Venue
from exchanges.credentials import Credentials, credentials
from exchanges.ids import Feed, family_of
from exchanges.instruments import Instrument, SymbolTable
from tests.unit.exchanges import driver

FILES = sorted((Path(__file__).parents[2] / "golden").glob("*.jsonl"))
"""Files of golden cases."""
NOW = Instant(1000.0, 1_796_000_000_000)
"""After every recorded frame."""
CANARY_KEY = "Q0FOQVJZS0VZQ0FOQVJZ"
CANARY_SECRET = "Q0FOQVJZU0VDUkVUQ0FOQVJZU0VDUkVU"
CANARY_PHRASE = "CANARYPHRASE"
CANARY_ADDRESS = "0xca4a41e5ca4a41e5ca4a41e5ca4a41e5ca4a41e5"
CANARIES = (CANARY_KEY, CANARY_SECRET, CANARY_PHRASE, CANARY_ADDRESS)
KEYS = {"hyperliquid": CANARY_ADDRESS}
"""Families whose keys have a form without which nothing is tried."""

SYMBOLS = ("BTCUSDT", "BTC-USDT", "BTC/USD", "BTCUSD_PERP", "PF_XBTUSD", "BTC", "XBTUSDTM")
TABLE = SymbolTable(
    Instrument(wire=code, pair=code.replace("/", "-"), base="BTC", quote="USDT", settle="USDT") for code in SYMBOLS
)

GARBAGE: tuple[bytes, ...] = (
    b"",
    b" ",
    b"\x00",
    b"\xff\xfe\xfd",
    b"null",
    b"true",
    b"0",
    b"-1e999",
    b'""',
    b'"pong"',
    b"pong",
    b"ping",
    b"[]",
    b"{}",
    b"[[]]",
    b"[null]",
    b"[{}]",
    b'{"data":null}',
    b'{"data":[]}',
    b'{"data":[null]}',
    b'{"data":{}}',
    b'{"data":"x"}',
    b'{"data":[{}]}',
    b'{"event":{}}',
    b'{"event":null,"id":null,"status":0}',
    b'{"e":1}',
    b'{"e":"executionReport"}',
    b'{"channel":"nobody-knows","data":[{"x":1}]}',
    b'{"topic":"nobody.knows","data":[{"x":1}],"type":"snapshot"}',
    b'{"stream":"nobody@knows","data":{"x":1}}',
    b'{"arg":{"channel":"nobody-knows","instId":"X"},"data":[{"x":"1"}]}',
    b'{"arg":{},"action":"snapshot","data":[{}]}',
    b'{"id":"1","result":null}',
    b'{"id":1,"result":null}',
    b'{"op":"subscribe","success":true}',
    b'{"event":"subscribe","arg":{"channel":"tickers","instId":"X"}}',
    b'{"event":"error","code":"60012","msg":"Invalid request"}',
    b'{"method":"subscribe","success":true,"result":{"channel":"nobody"}}',
    b'{"type":"ack","id":"1"}',
    b'{"type":"welcome","id":"1"}',
    b'{"type":"error","message":"nobody knows"}',
    b'{"code":2,"msg":"Invalid request"}',
    b'{"error":{"code":2,"msg":"Invalid request"},"id":9}',
    b'{"subscriptionId":77,"event":{"e":"balanceUpdate"}}',
    b"[" * 500 + b"]" * 500,
    b'{"a":' * 500 + b"1" + b"}" * 500,
    b'{"truncated":',
    b"42",
    b'42["order",{}]',
    b'42["order",{"type":"update","data":{"price":"NaN"}}]',
    b"40",
    b"41",
    b'44{"message":"no"}',
    '{"символ":"币安"}'.encode(),
)

ANSWERS: tuple[Answer, ...] = (
    Answer(0, {}, b"", "timeout"),
    Answer(200, {}, b""),
    Answer(200, {}, b"null"),
    Answer(200, {}, b"[]"),
    Answer(200, {}, b"{}"),
    Answer(200, {}, b"[null]"),
    Answer(200, {}, b'{"data":null,"result":null,"code":"0","retCode":0}'),
    Answer(200, {}, b'{"code":"00000","data":[{}],"result":{"list":[{}]}}'),
    Answer(200, {}, b"<html>maintenance</html>"),
    Answer(200, {}, b"\xff\xfe"),
    Answer(400, {}, b'{"code":-1021,"msg":"Timestamp outside of the recvWindow."}'),
    Answer(401, {}, b'{"code":-2015,"msg":"Invalid API-key"}'),
    Answer(403, {}, b"<html>forbidden</html>"),
    Answer(404, {}, b""),
    Answer(418, {"retry-after": "120"}, b'{"code":-1003,"msg":"banned until 1795000120000"}'),
    Answer(429, {"retry-after": "7"}, b""),
    Answer(429, {"retry-after": "soon"}, b"{}"),
    Answer(500, {}, b"oops"),
    Answer(503, {}, b""),
)


def venue_names() -> list[str]:
    return sorted(exchanges.venues())


def load(name: str) -> Venue:
    found: Venue = importlib.import_module(f"exchanges.{name}").VENUE
    return found


def every_feed() -> list[tuple[str, str, Feed]]:
    """(venue, exchange, feed) of everything there is; the paper ids are all alike, two stand for them."""
    found: list[tuple[str, str, Feed]] = []
    for name in venue_names():
        venue = load(name)
        ids = venue.exchanges if name != "paper" else ("paperBinance", "paperFtx")
        found += [(name, exchange, feed) for exchange in ids for feed in venue.feeds]
    return found


@functools.cache
def golden() -> tuple[dict[str, object], ...]:
    return tuple(json.loads(line) for path in FILES for line in path.read_text().splitlines() if line.strip())


def golden_lines(name: str) -> list[dict[str, object]]:
    """The cases of a venue's ids, whatever the file is called. `paper` has the account cases of paper ids."""
    ids = load(name).exchanges
    return [case for case in golden() if case["exchange"] in ids]


def raw(frame: object) -> bytes:
    """A golden frame as it came from the socket."""
    return frame.encode() if isinstance(frame, str) else json.dumps(frame).encode()


def replayed(name: str, case: dict[str, object]) -> Adapter:
    """The adapter of a golden case, in its live state, its earlier frames fed."""
    context = dict(cast("dict[str, object]", case.get("context") or {}))
    prior = cast("list[object]", context.pop("prior_frames", []))
    adapter, _ = load(name).replay(str(case["exchange"]), cast(Feed, case["feed"]), context)
    for frame in prior:
        adapter.received(raw(frame), NOW)
    return adapter


def canary(exchange: str = "") -> Credentials:
    return credentials(KEYS.get(family_of(exchange), CANARY_KEY), CANARY_SECRET, CANARY_PHRASE, keys_type="cloud")


def known_order(symbol: str) -> KnownOrder:
    return KnownOrder(
        order_id="12345", client_order_id="D-BO-1", symbol=symbol, status="NEW", quantity="1", price="1",
        order_time_ms=NOW.wall_ms - 60_000,
    )  # fmt: skip


def subscription(
    exchange: str, feed: Feed, *, resumed: bool = False, account: Credentials | None = None
) -> Subscription:
    if feed == "user":
        orders = tuple(known_order(symbol) for symbol in SYMBOLS)
        resume = Resume(since_ms=NOW.wall_ms - 90_000, orders=orders) if resumed else None
        return UserSubscription(
            stream_id="s1", exchange=exchange, credentials=account or canary(exchange), resume=resume
        )
    if feed == "ticker":
        return TickerSubscription(stream_id="s1", exchange=exchange, symbols=())
    example = exchanges.example_of(exchange)
    interval = example.intervals[0] if example is not None else "1m"
    start_ms = NOW.wall_ms - 3_600_000 if resumed else None
    return CandleSubscription(
        stream_id="s1", exchange=exchange, symbol=SYMBOLS[1], interval=interval, resume_start_ms=start_ms
    )


def load_family(exchange: str) -> str:
    return next((name for name in venue_names() if exchange in load(name).exchanges), "")


def setup(exchange: str, table: SymbolTable = TABLE) -> Setup:
    return driver.setup(exchange, table)


def made(name: str, exchange: str, feed: Feed, table: SymbolTable = TABLE) -> Adapter:
    venue = load(name)
    make: Callable[[Setup], Adapter] = {"user": venue.user, "ticker": venue.ticker, "candle": venue.candle}[feed]
    return make(setup(exchange, table))


class Drive:
    """Carries out what an adapter asks for, with canned REST answers and no network."""

    def __init__(self, adapter: Adapter, answer: Callable[[Call], Answer]) -> None:
        self.adapter = adapter
        self.answer = answer
        self.outputs: list[Output] = []
        self.now = NOW
        self.connected = False
        self.ended = False

    def take(self, outputs: Iterator[Output] | list[Output] | tuple[Output, ...]) -> None:
        """Take outputs and everything that they lead to."""
        pending = list(outputs)
        for _ in range(10_000):
            if not pending:
                return
            output = pending.pop(0)
            self.outputs.append(output)
            if isinstance(output, Call):
                pending += self.adapter.answered(output, self.answer(output), self.now)
            elif isinstance(output, Connect) and not self.connected:
                self.connected = True
                pending += self.adapter.connected(self.now)
            elif isinstance(output, Fail) and output.stream_id is None:
                self.ended = True
                return
        raise AssertionError("the adapter never comes to rest")

    def begin(self, *subscriptions: Subscription) -> Drive:
        for one in subscriptions:
            self.take(list(self.adapter.add(one, self.now)))
        if not self.ended:
            self.take(list(self.adapter.start(self.now)))
        return self

    def feed(self, frame: bytes) -> list[Output]:
        before = len(self.outputs)
        self.take(list(self.adapter.received(frame, self.now)))
        return self.outputs[before:]

    def wait(self, seconds: float) -> int:
        """Let silence pass; returns how often the adapter was woken."""
        end, wakes = self.now.mono + seconds, 0
        while not self.ended:
            due = self.adapter.deadline()
            if due is None or due > end:
                break
            self.advance(max(due - self.now.mono, 0.0))
            self.take(list(self.adapter.woken(self.now)))
            wakes += 1
            after = self.adapter.deadline()
            assert self.ended or after is None or after > self.now.mono, "a deadline that has passed stays due"
        self.advance(end - self.now.mono)
        return wakes

    def advance(self, seconds: float) -> None:
        self.now = driver.after(self.now, seconds)
