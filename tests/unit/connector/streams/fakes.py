"""Stand-ins for what surrounds the decisions in `connector/streams/`: a clock that stands still, sessions without sockets."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any, cast

import msgspec

from connector.core.clock import Chance
from connector.core.errors import StateUnavailable
from connector.core.loop import Loop, Work
from connector.core.messages import AccountMessage, InfoMessage, Message, ServiceMessage, SinkStatus, StreamClosed
from connector.core.ports import Wanted
from connector.core.stamps import Stamped
from connector.state.memory_state import MemoryState
from connector.streams.attempts import Stream
from connector.streams.breaker import AuthBreaker
from connector.streams.lifecycle import StreamState
from connector.streams.pacing import Ladder
from connector.streams.pipeline import Pipeline
from connector.streams.placement import Placement
from connector.streams.session import Session
from connector.streams.spec import StreamSpec
from connector.streams.supervisor import Supervisor
from exchanges._adapter import Fail, FailKind, GapReport, Subscription
from exchanges._venue import Limits, Rate
from exchanges.credentials import Credentials, credentials
from exchanges.events import BalanceUpdate

START_MS = 1_790_000_000_000
BASE_MS = 1_800_000
CAP_MS = 86_400_000


class Clock:
    """Stands still until told."""

    def __init__(self) -> None:
        self.seconds = 1_000.0

    def mono(self) -> float:
        return self.seconds

    def wall_ms(self) -> int:
        return START_MS + int((self.seconds - 1_000.0) * 1000)


class StrictLoop(Loop):
    """An error in a piece of work is one of the test."""

    def _guard(self, work: Work) -> None:
        work()


class Middle(Chance):
    """Gives always the same fraction."""

    def __init__(self, fraction: float = 0.5) -> None:
        super().__init__(1)
        self.always = fraction

    def fraction(self) -> float:
        return self.always


class FakeSink:
    """Takes everything, confirms nothing by itself."""

    name = "fake"

    def __init__(self) -> None:
        self.messages: list[Message] = []
        self.full = False
        self.connected = True
        self.slow = False
        """Whether another sink beside the confirming one still has everything."""
        self.revoked: list[str] = []

    def start(self) -> None: ...

    def mark(self) -> object:
        return len(self.messages)

    def passed(self, mark: object) -> bool:
        return not self.slow

    def revoke(self, stream_id: str) -> None:
        self.revoked.append(stream_id)

    def submit(self, messages: Sequence[Message]) -> bool:
        if self.full:
            return False
        self.messages.extend(messages)
        return True

    def threads(self) -> list[Stamped]:
        return []

    def statuses(self) -> list[SinkStatus]:
        return [self.status()]

    def status(self) -> SinkStatus:
        return SinkStatus(name=self.name, connected=self.connected, queued=0)

    def flush(self, timeout_s: float) -> bool:
        return True

    def stop(self, timeout_s: float) -> bool:
        return True

    def infos(self, stream_id: str = "u1") -> int:
        return sum(isinstance(message, InfoMessage) and message.stream_id == stream_id for message in self.messages)

    def closed(self) -> list[str]:
        return [message.stream_id for message in self.messages if isinstance(message, StreamClosed)]

    def account(self) -> list[AccountMessage]:
        return [message for message in self.messages if isinstance(message, AccountMessage)]

    def services(self, kind: str) -> list[dict[str, Any]]:
        found = [message for message in self.messages if isinstance(message, ServiceMessage) and message.kind == kind]
        return [msgspec.json.decode(message.body) for message in found]


class MoodyState(MemoryState):
    """A `MemoryState` that can be away, and counts what it is asked."""

    def __init__(self, clock: Clock) -> None:
        super().__init__(clock)
        self.away = False
        self.asked: dict[str, int] = {}

    def __getattribute__(self, name: str) -> Any:
        found = super().__getattribute__(name)
        if name in _STATE_METHODS:
            counts = super().__getattribute__("asked")
            counts[name] = counts.get(name, 0) + 1
            if super().__getattribute__("away"):

                def refuse(*_: Any, **__: Any) -> Any:
                    raise StateUnavailable("away")

                return refuse
        return found


_STATE_METHODS = frozenset(
    {
        "open", "close", "restart", "wanted", "wanted_ids", "remember", "begin_epoch", "close_stale", "add_candle",
        "block", "candles", "claim", "clear_gate", "drop_position", "enabled_exchanges", "gate", "get", "hand_over",
        "heartbeat", "listening", "notify", "once", "owners", "positions", "put", "release", "remove_candle", "renew",
        "retire", "begin_candles", "bury", "drop_candles", "give_back", "glance", "held", "roll", "save_positions", "scan",
        "set_gate", "swap", "take", "unowned", "workers",
    }
)  # fmt: skip


class FakeSession:
    """What the supervisor sees of a session."""

    def __init__(self, name: str, exchange: str, feed: str, limits: Limits) -> None:
        self.name, self.exchange, self.feed, self.venue, self.limits = name, exchange, feed, "fake", limits
        self.streams: set[str] = set()
        self.opened_mono = self.last_data_mono = 0.0
        self.last_byte_ms = 0
        self.closed = False
        self.dialling = self.asking = False
        """Whether the venue's budget has no room for its connect, or for what precedes that."""
        self.last_holder = False
        self.adapter: object = None

    @property
    def waits(self) -> bool:
        return self.dialling or self.asking

    def __repr__(self) -> str:
        return self.name


