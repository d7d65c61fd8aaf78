"""The ways out to the exchanges: our own addresses and proxies, by name, and which of them rest because they don't work.

An exchange counts connections and requests by the address that it sees, so each way is an address of its own to the budgets.
Its name, the same in every process, is our address, or the proxy as it is shown (`Proxy.label`); "" is whatever the host
takes by itself. Pure but for a lock: any thread.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import Final

from connector.core import redact
from connector.core.log import get_logger
from connector.core.metrics import METRICS
from connector.core.ports import Clock
from connector.core.proxies import Proxy, Standard, Ways

log = get_logger(__name__)

ANY: Final = ""
"""The way that the host takes by itself."""
OWN_NET: Final = frozenset({"paper"})
"""Services of the platform itself: they are beside us, so a list of proxies towards the exchanges is not meant for them."""
REST_S: Final = 10.0
"""How long a proxy that failed is left alone where a venue has another way; doubles with each failure up to the longest."""
LONGEST_REST_S: Final = 300.0


class ProxyFailed(OSError):
    """A proxy can't be reached or does not let us through. The text names it, and holds no secret."""

    answered = False
    """It works, and said that there is no way from it to the exchange."""


class NoWayThere(ProxyFailed):
    """A proxy says that it can't reach the exchange, or must not."""

    answered = True


@dataclass(frozen=True, slots=True)
class Way:
    """How a connection goes out."""

    source_ip: str = ""
    proxy: Proxy | None = None
    standard: Standard = field(default_factory=Standard)
    """Asked for each host, because it leaves some out; only where `proxy` is None."""

    def proxy_for(self, host: str, port: int, *, secure: bool) -> Proxy | None:
        return self.proxy or self.standard.proxy_for(host, port, secure=secure)


@dataclass(slots=True)
class _Rest:
    until: float
    pause_s: float


class Egresses:
    """Which ways a venue may take, what each one is, and which do not work just now."""

    def __init__(self, ways: Ways, clock: Clock) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._resting: dict[tuple[str, str], _Rest] = {}
        """By name and venue; venue "" = every one."""
        self._ways: dict[str, Way] = {ANY: Way()}
        common = [*map(self._of_address, ways.ips), *map(self._of_proxy, ways.proxies)]
        self._of_venue = {venue: tuple(map(self._of_proxy, proxies)) for venue, proxies in sorted(ways.venues.items())}
        self._own = tuple(map(self._of_address, ways.ips)) or (ANY,)
        self._common = tuple(common) or (self._of_standard(ways.standard),)

    def _of_address(self, ip: str) -> str:
        self._ways[ip] = Way(source_ip=ip)
        return ip

    def _of_proxy(self, proxy: Proxy | None) -> str:
        """Its name: one of several behind the same host and port (other users, other exits) gets a number."""
        if proxy is None:
            return ANY
        redact.register(proxy.password)
        name, number = proxy.label, 1
        while self._ways.setdefault(name, Way(proxy=proxy)).proxy != proxy:
            number += 1
            name = f"{proxy.label}#{number}"
        return name

    def _of_standard(self, standard: Standard) -> str:
        first = standard.https or standard.every
        if first is None:
            return ANY
        for proxy in (standard.https, standard.every):
            redact.register(proxy.password if proxy is not None else None)
        self._ways[first.label] = Way(standard=standard)
        return first.label

    def names(self, venue: str) -> tuple[str, ...]:
        """Every way that a venue may take; at least one."""
        return self._of_venue.get(venue) or (self._own if venue in OWN_NET else self._common)

    def way(self, name: str) -> Way:
        """What a name stands for; one that no setting named is an address of ours."""
        found = self._ways.get(name)
        return found if found is not None else Way(source_ip=name)

    def working(self, venue: str) -> tuple[str, ...]:
        """The ways of a venue less those that rest; all of them while all rest."""
        names = self.names(venue)
        with self._lock:
            now = self._clock.mono()
            return tuple(name for name in names if not self._rests(name, venue, now)) or names

    def rests(self, venue: str, name: str) -> bool:
        """Whether a connection had better be opened another way."""
        return name not in self.working(venue) and name in self.names(venue)

    def _rests(self, name: str, venue: str, now: float) -> bool:
        found = (self._resting.get((name, "")), self._resting.get((name, venue)))
        return any(rest is not None and now < rest.until for rest in found)

    def failed(self, name: str, reason: str, venue: str = "") -> None:
        """A proxy did not let a connection through; to one venue, if it has a name."""
        with self._lock:
            now, before = self._clock.mono(), self._resting.get((name, venue))
            if before is not None and now < before.until:
                return  # one failure of several at the same time
            pause_s = REST_S if before is None else min(before.pause_s * 2, LONGEST_REST_S)
            self._resting[name, venue] = _Rest(now + pause_s, pause_s)
        METRICS.count("proxy_failures_total", proxy=name)
        log.warning("a proxy does not work: others are taken, if there are any", proxy=name, venue=venue, reason=reason)

    def worked(self, name: str, venue: str = "") -> None:
        """A proxy let a connection through: to that venue, and so it lives."""
        with self._lock:
            rested = [self._resting.pop((name, one), None) for one in {"", venue}]
        if any(rested):
            log.info("a proxy works again", proxy=name, venue=venue)
