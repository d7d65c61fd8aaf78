"""The way between the processes and the venues: sockets, upgrades and REST calls over the simulator's pure hub.

Frames take a moment in each direction and keep their order per connection. A connection may stop carrying anything without
either end knowing (`half_open` of the simulator, `cut` of a whole host).
"""

from __future__ import annotations

import itertools
import random
from collections import deque
from collections.abc import Callable
from email.utils import formatdate
from typing import Final
from urllib.parse import urlsplit

import requests

from connector.streams.transport import DialFailure, Kind, TransportLost
from exchanges._adapter import Answer, Call, Connect
from exchanges._venue import Limits, Rate
from harness.worlds.blocking import host
from harness.worlds.kernel import EPOCH_MS, Host, Kernel, Timer
from simulator._link import Action, Link
from simulator._venue import Close, Frame, Instant, Ping, Request
from simulator.hub import Hub

WAY_S: Final = (0.002, 0.04)
CONNECT_TIMEOUT_S: Final = 5.0
LOOK_S: Final = 0.05


class Where:
    """The network of the world that runs."""

    venues: Venues | None = None


def venues() -> Venues:
    if Where.venues is None:
        raise RuntimeError("no world runs")
    return Where.venues


class Venues:
    """All venues, and who reaches them."""

    def __init__(self, kernel_: Kernel, hub: Hub, chance: random.Random) -> None:
        self.kernel, self.hub, self.chance = kernel_, hub, chance
        self.sockets: dict[int, WebSocket] = {}
        self.numbers = itertools.count(1000)
        self.dials: list[tuple[float, str, str]] = []
        """When which host opened a connection to which venue."""
        self._cut: set[Host] = set()
        self._pulse()

    def now(self) -> Instant:
        return Instant(self.kernel.now, EPOCH_MS + int(self.kernel.now * 1000))

    def _pulse(self) -> None:
        due = self.hub.pulse(self.now())
        self.kernel.at(max(due, self.kernel.now + 0.05), self._pulse)

    def cut_off(self, host_: Host) -> bool:
        return host_ in self._cut

    def cut(self, host_: Host) -> None:
        """Nothing comes from any venue any more and nothing gets there."""
        self._cut.add(host_)

    def mend(self, host_: Host) -> None:
        """TCP sends again what got lost: connections that both ends kept go on as if it had only taken long."""
        self._cut.discard(host_)
        for socket in list(self.sockets.values()):
            if socket.host is host_:
                socket.retransmit()

    def host_died(self, host_: Host) -> None:
        """Its kernel resets the connections."""
        for socket in list(self.sockets.values()):
            if socket.host is host_ and not socket.closed:
                socket.gone()

    def request(self, call: Call, egress: str) -> Answer:
        """One REST call of the process that asks. Raises what `requests` raises."""
        url = urlsplit(call.url)
        found = Request(
            method=call.method,
            host=url.hostname or "",
            path=url.path,
            query=url.query,
            headers={name.lower(): value for name, value in dict(call.headers).items()},
            body=(call.body or "").encode(),
            remote=egress or host().name,
        )
        until = self.kernel.now + call.timeout_s
        self.kernel.wait(self.chance.uniform(*WAY_S))
        if self.cut_off(host()):
            self._unanswered(until)
        if self.hub.unreachable_until > self.kernel.now:
            raise requests.ConnectionError("refused")
        result = self.hub.rest(self.hub.hosts[found.host], found, self.now())
        if result.delay_s:
            if self.kernel.now + result.delay_s > until:
                self._unanswered(until)
            self.kernel.wait(result.delay_s)
        self.kernel.wait(self.chance.uniform(*WAY_S))
        if self.cut_off(host()):
            self._unanswered(until)
        if result.reply is None:
            raise requests.ConnectionError("reset")
        headers = {name.lower(): value for name, value in result.reply.headers.items()}
        headers.setdefault("date", formatdate(self.now().wall_ms / 1000, usegmt=True))  # as every venue does
        return Answer(result.reply.status, headers, result.reply.body)

    def ask(self, call: Call, egress: str) -> Answer:
        """One question over a socket of its own."""
        until = self.kernel.now + call.timeout_s
        once = Rate(1, 1.0)
        try:
            socket = self.dial(Connect(call.url), Limits(connects=once, messages=once), egress)
        except OSError as error:
            return Answer(0, {}, b"", type(error).__name__)
        if isinstance(socket, DialFailure):
            return Answer(socket.status or 0, {}, b"", socket.reason)
        try:
            socket.send(call.body or "")
            while self.kernel.now < until:
                frame = socket.read()
                if frame is None:
                    self.kernel.wait(LOOK_S)
                elif frame[0] is Kind.DATA and call.until.encode() in frame[1]:
                    return Answer(200, {}, frame[1])
        except TransportLost as error:
            return Answer(0, {}, b"", str(error))
        finally:
            socket.close()
        return Answer(0, {}, b"", "no frame answered in time")

    def _unanswered(self, until: float) -> None:
        self.kernel.wait(max(0.0, until - self.kernel.now))
        raise requests.Timeout("no answer")

    def dial(self, connect: Connect, limits: Limits, egress: str) -> WebSocket | DialFailure:
        """One upgrade of the process that asks. Raises `OSError` when nobody answers."""
        url = urlsplit(connect.url)
        request = Request(
            method="GET",
            host=url.hostname or "",
            path=url.path or "/",
            query=url.query,
            headers={name.lower(): value for name, value in dict(connect.headers).items()},
            remote=egress or host().name,
        )
        self.kernel.wait(self.chance.uniform(*WAY_S) * 3)
        if self.cut_off(host()):
            self.kernel.wait(limits.connect_timeout_s)
            raise TimeoutError("timed out")
        if self.hub.unreachable_until > self.kernel.now:
            raise ConnectionRefusedError("Connection refused")
        answer = self.hub.connect(self.hub.hosts[request.host], request, self.now())
        if answer is None:
            raise ConnectionResetError("Connection reset by peer")
        if not isinstance(answer, Link):
            after = {name.lower(): value for name, value in answer.headers.items()}.get("retry-after", "")
            return DialFailure(
                f"upgrade refused with HTTP {answer.status}",
                status=answer.status,
                retry_after_s=float(after) if after.isdigit() else None,
            )
        self.dials.append((self.kernel.now, host().name, answer.venue))
        socket = WebSocket(self, answer, host())
        self.hub.opened(answer, self.now())
        return socket