class FakePlacement:
    """Sessions with room for `room` streams; everything that is asked of it is remembered."""

    def __init__(self, clock: Clock, room: int = 1) -> None:
        self.clock, self.room = clock, room
        self.limits = Limits(connects=Rate(1, 1.0), messages=Rate(1, 1.0), join_timeout_s=30.0)
        self.listener: Any = None
        self.ahead_ms = 0
        """Venue's clock minus ours."""
        self.made: list[FakeSession] = []
        self.open: list[FakeSession] = []
        self.joins: list[tuple[str, FakeSession, Subscription, FakeSession | None]] = []
        self.left: list[tuple[FakeSession, str]] = []
        self.fail: Exception | None = None
        self._sealed: set[FakeSession] = set()
        self._numbers = itertools.count(1)

    def now_ms(self, exchange: str) -> int:
        del exchange
        return self.clock.wall_ms() + self.ahead_ms

    def seen_ms(self, session: FakeSession) -> int:
        return session.last_byte_ms + self.ahead_ms

    def sessions(self) -> list[FakeSession]:
        return list(self.open)

    def dialling(self) -> int:
        return sum(session.dialling for session in self.open)

    def session(self, name: str) -> FakeSession | None:
        return next((session for session in self.open if session.name == name), None)

    def join(self, spec: StreamSpec, subscription: Subscription, beside: FakeSession | None = None) -> FakeSession:
        if self.fail is not None:
            # Raised again and again, it would carry the frames of all times before, and each log line of it would be longer.
            raise self.fail.with_traceback(None)
        for session in self.open:
            fits = session is not beside and session not in self._sealed and len(session.streams) < self.room
            if fits and session.exchange == spec.exchange and session.feed == spec.feed:
                break
        else:
            session = FakeSession(f"s{next(self._numbers)}", spec.exchange, spec.feed, self.limits)
            self.made.append(session)
            self.open.append(session)
        session.streams.add(spec.stream_id)
        self.joins.append((spec.stream_id, session, subscription, beside))
        return session

    def leave(self, session: FakeSession, stream_id: str, *, polite: bool, last_holder: bool = False) -> None:
        session.streams.discard(stream_id)
        self.left.append((session, stream_id))
        if not session.streams and session in self.open:
            session.last_holder = last_holder
            self.ended(session)

    def seal(self, session: FakeSession) -> None:
        if session in self.open:
            self._sealed.add(session)

    def sealed(self, session: FakeSession) -> bool:
        return session in self._sealed

    def cut(self, session: FakeSession) -> None:
        self.ended(session)

    def ended(self, session: FakeSession) -> None:
        session.closed = True
        self._sealed.discard(session)
        if session in self.open:
            self.open.remove(session)

    def aged(self) -> list[FakeSession]:
        return []


class Observed:
    def __init__(self) -> None:
        self.live: list[str] = []
        self.closed: list[str] = []

    def stream_live(self, stream_id: str, exchange: str) -> None:
        self.live.append(stream_id)

    def stream_closed(self, stream_id: str) -> None:
        self.closed.append(stream_id)


