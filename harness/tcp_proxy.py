"""A TCP relay between a service and its server that can misbehave: cut, hold everything back, refuse, answer late."""

from __future__ import annotations

import contextlib
import selectors
import socket
import struct
import threading
import time
from collections import deque

RESET = struct.pack("ii", 1, 0)
"""SO_LINGER with time 0: close sends a reset."""
CHUNK = 65_536
MAX_HELD = 64 * CHUNK
"""Bytes that wait in one direction before the relay stops reading: then the sender feels the pressure, as on a real link."""


class _Flow:
    """One direction of one connection."""

    __slots__ = ("held", "held_bytes", "source", "target")

    def __init__(self, source: socket.socket, target: socket.socket) -> None:
        self.source, self.target = source, target
        self.held: deque[tuple[float, bytes]] = deque()
        """Data with the time from which it may go on."""
        self.held_bytes = 0


class TcpProxy:
    """Listens on a port of its own (`at`: the address) and forwards to `host:port`, on one thread. Methods: any other
    thread."""

    def __init__(self, host: str, port: int, at: str = "127.0.0.1") -> None:
        self._at = at
        self.accepted = 0
        self._target = (host, port)
        self._selector = selectors.DefaultSelector()
        self._flows: dict[socket.socket, _Flow] = {}
        self._lock = threading.RLock()
        self._stalled = False
        self._delay_s = 0.0
        self._ended = False
        self._wake_in, self._wake_out = socket.socketpair()
        self._wake_in.setblocking(False)
        self._selector.register(self._wake_in, selectors.EVENT_READ)
        self._listener: socket.socket | None = None
        self.port = 0
        self.accept()
        self._thread = threading.Thread(target=self._run, name="tcp-proxy", daemon=True)
        self._thread.start()

    # --- any thread ---

    def cut(self) -> None:
        """Reset every connection; new ones are accepted."""
        with self._lock:
            for source in list(self._flows):
                self._drop(source)

    def stall(self) -> None:
        """Half-open: connections stay and new ones are accepted, but no byte passes until `resume`."""
        with self._lock:
            self._stalled = True

    def resume(self) -> None:
        with self._lock:
            self._stalled = False
            self._delay_s = 0.0
        self._wake()

    def delay(self, seconds: float) -> None:
        """Every byte arrives this much later, until `resume`."""
        with self._lock:
            self._delay_s = seconds

    def refuse(self) -> None:
        """Connection refused from now on, and every connection is reset."""
        with self._lock:
            if self._listener is not None:
                self._selector.unregister(self._listener)
                self._listener.close()
                self._listener = None
            self.cut()

    def accept(self) -> None:
        """Listen (again, on the same port)."""
        with self._lock:
            if self._listener is None:
                self._listener = socket.create_server((self._at, self.port), backlog=128)
                self._listener.setblocking(False)
                self.port = self._listener.getsockname()[1]
                self._selector.register(self._listener, selectors.EVENT_READ)
        self._wake()

    def heal(self) -> None:
        """Back to a plain relay."""
        self.accept()
        self.resume()

    @property
    def connections(self) -> int:
        return len(self._flows) // 2

    def close(self) -> None:
        self._ended = True
        self._wake()
        self._thread.join(5.0)
        with self._lock:
            self.refuse()
            self._selector.close()
            self._wake_in.close()
            self._wake_out.close()

    def _wake(self) -> None:
        with contextlib.suppress(OSError):
            self._wake_out.send(b"x")

    # --- own thread ---

    def _run(self) -> None:
        while not self._ended:
            ready = self._selector.select(self._pause_s())
            with self._lock:
                for key, _ in ready:
                    self._handle(key.fileobj)
                for flow in list(self._flows.values()):
                    if flow.held and not self._stalled:
                        self._forward(flow)

    def _pause_s(self) -> float:
        with self._lock:
            waiting = [flow.held[0][0] for flow in self._flows.values() if flow.held]
            if self._stalled or not waiting:
                return 0.5
            return min(max(0.001, min(waiting) - time.monotonic()), 0.5)

    def _handle(self, ready: object) -> None:
        if ready is self._wake_in:
            with contextlib.suppress(BlockingIOError):
                self._wake_in.recv(CHUNK)
        elif ready is self._listener and self._listener is not None:
            self._accept_one(self._listener)
        elif isinstance(ready, socket.socket) and ready in self._flows:
            self._read(self._flows[ready])

    def _accept_one(self, listener: socket.socket) -> None:
        try:
            client, _ = listener.accept()
        except OSError:
            return
        try:
            server = socket.create_connection(self._target, 5.0)
        except OSError:
            client.close()
            return
        self.accepted += 1
        for sock in (client, server):
            sock.setblocking(False)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for source, target in ((client, server), (server, client)):
            self._flows[source] = _Flow(source, target)
            self._selector.register(source, selectors.EVENT_READ)

    def _read(self, flow: _Flow) -> None:
        try:
            data = flow.source.recv(CHUNK)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            if self._stalled:
                # A half-open link does not tell that the other end has gone.
                self._selector.unregister(flow.source)
                flow.held.append((0.0, b""))
            else:
                flow.held.append((0.0, b""))
                self._forward(flow)
            return
        flow.held.append((time.monotonic() + self._delay_s, data))
        flow.held_bytes += len(data)
        if flow.held_bytes > MAX_HELD:
            self._selector.unregister(flow.source)

    def _forward(self, flow: _Flow) -> None:
        now = time.monotonic()
        full = flow.held_bytes > MAX_HELD
        while flow.held and flow.held[0][0] <= now:
            due, data = flow.held.popleft()
            if not data:
                self._drop(flow.source)
                return
            try:
                sent = flow.target.send(data)
            except BlockingIOError:
                sent = 0
            except OSError:
                self._drop(flow.source)
                return
            flow.held_bytes -= sent
            if sent < len(data):
                flow.held.appendleft((max(due, now + 0.005), data[sent:]))
                break
        if full and flow.held_bytes <= MAX_HELD and flow.source in self._flows:
            self._selector.register(flow.source, selectors.EVENT_READ)

    def _drop(self, source: socket.socket) -> None:
        """End a connection, both ways, with a reset."""
        flow = self._flows.get(source)
        if flow is None:
            return
        for end in (flow.source, flow.target):
            self._flows.pop(end, None)
            with contextlib.suppress(KeyError, ValueError):
                self._selector.unregister(end)
            with contextlib.suppress(OSError):
                end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
            end.close()
