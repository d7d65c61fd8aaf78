"""What an adapter is: a pure object that turns inputs into outputs (CONTRIBUTING.md).

One adapter object lives for one connection. The session that owns the connection calls exactly one input at a time, always
from the same I/O thread, and carries out the returned outputs in order. An adapter never blocks, reads a clock, starts a
thread, logs, or raises for what a venue sends: it returns `Fail`.

Life of a connection::

    start → [Call … answered]* → Connect → connected → [Send, received]* → Live → received … → (closed)

`woken` is called when the time that `deadline()` names has come. `add`/`remove` change the subscriptions of a connection
that may carry several.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple, Protocol, runtime_checkable

import msgspec

from exchanges.credentials import Credentials
from exchanges.events import AccountEvent, Candle, PositionKey, Ticker


class Instant(NamedTuple):
    """One moment on both clocks: `mono` in seconds for deadlines, `wall_ms` since the epoch for signing and events."""

    mono: float
    wall_ms: int


# --- subscriptions: what a connection carries ---


class KnownOrder(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Last published state of an order, as gap repair needs it. Quantities are decimal text, times ms."""

    order_id: str
    client_order_id: str
    symbol: str
    status: str
    executed: str = "0"
    executed_quote: str = "0"
    price: str = "0"
    quantity: str = "0"
    side: str = ""
    order_type: str = ""
    order_time_ms: int = 0
    creation_time_ms: int = 0
    trade_id: int = -1
    carried: str = "0"
    """How much of `executed` was filled under earlier order ids of the client order (a venue that places a modified order
    anew)."""
    carried_quote: str = "0"

    @property
    def terminal(self) -> bool:
        return self.status in {"FILLED", "CANCELED", "EXPIRED", "REJECTED"}


class Resume(msgspec.Struct, frozen=True, kw_only=True):
    """Where an account stream stood when it was last live: the start of gap repair."""

    since_ms: int
    """Everything before this moment was published (an overlap is already taken off)."""
    orders: tuple[KnownOrder, ...] = ()
    """Every order that is not known to be finished, and the ones that finished lately."""
    holds: tuple[PositionKey, ...] = ()
    """The positions that were told as open last."""
    past_unknown: bool = False
    """Nothing was known of the account when its stream began, and no gap was read since: orders that were open then may be
    missing."""
    behind: bool = False
    """More may have been told than `orders` says: the process that wrote it down did not get to its last word. Each order is
    told as it stands then, because a step that led there would go back behind its end."""


class UserSubscription(msgspec.Struct, frozen=True, kw_only=True):
    """One account. `resume` is None for a stream that was never live: then there is no gap to repair."""

    stream_id: str
    exchange: str
    credentials: Credentials
    resume: Resume | None = None
    key_kind: str = ""
    """What an earlier connection told of the key (`KeyKind`); empty = nothing, or long ago."""


class TickerSubscription(msgspec.Struct, frozen=True, kw_only=True):
    """Tickers of one exchange id. Empty `symbols` = the venue's all-market stream; else wire codes of one shard."""

    stream_id: str
    exchange: str
    symbols: tuple[str, ...] = ()


class CandleSubscription(msgspec.Struct, frozen=True, kw_only=True):
    """One candle topic as it was requested: pair id and interval spelling of the request (contract 1.6)."""

    stream_id: str
    exchange: str
    symbol: str
    interval: str
    resume_start_ms: int | None = None
    """Opening time of the last candle published before a reconnect: later closed candles are fetched over REST."""


Subscription = UserSubscription | TickerSubscription | CandleSubscription


# --- outputs ---


class FailKind(enum.Enum):
    """What to do next, not what happened."""

    CREDENTIAL = "credential"
    """The venue refuses the key: auth breaker."""
    KEY_TYPE = "key_type"
    """The venue refuses this *type* of key: auth breaker with the `legacyKey` notice."""
    RATE_LIMITED = "rate_limited"
    """Wait `retry_after_s`; binds every process on this address."""
    MAINTENANCE = "maintenance"
    TRANSIENT = "transient"
    """Reconnect with backoff."""
    REQUEST = "request"
    """We asked for something that can't be had (unknown symbol): only that subscription ends."""


class Emit(msgspec.Struct, frozen=True):
    """An account event of one stream. `repaired` = it came from gap repair, not from a live frame."""

    stream_id: str
    event: AccountEvent
    repaired: bool = False


class EmitTickers(msgspec.Struct, frozen=True):
    """All ticker rows of one frame."""

    stream_id: str
    exchange: str
    tickers: list[Ticker]


class EmitCandle(msgspec.Struct, frozen=True):
    """A candle to publish under the subscription's own symbol and interval spelling."""

    stream_id: str
    exchange: str
    symbol: str
    interval: str
    candle: Candle
    repaired: bool = False
    length_ms: int = 0
    """How long a candle of this interval is; 0 = not known."""


class Seen(msgspec.Struct, frozen=True):
    """Data arrived for this stream that publishes nothing (a running candle, a ticker without a price): liveness."""

    stream_id: str


class Connect(msgspec.Struct, frozen=True):
    """Open the WebSocket. `url` is the venue's documented URL; the session layer resolves gateways."""

    url: str
    headers: tuple[tuple[str, str], ...] = ()
    others: tuple[str, ...] = ()
    """Where the venue may be found as well: each is tried once, in this order, when none before it can be opened."""

    def __repr__(self) -> str:  # listen keys and tokens stand in paths and queries
        return f"Connect({'/'.join(self.url.split('/')[:3])})"


