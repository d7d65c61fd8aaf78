"""Bitget candles: many topics on one connection; running candles are published (venue file sections 3, 5, 6)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec

from core.events import Candle
from core.instruments import SymbolTable
from exchanges._adapter import (
    Answer,
    Call,
    CandleSubscription,
    Fail,
    FailKind,
    Instant,
    Note,
    Output,
    Outputs,
    Seen,
    Setup,
    Subscription,
)
from exchanges._catchup import CatchUp
from exchanges._frames import UNREADABLE
from exchanges._numbers import plain
from exchanges._timers import earliest
from exchanges.bitget import _markets, _rest
from exchanges.bitget._frames import Frame
from exchanges.bitget._socket import Arg, Key, Socket

GATHER_S: Final = 0.3
"""Requests come in bursts: those of this long share one subscribe frame."""
REST_LIMIT: Final = 1000

_rows = msgspec.json.Decoder(list[list[str | int | float]]).decode


class CandleFeed(Socket):
    """Candle topics of one exchange id. The same candle under two requested names is published under both."""

    def __init__(self, setup: Setup) -> None:
        super().__init__(setup)
        self._routes: dict[Key, list[CatchUp]] = {}
        self._args: dict[str, Arg] = {}
        self._confirmed: set[Key] = set()
        self._wanted: list[Arg] = []
        self._flush_at: float | None = None
        self._catching: list[CatchUp] = []
        """Topics whose missed candles are being read."""

    def add(self, subscription: Subscription, now: Instant) -> Outputs:
        self.now = now
        if not isinstance(subscription, CandleSubscription):
            reason = "this connection carries candles"
            return [Fail(kind=FailKind.REQUEST, reason=reason, stream_id=subscription.stream_id)]
        table = self.setup.table()
        refusal = refusal_of(self.exchange, subscription.symbol, subscription.interval, table)
        interval = _markets.interval_of(subscription.interval)
        product = _markets.product_of(self.exchange, table, subscription.symbol)
        if refusal is not None or interval is None or product is None:
            reason = refusal or "unknown symbol"
            return [Fail(kind=FailKind.REQUEST, reason=reason, stream_id=subscription.stream_id)]
        if subscription.stream_id in self._args:
            return []
        arg = Arg(product, interval.channel, subscription.symbol)
        route = CatchUp(subscription, interval.length_ms)
        asked = arg.key in self._routes
        self._routes.setdefault(arg.key, []).append(route)
        self._args[subscription.stream_id] = arg
        if arg.key in self._confirmed:
            return self._catch_up(arg, route, now)
        if not asked:
            self._wanted.append(arg)
            if self.open and self._flush_at is None:
                self._flush_at = max(now.mono + GATHER_S, self.may_subscribe_at(now))
        return []

    def remove(self, stream_id: str, now: Instant) -> Outputs:
        self.now = now
        arg = self._args.pop(stream_id, None)
        if arg is None:
            return []
        self._catching = [route for route in self._catching if route.subscription.stream_id != stream_id]
        left = [route for route in self._routes[arg.key] if route.subscription.stream_id != stream_id]
        if left:
            self._routes[arg.key] = left
            return []
        del self._routes[arg.key]
        self._confirmed.discard(arg.key)
        self._asked.take(arg.key)
        if arg in self._wanted:
            self._wanted.remove(arg)
            return []
        return self.unsubscribe([arg]) if self.open else []

    # --- Socket hooks ---

    def opened(self, now: Instant) -> Outputs:
        return self._flush(now)

    def _flush(self, now: Instant) -> list[Output]:
        args, self._wanted, self._flush_at = self._wanted, [], None
        return self.subscribe(args, now)

    def acknowledged(self, arg: Arg, now: Instant) -> Outputs:
        if arg.key not in self._routes:
            return []
        self._confirmed.add(arg.key)
        return [output for route in self._routes[arg.key] for output in self._catch_up(arg, route, now)]

    def refused(self, arg: Arg, reason: str, now: Instant) -> Outputs:
        outputs: list[Output] = []
        for route in self._routes.pop(arg.key, ()):
            stream_id = route.subscription.stream_id
            self._args.pop(stream_id, None)
            outputs.append(Fail(kind=FailKind.REQUEST, reason=f"{arg.text}: {reason}", stream_id=stream_id))
        return outputs

    # --- inputs ---

    def woken(self, now: Instant) -> Outputs:
        outputs = list(super().woken(now))
        if self._ended:
            return outputs
        if self._flush_at is not None and now.mono >= self._flush_at:
            outputs.extend(self._flush(now))
        for route in self._catching:
            deadline = route.deadline()
            if deadline is not None and now.mono >= deadline:
                outputs.extend(route.due(now))
        self._catching = [route for route in self._catching if not route.done]
        return outputs

    def deadline(self) -> float | None:
        if self._ended:
            return None
        # Asked for after every frame, so only the few topics that still catch up are looked at.
        return earliest(super().deadline(), self._flush_at, *(route.deadline() for route in self._catching))

    def answered(self, call: Call, answer: Answer, now: Instant) -> Outputs:
        self.now = now
        for route in self._catching:
            if route.owns(call):
                outputs = route.answered(call, answer, self._rest_candles, now)
                self._catching = [other for other in self._catching if not other.done]
                return outputs
        return []

    # --- frames ---

    def pushed(self, frame: Frame, now: Instant) -> Outputs:
        if frame.arg is None or not frame.arg.channel.startswith("candle"):
            return [Note("push of an unknown channel")]
        routes = self._routes_of(frame.arg.key)
        seen = [Seen(route.subscription.stream_id) for route in routes]
        if frame.action != "update":
            return seen  # the history that follows a subscription
        try:
            candles = [self._candle(row, frame.arg.inst_id) for row in _rows(frame.data)]
        except (*UNREADABLE, ValueError, IndexError):
            return [Note("candle is not understood")]
        outputs = [output for candle in candles for route in routes for output in route.live(candle)]
        return outputs or seen

    def _routes_of(self, key: Key) -> Sequence[CatchUp]:
        return self._routes.get(key, ())

    def _candle(self, row: list[str | int | float], symbol: str, volume: int = 6) -> Candle:
        """Volume is the quote volume, unlike on other venues: the backend's Bitget history is in quote as well."""
        texts = [plain(value) for value in row]
        return Candle(
            start=int(row[0]),
            open=texts[1],
            high=texts[2],
            low=texts[3],
            close=texts[4],
            volume=texts[volume],
            unique_message_id=f"{symbol}{'/'.join(texts)}",
        )

    def _catch_up(self, arg: Arg, route: CatchUp, now: Instant) -> list[Output]:
        interval = _markets.BY_CHANNEL[arg.channel]

        def request(from_ms: int, to_ms: int) -> Call:
            times = f"endTime={to_ms}&granularity="
            if arg.inst_type == _markets.SPOT:
                rest = f"{interval.spot}&limit={REST_LIMIT}&startTime={from_ms}&symbol={arg.value}"
                url = f"{_markets.REST}/api/v2/spot/market/candles?{times}{rest}"
            else:
                product = f"&productType={arg.inst_type}&startTime={from_ms}&symbol={arg.value}"
                url = f"{_markets.REST}/api/v2/mix/market/candles?{times}{interval.futures}&limit={REST_LIMIT}{product}"
            headers = _markets.DEMO_HEADER if _markets.demo_prices(self.setup.options) else {}
            stream_id = route.subscription.stream_id
            return Call(tag="candles", method="GET", url=url, headers=headers, pool="public", stream_id=stream_id)

        outputs = route.begin(request, REST_LIMIT, now)
        if not route.done:
            self._catching.append(route)
        return outputs

    def _rest_candles(self, answer: Answer) -> Sequence[Candle] | None:
        """Rows like the stream's, except that spot has the volume in USDT at 6 and the quote volume at 7."""
        envelope = _rest.read(answer)
        if not _rest.succeeded(answer, envelope):
            return None
        try:
            rows = _rows(envelope.data)
            spot = _markets.is_spot(self.exchange)
            found = [self._candle(row, "", 7 if spot and len(row) > 7 else 6) for row in rows]
        except (*UNREADABLE, ValueError, IndexError):
            return None
        return sorted(found, key=lambda candle: candle.start)