class Bench:
    """A supervisor whose thread is the test: `run` does what is posted and due, `advance` lets time pass."""

    def __init__(self, room: int = 1, threshold: int = 3, *, threaded: bool = False) -> None:
        self.clock = Clock()
        self.sink = FakeSink()
        self.pipeline = Pipeline(self.sink, Chance(1))
        self.state = MoodyState(self.clock)
        ladder = Ladder(BASE_MS, CAP_MS)
        self.breaker = AuthBreaker(self.state, self.pipeline, self.clock, ladder, threshold, 600_000)
        self.pipeline.lines.on_genuine_event = self.breaker.recovered
        self.placement = FakePlacement(self.clock, room)
        self.chance = Middle()
        self.loop = Loop("supervisor", self.clock, threaded=threaded)
        self.supervisor = Supervisor(
            cast(Placement, self.placement), self.pipeline, self.breaker, self.clock, self.chance, self.loop
        )
        self.observed = Observed()
        self.supervisor._observer = self.observed

    def run(self) -> None:
        while self.loop.turn():
            continue

    def advance(self, seconds: float) -> None:
        """Let time pass, stopping at every timer on the way."""
        end = self.clock.seconds + seconds
        self.run()
        while (due := self.loop.next_due()) is not None and due <= end:
            self.clock.seconds = max(self.clock.seconds, due)
            self.run()
        self.clock.seconds = end
        self.run()

    def stream(self, stream_id: str = "u1") -> Stream:
        return self.supervisor._streams[stream_id]

    def state_of(self, stream_id: str = "u1") -> StreamState | None:
        return self.supervisor.states().get(stream_id)

    @property
    def last(self) -> FakeSession:
        return self.placement.made[-1]

    def want(self, spec: StreamSpec | None = None, **more: Any) -> None:
        self.supervisor.want(spec or user(), **more)
        self.run()

    def unwant(self, stream_id: str = "u1", **more: Any) -> None:
        self.supervisor.unwant(stream_id, **more)
        self.run()

    # --- what sessions say ---

    def connected(self, session: FakeSession | None = None) -> FakeSession:
        session = session or self.last
        session.opened_mono = self.clock.seconds
        session.last_byte_ms = self.clock.wall_ms()
        self.supervisor.connected(cast(Session, session))
        self.run()
        return session

    def live(
        self, stream_id: str = "u1", session: FakeSession | None = None, gap: GapReport | None = None
    ) -> FakeSession:
        session = session or self.last
        if not session.opened_mono:
            self.connected(session)
        session.last_byte_ms = self.clock.wall_ms()
        self.supervisor.live(cast(Session, session), stream_id, gap)
        self.run()
        return session

    def lost(self, session: FakeSession | None = None, fail: Fail | None = None) -> None:
        session = session or self.last
        session.closed = True
        self.supervisor.lost(cast(Session, session), fail or transient())
        self.run()

    def refused(self, fail: Fail, stream_id: str = "u1", session: FakeSession | None = None) -> None:
        self.supervisor.refused(cast(Session, session or self.last), stream_id, fail)
        self.run()

    def rotate(self, session: FakeSession | None = None) -> None:
        self.supervisor.rotate(cast(Session, session or self.last), "24 h")
        self.run()

    def open_live(self, spec: StreamSpec | None = None) -> FakeSession:
        spec = spec or user()
        self.want(spec)
        return self.live(spec.stream_id)


def transient(reason: str = "gone") -> Fail:
    return Fail(kind=FailKind.TRANSIENT, reason=reason)


def rejected(stream_id: str | None = "u1", **more: Any) -> Fail:
    return Fail(kind=FailKind.CREDENTIAL, reason="Invalid API-key", stream_id=stream_id, **more)


def keys(name: str = "1") -> Credentials:
    return credentials(f"key-{name}-0123456789", f"secret-{name}-0123456789")


def user(stream_id: str = "u1", *, key: str = "1", generation: int = 0, exchange: str = "bybit") -> StreamSpec:
    material = keys(key)
    return StreamSpec(
        stream_id=stream_id, exchange=exchange, feed="user", user_id="owner", digest=material.digest,
        generation=generation, credentials=material,
    )  # fmt: skip


def ticker(number: int = 0, symbols: tuple[str, ...] = ("A",), exchange: str = "bybit") -> StreamSpec:
    return StreamSpec(
        stream_id=f"ticker:{exchange}#{number}", exchange=exchange, feed="ticker", symbols=symbols,
        digest=",".join(symbols),
    )  # fmt: skip


def wanted(stream_id: str = "u1", *, key: str = "1", count: int = 1, exchange: str = "bybit") -> Wanted:
    material = keys(key)
    return Wanted(
        stream_id=stream_id, exchange=exchange, user_id="owner", count=count, generation=0, digest=material.digest,
        credentials=material,
    )  # fmt: skip


def delta(number: int, asset: str = "USDT") -> BalanceUpdate:
    return BalanceUpdate(
        asset=asset, balance_delta="1", clear_time=number, event_time=number, unique_message_id=f"delta-{number}"
    )
