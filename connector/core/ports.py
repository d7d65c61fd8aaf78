"""What the running part is handed: state, clock, jobs. Real and in-memory implementations satisfy the same protocols."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from typing import Literal, NamedTuple, Protocol

import msgspec

from connector.core.copies import Copy
from connector.core.stamps import Stamped
from exchanges.credentials import Credentials

Role = Literal["user", "price"]


# --- state ---


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """What somebody wants of one account stream: the level that `reconcile` works towards."""

    stream_id: str
    exchange: str
    user_id: str
    count: int
    """Subscribers; 0 = close it."""
    generation: int
    """Raised by every force restart: a running session of an older generation is replaced."""
    digest: str
    """Digest of the key material; another value than the running session's means reconnect with the new one."""
    credentials: Credentials | None
    """None if this process can't know them (no encryption key, and the command came to another process)."""
    epoch: int = 0
    """Raised by every announcement; a stream whose opens date from an older epoch closes after the grace period."""
    born: int = 0
    """Rises with every entry that is made; one that is remembered keeps it. So the state tells a stream that it forgot from
    one that was closed and opened again."""


class Applied(msgspec.Struct, frozen=True, kw_only=True):
    """What a command changed."""

    wanted: Wanted | None
    """State after the command; None if the stream is unknown (now)."""
    owner: str | None
    """Process that holds the stream's lease, to be told; None = nobody."""
    changed: bool
    """False if only the count moved and nothing has to be done."""


class Gate(msgspec.Struct, frozen=True, kw_only=True):
    """Auth cooldown of one stream (contract 4.3)."""

    digest: str
    strikes: int
    until_ms: int
    last_reject_ms: int
    cooldown_ms: int
    reason: str


class WorkerInfo(msgspec.Struct, frozen=True, kw_only=True):
    """Heartbeat of one process."""

    owner: str
    role: Role
    host: str
    pid: int
    started_ms: int
    capacity: int
    streams: int
    draining: bool = False
    states: Mapping[str, int] = msgspec.field(default_factory=dict)
    """Streams by life-cycle state."""
    sinks: Mapping[str, int] = msgspec.field(default_factory=dict)
    """Queued messages by sink."""
    exchanges: Mapping[str, int] = msgspec.field(default_factory=dict)
    """Live streams by exchange id."""
    service: str = ""
    """The processes that were started together: host and process id of what started them."""
    problems: tuple[str, ...] = ()
    """Why this process can't do its work right now, in words; empty = it can."""
    matrix: Mapping[str, Mapping[str, int]] = msgspec.field(default_factory=dict)
    """Streams by exchange id and life-cycle state."""
    wanted: int = 0
    """Account streams that the deployment wants, as this process found at its last sweep."""
    unowned: int = 0
    """How many of these nobody runs."""
    ttl_s: float = 0.0
    """How long this heartbeat lasts; the process beats more often. 0 = it does not say."""
    broker: str = ""
    """Which broker its commands come from, as that names itself (`workers._broker_name`); empty = not known."""
    feeds: tuple[str, ...] = ()
    """What a process of the price role runs: "ticker", "candle"; empty = whatever its role has."""
    old_keys: Mapping[str, int] = msgspec.field(default_factory=dict)
    """Accounts by exchange id whose kind of key the venue will refuse one day."""

    def runs(self, feed: str) -> bool:
        return not self.feeds or feed in self.feeds


class Process(NamedTuple):
    """A process that is not buried."""

    info: WorkerInfo | None
    """None: its heartbeat is not there, or can't be read."""
    left_s: float
    """How long its heartbeat still lasts, by the state's clock; 0 = it is not there."""


class Glance(NamedTuple):
    """What tells whether a wanted stream changed."""

    subscribers: int
    generation: int
    digest: str
    epoch: int


class Unowned(NamedTuple):
    wanted: int
    """How many streams are wanted."""
    free: Set[str]
    """Wanted streams that nobody owns, as far as is known."""