class Send(msgspec.Struct, frozen=True):
    """A text frame to send. The session paces frames by `Limits.messages`. `urgent` frames (pongs) overtake."""

    text: str
    urgent: bool = False

    def __repr__(self) -> str:  # login frames carry keys and signatures
        return f"Send({len(self.text)} characters)"


class Call(msgspec.Struct, frozen=True, kw_only=True):
    """A REST request; its answer comes back through `answered` with this object.

    With a `wss` URL it is one question over a socket of its own: `body` is sent, and the first frame with the text `until` is
    the body of the answer. For what a venue tells over sockets only.
    """

    tag: str
    """Meaning of the call inside the adapter."""
    method: str
    url: str
    headers: Mapping[str, str] = msgspec.field(default_factory=dict)
    body: str | None = None
    stream_id: str | None = None
    context: object = None
    """Whatever the adapter wants back with the answer."""
    weight: int = 1
    pool: str = "rest"
    """Name of the budget in `Limits.rest` that the weight counts against."""
    timeout_s: float = 10.0
    until: str = ""
    attempt: int = 1
    again: Callable[[Instant], Call] | None = None
    """Signs it as of another moment: asked, on the adapter's thread, if it waited for a budget before it could be made. The
    answer comes with the call as the adapter gave it."""

    def __repr__(self) -> str:  # headers and query hold signatures
        return f"Call({self.tag} {self.method} {self.url.split('?')[0]})"


class Answer(msgspec.Struct, frozen=True):
    """Result of a `Call`. Header names are lower case.

    `status` 0 = no answer (timeout, refused, DNS); then `error` says why.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes
    error: str = ""


class GapReport(msgspec.Struct, frozen=True, kw_only=True):
    """What was repaired between the last known live moment and now; becomes the `streamGap` service event."""

    from_ms: int
    to_ms: int
    orders: int = 0
    balances: int = 0
    candles: int = 0
    missing: tuple[str, ...] = ()
    """What the venue could not tell, one short English phrase each."""
    complete: bool = True
    """False: the stream is live while part of the gap is still being read; a second `Live` tells the end."""


class Live(msgspec.Struct, frozen=True):
    """The subscription is confirmed and its gap repaired: events flow from here on."""

    stream_id: str
    gap: GapReport | None = None


class Fail(msgspec.Struct, frozen=True, kw_only=True):
    """Something failed.

    Without `stream_id` the whole connection is meant: the session closes it, drops the outputs behind this one, and gives the
    adapter no further input. With the account of a connection that can't carry a second one, it does the same, but for
    `remove` and `closing`, which follow. So there is nothing to guard in a venue. Any other stream leaves by `remove`, which
    may come after further inputs, and the adapter goes on with the others.
    """

    kind: FailKind
    reason: str
    """The venue's own text and code, without any secret."""
    stream_id: str | None = None
    retry_after_s: float | None = None
    first_sight: bool = True
    """For CREDENTIAL: open the breaker now (True) or count towards the threshold (contract 4.3)."""


class Rotate(msgspec.Struct, frozen=True):
    """The venue will close this connection soon: replace it, make before break."""

    reason: str


class Note(msgspec.Struct, frozen=True):
    """Something worth a log line (rate-limited by the session per `what`): unknown frame shape, benign reply."""

    what: str
    level: str = "warning"


class ClockOffset(msgspec.Struct, frozen=True):
    """The venue's clock was read, because it refused a timestamp of ours. Later connections of the family start with it."""

    offset_ms: int
    """Venue time minus local time."""


class KeyKind(msgspec.Struct, frozen=True, kw_only=True):
    """Which of its kinds of keys a venue took. Later connections of the stream start with it."""

    stream_id: str
    kind: str
    """The venue module's own word."""
    advice: str = ""
    """For a kind that the venue will refuse one day: one sentence, what to do."""
    warn_ms: int = 0
    """From when on each day should say so, ms since the epoch."""


Output = (
    Emit | EmitTickers | EmitCandle | Seen | Connect | Send | Call | Live | Fail | Rotate | Note | ClockOffset | KeyKind
)
Outputs = Sequence[Output]


# --- the adapter ---


class Adapter(Protocol):
    """A venue's protocol on one connection. All methods: I/O thread of the session only."""

    def start(self, now: Instant) -> Outputs:
        """First input. Returns calls that must come before dialling, or `Connect` right away."""

    def connected(self, now: Instant) -> Outputs:
        """The WebSocket upgrade succeeded: log in, subscribe."""

    def received(self, frame: bytes, now: Instant) -> Outputs:
        """One complete text or binary frame, as bytes."""

    def answered(self, call: Call, answer: Answer, now: Instant) -> Outputs:
        """The answer of a `Call` of this adapter."""

    def woken(self, now: Instant) -> Outputs:
        """The time of `deadline()` has come (or passed)."""

    def deadline(self) -> float | None:
        """When `woken` wants to be called next, monotonic seconds; None = never."""

    def add(self, subscription: Subscription, now: Instant) -> Outputs:
        """Carry one more subscription; may be called before `connected`."""

    def remove(self, stream_id: str, now: Instant) -> Outputs:
        """Stop carrying a subscription, politely (unsubscribe). Unknown ids are ignored."""

    def closing(self, now: Instant) -> Outputs:
        """The session is about to close for good (no replacement holds the account): polite last frames and calls."""


@runtime_checkable
class TellsSymbols(Protocol):
    """A ticker adapter that knows which of its symbols the venue has confirmed. Any thread may read it."""

    @property
    def subscribed(self) -> int | None:
        """Symbols that the venue sends; None = a stream with all of the market."""