class WebSocket:
    """The client's end of one connection to a venue, as a session sees it (`Transport`)."""

    def __init__(self, network: Venues, link: Link, owner: Host) -> None:
        self.network, self.link, self.host = network, link, owner
        self.number = next(network.numbers)
        self.closed = False
        self.readable: Callable[[], None] = _nobody
        """Told when there is something to read; the poller sets it."""
        self._arrived: deque[Action | None] = deque()
        self._reset = False
        self._arrives = {True: 0.0, False: 0.0}
        self._lost: list[Callable[[], None]] = []
        """What could not arrive while the host was cut off."""
        self._timer: Timer | None = None
        self._timer_due = 0.0
        network.sockets[link.link_id] = self
        link.notify = self._notified
        link.cut = self._aborted
        self._notified()

    # --- the venue's side ---

    def _notified(self) -> None:
        """The venue's outbox or deadlines changed."""
        kern = self.network.kernel
        due = self.link.deadline()
        if due is None:
            return
        due = max(due, kern.now)
        if self._timer is not None and self._timer.work is not None and self._timer_due <= due:
            return
        if self._timer is not None:
            self._timer.cancel()
        self._timer_due = due
        self._timer = kern.at(due, self._serve)

    def _serve(self) -> None:
        self._timer = None
        network, link = self.network, self.link
        if link.link_id in network.hub.links:
            network.hub.woken(link, network.now())
        for action in link.take(network.kernel.now):
            self._send_down(action)
        if link.ending and not link.aborted and link.link_id in network.hub.links:
            network.hub.closed(link, network.now())
            self._send_down(None)
        if link.link_id in network.hub.links:
            self._notified()

    def _aborted(self) -> None:
        """A reset: what is on its way does not arrive."""
        self._reset = True
        self.network.hub.closed(self.link, self.network.now())
        self.network.sockets.pop(self.link.link_id, None)
        self._travel(False, self._poke)

    def _send_down(self, action: Action | None) -> None:
        def arrive() -> None:
            self._arrived.append(action)
            self._poke()

        self._travel(False, arrive)

    def retransmit(self) -> None:
        lost, self._lost = self._lost, []
        for work in lost:
            work()

    def _poke(self) -> None:
        if not self.closed:
            self.readable()

    def _travel(self, up: bool, work: Callable[[], None]) -> None:
        kern = self.network.kernel
        when = max(self._arrives[up], kern.now + self.network.chance.uniform(*WAY_S))
        self._arrives[up] = when

        def arrive() -> None:
            if self.network.cut_off(self.host):
                self._lost.append(work)
            else:
                work()

        kern.at(when, arrive)

    # --- the session's side ---

    def has_input(self) -> bool:
        return bool(self._arrived) or self._reset

    def fileno(self) -> int:
        return -1 if self.closed else self.number

    def read(self) -> tuple[Kind, bytes] | None:
        if not self._arrived:
            if self._reset:
                raise TransportLost("connection lost: ConnectionResetError: reset by peer")
            return None
        action = self._arrived.popleft()
        if action is None:
            raise TransportLost("connection lost: the remote host closed it")
        if isinstance(action, Frame):
            return Kind.DATA, action.data.encode() if isinstance(action.data, str) else action.data
        if isinstance(action, Close):
            return Kind.CLOSE, action.code.to_bytes(2, "big") + action.reason.encode()
        return Kind.PING if isinstance(action, Ping) else Kind.PONG, action.payload

    def send(self, text: str) -> None:
        self._send_up(lambda hub, now: hub.received(self.link, text, now))

    def ping(self) -> None:
        self._send_up(lambda hub, now: hub.pinged(self.link, b"", now))

    def pong(self, payload: bytes) -> None:
        self._send_up(lambda hub, now: hub.ponged(self.link, payload, now))

    def _send_up(self, deed: Callable[[Hub, Instant], None]) -> None:
        if self._reset or self.closed:
            raise TransportLost("send failed: ConnectionResetError: reset by peer")

        def arrive() -> None:
            hub = self.network.hub
            if self.link.link_id in hub.links:
                deed(hub, self.network.now())
                self._notified()

        self._travel(True, arrive)

    def say_goodbye(self) -> None:
        """The venue hears of it when the connection closes."""

    def close(self) -> None:
        if not self.closed and self.host.alive:
            self.gone()

    def gone(self) -> None:
        """The client's end is closed; the venue hears of it a moment later."""
        self.closed = True
        self.link.notify = _nobody
        self._travel(True, self._closed)

    def _closed(self) -> None:
        self.network.sockets.pop(self.link.link_id, None)
        self.network.hub.closed(self.link, self.network.now())


def _nobody() -> None:
    return None