class Scan(NamedTuple):
    """What a look at a part of the wanted streams found."""

    cursor: int
    """Where to go on; 0 = all were seen."""
    silent: Mapping[str, Sequence[str]]
    """Streams in the name of processes without a heartbeat, by process."""


class CandleKey(msgspec.Struct, frozen=True, order=True):
    """A candle subscription: typed, one spelling (bug D10)."""

    exchange: str
    symbol: str
    interval: str


class State(Protocol):
    """Wanted streams, ownership and everything else that outlives a process. Any thread.

    Every method may raise `StateUnavailable`; then it is not known whether something was changed. All methods
    return within their socket timeout. Times are ms since the epoch where named `_ms`.
    """

    # commands (each atomic, contract 1.3-1.5)
    #
    # `nonce` names one command, whatever carries it and however often it is sent: a second call with the same one within ten
    # minutes changes nothing and gives the first answer's `changed`. So a call whose answer was lost can be made again.
    # `copy` does the same for messages without an id that come again to another process (docs/architecture.md).
    def open(
        self,
        stream_id: str,
        exchange: str,
        user_id: str,
        credentials: Credentials,
        now_ms: int,
        *,
        nonce: str = "",
        copy: Copy | None = None,
    ) -> Applied:
        """Count + 1; keeps the command for restarts; another digest than before is new key material."""

    def close(self, stream_id: str, *, everybody: bool = False, nonce: str = "", copy: Copy | None = None) -> Applied:
        """Count - 1, never below 0; at 0 the wanted entry is forgotten. Gates survive. `everybody`: count 0 at once."""

    def drop_marks(self, marks: Sequence[tuple[Copy, str]]) -> None:
        """These copies, with their nonces, can't come again: the broker has their acknowledgements."""

    def restart(self, stream_id: str, *, nonce: str = "") -> Applied:
        """Generation + 1, the count stays. Unknown id: nothing happens."""

    def wanted(self, stream_ids: Sequence[str]) -> dict[str, Wanted]: ...

    def wanted_ids(self) -> set[str]:
        """All of them: for rare looks."""

    def glance(self, stream_ids: Sequence[str]) -> dict[str, Glance]:
        """The known ones among them, in one round trip, at a fifth of what `wanted` costs."""

    def remember(self, wanted: Wanted) -> bool:
        """Re-assert a stream that the state may have forgotten: written if absent; what was opened and closed since counts
        with it. False: it was closed on purpose."""

    def begin_epoch(self, now_ms: int) -> int:
        """An announcement went out: all counts restart at 0 (streams stay up). Returns the new epoch."""

    def close_stale(self, epoch: int) -> list[str]:
        """Forget the streams that nobody asked for again since `epoch`; returns their ids."""

    # candles
    def add_candle(self, key: CandleKey, *, asked: bool = True) -> bool:
        """True if it was new. `asked` False: nobody asked for it now, it is only written again."""

    def begin_candles(self) -> None:
        """An announcement goes out: note from here on what is asked for."""

    def drop_candles(self, name: str) -> set[CandleKey]:
        """Forget, in one step, what nobody asked for since `begin_candles`, and write `name` into the text `candles:dropped`
        if that is anything. Nothing is forgotten where it is not known what was asked for."""

    def remove_candle(self, key: CandleKey) -> None:
        """Forget it; one that nobody asked for is fine. Processes that still run it write it again."""

    def candles(self) -> set[CandleKey]: ...

    # ownership
    #
    # A unit's lease names its owner; the owner's heartbeat keeps it. What a process holds is also a set of its own: once
    # its heartbeat is gone anybody may `bury` it, which frees the set. A lease by itself lasts `ttl_s`, much longer than a
    # heartbeat: for processes of versions that know no sets, and for what slipped out of them.
    def claim(self, units: Sequence[str], owner: str, ttl_s: float, *, alive: bool = False) -> dict[str, int]:
        """Take the leases that are free; returns unit → fencing number (rises with every change of hands). A lease that is
        missing is not free while it is among what another process holds: the state forgot it. `alive`: nothing is taken
        unless the owner's heartbeat is there; else the state may have forgotten who has what."""

    def renew(self, leases: Mapping[str, int], owner: str, ttl_s: float, *, kept: bool = True) -> set[str]:
        """One round trip for all. Returns the units that are lost to somebody else; a missing lease is re-taken. `kept`: the
        owner's heartbeat keeps them from now on."""

    def release(self, leases: Mapping[str, int], owner: str) -> None:
        """Give leases up (compare and delete). No renewal of that number, also one that comes later, takes them back."""

    def give_back(self, units: Sequence[str], owner: str) -> None:
        """Give up, whatever their numbers, units in the name of `owner` that it does not know of: an answer was lost."""

    def bury(self, owner: str, also: Sequence[str] = ()) -> list[str] | None:
        """Free what a process without a heartbeat holds, and `also` what else is in its name; returns that. None: it lives.
        What it was handing over is its takers'. The caller knows that its heartbeat was not only forgotten."""

    def held(self, owner: str) -> set[str]:
        """What this process's heartbeat keeps."""

    def unowned(self) -> Unowned:
        """From an index: costs as much as is free."""

    def scan(self, cursor: int, count: int) -> Scan:
        """Look at about `count` of the wanted streams, from `cursor` on (0 = from the start), and heal the index of what is
        free. Between two ends every stream that was wanted all the time is seen."""

    def hand_over(self, unit: str, fence: int, owner: str, to_owner: str, ttl_s: float) -> int | None:
        """Pass a lease on atomically; the new fencing number, or None if it was not ours. The heartbeat of whoever kept it
        keeps it until the new owner renews it."""

    def owners(self, units: Sequence[str]) -> dict[str, str]: ...

    def heartbeat(self, info: WorkerInfo, ttl_s: float) -> int | None:
        """Returns how many units the state knows this process to hold; None: its last heartbeat was not there any more, so
        others may have what it held."""

    def roll(self) -> dict[str, Process]:
        """The processes that are not buried, by owner."""

    def workers(self, role: Role | None = None) -> list[WorkerInfo]: ...

    def beats_left_s(self, owners: Sequence[str]) -> dict[str, float]:
        """How long the heartbeats of these processes still last, by the state's own clock; the dead are missing."""

    def retire(self, owner: str) -> None:
        """Bury a process that ends, by its own word."""

    # auth gates
    def gate(self, stream_id: str) -> Gate | None: ...

    def set_gate(self, stream_id: str, gate: Gate, keep_ms: int, owner: str | None = None) -> None:
        """With an `owner`, not while another process holds the stream's lease: that one knows of newer keys."""

    def clear_gate(self, stream_id: str, digest: str) -> None:
        """Only the gate of this key: a newer key may have been refused since the caller looked."""

    # positions: where streams stood, for gap repair after a process died
    def save_positions(self, positions: Mapping[str, bytes], keep_s: int, owner: str | None = None) -> None:
        """With an `owner`, not those of streams whose lease another process holds: that one knows better."""

    def positions(self, stream_ids: Sequence[str]) -> dict[str, bytes]: ...

    def drop_position(self, stream_id: str) -> None: ...

    # budgets
    def take(self, bucket: str, cost: int, count: int, per_s: float, now_ms: int) -> int:
        """Take `cost` from a bucket that grants at most `count` in any span of `per_s` seconds (all at once, if it was idle).

        Returns 0, or ms to wait (then nothing was taken): when `cost` fits, if nobody else takes meanwhile. Spans are those
        of the callers' clocks. Raises `ValueError` if `cost` exceeds `count`: no wait would be long enough.
        """

    def block(self, bucket: str, until_ms: int) -> None:
        """Nobody takes from this bucket before `until_ms` (Retry-After, ban)."""

    # once per cluster, boot ids, notifications
    def once(self, name: str, owner: str, ttl_s: float) -> bool:
        """True for one caller per `ttl_s`."""

    def get(self, name: str) -> str | None: ...

    def put(self, name: str, value: str, ttl_s: float | None = None) -> None: ...

    def put_all(self, texts: Mapping[str, str], ttl_s: float) -> None:
        """`put` of many, in one round trip."""

    def get_all(self, names: Sequence[str]) -> list[str | None]:
        """`get` of many, in one round trip."""

    def swap(self, name: str, before: str | None, after: str | None, ttl_s: float | None = None) -> bool:
        """Write a text if it still reads as `before` (None = absent); `after` None forgets it. False if it does not."""

    def last_event_ms(self, stream_id: str) -> int:
        """When an event of this account went out on Redis last (contract 2.4); 0 = not known."""

    def enabled_exchanges(self) -> frozenset[str] | None:
        """Admin config (contract 3.2): the enabled real ids, or None = everything."""

    def notify(self, owner: str, text: str) -> None:
        """Wake one process (`owner`) or, with `*`, all; best effort."""

    def listen(self, owner: str, callback: Callable[[str], None]) -> Callable[[], None]:
        """Call back (from an own thread) for each notification; returns the function that stops it.

        The admin channel `gainium:admin:config` arrives as the text `admin-config`. After a reconnect the callback gets
        `resync`, because notifications may have been lost.
        """

    def listening(self) -> set[str]:
        """The processes that listen now: this outlives that the state forgets everything, but not its restart."""

    def threads(self) -> Sequence[Stamped]:
        """Those that listen now and must live until their listening is stopped."""

    def ping(self) -> bool: ...

    def close_connections(self) -> None: ...