class RecordedCandles(CandleFeed):
    """For recorded frames: takes every topic of its market, and names it by one requested interval."""

    def __init__(self, setup: Setup, stream_id: str, interval: str) -> None:
        super().__init__(setup)
        self._stream_id = stream_id
        self._interval = interval

    def _routes_of(self, key: Key) -> Sequence[CatchUp]:
        product, channel, symbol = key
        if product not in _markets.PRODUCTS[self.exchange]:
            return ()
        if key not in self._routes:
            subscription = CandleSubscription(
                stream_id=self._stream_id, exchange=self.exchange, symbol=symbol, interval=self._interval or channel
            )
            route = CatchUp(subscription, 0)
            route.done = True
            self._routes[key] = [route]
        return self._routes[key]


def refusal_of(exchange: str, symbol: str, interval: str, table: SymbolTable) -> str | None:
    """None, or one sentence why this candle can't be had. An empty table refuses no symbol."""
    if _markets.interval_of(interval) is None:
        return f"{exchange} has no candles of interval {interval!r}: use one of {_markets.interval_list()}."
    if len(table) and table.pair(symbol) is None:
        example = {"bitget": "BTCUSDT", "bitgetUsdm": "BTCUSDT or BTCPERP", "bitgetCoinm": "BTCUSD"}[exchange]
        return f"{exchange} lists no symbol {symbol!r}: pair ids look like {example}."
    return None
