"""Connections that carry candles of many topics: who asked for which, and what each missed. Pure base of venues' adapters."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence

import msgspec

from exchanges._adapter import (
    Answer,
    Call,
    CandleSubscription,
    Fail,
    FailKind,
    Instant,
    Output,
    Outputs,
    Seen,
    Subscription,
)
from exchanges._catchup import Bar, CatchUp, Page
from exchanges._feed import TopicFeed
from exchanges._timers import earliest
from exchanges._topics import Topic
from exchanges._venue import Setup


class CandleFeed(TopicFeed[Topic]):
    """Candle topics of one exchange id. The same candle under two requested names is published under both.

    A subclass says what a request means (`_route`), how the past of a topic is read (`_history`, `_page`), and gives the
    candles of a frame to `_told`.
    """

    history: int
    """Candles that the venue hands out over REST at most."""
    running: bool
    """Whether running candles are published, or only closed ones."""

    def __init__(self, setup: Setup) -> None:
        super().__init__(setup)
        self._routes: dict[Topic, list[CatchUp]] = {}
        self._by_stream: dict[str, Topic] = {}
        self._catching: list[CatchUp] = []
        """Topics whose missed candles are being read: few, so they can be looked at after every frame."""
        self._recorded = ""
        self._recorded_interval = ""

    @abstractmethod
    def _route(self, subscription: CandleSubscription) -> tuple[Topic, int] | Fail:
        """The topic that serves a request and the length of its candles in ms, or why none does."""

    @abstractmethod
    def _history(self, topic: Topic, from_ms: int, to_ms: int) -> Call:
        """Ask for the candles that opened in this span."""

    @abstractmethod
    def _page(self, call: Call, answer: Answer) -> Page:
        """The candles of an answer to `_history`. Statuses like 500 or 429 do not come here."""

    def _new(self, subscription: CandleSubscription, length_ms: int) -> CatchUp:
        return CatchUp(subscription, length_ms, running=self.running)

    # --- subscriptions ---

    def add(self, subscription: Subscription, now: Instant) -> Outputs:
        stream_id = subscription.stream_id
        if not isinstance(subscription, CandleSubscription):
            reason = "a candle connection carries candles only"
            return [Fail(kind=FailKind.REQUEST, reason=reason, stream_id=stream_id)]
        if stream_id in self._by_stream:
            return []
        route = self._route(subscription)
        if isinstance(route, Fail):
            return [msgspec.structs.replace(route, stream_id=stream_id)]
        topic, length_ms = route
        catch_up = self._new(subscription, length_ms)
        self._by_stream[stream_id] = topic
        self._routes.setdefault(topic, []).append(catch_up)
        if topic in self._book.confirmed:
            return self._catch_up(topic, catch_up, now)
        self._book.want([topic], now)
        return self._pump(now)

    def remove(self, stream_id: str, now: Instant) -> Outputs:
        topic = self._by_stream.pop(stream_id, None)
        if topic is None:
            return []
        self._catching = [route for route in self._catching if route.stream_id != stream_id]
        left = [route for route in self._routes[topic] if route.stream_id != stream_id]
        if left:
            self._routes[topic] = left
            return []
        del self._routes[topic]
        self._book.drop([topic], now)
        return self._pump(now)

    def _confirmed(self, topics: Sequence[Topic], now: Instant) -> list[Output]:
        return [
            output
            for topic in topics
            for route in self._routes.get(topic, ())
            for output in self._catch_up(topic, route, now)
        ]

    def _refused(self, topics: Sequence[Topic], fail: Fail, now: Instant) -> list[Output]:
        """A delisted symbol costs only its own streams."""
        outputs: list[Output] = []
        for topic in topics:
            for route in self._routes.pop(topic, ()):
                del self._by_stream[route.stream_id]
                outputs.append(msgspec.structs.replace(fail, stream_id=route.stream_id))
        return outputs

    # --- inputs ---

    def answered(self, call: Call, answer: Answer, now: Instant) -> Outputs:
        for route in self._catching:
            if route.owns(call):
                outputs = route.answered(call, answer, self._page, self._venue_time(now))
                self._catching = [other for other in self._catching if not other.done]
                return outputs
        return super().answered(call, answer, now)

    def woken(self, now: Instant) -> Outputs:
        outputs = list(super().woken(now))
        for route in self._catching:
            deadline = route.deadline()
            if deadline is not None and now.mono >= deadline:
                outputs.extend(route.due(self._venue_time(now)))
        self._catching = [route for route in self._catching if not route.done]
        return outputs

    def deadline(self) -> float | None:
        if not self._catching:  # the usual case, asked for after every frame
            return super().deadline()
        return earliest(super().deadline(), *(route.deadline() for route in self._catching))

    # --- candles ---

    def _catch_up(self, topic: Topic, route: CatchUp, now: Instant) -> list[Output]:
        def request(from_ms: int, to_ms: int) -> Call:
            return msgspec.structs.replace(self._history(topic, from_ms, to_ms), stream_id=route.stream_id)

        outputs = route.begin(request, self.history, self._venue_time(now))
        if not route.done and route not in self._catching:
            self._catching.append(route)
        return outputs

    def _venue_time(self, now: Instant) -> Instant:
        return Instant(now.mono, self._clock.stamp(now))

    def _told(self, topic: Topic, bars: Sequence[Bar], now: Instant) -> list[Output]:
        """Candles of a frame, maybe none. Every frame is proof of life, also one that publishes nothing (bug A27)."""
        outputs: list[Output] = []
        for route in self._routes.get(topic) or self._unasked(topic):
            told = [output for bar in bars for output in route.live(bar, self._venue_time(now))]
            outputs.extend(told or [Seen(route.stream_id)])
        return outputs

    # --- recorded frames ---

    def replay(self, stream_id: str, interval: str = "") -> None:
        """Enter the live state of a recorded frame: every topic counts as asked for, with one interval or the topic's own."""
        self._recorded, self._recorded_interval = stream_id, interval

    def _unasked(self, topic: Topic) -> Sequence[CatchUp]:
        asked = self._asked_by(topic) if self._recorded else None
        if asked is None:
            return ()
        symbol, interval = asked
        subscription = CandleSubscription(
            stream_id=self._recorded,
            exchange=self._exchange,
            symbol=symbol,
            interval=self._recorded_interval or interval,
        )
        route = self._routes[topic] = [self._new(subscription, 0)]
        route[0].done = True
        return route

    def _asked_by(self, topic: Topic) -> tuple[str, str] | None:
        """Symbol and interval of a request that leads to a topic; None if none does on this exchange id."""
        return None
