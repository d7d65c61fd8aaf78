"""Candles of Coinbase, closed ones only. Upstream has none; the backend's charts of this venue come over REST.

The channel knows buckets of five minutes. A bucket is closed when a later one arrives, or by clock, as one without trades is
never sent. Longer intervals are built from closed buckets, with the begun part of their period read over REST once; shorter
ones are read over REST after each period in which the channel showed trades.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final
from urllib.parse import quote, urlencode

import msgspec

from exchanges._adapter import (
    Answer,
    Call,
    CandleSubscription,
    EmitCandle,
    Fail,
    FailKind,
    GapReport,
    Instant,
    Live,
    Note,
    Output,
    Outputs,
    Seen,
    Subscription,
)
from exchanges._frames import UNREADABLE
from exchanges._plausible import plausible_candle
from exchanges._rows import Odd, read_rows, tolerant
from exchanges._venue import Setup
from exchanges.coinbase._connection import API, REST, Message, Request, requests
from exchanges.coinbase._errors import failure_of
from exchanges.coinbase._market import MarketLink
from exchanges.coinbase._series import BUCKET_MS, GRANULARITIES, INTERVALS, Bucket, Series, floor

CHANNEL: Final = "candles"
CLOSE_AFTER_MS: Final = 10_000
"""A bucket without a successor is closed this long after its end."""
POLL_AFTER_MS: Final = 3_000
"""REST is asked for the short intervals this long after their end; the backend gives up after 8 s."""
MAX_BUCKETS: Final = 300
"""Buckets a REST call; 350 are documented."""
REPAIR_LIMIT_S: Final = 12.0


class _Row(msgspec.Struct):
    start: str
    open: str
    high: str
    low: str
    close: str
    volume: str
    product_id: str = ""

    def bucket(self) -> Bucket:
        return Bucket(int(self.start) * 1000, self.open, self.high, self.low, self.close, self.volume)


class _Event(msgspec.Struct):
    type: str = ""
    candles: msgspec.Raw = msgspec.Raw(b"[]")


_decode_event = tolerant(_Event)
_decode_row = msgspec.json.Decoder(_Row).decode


def _named(raw: bytes) -> tuple[str, Bucket]:
    """Product and bucket of a row. Raises `ValueError` for one without prices: nothing was traded."""
    row = _decode_row(raw)
    bucket = row.bucket()
    if not bucket.usable:
        raise ValueError("a bucket without prices")
    return row.product_id, bucket


class _Candles(msgspec.Struct):
    candles: msgspec.Raw = msgspec.Raw(b"[]")


_decode_candles = msgspec.json.Decoder(_Candles).decode


def _read_event(raw: bytes) -> tuple[str, list[tuple[str, Bucket]], Odd]:
    event = _decode_event(raw)
    return (event.type, *read_rows(event.candles, _named))


def _rows_of(message: Message, venue_ms: int) -> tuple[list[tuple[str, str, Bucket]], list[Output]]:
    """Kind, product and bucket of each row, and what is to be said about the others. Raises what `UNREADABLE` names."""
    events, bad = read_rows(message.events, _read_event)
    notes: list[Output] = [Note(bad.phrase("events"))] if bad else []
    rows: list[tuple[str, str, Bucket]] = []
    for kind, found, odd in events:
        notes += [Note(odd.phrase("buckets"))] if odd else []
        for name, bucket in found:
            if plausible_candle(bucket.start_ms, BUCKET_MS, venue_ms):
                rows.append((kind, name, bucket))
            else:  # it would count as the newest one, and silence those of today
                notes.append(Note(f"a bucket of {name} with a time that can't be true"))
    return rows, notes


class _Product:
    """Subscriptions of one product and its running bucket."""

    def __init__(self) -> None:
        self.series: list[Series] = []
        self.running: Bucket | None = None
        self.open_ms = -1
        """Start of the running bucket; a later one closes it."""
        self.confirmed = False
        self.active = False
        """Whether the channel showed trades since the last poll."""


class _Ask(msgspec.Struct, frozen=True):
    """What a REST call is for: `repair` ends with `Live`, `poll` does not."""

    purpose: str
    grain_ms: int
    until_ms: int


class CandleAdapter(MarketLink):
    """Many candle streams on one connection. See `exchanges._adapter.Adapter`."""

    def __init__(self, setup: Setup) -> None:
        super().__init__(setup)
        self._exchange = setup.exchange
        self._products: dict[str, _Product] = {}
        self._series: dict[str, Series] = {}
        self._repairing: dict[str, int] = {}
        self._missing: dict[str, list[str]] = {}
        self._recorded = ""

    # --- subscriptions ---

    def add(self, subscription: Subscription, now: Instant) -> Outputs:
        if not isinstance(subscription, CandleSubscription) or subscription.interval not in INTERVALS:
            interval = getattr(subscription, "interval", "")
            reason = f"Coinbase has no candle interval {interval!r}"
            return [Fail(kind=FailKind.REQUEST, reason=reason, stream_id=subscription.stream_id)]
        if subscription.stream_id in self._series:
            return []
        instrument = self._setup.table().pair(subscription.symbol)
        # An alias is served under the id of the product whose book it shares.
        name = (instrument.extra.get("alias") or instrument.wire) if instrument else subscription.symbol
        series = self._series[subscription.stream_id] = Series(subscription, name)
        product = self._products.get(name)
        if product is None:
            product = self._products[name] = _Product()
            product.series.append(series)
            return self._ask("subscribe", CHANNEL, (name,), now)
        product.series.append(series)
        return self._join(series, now) if product.confirmed else []

    def remove(self, stream_id: str, now: Instant) -> Outputs:
        series = self._series.pop(stream_id, None)
        if series is None:
            return []
        self._repairing.pop(stream_id, None)
        self._alarms.clear(f"repair:{stream_id}")
        product = self._products.get(series.product)
        if product is None:
            return []
        product.series.remove(series)
        if product.series:
            return []
        del self._products[series.product]
        return self._ask("unsubscribe", CHANNEL, (series.product,), now)

    def _requests(self) -> Iterable[Request]:
        return requests("subscribe", CHANNEL, tuple(self._products)) if self._products else []

    def _acknowledged(self, request: Request, now: Instant) -> list[Output]:
        outputs: list[Output] = []
        for name in request.ids:
            product = self._products.get(name)
            if product is None:
                continue
            product.confirmed = True
            for series in product.series:
                outputs.extend(self._join(series, now))
        return outputs

    def _unknown(self, products: list[str], reason: str, now: Instant) -> list[Output]:
        outputs: list[Output] = []
        for name in products:
            product = self._products.pop(name, None)
            for series in product.series if product else ():
                self._series.pop(series.stream_id, None)
                outputs.append(Fail(kind=FailKind.REQUEST, reason=reason, stream_id=series.stream_id))
        return outputs

    # --- joining and repair ---

    def _join(self, series: Series, now: Instant) -> list[Output]:
        """Read what lies behind: missed candles after a reconnect, and the begun part of the running period."""
        wall = self._clock.stamp(now)
        period = floor(wall, series.interval_ms)
        resume = series.subscription.resume_start_ms
        series.known_from_ms = period if resume is None else resume + series.interval_ms
        calls: list[Call] = []
        grain_start = floor(wall, series.grain_ms)
        oldest = series.known_from_ms
        if grain_start - oldest > MAX_BUCKETS * series.grain_ms:
            oldest = floor(grain_start - MAX_BUCKETS * series.grain_ms, series.interval_ms) + series.interval_ms
            series.known_from_ms = oldest
            self._missing.setdefault(series.stream_id, []).append("candles: the gap is longer than one answer")
        if oldest < grain_start:
            calls.append(self._read(series, "repair", series.grain_ms, oldest, grain_start))
        if series.grain_ms > BUCKET_MS and grain_start < floor(wall, BUCKET_MS):
            calls.append(self._read(series, "repair", BUCKET_MS, grain_start, floor(wall, BUCKET_MS)))
        outputs: list[Output] = list(calls)
        if series.polled:
            self._arm("poll", floor(wall, series.interval_ms) + series.interval_ms + POLL_AFTER_MS, now)
        if not calls:
            return [*outputs, Live(series.stream_id)]
        self._repairing[series.stream_id] = len(calls)
        self._alarms.set(f"repair:{series.stream_id}", now.mono + REPAIR_LIMIT_S)
        return outputs

    def _read(self, series: Series, purpose: str, grain_ms: int, start_ms: int, until_ms: int) -> Call:
        """Closed buckets from `start_ms` up to, not including, `until_ms`."""
        query = urlencode({"start": start_ms // 1000, "end": until_ms // 1000, "granularity": GRANULARITIES[grain_ms]})
        path = f"{API}/market/products/{quote(series.product)}/candles"
        return Call(
            tag="candles",
            method="GET",
            url=f"{REST}{path}?{query}",
            stream_id=series.stream_id,
            context=_Ask(purpose, grain_ms, until_ms),
        )

    def answered(self, call: Call, answer: Answer, now: Instant) -> Outputs:
        series = self._series.get(call.stream_id or "")
        ask = call.context
        if series is None or not isinstance(ask, _Ask):
            return []
        problem = self._take_in(series, ask, answer)
        if ask.purpose == "poll":
            closed = self._closed(series, ask.until_ms)
            return [*([Note(f"candle poll: {problem}")] if problem else []), *(closed or [Seen(series.stream_id)])]
        if problem:
            self._missing.setdefault(series.stream_id, []).append(f"candles: {problem}")
        left = self._repairing.get(series.stream_id, 0) - 1
        if left > 0:
            self._repairing[series.stream_id] = left
            return []
        return self._repaired(series, now) if left == 0 else []

    def _take_in(self, series: Series, ask: _Ask, answer: Answer) -> str | None:
        failure = failure_of(answer)
        if failure is not None:
            return failure.reason
        try:
            buckets, odd = read_rows(_decode_candles(answer.body).candles, _named)
        except UNREADABLE as error:
            return str(error)
        for _, bucket in buckets:
            if bucket.start_ms + ask.grain_ms <= ask.until_ms:
                series.add(bucket)
        return odd.phrase("buckets") if odd else None

    def _repaired(self, series: Series, now: Instant) -> list[Output]:
        stream_id = series.stream_id
        self._repairing.pop(stream_id, None)
        self._alarms.clear(f"repair:{stream_id}")
        missing = self._missing.pop(stream_id, [])
        wall = self._clock.stamp(now)
        resume = series.subscription.resume_start_ms
        if missing and resume is None:
            # The begun period can't be completed: the first candle is that of the next one.
            series.known_from_ms = floor(wall, series.interval_ms) + series.interval_ms
        outputs = self._closed(
            series, floor(wall, BUCKET_MS if not series.polled else series.interval_ms), repaired=True
        )
        report = None
        if resume is not None:
            report = GapReport(from_ms=resume, to_ms=now.wall_ms, candles=len(outputs), missing=tuple(missing))
        self._arm_close(series, now)
        return [*outputs, Live(stream_id, report)]

    # --- events ---

    def _data(self, message: Message, now: Instant) -> list[Output]:
        if message.channel != CHANNEL:
            return [Note(f"unknown channel {message.channel}")]
        try:
            rows, outputs = _rows_of(message, self._clock.stamp(now))
        except UNREADABLE as error:
            return [Note(f"unreadable candle frame: {error}")]
        for kind, name, bucket in sorted(rows, key=lambda row: row[2].start_ms):
            product = self._products.get(name) or self._unasked(name)
            if product is not None:
                outputs.extend(self._moved(product, bucket, now, snapshot=kind == "snapshot"))
        seen = dict.fromkeys(series.stream_id for _, name, _ in rows for series in self._of(name))
        return outputs or [Seen(stream_id) for stream_id in seen]

    def _of(self, name: str) -> list[Series]:
        product = self._products.get(name)
        return product.series if product else []

    def _moved(self, product: _Product, bucket: Bucket, now: Instant, *, snapshot: bool) -> list[Output]:
        if bucket.start_ms < product.open_ms:
            return []
        product.active = True
        outputs: list[Output] = []
        if bucket.start_ms > product.open_ms and product.running is not None and not snapshot:
            outputs = self._close(product, bucket.start_ms)
        product.open_ms, product.running = bucket.start_ms, bucket
        self._arm("close", bucket.start_ms + BUCKET_MS + CLOSE_AFTER_MS, now)
        return outputs

    def _close(self, product: _Product, until_ms: int) -> list[Output]:
        """The running bucket is final."""
        bucket, product.running = product.running, None
        outputs: list[Output] = []
        for series in product.series:
            if bucket is not None and not series.polled:
                series.add(bucket)
            if series.stream_id not in self._repairing and not series.polled:
                outputs.extend(self._closed(series, until_ms))
        return outputs

    def _closed(self, series: Series, until_ms: int, *, repaired: bool = False) -> list[Output]:
        subscription = series.subscription
        return [
            EmitCandle(series.stream_id, self._exchange, subscription.symbol, subscription.interval, candle, repaired)
            for candle in series.take_closed(until_ms, self._exchange)
        ]

    # --- the clock ---

    def _alarm(self, name: str, now: Instant) -> list[Output]:
        if name == "close":
            return self._close_due(now)
        if name == "poll":
            return self._poll(now)
        series = self._series.get(name.partition(":")[2])
        if series is None or series.stream_id not in self._repairing:
            return []
        self._missing.setdefault(series.stream_id, []).append("candles: no answer in time")
        return self._repaired(series, now)

    def _close_due(self, now: Instant) -> list[Output]:
        due_ms = self._clock.stamp(now) - CLOSE_AFTER_MS
        outputs: list[Output] = []
        for product in self._products.values():
            running = product.running
            if running is not None and running.start_ms + BUCKET_MS <= due_ms:
                product.open_ms = running.start_ms + 1  # what still comes for it is too late
                outputs.extend(self._close(product, due_ms))
            elif running is not None:
                self._arm("close", running.start_ms + BUCKET_MS + CLOSE_AFTER_MS, now)
            for series in product.series:
                if not series.polled and series.stream_id not in self._repairing:
                    outputs.extend(self._closed(series, due_ms))
                    self._arm_close(series, now)
        return outputs

    def _poll(self, now: Instant) -> list[Output]:
        """Ask for the short candles that have ended, of products that traded."""
        wall = self._clock.stamp(now)
        outputs: list[Output] = []
        for product in self._products.values():
            for series in product.series:
                if not series.polled:
                    continue
                end = floor(wall - POLL_AFTER_MS, series.interval_ms)
                start = max(series.last_start_ms + series.interval_ms, series.known_from_ms or 0)
                start = max(start, end - MAX_BUCKETS * series.grain_ms)
                if product.active and start < end and series.stream_id not in self._repairing:
                    outputs.append(self._read(series, "poll", series.grain_ms, start, end))
                self._arm("poll", end + series.interval_ms + POLL_AFTER_MS, now)
            product.active = False
        return outputs

    def _arm_close(self, series: Series, now: Instant) -> None:
        end = series.next_close_ms()
        if end is not None and not series.polled:
            self._arm("close", end + CLOSE_AFTER_MS, now)

    def _arm(self, name: str, at_ms: int, now: Instant) -> None:
        """Set an alarm by wall clock, unless it is set for an earlier moment."""
        at = now.mono + max(0, at_ms - self._clock.stamp(now)) / 1000
        armed = self._alarms.at(name)
        if armed is None or at < armed:
            self._alarms.set(name, at)

    # --- recorded frames ---

    def _unasked(self, name: str) -> _Product | None:
        """While a recorded frame is replayed, every product counts as asked for with five minutes."""
        if not self._recorded or not name:
            return None
        subscription = CandleSubscription(
            stream_id=f"{self._recorded}:{name}", exchange=self._exchange, symbol=name, interval="5m"
        )
        product = self._products[name] = _Product()
        series = Series(subscription, name)
        series.known_from_ms = 0
        self._series[series.stream_id] = series
        product.series.append(series)
        product.confirmed = True
        return product

    def replay(self, stream_id: str, open_buckets: dict[str, int]) -> None:
        """Enter the live state of a recorded frame; `open_buckets` are starts in seconds by product."""
        self._recorded = stream_id
        for name, start_s in open_buckets.items():
            product = self._unasked(name)
            if product is not None:
                product.open_ms = start_s * 1000
