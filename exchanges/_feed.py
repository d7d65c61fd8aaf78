"""Connections that subscribe topics, and those of them that carry a shard of tickers. Pure bases of the venues' adapters."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from typing import Final, Generic, NamedTuple

from exchanges._adapter import (
    Answer,
    Call,
    Fail,
    FailKind,
    Instant,
    Live,
    Note,
    Output,
    Outputs,
    Send,
    Subscription,
    TickerSubscription,
)
from exchanges._clock import VenueClock
from exchanges._timers import Heartbeat, earliest
from exchanges._topics import Request, Rules, Topic, TopicBook
from exchanges._venue import Setup

NO_ANSWER: Final = "no answer to a subscribe request"
FIRST_AGAIN_S: Final = 60.0
"""A ticker that was refused is asked for again after this long, then after twice as long,"""
MAX_AGAIN_S: Final = 900.0
"""and so on, but at least this often: what a venue refuses today it may list tomorrow."""


class TopicFeed(ABC, Generic[Topic]):
    """A connection and its topics. The venue writes the frames and reads the answers.

    A subclass calls `_begin` once the venue takes subscriptions, and takes answers to `_answered`, `_acknowledged` and
    `_spoiled` (or to `_book`, where there is more to them); what follows comes back to `_confirmed`, `_refused` and
    `_silent`. See `exchanges._adapter.Adapter` for the inputs.
    """

    def __init__(self, setup: Setup) -> None:
        self._setup = setup
        self._exchange = setup.exchange
        self._clock = VenueClock(setup)
        self._book: TopicBook[Topic] = TopicBook(setup.new_id, self._rules())
        self._beat = self._heartbeat()

    @abstractmethod
    def _rules(self) -> Rules:
        """How the venue takes subscriptions."""

    def _heartbeat(self) -> Heartbeat | None:
        """The venue's own pings, if it wants any."""
        return None

    @abstractmethod
    def _frame(self, request: Request[Topic]) -> Send:
        """The venue's text of a request."""

    def _confirmed(self, topics: Sequence[Topic], now: Instant) -> list[Output]:
        """The venue sends these from now on."""
        return []

    def _refused(self, topics: Sequence[Topic], fail: Fail, now: Instant) -> list[Output]:
        """These can't be had. `fail` says why, for no stream in particular."""
        return []

    def _silent(self, topics: Sequence[Topic], now: Instant) -> list[Output]:
        """No answer for these after all tries."""
        return [self._fail(FailKind.TRANSIENT, NO_ANSWER)]

    # --- inputs ---

    def answered(self, call: Call, answer: Answer, now: Instant) -> Outputs:
        return []

    def woken(self, now: Instant) -> Outputs:
        outputs = self._beat.due(now) if self._beat is not None else []
        silent = self._book.expired(now)
        if silent:
            outputs.extend(self._silent(silent, now))
        outputs.extend(self._pump(now))
        return outputs

    def deadline(self) -> float | None:
        beat = self._beat.deadline() if self._beat is not None else None
        return earliest(beat, self._book.deadline())

    def closing(self, now: Instant) -> Outputs:
        return []

    # --- helpers ---

    def _begin(self, now: Instant) -> list[Output]:
        """Subscriptions may go out from now on."""
        self._book.begin(now)
        return self._pump(now)

    def _answered(self, request_id: str, now: Instant) -> list[Output]:
        """A request was granted as a whole."""
        confirmed = self._book.answered(request_id)
        return [*(self._confirmed(confirmed, now) if confirmed else ()), *self._pump(now)]

    def _acknowledged(self, topics: Iterable[Topic], now: Instant) -> list[Output]:
        """Topics were granted one by one; those that nobody waits for count as little as none."""
        confirmed = [topic for topic in topics if self._book.acknowledged(topic)]
        return [*(self._confirmed(confirmed, now) if confirmed else ()), *self._pump(now)]

    def _spoiled(
        self, request_id: str, fail: Fail, now: Instant, bad: Topic | None = None, *, named: Iterable[Topic] = ()
    ) -> list[Output]:
        """A request was refused for one of its topics: for `bad`, if that is known (see `TopicBook.spoiled`).

        Topics that are `named` and waited for are refused alone: the others of the request still get their answers.
        """
        refused = [topic for topic in named if self._book.refused(topic)] or self._book.spoiled(request_id, bad)
        return [*(self._refused(refused, fail, now) if refused else ()), *self._pump(now)]

    def _pump(self, now: Instant) -> list[Output]:
        return [self._frame(request) for request in self._book.pump(now)]

    @staticmethod
    def _fail(kind: FailKind, reason: str, retry_after_s: float | None = None) -> Fail:
        """A failure of the whole connection."""
        return Fail(kind=kind, reason=reason, retry_after_s=retry_after_s)


