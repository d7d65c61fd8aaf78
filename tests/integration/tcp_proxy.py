"""A TCP proxy that can misbehave: cut, stall, swallow answers, refuse."""

from __future__ import annotations

import contextlib
import selectors
import socket
import struct
import threading
from collections.abc import Iterator

_RESET = struct.pack("ii", 1, 0)
"""SO_LINGER with time 0: close sends a reset."""
_CHUNK = 65536


class _Pair:
    """One proxied connection; `up` is what waits for the server, `down` what waits for the client."""

    def __init__(self, client: socket.socket, server: socket.socket) -> None:
        self.client = client
        self.server = server
        self.up = bytearray()
        self.down = bytearray()


class TcpProxy:
    """Listens on a port of its own and forwards to `host:port`, on one thread. Methods: any thread."""

    def __init__(self, host: str, port: int) -> None:
        self.connections = 0
        """Connections accepted so far."""
        self._target = (host, port)
        self._pairs: list[_Pair] = []
        self._up = True
        self._down = True
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self._listener: socket.socket | None = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._thread = threading.Thread(target=self._run, name="tcp-proxy", daemon=True)
        self._thread.start()

    def cut(self) -> None:
        """Reset every connection; new ones are accepted."""
        with self._lock:
            for pair in self._pairs:
                self._close(pair)
            self._pairs.clear()

    def stall(self, *, up: bool = True, down: bool = True) -> None:
        """Stop forwarding in these directions; the connections stay open and the bytes are kept."""
        with self._lock:
            self._up, self._down = not up, not down

    def resume(self) -> None:
        self.stall(up=False, down=False)

    def refuse(self) -> None:
        """Stop listening and reset every connection: "connection refused" from now on."""
        with self._lock:
            if self._listener is not None:
                self._listener.close()
                self._listener = None
        self.cut()

    def accept(self) -> None:
        """Listen again, on the same port."""
        with self._lock:
            if self._listener is None:
                self._listener = socket.create_server(("127.0.0.1", self.port))

    def close(self) -> None:
        self._ended.set()
        self._thread.join(5)
        self.refuse()

    def _run(self) -> None:
        while not self._ended.is_set():
            with self._lock:
                self._step()
            # Lets the other threads have the lock.
            self._ended.wait(0.001)

    def _step(self) -> None:
        with selectors.DefaultSelector() as selector:
            if self._listener is not None:
                selector.register(self._listener, selectors.EVENT_READ)
            for pair in self._pairs:
                selector.register(pair.client, selectors.EVENT_READ, pair)
                selector.register(pair.server, selectors.EVENT_READ, pair)
            for key, _ in selector.select(0.005):
                if key.data is None:
                    self._accept_one()
                elif key.data in self._pairs:
                    self._read(key.data, key.fileobj is key.data.client)
        for pair in list(self._pairs):
            self._write(pair)

    def _accept_one(self) -> None:
        assert self._listener is not None
        client, _ = self._listener.accept()
        try:
            server = socket.create_connection(self._target, 5)
        except OSError:
            client.close()
            return
        client.setblocking(False)
        server.setblocking(False)
        self.connections += 1
        self._pairs.append(_Pair(client, server))

    def _read(self, pair: _Pair, from_client: bool) -> None:
        buffer = pair.up if from_client else pair.down
        if len(buffer) > 64 * _CHUNK:
            return
        with contextlib.suppress(BlockingIOError):
            try:
                data = (pair.client if from_client else pair.server).recv(_CHUNK)
            except ConnectionError:
                data = b""
            if data:
                buffer += data
            else:
                self._close(pair)
                self._pairs.remove(pair)

    def _write(self, pair: _Pair) -> None:
        for buffer, target, flows in ((pair.up, pair.server, self._up), (pair.down, pair.client, self._down)):
            while flows and buffer:
                try:
                    del buffer[: target.send(buffer)]
                except BlockingIOError:
                    break
                except OSError:
                    self._close(pair)
                    self._pairs.remove(pair)
                    return

    def _close(self, pair: _Pair) -> None:
        for end in (pair.client, pair.server):
            with contextlib.suppress(OSError):
                end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            end.close()


@contextlib.contextmanager
def proxied(host: str, port: int) -> Iterator[TcpProxy]:
    proxy = TcpProxy(host, port)
    try:
        yield proxy
    finally:
        proxy.close()
