"""Faults on demand: what can go wrong, for whom, how often. Pure; the hub asks and acts.

=================  ============================================================  =====================================
kind               what happens                                                  parameters (all optional)
=================  ============================================================  =====================================
`drop`             connections end without a close frame (TCP reset)             `after_s`
`close`            close frame                                                   `code`, `reason`, `after_s`
`stall`            neither reads nor sends, the TCP connection stays             `seconds`, `after_s`
`half_open`        reads and throws away, never answers, not even pings          `after_s`
`garbage`          a frame that is no valid message                              `data`, `binary`, `after_s`
`cut`              the maximum age is reached now                                `after_s`
`maintenance`      the venue's shutdown notice, then its close                   `seconds` between the two, `after_s`
`terminate`        the venue ends the account's subscription, not the socket     `after_s`
`duplicate`        data frames are sent twice                                    `times`: so many frames
`reorder`          two data frames change places                                 `times`: so many pairs
`lose`             data frames are not sent                                      `times`: so many frames
`delay_acks`       answers to requests come late                                 `seconds`
`refuse`           upgrades are refused                                          `status` (403, 429, 503 … or `reset`),
                                                                                 `retry_after`
`rest_error`       REST calls fail                                               `status`, `code`, `text`, `retry_after`,
                                                                                 `body`
`rest_slow`        REST answers come late                                        `seconds`
`rest_reset`       the connection ends instead of a REST answer
`rest_garbage`     status 200 with a body that is no JSON
`odd_rows`         every list of a REST answer or a data frame has one row    `how` (null, nulls, types, bare,
                   more that nobody can read                                      text), `first`: at the start
`unreachable`      TCP connections to the simulator are refused                  `for_s` (needed: the control API is
                                                                                 out of reach, too)
`clock_skew`       the venue's clock differs                                     `ms`
`reject_key`       the account's keys are refused from now on                    `code` (the venue's own)
`accept_key`       … and accepted again
`replace_key`      the account has another key from now on                       `key`, `secret`, `passphrase`
`expire_token`     listen keys and tokens of the account end now
`play`             a case that one venue has; its half says which are there      `what`, and the half's own
=================  ============================================================  =====================================

Kinds down to `terminate` act at once on the connections that match; with `standing` they also hit every later one. The next
ones wait for matching frames or requests, `times` of them (0 = without end, which is the default of `standing`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Protocol

import msgspec

from simulator._venue import Peer

ACTS: Final = frozenset({"drop", "close", "stall", "half_open", "garbage"})
SIGNALS: Final = frozenset({"cut", "maintenance", "terminate", "expire_token", "play"})
FRAMES: Final = frozenset({"duplicate", "reorder", "lose", "delay_acks"})
REQUESTS: Final = frozenset({"refuse", "rest_error", "rest_slow", "rest_reset", "rest_garbage"})
KEYS: Final = frozenset({"reject_key", "accept_key", "replace_key"})
ODD: Final = frozenset({"odd_rows"})
KINDS: Final = ACTS | SIGNALS | FRAMES | REQUESTS | KEYS | ODD | {"clock_skew", "unreachable"}

GARBAGE: Final = '{"e":"executionReport","E":17950000'
"""Default of `garbage`: a frame cut off in the middle."""


class Struck(Protocol):
    """A connection, as far as a fault looks at it."""

    link_id: int
    venue: str
    host: str
    path: str
    peer: Peer
    accounts: set[str]
    met: set[int]
    """Ids of standing faults that were applied already."""


class Fault(msgspec.Struct, kw_only=True):
    """One fault and its scope; empty scope fields match everything."""

    kind: str
    venue: str = ""
    host: str = ""
    account: str = ""
    feed: str = ""
    """`user` or `market`."""
    connection: int = 0
    path: str = ""
    """Part of the request path."""
    standing: bool = False
    times: int | None = None
    """How often; None = once, or without end if `standing`; 0 = without end."""
    for_s: float = 0.0
    """Ends after so many seconds; 0 = never."""
    params: Mapping[str, str] = msgspec.field(default_factory=dict)
    fault_id: int = 0
    used: int = 0
    until_mono: float = 0.0

    @property
    def limit(self) -> int:
        if self.times is None:
            return 0 if self.standing else 1
        return self.times

    @property
    def spent(self) -> bool:
        return bool(self.limit) and self.used >= self.limit

    def number(self, name: str, default: float = 0.0) -> float:
        text = self.params.get(name, "")
        return float(text) if text else default

    def hits_link(self, link: Struck) -> bool:
        return (
            (not self.venue or self.venue == link.venue)
            and (not self.host or self.host == link.host)
            and (not self.connection or self.connection == link.link_id)
            and (not self.feed or self.feed == link.peer.feed)
            and (not self.path or self.path in link.path)
            and (not self.account or self.account in link.accounts)
        )

    def hits_request(self, venue: str, host: str, path: str, account: str) -> bool:
        return (
            (not self.venue or self.venue == venue)
            and (not self.host or self.host == host)
            and (not self.path or self.path in path)
            and (not self.account or self.account == account)
        )


class FaultBook:
    """The faults that wait for something to hit."""

    def __init__(self) -> None:
        self._faults: dict[int, Fault] = {}
        self._last = 0

    def add(self, fault: Fault, mono: float) -> Fault:
        self._last += 1
        fault.fault_id = self._last
        fault.until_mono = mono + fault.for_s if fault.for_s else 0.0
        self._faults[fault.fault_id] = fault
        return fault

    def remove(self, fault_id: int) -> bool:
        return self._faults.pop(fault_id, None) is not None

    def clear(self) -> None:
        self._faults.clear()

    def all(self, mono: float) -> list[Fault]:
        """Those that can still hit."""
        for fault_id, fault in list(self._faults.items()):
            if fault.spent or (fault.until_mono and mono >= fault.until_mono):
                del self._faults[fault_id]
        return list(self._faults.values())

    def for_link(self, kinds: frozenset[str], link: Struck, mono: float) -> Fault | None:
        """The oldest fault of these kinds that hits the connection now, counted as used."""
        if not self._faults:
            return None
        for fault in self.all(mono):
            if fault.kind in kinds and fault.hits_link(link):
                fault.used += 1
                return fault
        return None

    def standing_for(self, link: Struck, mono: float) -> list[Fault]:
        """Standing acts and signals for a connection that was just opened (or just logged in)."""
        if not self._faults:
            return []
        return [
            f for f in self.all(mono) if f.kind in ACTS | SIGNALS and f.fault_id not in link.met and f.hits_link(link)
        ]

    def for_request(self, kind: str, venue: str, host: str, path: str, account: str, mono: float) -> Fault | None:
        if not self._faults:
            return None
        for fault in self.all(mono):
            if fault.kind == kind and fault.hits_request(venue, host, path, account):
                fault.used += 1
                return fault
        return None

    def skew_ms(self, venue: str, mono: float) -> int:
        if not self._faults:
            return 0
        return sum(
            int(fault.number("ms"))
            for fault in self.all(mono)
            if fault.kind == "clock_skew" and (not fault.venue or fault.venue == venue)
        )
