"""What the package of a venue exposes as `VENUE`: limits, how to ask for its time and symbols, how to make its adapters."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

import msgspec

from exchanges._adapter import Adapter, Answer, Call
from exchanges.ids import Feed
from exchanges.instruments import EMPTY, Instrument, SymbolTable


class Rate(NamedTuple):
    """At most `limit` in any span of `per_s` seconds; after a pause all of it at once.

    It is used in full: the venue module takes the margin for whoever else uses the address or the key off the venue's
    figure. The margin in time, for calls that arrive closer together than they left, belongs to whoever keeps the budget.
    """

    limit: int
    per_s: float


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """Named limits of a venue for one exchange id and feed, each with its source in the venue module.

    Each `Rate` is the venue's figure less the venue module's margin (see `Rate`); nothing else is taken off its count.
    """

    connects: Rate
    """Connection attempts per egress IP."""
    messages: Rate
    """Client frames per connection; sent without the budget's margin in time."""
    own_connects: Rate | None = None
    """A further limit per egress IP for this feed's connections alone, because each needs at once what is scarce. They wait
    for it in a queue of their own, behind which no other connection waits."""
    rest: Mapping[str, Rate] = msgspec.field(default_factory=dict)
    """REST weight per pool and egress IP."""
    own_rest: Mapping[str, Rate] = msgspec.field(default_factory=dict)
    """REST weight per pool of the account that calls, where the venue counts that by account, whatever the address."""
    requests: Rate | None = None
    """REST requests of all pools together per egress IP, whatever their weight; None = the venue names no such limit."""
    used_headers: Mapping[str, str] = msgspec.field(default_factory=dict)
    """REST pool → answer header (lower case) with the weight that the address, whoever shares it, used since the last full
    period of the venue's clock."""
    bans: Mapping[int, float] = msgspec.field(default_factory=lambda: {418: 120.0, 429: 5.0})
    """HTTP statuses that close a pool for every process on the address → seconds, unless the venue's `Retry-After` tells."""
    close_waits: Mapping[str, float] = msgspec.field(default_factory=dict)
    """Parts of a close reason by which the venue says that the address has too much → seconds in which nobody dials it."""
    open_connections: int | None = None
    """Connections of the family that may be open at once per egress IP; None = the venue documents no maximum."""
    open_connections_option: str = ""
    """Deployment option that overrides `open_connections`."""
    subscriptions_per_connection: int = 1
    """Accounts (user), shards (ticker: always 1) or topics (candle) that one connection may carry."""
    candle_connections: int | None = None
    """Candle connections of an exchange id that a process holds open with `subscriptions_per_connection` topics each. Further
    topics share connections; None = no maximum."""
    candle_connections_option: str = ""
    """Deployment option that overrides `candle_connections`."""
    shared_topics: int = 1
    """Topics on one of those shared connections, whose candles the adapter has to get in another way."""
    lifetime_s: float | None = None
    """Rotate a connection when it is this old (already with margin); None = the venue never cuts."""
    ping_interval_s: float | None = 20.0
    """Send a WebSocket ping this often, also while the venue talks: some drop a client that says nothing. None = the venue
    dislikes client pings."""
    silence_s: float = 60.0
    """No byte at all for this long = the transport is dead."""
    data_silence_s: float | None = None
    """No data for this long = the feed is stalled (contract 4.7); None = quiet is normal."""
    join_timeout_s: float = 30.0
    """From the upgrade to `Live`; later the connection counts as failed."""
    connect_timeout_s: float = 10.0


