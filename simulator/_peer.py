"""What most server-side connections have in common: pings, age limit, message rate, plain reactions to signals. Pure."""

# Hooks have the signature of `Peer` whether they need every argument or not.
# ruff: noqa: ARG002

from __future__ import annotations

from collections import deque

from exchanges._venue import Rate
from simulator._values import CandleUpdate, Change, Tick
from simulator._venue import Close, Effects, Instant, Noted, Ping, Pong, Signal, World


class Window:
    """Sliding window: at most `rate.limit` hits in any `rate.per_s` seconds."""

    __slots__ = ("_hits", "rate")

    def __init__(self, rate: Rate) -> None:
        self.rate = rate
        self._hits: deque[float] = deque()

    def hit(self, mono: float) -> bool:
        """Count one; False if it is one too many (it is not counted then)."""
        while self._hits and self._hits[0] <= mono - self.rate.per_s:
            self._hits.popleft()
        if len(self._hits) >= self.rate.limit:
            return False
        self._hits.append(mono)
        return True


class PerAddress:
    """A `Window` per client address (or any other text)."""

    __slots__ = ("_rate", "_windows")

    def __init__(self, rate: Rate) -> None:
        self._rate = rate
        self._windows: dict[str, Window] = {}

    def hit(self, address: str, mono: float) -> bool:
        return self._windows.setdefault(address, Window(self._rate)).hit(mono)


class Weight:
    """Fixed window, as venues count request weight: `limit` units per `per_s`, starting anew at each full window."""

    __slots__ = ("_number", "rate", "used")

    def __init__(self, rate: Rate) -> None:
        self.rate = rate
        self.used = 0
        self._number = -1

    def take(self, cost: int, wall_ms: int) -> bool:
        """Count `cost`; False if the window is used up. Refused requests count too, as at the venues."""
        number = wall_ms // int(self.rate.per_s * 1000)
        if number != self._number:
            self._number, self.used = number, 0
        self.used += cost
        return self.used <= self.rate.limit

    def wait_ms(self, wall_ms: int) -> int:
        """Until the next window."""
        length = int(self.rate.per_s * 1000)
        return length - wall_ms % length


class BasePeer:
    """Override `frame` and whatever else the venue needs; set the class attributes to the venue's figures.

    `deadline` and `woken` drive server pings and the age limit; a subclass with timers of its own overrides `next_timer` and
    `timer`.
    """

    feed = ""
    ping_every_s: float | None = None
    """Server ping control frames; None = the venue sends none."""
    pong_within_s = 60.0
    """Close this long after the last pong (or the opening) when pings are sent."""
    idle_s: float | None = None
    """Close when the client sent nothing (any frame) for so long; None = never."""
    lifetime_s: float | None = 86_400.0
    messages: Rate | None = None
    """Client frames per connection; one more closes it with 1008."""
    control_counts = True
    """Whether ping and pong frames count as messages."""

    def __init__(self, world: World, now: Instant) -> None:
        self.world = world
        self.born = now.mono
        self._next_ping = now.mono + self.ping_every_s if self.ping_every_s else None
        self._last_pong = now.mono
        self._last_seen = now.mono
        limited = self.messages is not None and world.settings.limits
        self._window = Window(self.messages) if limited and self.messages else None

    # --- for subclasses ---

    def frame(self, data: str | bytes, now: Instant) -> Effects:
        """One client frame, within the limits."""
        return ()

    def next_timer(self) -> float | None:
        """A further time at which `timer` wants to be called, monotonic seconds."""
        return None

    def timer(self, now: Instant) -> Effects:
        return ()

    # --- Peer ---

    def opened(self, now: Instant) -> Effects:
        return ()

    def received(self, data: str | bytes, now: Instant) -> Effects:
        self._last_seen = now.mono
        if self._window and not self._window.hit(now.mono):
            return self.over_limit()
        return self.frame(data, now)

    def over_limit(self) -> Effects:
        return (Noted("limit", "messages"), Close(1008, "Too many requests"))

    def pinged(self, payload: bytes, now: Instant) -> Effects:
        self._last_seen = now.mono
        if self.control_counts and self._window and not self._window.hit(now.mono):
            return self.over_limit()
        return (Pong(payload),)

    def ponged(self, payload: bytes, now: Instant) -> Effects:
        self._last_seen = self._last_pong = now.mono
        if self.control_counts and self._window and not self._window.hit(now.mono):
            return self.over_limit()
        return ()

    def changed(self, change: Change, now: Instant) -> Effects:
        return ()

    def ticked(self, tick: Tick, now: Instant) -> Effects:
        return ()

    def candle(self, update: CandleUpdate, now: Instant) -> Effects:
        return ()

    def signal(self, signal: Signal, now: Instant) -> Effects:
        if signal.name == "maintenance":
            return (Close(1001, "maintenance"),)
        if signal.name == "cut":
            return (Close(1000, "maximum age reached"),)
        return ()

    def deadline(self) -> float | None:
        times = [time for time in (self._next_ping, self.next_timer()) if time is not None]
        if self._next_ping is not None:
            times.append(self._last_pong + self.pong_within_s)
        if self.idle_s is not None:
            times.append(self._last_seen + self.idle_s)
        if self.lifetime_s is not None:
            times.append(self.born + self.lifetime_s)
        return min(times, default=None)

    def woken(self, now: Instant) -> Effects:
        if self.lifetime_s is not None and now.mono >= self.born + self.lifetime_s:
            return self.signal(Signal("cut"), now)
        if self.idle_s is not None and now.mono >= self._last_seen + self.idle_s:
            return (Close(1000, "idle"),)
        if self._next_ping is None:
            return self._own_timer(now)
        if now.mono >= self._last_pong + self.pong_within_s:
            return (Close(1008, "Pong timeout"),)
        if now.mono >= self._next_ping and self.ping_every_s:
            self._next_ping = now.mono + self.ping_every_s
            return (Ping(str(now.wall_ms).encode()), *self._own_timer(now))
        return self._own_timer(now)

    def _own_timer(self, now: Instant) -> Effects:
        due = self.next_timer()
        return self.timer(now) if due is not None and now.mono >= due else ()

    def closed(self, now: Instant) -> None:
        return None
