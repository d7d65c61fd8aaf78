"""What became of each stream of a process, for the person who asks: where it stands, why, since when, and what came before.

The process that runs a stream keeps its story and writes it to the state when it changed, at most once a second and all of
them in one round trip; nobody ever scans. Two kinds of texts: `story:<stream>` with all of it, and one `blind:<owner>` a
process with the streams that are not live, which runs out when the process dies. `markets:<owner>` names the ticker and
candle streams of a process: accounts are listed by the state already.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from typing import Final

import msgspec

from connector.core import redact
from connector.core.errors import StateUnavailable
from connector.core.log import get_logger
from connector.core.ports import Clock, State
from connector.streams.lifecycle import CONNECTED_STATES, StreamState
from connector.streams.spec import StreamSpec
from exchanges._adapter import FailKind, GapReport

log = get_logger(__name__)

MOVES_KEPT: Final = 12
KEEP_S: Final = 30 * 86_400.0
"""A venue cuts every connection within days, so the story of a stream that runs is written again long before."""
KEEP_ENDED_S: Final = 86_400.0
BLIND_KEEP_S: Final = 30.0
BLIND_EVERY_S: Final = 10.0
"""Written this often also if nothing changed: the state may have forgotten it."""
TOLD_AT_ONCE: Final = 1_000
"""Stories that are written at a time; the others wait for the next second."""
BLIND_LIMIT: Final = 1_000
"""Streams that one process lists; how many there are is in its heartbeat."""
STORY: Final = "story:"
BLIND: Final = "blind:"
MARKETS: Final = "markets:"
MARKETS_LIMIT: Final = 20_000
"""Ticker and candle streams that one process names."""
MARKETS_EVERY_S: Final = 300.0
MARKETS_KEEP_S: Final = 900.0
NOTES_KEPT: Final = 5
ENDED_LIMIT: Final = 1_000
"""Ends of streams that wait while the state is away."""
ENDED: Final = "ended"
"""The state of a stream that nobody wants any more."""
UNOWNED: Final = "unowned"
"""The state of a stream that no process runs."""
NOT_HERE: Final = "nobody asks for it any more, or another process is about to run it"
"""Why a ticker or candle stream ended."""


class Move(msgspec.Struct, array_like=True):
    """One thing that happened to a stream; what happens again and again for one reason is one move."""

    at_ms: int
    state: str
    reason: str = ""
    times: int = 1
    last_ms: int = 0
    """When it happened for the last time; 0 = it happened once."""


class GapTold(msgspec.Struct, frozen=True):
    """The last time without a connection; `from_ms` 0 = nobody knows since when."""

    from_ms: int
    to_ms: int
    missing: tuple[str, ...] = ()


class Blind(msgspec.Struct, frozen=True, kw_only=True):
    """One stream that is not live. Holds no secret: reasons are redacted."""

    stream_id: str
    exchange: str = ""
    user_id: str = ""
    feed: str = ""
    state: str
    """A state of `connector.streams.lifecycle`, or `unowned`."""
    reason: str = ""
    refusal: str = ""
    """Value of `exchanges._adapter.FailKind`, if the exchange refused the key or the request: for advice."""
    since_ms: int = 0
    next_try_ms: int = 0
    """0 = no try is planned: one runs."""
    owner: str = ""


class Story(Blind, frozen=True, kw_only=True):
    """All that is known of one stream, whatever its state."""

    last_gap: GapTold | None = None
    moves: tuple[Move, ...] = ()
    """The newest last."""
    notes: tuple[Move, ...] = ()
    """What the adapter noticed while the stream was connected, the newest last; `state` is the state it was in."""
    told_ms: int = 0


class BlindList(msgspec.Struct, frozen=True):
    rows: tuple[Blind, ...] = ()


class _Told:
    """The story as it grows."""

    __slots__ = ("gap", "moves", "next_try_ms", "notes", "reason", "refusal", "since_ms", "spec", "state")

    def __init__(self, spec: StreamSpec, now_ms: int) -> None:
        self.spec, self.since_ms = spec, now_ms
        self.state = StreamState.WAITING.value
        self.reason = self.refusal = ""
        self.next_try_ms = 0
        self.gap: GapTold | None = None
        self.moves: deque[Move] = deque(maxlen=MOVES_KEPT)
        self.notes: deque[Move] = deque(maxlen=NOTES_KEPT)

    @property
    def blind(self) -> bool:
        return self.state not in _SEEING


def _add(to: deque[Move], now_ms: int, state: str, reason: str) -> None:
    last = to[-1] if to else None
    if last is not None and (last.state, last.reason) == (state, reason):
        last.times += 1
        last.last_ms = now_ms
    else:
        to.append(Move(now_ms, state, reason))


_ON_THE_WAY: Final = frozenset({StreamState.OPENING, StreamState.JOINING})
"""Every try passes through them: that it was tried is told by how the try ended."""
_SEEING: Final = frozenset({state.value for state in CONNECTED_STATES} | {StreamState.STOPPED.value, ENDED})
_JUDGED: Final = frozenset({FailKind.CREDENTIAL, FailKind.KEY_TYPE, FailKind.REQUEST})


class Stories:
    """`moved`, `planned`, `gap`, `noticed` and `ended`: the supervisor's thread. `tell`: the owner's loop."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._streams: dict[str, _Told] = {}
        self._dirty: set[str] = set()
        self._blind: set[str] = set()
        self._ended: dict[str, _Told] = {}
        self._listed: bytes = b""
        self._listed_mono: float | None = None
        self._markets: set[str] = set()
        self._named_mono: float | None = None
        """When the markets were named last; None = they changed since."""
        self._named_once = False

    def moved(self, spec: StreamSpec, state: StreamState, reason: str = "", kind: FailKind | None = None) -> None:
        """The stream is in another state, or tried again; `reason`: why, in words, if something went wrong."""
        now_ms = self._clock.wall_ms()
        with self._lock:
            told = self._streams.get(spec.stream_id)
            if told is None:
                told = self._streams[spec.stream_id] = _Told(spec, now_ms)
            told.spec = spec
            if spec.feed != "user" and spec.stream_id not in self._markets:
                self._markets.add(spec.stream_id)
                self._named_mono = None
            was_blind = told.blind or not told.moves
            told.state, told.next_try_ms = state.value, 0
            if reason:
                told.reason = redact.text(reason)
                told.refusal = kind.value if kind is not None and kind in _JUDGED else ""
            elif not told.blind:
                told.reason = told.refusal = ""
            if was_blind != told.blind:
                told.since_ms = now_ms  # of being blind, or of being live: not of the single try
            (self._blind.add if told.blind else self._blind.discard)(spec.stream_id)
            if state not in _ON_THE_WAY:
                _add(told.moves, now_ms, state.value, told.reason if reason else "")
            self._dirty.add(spec.stream_id)

    def planned(self, stream_id: str, delay_s: float) -> None:
        """The next try is due in this much."""
        with self._lock:
            told = self._streams.get(stream_id)
            if told is not None:
                told.next_try_ms = self._clock.wall_ms() + int(delay_s * 1000)
                self._dirty.add(stream_id)

    def gap(self, stream_id: str, gap: GapReport) -> None:
        with self._lock:
            told = self._streams.get(stream_id)
            if told is not None:
                told.gap = GapTold(gap.from_ms, gap.to_ms, tuple(gap.missing))
                self._dirty.add(stream_id)

    def noticed(self, stream_id: str, what: str) -> None:
        """The adapter noticed something worth a line in the log."""
        with self._lock:
            told = self._streams.get(stream_id)
            if told is not None:
                _add(told.notes, self._clock.wall_ms(), told.state, redact.text(what))
                self._dirty.add(stream_id)

    def ended(self, stream_id: str, reason: str, *, elsewhere: bool) -> None:
        """The stream does not run here any more. `elsewhere`: another process tells the rest of an account's story."""
        with self._lock:
            told = self._streams.pop(stream_id, None)
            self._dirty.discard(stream_id)
            self._blind.discard(stream_id)
            if told is None:
                return
            market = told.spec.feed != "user"
            if market:
                self._markets.discard(stream_id)
                self._named_mono = None
            if market or not elsewhere:
                now_ms, why = self._clock.wall_ms(), NOT_HERE if market else reason
                told.state, told.reason, told.since_ms, told.next_try_ms = ENDED, why, now_ms, 0
                _add(told.moves, now_ms, ENDED, why)
                self._ended[stream_id] = told

    def tell(self, state: State, owner: str, unowned: Sequence[str] = ()) -> None:
        """Write what changed in the process `owner`; `unowned`: streams that no process runs. Never raises: what the state
        could not take is written the next time."""
        now_ms, mono = self._clock.wall_ms(), self._clock.mono()
        with self._lock:
            dirty = set(sorted(self._dirty)[:TOLD_AT_ONCE])
            self._dirty -= dirty
            ended, self._ended = self._ended, {}
            stories = {STORY + name: _story(owner, name, self._streams[name], now_ms) for name in sorted(dirty)}
            last = {STORY + name: _story(owner, name, one, now_ms) for name, one in ended.items()}
            markets = [STORY + name for name, one in ended.items() if one.spec.feed != "user"]
            named = self._to_name(mono)
            rows = [_row(owner, name, self._streams[name]) for name in sorted(self._blind)[:BLIND_LIMIT]]
        listed = _encode(BlindList((*rows, *(Blind(stream_id=one, state=UNOWNED) for one in unowned))))
        again = self._listed_mono is None or mono - self._listed_mono >= BLIND_EVERY_S
        try:
            if stories:
                state.put_all(stories, KEEP_S)
            for name in _taken_over(state, markets, owner):
                del last[name]
            if last:
                state.put_all(last, KEEP_ENDED_S)
            if named is not None:
                state.put(MARKETS + owner, named.decode(), MARKETS_KEEP_S)
            if listed != self._listed or again:
                state.put(BLIND + owner, listed.decode(), BLIND_KEEP_S)
                self._listed, self._listed_mono = listed, mono
        except StateUnavailable:
            log.debug("the stories of the streams wait: the state is unavailable")
            with self._lock:
                self._dirty |= dirty & self._streams.keys()
                self._named_mono = None
                self._ended = dict(list({**ended, **self._ended}.items())[-ENDED_LIMIT:])

    def _to_name(self, mono: float) -> bytes | None:
        """The list of the markets, when it has to be written. With the lock."""
        due = self._named_mono is None or mono - self._named_mono >= MARKETS_EVERY_S
        if not due or (not self._markets and not self._named_once):
            return None
        self._named_mono, self._named_once = mono, True
        return _encode(sorted(self._markets)[:MARKETS_LIMIT])