class _Denied(NamedTuple):
    """A symbol that the venue refused: when it is asked for again, and how long that wait is."""

    symbol: str
    due: float
    wait_s: float


class TickerFeed(TopicFeed[Topic]):
    """The tickers of one shard of symbols. Live once every topic of it is answered.

    A symbol that is refused costs only itself, and is asked for again at growing intervals.
    """

    def __init__(self, setup: Setup) -> None:
        super().__init__(setup)
        self._stream_id = ""
        self._topics: dict[Topic, str] = {}
        self._whole_market = False
        self._denied: dict[Topic, _Denied] = {}
        self._waits: dict[Topic, float] = {}
        """How long the topics that are asked for again will wait if they are refused once more."""
        self._live = False

    @property
    def subscribed(self) -> int | None:
        return None if self._whole_market else len(self._book.confirmed)

    @abstractmethod
    def _topic(self, symbol: str) -> Topic:
        """The topic of a symbol's ticker."""

    def _all(self) -> Sequence[str]:
        """The symbols of a subscription that names none."""
        return sorted(item.wire for item in self._setup.table().active())

    def add(self, subscription: Subscription, now: Instant) -> Outputs:
        """Carry a shard; the same stream again with other symbols changes what is subscribed."""
        if not isinstance(subscription, TickerSubscription) or self._stream_id not in ("", subscription.stream_id):
            reason = "a ticker connection carries exactly one shard of tickers"
            return [Fail(kind=FailKind.REQUEST, reason=reason, stream_id=subscription.stream_id)]
        wanted = {self._topic(symbol): symbol for symbol in subscription.symbols or self._all()}
        gone = [topic for topic in self._topics if topic not in wanted]
        self._stream_id = subscription.stream_id
        self._whole_market = not subscription.symbols
        self._book.drop(gone, now)
        self._book.want([topic for topic in wanted if topic not in self._topics], now)
        self._topics = wanted
        self._denied.clear()
        return [*self._pump(now), *self._settle()]

    def remove(self, stream_id: str, now: Instant) -> Outputs:
        if stream_id != self._stream_id or not stream_id:
            return []
        self._book.drop(self._topics, now)
        self._stream_id, self._topics, self._live = "", {}, False
        self._denied.clear()
        return self._pump(now)

    def woken(self, now: Instant) -> Outputs:
        for topic in [topic for topic, denied in self._denied.items() if denied.due <= now.mono]:
            denied = self._denied.pop(topic)
            self._topics[topic], self._waits[topic] = denied.symbol, denied.wait_s * 2
            self._book.want([topic], now)
        return super().woken(now)

    def deadline(self) -> float | None:
        if not self._denied:  # the usual case, asked for after every frame
            return super().deadline()
        return earliest(super().deadline(), min(denied.due for denied in self._denied.values()))

    def _confirmed(self, topics: Sequence[Topic], now: Instant) -> list[Output]:
        for topic in topics:
            self._waits.pop(topic, None)
        return self._settle()

    def _refused(self, topics: Sequence[Topic], fail: Fail, now: Instant) -> list[Output]:
        """A delisted symbol costs only itself."""
        gone = {topic: self._topics.pop(topic) for topic in topics if topic in self._topics}
        for topic, symbol in gone.items():
            wait_s = min(self._waits.pop(topic, FIRST_AGAIN_S), MAX_AGAIN_S)
            self._denied[topic] = _Denied(symbol, now.mono + wait_s, wait_s)
        return [Note(f"ticker of {', '.join(gone.values())} refused: {fail.reason}"), *self._settle()]

    def _settle(self) -> list[Output]:
        if self._live or not self._stream_id or not self._book.open or not self._book.settled:
            return []
        if not self._topics:
            reason = "the venue knows none of the symbols of this shard"
            return [Fail(kind=FailKind.REQUEST, reason=reason, stream_id=self._stream_id)]
        self._live = True
        return [Live(self._stream_id)]

    def replay(self, stream_id: str) -> None:
        """Enter the live state of a recorded frame."""
        self._stream_id, self._live = stream_id, True
