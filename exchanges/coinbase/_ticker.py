"""Tickers of Coinbase: one batch channel for all products, each `-USD` row a second time as `-USDC` (contract 2.6)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

import msgspec

from exchanges._adapter import (
    EmitTickers,
    Fail,
    FailKind,
    Instant,
    Live,
    Note,
    Output,
    Outputs,
    Seen,
    Subscription,
    TickerSubscription,
)
from exchanges._feed import FIRST_AGAIN_S, MAX_AGAIN_S
from exchanges._frames import UNREADABLE
from exchanges._numbers import number, plain
from exchanges._rows import Odd, read_rows
from exchanges._times import milliseconds
from exchanges._venue import Setup
from exchanges.coinbase._connection import Message, Request, requests
from exchanges.coinbase._market import MarketLink
from exchanges.events import Ticker

CHANNEL: Final = "ticker_batch"


class _Row(msgspec.Struct, gc=False):
    product_id: str = ""
    price: str | None = ""
    volume_24_h: str | None = ""


class _Event(msgspec.Struct, gc=False):
    tickers: list[_Row] = []


class _OddRow(msgspec.Struct):
    """The same when figures come as numbers."""

    product_id: str | None = ""
    price: str | float | None = ""
    volume_24_h: str | float | None = ""


class _OddEvent(msgspec.Struct):
    tickers: msgspec.Raw = msgspec.Raw(b"[]")


class _Denied(NamedTuple):
    """A product that the venue refused: when it is asked for again, and how long that wait is."""

    due: float
    wait_s: float


_decode_events = msgspec.json.Decoder(list[_Event]).decode
_decode_odd_event = msgspec.json.Decoder(_OddEvent).decode
_decode_odd_row = msgspec.json.Decoder(_OddRow).decode
_AGAIN: Final = "again"


class TickerAdapter(MarketLink):
    """All products on one connection. See `exchanges._adapter.Adapter`."""

    def __init__(self, setup: Setup) -> None:
        super().__init__(setup)
        self._exchange = setup.exchange
        self._stream_id = ""
        self._products: tuple[str, ...] = ()
        self._denied: dict[str, _Denied] = {}
        self._live = False

    def add(self, subscription: Subscription, now: Instant) -> Outputs:
        """Carry a shard; the same stream again with other products changes what is subscribed."""
        if not isinstance(subscription, TickerSubscription) or self._stream_id not in ("", subscription.stream_id):
            reason = "a Coinbase ticker connection carries exactly one shard of tickers"
            return [Fail(kind=FailKind.REQUEST, reason=reason, stream_id=subscription.stream_id)]
        before = self._products
        self._stream_id = subscription.stream_id
        self._products = subscription.symbols or own_products(self._setup)
        gone = [product for product in before if product not in set(self._products)]
        new = [product for product in self._products if product not in set(before)]
        self._denied.clear()
        outputs = self._ask("unsubscribe", CHANNEL, gone, now) if gone else []
        return [*outputs, *(self._ask("subscribe", CHANNEL, new, now) if new else [])]

    def remove(self, stream_id: str, now: Instant) -> Outputs:
        if not stream_id or stream_id != self._stream_id:
            return []
        products = self._products
        self._stream_id, self._products, self._live = "", (), False
        self._denied.clear()
        return self._ask("unsubscribe", CHANNEL, products, now) if products else []

    def _requests(self) -> Iterable[Request]:
        return requests("subscribe", CHANNEL, self._products) if self._products else []

    def _acknowledged(self, request: Request, now: Instant) -> list[Output]:
        for product in request.ids:
            self._denied.pop(product, None)
        if self._live or not self._quiet or not self._stream_id:
            return []
        if not self._products:
            reason = "the venue knows none of the products of this shard"
            return [Fail(kind=FailKind.REQUEST, reason=reason, stream_id=self._stream_id)]
        self._live = True
        return [Live(self._stream_id)]

    @property
    def subscribed(self) -> int | None:
        return len(self._products) if self._live else 0

    def _unknown(self, products: list[str], reason: str, now: Instant) -> list[Output]:
        """A delisted product costs only itself, and is asked for again at growing intervals."""
        self._products = tuple(product for product in self._products if product not in set(products))
        for product in products:
            before = self._denied.get(product)
            wait_s = min(before.wait_s * 2, MAX_AGAIN_S) if before is not None else FIRST_AGAIN_S
            self._denied[product] = _Denied(now.mono + wait_s, wait_s)
        self._arm()
        return []

    def _arm(self) -> None:
        waiting = [denied.due for product, denied in self._denied.items() if product not in self._products]
        if waiting:
            self._alarms.set(_AGAIN, min(waiting))

    def _alarm(self, name: str, now: Instant) -> list[Output]:
        due = [
            product
            for product, denied in self._denied.items()
            if denied.due <= now.mono and product not in self._products
        ]
        self._products = (*self._products, *due)
        self._arm()
        return self._ask("subscribe", CHANNEL, due, now) if due else []

    def _data(self, message: Message, now: Instant) -> list[Output]:
        if message.channel not in (CHANNEL, "ticker"):
            return [Note(f"unknown channel {message.channel}")]
        odd = Odd()
        try:
            rows = [row for event in _decode_events(message.events) for row in event.tickers]
        except UNREADABLE:
            rows, odd = _odd_rows(message.events)
        notes = [Note(odd.phrase("tickers"))] if odd else []
        if not self._stream_id:
            return []
        return [*notes, *self._told(rows, message, now)]

    def _told(self, rows: Sequence[_Row], message: Message, now: Instant) -> list[Output]:
        time_ms = milliseconds(message.timestamp) or now.wall_ms
        table = self._setup.table()
        tickers: list[Ticker] = []
        twins: list[Ticker] = []
        for row in rows:
            price = number(row.price)
            if not row.product_id or price <= 0:
                continue  # rows with every field empty do occur
            volume = number(row.volume_24_h)
            tail = f"@{time_ms}@{self._exchange}:{row.price}:{row.volume_24_h}"
            tickers.append(self._ticker(row.product_id, time_ms, price, volume, tail, now))
            if row.product_id.endswith("-USD"):
                twin = f"{row.product_id}C"
                known = table.wire(twin)
                # A product with a book of its own publishes itself; two sources of one channel would cross in time.
                if known is None or known.extra.get("alias") or not known.active:
                    twins.append(self._ticker(twin, time_ms, price, volume, tail, now))
        if not tickers:
            return [Seen(self._stream_id)]
        return [EmitTickers(self._stream_id, self._exchange, tickers + twins)]

    def _ticker(self, symbol: str, time_ms: int, price: float, volume: float, tail: str, now: Instant) -> Ticker:
        message_id = symbol + tail
        return Ticker(
            symbol, time_ms, price, volume, price, price, volume, volume, message_id, now.wall_ms, self._exchange
        )

    def replay(self, stream_id: str) -> None:
        """Enter the live state of a recorded frame."""
        self._stream_id, self._live = stream_id, True


def _odd_rows(events: msgspec.Raw) -> tuple[list[_Row], Odd]:
    """The rows of a frame of which some part is of another shape, one by one."""
    rows: list[_Row] = []
    try:
        lists, bad = read_rows(events, _rows_of_event)
    except UNREADABLE as error:
        return [], Odd(1, (str(error),))
    for found, odd in lists:
        rows += found
        bad = odd or bad
    return rows, bad


def _rows_of_event(raw: bytes) -> tuple[list[_Row], Odd]:
    loose, odd = read_rows(_decode_odd_event(raw).tickers, _decode_odd_row)
    return [_Row(row.product_id or "", _text(row.price), _text(row.volume_24_h)) for row in loose], odd


def _text(value: str | float | None) -> str | None:
    return plain(value) if isinstance(value, int | float) else value


def own_products(setup: Setup) -> tuple[str, ...]:
    """Products with a feed of their own: an alias is served under the other product's id."""
    return tuple(sorted(item.wire for item in setup.table().active() if not item.extra.get("alias")))