# --- what a host has for itself ---


class KeptPosition(NamedTuple):
    position: bytes
    stamp: int
    """Rises with every save of the stream, whoever makes it; near the wall clock's ms."""


class PositionKeeper(Protocol):
    """Positions of account streams that outlive the state. One thread at a time; no method raises: what can't be kept is
    counted (`positions_unkept_total`) and said once."""

    def open(self) -> None: ...

    def save(self, positions: Mapping[str, KeptPosition]) -> bool:
        """One with a lower stamp than what is kept is left out. False if nothing could be kept."""

    def forget(self, stream_ids: Iterable[str]) -> bool: ...

    def load(self, stream_ids: Sequence[str]) -> dict[str, KeptPosition]: ...

    def close(self) -> None: ...


class Clock(Protocol):
    def mono(self) -> float:
        """Monotonic seconds: deadlines, durations."""

    def wall_ms(self) -> int:
        """Milliseconds since the epoch: signing, events."""


class Jobs(Protocol):
    """Work that comes again and work that comes later, by the monotonic clock: a step of the wall clock moves nothing.

    Jobs are short: they post what takes long. One that is still running is not started a second time, and one that was missed
    because the process stood still runs once. Nothing runs before `start`.
    """

    def start(self) -> None: ...

    def every(self, name: str, period_s: float, work: Callable[[], None], *, jitter_s: float = 0.0) -> None:
        """Run `work` each `period_s`, first after one period; `jitter_s` is added at random each time."""

    def after(self, name: str, delay_s: float, work: Callable[[], None]) -> None:
        """Run `work` once, this much after the call (or after `start`); a second call with the same name moves it."""

    def cancel(self, name: str) -> None:
        """Forget a job; an unknown name is fine."""

    def stop(self) -> None:
        """Start no job any more, and wait a moment for the one that runs."""


def join_units(units: Iterable[str]) -> str:
    """For log lines: at most five names, then how many more."""
    names = sorted(units)
    more = f" and {len(names) - 5} more" if len(names) > 5 else ""
    return ", ".join(names[:5]) + more