def _taken_over(state: State, names: Sequence[str], owner: str) -> list[str]:
    """Those of these stories that another process tells by now: of a feed that was given away."""
    texts = state.get_all(names) if names else []
    return [
        name for name, text in zip(names, texts, strict=True) if text is not None and f'"owner":"{owner}"' not in text
    ]


def _row(owner: str, stream_id: str, told: _Told) -> Blind:
    return Blind(
        stream_id=stream_id,
        exchange=told.spec.exchange,
        user_id=told.spec.user_id,
        feed=told.spec.feed,
        state=told.state,
        reason=told.reason,
        refusal=told.refusal,
        since_ms=told.since_ms,
        next_try_ms=told.next_try_ms,
        owner=owner,
    )


def _story(owner: str, stream_id: str, told: _Told, now_ms: int) -> str:
    row = msgspec.structs.asdict(_row(owner, stream_id, told))
    story = Story(**row, last_gap=told.gap, moves=tuple(told.moves), notes=tuple(told.notes), told_ms=now_ms)
    return _encode(story).decode()


_encode: Final[Callable[[object], bytes]] = msgspec.json.encode


def read_story(text: str) -> Story:
    """Raises `msgspec.DecodeError` for a story of another version."""
    return msgspec.json.decode(text, type=Story)


def read_blind(text: str) -> tuple[Blind, ...]:
    """Raises `msgspec.DecodeError`."""
    return msgspec.json.decode(text, type=BlindList).rows


def read_markets(text: str) -> list[str]:
    """Ids of ticker and candle streams. Raises `msgspec.DecodeError`."""
    return msgspec.json.decode(text, type=list[str])
