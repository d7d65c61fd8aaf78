"""Tickers of Coinbase: one batch channel for all products, each `-USD` row a second time as `-USDC` (contract 2.6)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

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
    Setup,
    Subscription,
    TickerSubscription,
)
from exchanges._frames import UNREADABLE
from exchanges._numbers import number
from exchanges._times import milliseconds
from exchanges.coinbase._link import Message, Request, requests
from exchanges.coinbase._market import MarketLink
from exchanges.events import Ticker

CHANNEL: Final = "ticker_batch"


class _Row(msgspec.Struct, gc=False):
    product_id: str = ""
    price: str | None = ""
    volume_24_h: str | None = ""


class _Event(msgspec.Struct, gc=False):
    tickers: list[_Row] = []


_decode_events = msgspec.json.Decoder(list[_Event]).decode


class TickerAdapter(MarketLink):
    """All products on one connection. See `exchanges._adapter.Adapter`."""

    def __init__(self, setup: Setup) -> None:
        super().__init__(setup)
        self._exchange = setup.exchange
        self._stream_id = ""
        self._products: tuple[str, ...] = ()
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
        outputs = self._ask("unsubscribe", CHANNEL, gone, now) if gone else []
        return [*outputs, *(self._ask("subscribe", CHANNEL, new, now) if new else [])]

    def remove(self, stream_id: str, now: Instant) -> Outputs:
        if not stream_id or stream_id != self._stream_id:
            return []
        products = self._products
        self._stream_id, self._products, self._live = "", (), False
        return self._ask("unsubscribe", CHANNEL, products, now) if products else []

    def _requests(self) -> Iterable[Request]:
        return requests("subscribe", CHANNEL, self._products) if self._products else []

    def _acknowledged(self, request: Request, now: Instant) -> list[Output]:
        if self._live or not self._quiet or not self._stream_id:
            return []
        if not self._products:
            reason = "the venue knows none of the products of this shard"
            return [Fail(kind=FailKind.REQUEST, reason=reason, stream_id=self._stream_id)]
        self._live = True
        return [Live(self._stream_id)]

    def _unknown(self, products: list[str], reason: str, now: Instant) -> list[Output]:
        self._products = tuple(product for product in self._products if product not in set(products))
        return []

    def _data(self, message: Message, now: Instant) -> list[Output]:
        if message.channel not in (CHANNEL, "ticker"):
            return [Note(f"unknown channel {message.channel}")]
        try:
            events = _decode_events(message.events)
        except UNREADABLE as error:
            return [Note(f"unreadable ticker frame: {error}")]
        if not self._stream_id:
            return []
        time_ms = milliseconds(message.timestamp) or now.wall_ms
        table = self._setup.table()
        tickers: list[Ticker] = []
        twins: list[Ticker] = []
        for event in events:
            for row in event.tickers:
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


def own_products(setup: Setup) -> tuple[str, ...]:
    """Products with a feed of their own: an alias is served under the other product's id."""
    return tuple(sorted(item.wire for item in setup.table().active() if not item.extra.get("alias")))