class Setup(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that varies, handed to an adapter when it is made."""

    exchange: str
    """Real exchange id (paper ids only for the paper venue)."""
    new_id: Callable[[], str]
    """Makes request ids: letters and digits, at most 32, unique per process."""
    table: Callable[[], SymbolTable]
    """The current symbol table of `exchange`; may be empty while it loads."""
    options: Mapping[str, str] = msgspec.field(default_factory=dict)
    """Deployment options by upstream's variable name (`ENVOKX`, `PAPER_WS`, `COINBASE_API_KEY` …)."""
    clock_offset_ms: Callable[[], int] = lambda: 0
    """Venue time minus local time, as some connection of the family last measured it (`exchanges._clock`)."""


class Example(NamedTuple):
    """What a candle request for an exchange id may name: for demonstrations, and for what is proved of every venue."""

    pair: str
    """A pair id of spot."""
    intervals: tuple[str, ...]
    """Spellings that the backend sends (contract 1.6) and that can be served."""
    refused: tuple[str, ...] = ()
    """Spellings that the backend sends and that the venue does not have."""


class ClockCall(NamedTuple):
    """A public question for the venue's time. That it is answered proves that the venue can be reached."""

    url: str
    path: tuple[str | int, ...]
    """Where in the answer the time stands."""
    body: Mapping[str, str] | None = None
    """Of a POST; None = a GET."""
    whole_seconds: bool = False
    """The time is told in seconds, which is too coarse to judge a clock by; else in ms."""

    def read_ms(self, answer: Any) -> float:
        """The time out of the decoded answer. Raises `LookupError`, `TypeError` or `ValueError` for another shape."""
        for step in self.path:
            answer = answer[step]
        return float(answer) * (1000 if self.whole_seconds else 1)


class InstrumentLoader(Protocol):
    """Pure loader of a venue's symbol list: pages and cursors are followed through `answered`."""

    def start(self) -> Sequence[Call]: ...

    def answered(self, call: Call, answer: Answer) -> Sequence[Call]:
        """Further calls. When none are outstanding, `result` tells."""

    def result(self) -> Sequence[Instrument] | None:
        """The instruments, or None if the venue's answer could not be used."""


class Venue(Protocol):
    """One per module under `exchanges/`, as its `VENUE` value. Stateless; any thread.

    Beside these members it may have `closed_candles` (True: candles are published once, when they have ended), `errors` (what
    its errors mean, by code or words: `exchanges._meaning`), `key_type_advice`, `option_refusal` (see `exchanges`), `clock`
    (how to ask for its time), and, if it has candles, `examples` by exchange id.
    """

    name: str
    """Family name: `binance`."""
    exchanges: tuple[str, ...]
    """Exchange ids served (live ids; the paper venue lists the paper ids)."""
    feeds: tuple[Feed, ...]
    regions: frozenset[str]
    """Values of a command's `bybitHost` or `okxSource` that name a site of this venue; empty = it has one site."""

    def limits(self, exchange: str, feed: Feed) -> Limits: ...

    def user(self, setup: Setup) -> Adapter:
        """An adapter for account streams. Raises `CredentialUnusable` never: it returns `Fail` from `start`/`add`."""

    def ticker(self, setup: Setup) -> Adapter: ...

    def candle(self, setup: Setup) -> Adapter: ...

    def ticker_shards(self, exchange: str, table: SymbolTable) -> Sequence[tuple[str, ...]]:
        """How the tickers are spread over connections: wire codes per connection; `[()]` = one all-market stream."""

    def sandbox_refusal(self, exchange: str) -> str | None:
        """None if an account of this id may be of the venue's test network, or one sentence why there is none.

        A key of a test network must never go to the live site, and the other way round.
        """

    def candle_refusal(self, exchange: str, symbol: str, interval: str, table: SymbolTable) -> str | None:
        """None, or why this candle request can't be served (one clear sentence). An empty table refuses no symbol."""

    def candle_group(self, exchange: str, symbol: str, interval: str, table: SymbolTable) -> str:
        """Topics of one group may share a connection (Kraken spot: one interval a connection)."""

    def instruments(
        self, exchange: str, options: Mapping[str, str], before: SymbolTable = EMPTY
    ) -> InstrumentLoader: ...

    def replay(self, exchange: str, feed: Feed, context: Mapping[str, object]) -> tuple[Adapter, str]:
        """An adapter in the live state of a golden case, and the stream id that it carries (CONTRIBUTING.md)."""
