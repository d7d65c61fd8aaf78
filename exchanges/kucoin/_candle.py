"""KuCoin candles: many topics on one connection; running candles are published (venue file sections 3, 5, 6)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec

from core.events import Candle
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
from exchanges.kucoin import _markets, _rest
from exchanges.kucoin._link import TOPICS_PER_MESSAGE, Control, Link, Topic

SPOT_PREFIX: Final = "/market/candles:"
FUTURES_PREFIX: Final = "/contractMarket/limitCandle:"
GATHER_S: Final = 0.3
"""Requests come in bursts: those of this long share one subscribe frame."""
SPOT_LIMIT: Final = 1500
FUTURES_LIMIT: Final = 500
"""Candles that one REST answer holds at most."""


class _Push(msgspec.Struct):
    symbol: str
    candles: list[str]
    time: int = 0


_push = msgspec.json.Decoder(_Push).decode
_rows = msgspec.json.Decoder(list[list[str | int | float]]).decode


class CandleFeed(Link):
    """Candle topics of one exchange id. The same candle under two requested names is published under both."""

    def __init__(self, setup: Setup) -> None:
        super().__init__(setup)
        self._spot = _markets.is_spot(setup.exchange)
        self._prefix = SPOT_PREFIX if self._spot else FUTURES_PREFIX
        self._routes: dict[str, list[CatchUp]] = {}
        self._names: dict[str, str] = {}
        self._asking: set[str] = set()
        self._confirmed: set[str] = set()
        self._wanted: list[str] = []
        self._flush_at: float | None = None
        self._catching: list[CatchUp] = []
        """Topics whose missed candles are being read."""
        self._seen: dict[str, int] = {}

    def add(self, subscription: Subscription, now: Instant) -> Outputs:
        self.now = now
        if not isinstance(subscription, CandleSubscription):
            reason = "this connection carries candles"
            return [Fail(kind=FailKind.REQUEST, reason=reason, stream_id=subscription.stream_id)]
        refusal = refusal_of(self.exchange, subscription, self.setup)
        name = name_of(self.exchange, subscription, self.setup)
        if refusal is not None or name is None:
            reason = refusal or "unknown symbol"
            return [Fail(kind=FailKind.REQUEST, reason=reason, stream_id=subscription.stream_id)]
        if subscription.stream_id in self._names:
            return []
        code = name.rpartition("_")[2]
        route = CatchUp(subscription, _markets.interval_seconds(code) * 1000)
        self._routes.setdefault(name, []).append(route)
        self._names[subscription.stream_id] = name
        if name in self._confirmed:
            return self._catch_up(name, route, now)
        if name not in self._asking:
            self._asking.add(name)
            self._wanted.append(name)
            if self.welcomed and self._flush_at is None:
                self._flush_at = now.mono + GATHER_S
        return []

    def remove(self, stream_id: str, now: Instant) -> Outputs:
        self.now = now
        name = self._names.pop(stream_id, None)
        if name is None:
            return []
        self._catching = [route for route in self._catching if route.subscription.stream_id != stream_id]
        left = [route for route in self._routes[name] if route.subscription.stream_id != stream_id]
        if left:
            self._routes[name] = left
            return []
        return self._drop(name)

    def _drop(self, name: str) -> Outputs:
        del self._routes[name]
        self._seen.pop(name, None)
        sent = name in self._confirmed or name not in self._wanted
        self._asking.discard(name)
        self._confirmed.discard(name)
        if name in self._wanted:
            self._wanted.remove(name)
        return self.unsubscribe([Topic(self._prefix, (name,))]) if self.welcomed and sent else []

    # --- Link hooks ---

    def opened(self, now: Instant) -> Outputs:
        return self._flush(now)

    def _flush(self, now: Instant) -> list[Output]:
        names, self._wanted, self._flush_at = self._wanted, [], None
        topics = [Topic(self._prefix, chunk) for chunk in _markets.chunks(names, TOPICS_PER_MESSAGE)]
        return self.subscribe(topics, now)

    def acknowledged(self, topic: Topic, now: Instant) -> Outputs:
        outputs: list[Output] = []
        for name in topic.names:
            if name in self._asking:
                self._asking.discard(name)
                self._confirmed.add(name)
                for route in self._routes.get(name, ()):
                    outputs.extend(self._catch_up(name, route, now))
        return outputs

    def refused(self, topic: Topic, reason: str, now: Instant) -> Outputs:
        names = [name for name in topic.names if name in self._routes]
        if len(names) > 1:
            # One delisted symbol refuses the whole list: halves find it.
            middle = len(names) // 2
            halves = (names[:middle], names[middle:])
            return self.subscribe([Topic(topic.prefix, tuple(half)) for half in halves], now)
        outputs: list[Output] = []
        for name in names:
            for route in self._routes.pop(name):
                stream_id = route.subscription.stream_id
                self._names.pop(stream_id, None)
                outputs.append(Fail(kind=FailKind.REQUEST, reason=f"{name}: {reason}", stream_id=stream_id))
            self._asking.discard(name)
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
        if call.tag != "candles":
            return super().answered(call, answer, now)
        self.now = now
        for route in self._catching:
            if route.owns(call):
                outputs = route.answered(call, answer, self._rest_candles, now)
                self._catching = [other for other in self._catching if not other.done]
                return outputs
        return []

    # --- frames ---

    def pushed(self, frame: Control, now: Instant) -> Outputs:
        if not frame.topic.startswith(self._prefix):
            return [Note(f"topic {frame.topic.split(':')[0]} is not known")]
        name = frame.topic[len(self._prefix) :]
        routes = self._routes_of(name)
        if not routes:
            return []
        try:
            push = _push(frame.data)
            candle = self._candle(push)
        except (*UNREADABLE, ValueError, IndexError):
            return [Note("candle is not understood")]
        if push.time and self._seen.get(name) == push.time:
            return [Seen(route.subscription.stream_id) for route in routes]
        self._seen[name] = push.time
        outputs: list[Output] = []
        for route in routes:
            outputs.extend(route.live(candle) or [Seen(route.subscription.stream_id)])
        return outputs

    def _routes_of(self, name: str) -> Sequence[CatchUp]:
        return self._routes.get(name, ())

    def _candle(self, push: _Push) -> Candle:
        """Open, close, high, low: not the usual order. On futures the volume (contracts) stands behind the turnover."""
        row = push.candles
        start = int(row[0]) * 1000
        return _candle(push.symbol, start, row[1], row[3], row[4], row[2], row[5] if self._spot else row[6])

    def _catch_up(self, name: str, route: CatchUp, now: Instant) -> list[Output]:
        wire, _, code = name.rpartition("_")
        seconds = _markets.interval_seconds(code)

        def request(from_ms: int, to_ms: int) -> Call:
            if self._spot:
                query = f"symbol={wire}&type={code}&startAt={from_ms // 1000}&endAt={to_ms // 1000 + 1}"
                url = f"{_markets.SPOT_REST}/api/v1/market/candles?{query}"
            else:
                query = f"symbol={wire}&granularity={seconds // 60}&from={from_ms}&to={to_ms}"
                url = f"{_markets.FUTURES_REST}/api/v1/kline/query?{query}"
            stream_id = route.subscription.stream_id
            return Call(
                tag="candles", method="GET", url=url, weight=3, pool="public", context=name, stream_id=stream_id
            )

        outputs = route.begin(request, SPOT_LIMIT if self._spot else FUTURES_LIMIT, now)
        if not route.done:
            self._catching.append(route)
        return outputs

    def _rest_candles(self, answer: Answer) -> Sequence[Candle] | None:
        """REST rows: spot like the stream, futures with ms, the usual open-high-low-close, and contracts at 5."""
        envelope = _rest.read(answer)
        if not _rest.succeeded(answer, envelope):
            return None
        try:
            rows = [[plain(value) for value in row] for row in _rows(envelope.data)]
            if self._spot:
                found = [_candle("", int(r[0]) * 1000, r[1], r[3], r[4], r[2], r[5]) for r in rows]
            else:
                found = [_candle("", int(r[0]), r[1], r[2], r[3], r[4], r[5]) for r in rows]
        except (*UNREADABLE, ValueError, IndexError):
            return None
        return sorted(found, key=lambda candle: candle.start)


class RecordedCandles(CandleFeed):
    """For recorded frames: takes every topic, and names it by one requested interval."""

    def __init__(self, setup: Setup, stream_id: str, interval: str) -> None:
        super().__init__(setup)
        self._stream_id = stream_id
        self._interval = interval

    def _routes_of(self, name: str) -> Sequence[CatchUp]:
        wire, _, code = name.rpartition("_")
        pair = _markets.pair_in(self.exchange, self.setup.table(), wire)
        if pair is None:
            return ()
        if name not in self._routes:
            subscription = CandleSubscription(
                stream_id=self._stream_id, exchange=self.exchange, symbol=pair, interval=self._interval or code
            )
            route = CatchUp(subscription, 0)
            route.done = True
            self._routes[name] = [route]
        return self._routes[name]


def _candle(symbol: str, start: int, opened: str, high: str, low: str, close: str, volume: str) -> Candle:
    return Candle(
        start=start,
        open=plain(opened),
        high=plain(high),
        low=plain(low),
        close=plain(close),
        volume=plain(volume),
        unique_message_id=f"{symbol}{start}{opened}{close}{high}{low}{volume}",
    )


def name_of(exchange: str, subscription: CandleSubscription, setup: Setup) -> str | None:
    """`BTC-USDT_1min`, or None for a symbol or interval that the market does not have."""
    code = _markets.interval_code(exchange, subscription.interval)
    wire = _markets.wire_of(exchange, setup.table(), subscription.symbol)
    return f"{wire}_{code}" if code and wire else None


def refusal_of(exchange: str, subscription: CandleSubscription, setup: Setup) -> str | None:
    code = _markets.interval_code(exchange, subscription.interval)
    if code is None:
        return unknown_interval(exchange, subscription.interval)
    table = setup.table()
    if _markets.wire_of(exchange, table, subscription.symbol) is None:
        if len(table):
            return unknown_symbol(exchange, subscription.symbol)
        return f"The symbols of {exchange} are not loaded yet, so {subscription.symbol!r} can't be looked up."
    return None


def unknown_interval(exchange: str, interval: str) -> str:
    return f"{exchange} has no candles of interval {interval!r}: use one of {_markets.interval_list(exchange)}."


def unknown_symbol(exchange: str, symbol: str) -> str:
    """One sentence that names the form in which symbols are expected."""
    example = {"kucoin": "BTC-USDT", "kucoinLinear": "BTCUSDT", "kucoinInverse": "BTCUSD"}[exchange]
    return f"{exchange} lists no symbol {symbol!r}: pair ids look like {example}."
