"""Which topics a connection wants, and where each stands: gathered, asked for in chunks, acknowledged, refused, unanswered.

Pure, and of no venue: a venue names its topics as it likes, says by `Rules` how it takes them, and writes the frames.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Sequence
from typing import Final, Generic, Literal, NamedTuple, TypeVar

from exchanges._adapter import Instant
from exchanges._timers import earliest

Topic = TypeVar("Topic", bound=Hashable)
Item = TypeVar("Item")

UNLIMITED: Final = 1_000_000
_WHOLE: Final = 1 - 1e-9
"""A token, but for what rounding took off it."""


class Rules(NamedTuple):
    """How a venue takes subscriptions."""

    batch: int
    """Topics of one frame."""
    ack_s: float
    """How long a frame may stay unanswered."""
    tries: int = 1
    """So often a topic is asked for before it counts as unanswered."""
    gather_s: float = 0.0
    """Topics that join or leave a live connection within this time share a frame."""
    in_flight: int = UNLIMITED
    """Frames that may wait for their answer together."""
    pace_s: float = 0.0
    """What each frame adds to the patience with the next, as the session sends them one after the other."""
    burst: int = 0
    """Frames that may go out at once, and"""
    refill_s: float = 0.0
    """seconds until one more may; 0 = any number."""


class Request(NamedTuple, Generic[Topic]):
    """A frame to send."""

    op: Literal["subscribe", "unsubscribe"]
    id: str
    topics: tuple[Topic, ...]


class _Sent(Generic[Topic]):
    """A subscribe frame on its way: what of it is not answered yet."""

    __slots__ = ("due", "topics")

    def __init__(self, topics: Iterable[Topic], due: float) -> None:
        self.topics = dict.fromkeys(topics)
        self.due = due


class TopicBook(Generic[Topic]):
    """The topics of one connection. I/O thread of the session only.

    `want` and `drop` say what is wanted. `pump` returns the frames that may go out now: call it after every input, and when
    `deadline` has come. Answers come back through `answered` (a whole frame), `acknowledged` (one topic), `spoiled` (a frame
    that one bad topic has spoiled) and `refused` (one topic). Unsubscribing is not waited for.
    """

    def __init__(self, new_id: Callable[[], str], rules: Rules) -> None:
        self._new_id, self._rules = new_id, rules
        self._wanted: dict[Topic, int] = {}
        """By the number of the frame that it must travel in: halves of a spoiled frame stay apart."""
        self._unwanted: dict[Topic, None] = {}
        self._sent: dict[str, _Sent[Topic]] = {}
        self._on_way: dict[Topic, str] = {}
        """Ids of the frames that they travel in."""
        self._tries: dict[Topic, int] = {}
        self._tokens = float(rules.burst)
        self._counted = self._not_before = 0.0
        self.confirmed: set[Topic] = set()
        self.open = False

    @property
    def settled(self) -> bool:
        """Everything that was wanted is answered."""
        return not self._wanted and not self._sent

    @property
    def in_flight(self) -> Sequence[str]:
        """Ids of the frames that wait for an answer, oldest first."""
        return tuple(self._sent)

    @property
    def only(self) -> Topic | None:
        """The topic that must be meant by an answer that names none: the only one that waits for an answer."""
        return next(iter(self._on_way)) if len(self._on_way) == 1 else None

    # --- what is wanted ---

    def begin(self, now: Instant) -> None:
        """The venue takes subscriptions from now on: what was gathered goes out at once."""
        self.open = True
        self._counted = self._not_before = now.mono

    def want(self, topics: Iterable[Topic], now: Instant) -> None:
        for topic in topics:
            self._unwanted.pop(topic, None)
            if topic not in self.confirmed and topic not in self._on_way:
                self._gather(now)
                self._wanted.setdefault(topic, 0)

    def drop(self, topics: Iterable[Topic], now: Instant) -> None:
        for topic in topics:
            self._wanted.pop(topic, None)
            self._tries.pop(topic, None)
            if self._settle(topic) or topic in self.confirmed:
                self.confirmed.discard(topic)
                self._gather(now)
                self._unwanted[topic] = None

    def _gather(self, now: Instant) -> None:
        if self.open and not self._wanted and not self._unwanted:
            self._not_before = max(self._not_before, now.mono + self._rules.gather_s)

    def forget(self) -> None:
        """The connection starts anew: nothing is wanted, and no answer is waited for."""
        self._wanted.clear()
        self._unwanted.clear()
        self._sent.clear()
        self._on_way.clear()
        self._tries.clear()
        self.confirmed.clear()

    def pause(self, request_id: str, seconds: float, now: Instant) -> None:
        """The venue wants fewer frames: nothing goes out for so long, then this one again."""
        self._not_before = now.mono + seconds
        for topic in self._take(request_id):
            self._tries.pop(topic, None)
            self._wanted.setdefault(topic, 0)

    # --- frames and time ---

    def pump(self, now: Instant) -> list[Request[Topic]]:
        """The frames that may go out now."""
        requests: list[Request[Topic]] = []
        if not self.open or now.mono < self._not_before or not (self._wanted or self._unwanted):
            return requests
        rules = self._rules
        if rules.refill_s:
            self._tokens = min(float(rules.burst), self._tokens + (now.mono - self._counted) / rules.refill_s)
            self._counted = now.mono
        while (not rules.refill_s or self._tokens >= _WHOLE) and (request := self._next(now)) is not None:
            self._tokens -= 1
            requests.append(request)
        return requests

    def _next(self, now: Instant) -> Request[Topic] | None:
        rules = self._rules
        if self._unwanted:
            leaving = tuple(self._unwanted)[: rules.batch]
            for topic in leaving:
                del self._unwanted[topic]
            return Request("unsubscribe", self._new_id(), leaving)
        if not self._wanted or len(self._sent) >= rules.in_flight:
            return None
        part = next(iter(self._wanted.values()))
        topics = tuple(topic for topic, number in self._wanted.items() if number == part)[: rules.batch]
        request_id = self._new_id()
        for topic in topics:
            del self._wanted[topic]
            self._tries[topic] = self._tries.get(topic, 0) + 1
            self._on_way[topic] = request_id
        self._sent[request_id] = _Sent(topics, now.mono + rules.ack_s + rules.pace_s * len(self._sent))
        return Request("subscribe", request_id, topics)

    def deadline(self) -> float | None:
        if not self.open:
            return None
        due = min((sent.due for sent in self._sent.values()), default=None) if self._sent else None
        if not self._unwanted and (not self._wanted or len(self._sent) >= self._rules.in_flight):
            return due
        room = self._counted + max(0.0, 1 - self._tokens) * self._rules.refill_s
        return earliest(due, max(room, self._not_before))

    def expired(self, now: Instant) -> list[Topic]:
        """Ask again for what was not answered in time; returns what stayed unanswered every time."""
        given_up: list[Topic] = []
        for request_id in [key for key, sent in self._sent.items() if sent.due <= now.mono]:
            for topic in self._take(request_id):
                if self._tries.get(topic, 0) >= self._rules.tries:
                    self._tries.pop(topic, None)
                    given_up.append(topic)
                else:
                    self._wanted.setdefault(topic, 0)
        return given_up

    # --- answers ---

    def answered(self, request_id: str) -> list[Topic]:
        """A whole frame was acknowledged. Returns its topics that are still wanted."""
        topics = self._take(request_id)
        self.confirmed.update(topics)
        for topic in topics:
            self._tries.pop(topic, None)
        return topics

    def acknowledged(self, topic: Topic) -> bool:
        """One topic was. False if nobody waits for it: repeated, or given up meanwhile."""
        if not self._settle(topic):
            return False
        self._tries.pop(topic, None)
        self.confirmed.add(topic)
        return True

    def refused(self, topic: Topic) -> bool:
        """One topic can't be had; the others of its frame still get their answers. False if nobody waits for it."""
        self._tries.pop(topic, None)
        return self._settle(topic)

    def spoiled(self, request_id: str, bad: Topic | None = None) -> list[Topic]:
        """A bad topic has spoiled its whole frame: the others are asked for again, in halves if it is not known which.

        Returns what is certainly bad: `bad`, or the only topic that was left of the frame.
        """
        topics = self._take(request_id)
        for topic in topics:
            self._tries.pop(topic, None)
        if bad in topics:
            self._again([topic for topic in topics if topic != bad])
            return [bad]
        if len(topics) < 2:
            return topics
        middle = len(topics) // 2
        self._again(topics[:middle])
        self._again(topics[middle:])
        return []

    def _again(self, topics: Iterable[Topic]) -> None:
        self._wanted.update(dict.fromkeys(topics, max(self._wanted.values(), default=0) + 1))

    def _take(self, request_id: str) -> list[Topic]:
        """Take a frame off its way."""
        sent = self._sent.pop(request_id, None)
        topics = [] if sent is None else list(sent.topics)
        for topic in topics:
            del self._on_way[topic]
        return topics

    def _settle(self, topic: Topic) -> bool:
        """Take one topic off its way; False if it is on none."""
        request_id = self._on_way.pop(topic, None)
        if request_id is None:
            return False
        topics = self._sent[request_id].topics
        del topics[topic]
        if not topics:
            del self._sent[request_id]
        return True


def chunks(items: Sequence[Item], size: int) -> list[tuple[Item, ...]]:
    """Parts of `size` items, the last one maybe smaller."""
    return [tuple(items[start : start + size]) for start in range(0, len(items), size)]
