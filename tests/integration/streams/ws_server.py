"""A small scripted WebSocket server, plain or TLS, made of the standard library: the far end of the session tests.

It does what it is told and nothing else: each accepted connection is a `Peer` that the test drives.
"""

from __future__ import annotations

import base64
import datetime
import hashlib
import ipaddress
import queue
import select
import socket
import ssl
import struct
import threading
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

NAMES = [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
TEXT, BINARY, CLOSE, PING, PONG = 0x1, 0x2, 0x8, 0x9, 0xA
WAIT_S = 10.0


def certificate(folder: Path) -> Path:
    """A self-signed certificate for localhost and 127.0.0.1 with its key, in one PEM file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test venue")])
    now = datetime.datetime.now(datetime.UTC)
    cert = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName(NAMES), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    path = folder / "venue.pem"
    path.write_bytes(
        cert.public_bytes(serialization.Encoding.PEM)
        + key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return path


def frame(opcode: int, payload: bytes, *, fin: bool = True) -> bytes:
    """One unmasked frame, as a server sends it."""
    head = bytes([(0x80 if fin else 0) | opcode])
    if len(payload) < 126:
        return head + bytes([len(payload)]) + payload
    if len(payload) < 65536:
        return head + bytes([126]) + struct.pack("!H", len(payload)) + payload
    return head + bytes([127]) + struct.pack("!Q", len(payload)) + payload


class Peer:
    """The server's end of one connection. `frames` holds what the client sent, control frames included.

    One thread reads and writes, because two of them on one TLS connection kill it now and then.
    A deaf peer has no thread: it only writes, from the test's.
    """

    def __init__(self, sock: socket.socket, path: str, headers: dict[str, str], *, deaf: bool) -> None:
        self.sock, self.path, self.headers, self.deaf = sock, path, headers, deaf
        self.frames: queue.Queue[tuple[int, bytes]] = queue.Queue()
        self.gone = threading.Event()
        """The client's end is closed."""
        self._buffer = b""
        self._writes: queue.SimpleQueue[tuple[bytes, Future[None]]] = queue.SimpleQueue()
        self._wake, self._woken = socket.socketpair()

    def send(self, *frames: str | bytes) -> None:
        """Text frames, all in one write."""
        self.raw(b"".join(frame(TEXT, text.encode() if isinstance(text, str) else text) for text in frames))

    def raw(self, data: bytes) -> None:
        """Write; returns when it is written. Raises `OSError` if the client is gone."""
        if self.deaf:
            self.sock.sendall(data)
            return
        done: Future[None] = Future()
        self._writes.put((data, done))
        self._wake.send(b"w")
        done.result(WAIT_S)

    def close(self, code: int, reason: str = "") -> None:
        self.raw(frame(CLOSE, struct.pack("!H", code) + reason.encode()))

    def drop(self) -> None:
        """End the TCP connection without a word."""
        try:
            self.sock.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        if self.deaf:
            self.end()

    def next(self, *, control: bool = False, timeout_s: float = WAIT_S) -> str:
        """Text of the client's next data frame; with `control`, of the next frame of any kind."""
        while True:
            opcode, payload = self.frames.get(timeout=timeout_s)
            if control or opcode in (TEXT, BINARY):
                return payload.decode()

    def wait_for(self, wanted: int, timeout_s: float = WAIT_S) -> bytes:
        """Payload of the next frame of this opcode."""
        while True:
            opcode, payload = self.frames.get(timeout=timeout_s)
            if opcode == wanted:
                return payload

    def run(self) -> None:
        """Read and write until the client is gone (the peer's thread)."""
        try:
            while True:
                select.select([self.sock, self._woken], [], [], 30)
                self._write()
                if not self._read():
                    return
        except (OSError, ValueError):
            return
        finally:
            self.gone.set()
            self.end()

    def end(self) -> None:
        """Close the sockets; what still waits to be written fails."""
        for sock in (self.sock, self._wake, self._woken):
            sock.close()
        while not self._writes.empty():
            self._writes.get()[1].set_exception(ConnectionResetError("the client is gone"))

    def _write(self) -> None:
        while not self._writes.empty():
            data, done = self._writes.get()
            try:
                self.sock.settimeout(WAIT_S)
                self.sock.sendall(data)
            except OSError as error:
                done.set_exception(error)
                raise
            done.set_result(None)
            self._woken.recv(1)

    def _read(self) -> bool:
        """Take what is there; False at the end of the stream."""
        self.sock.settimeout(0)
        try:
            while data := self.sock.recv(65536):
                self._buffer += data
                while self._frame():
                    continue
        except (ssl.SSLWantReadError, BlockingIOError):
            return True
        return False

    def _frame(self) -> bool:
        """Take one whole frame from the buffer, if there is one."""
        data = self._buffer
        if len(data) < 2:
            return False
        length, at = data[1] & 0x7F, 2
        if length >= 126:
            size = 2 if length == 126 else 8
            if len(data) < at + size:
                return False
            length, at = int.from_bytes(data[at : at + size], "big"), at + size
        mask = bytes(4)
        if data[1] & 0x80:
            mask, at = data[at : at + 4], at + 4
        if len(data) < at + length:
            return False
        self._buffer = data[at + length :]
        payload = bytes(byte ^ mask[index % 4] for index, byte in enumerate(data[at : at + length]))
        self.frames.put((data[0] & 0x0F, payload))
        return True


class WsServer:
    """Listens on 127.0.0.1. `refusals` holds raw HTTP answers for the next upgrades; `read` = False makes deaf peers."""

    def __init__(self, pem: Path | None = None, on_peer: Callable[[Peer], None] | None = None) -> None:
        self._context: ssl.SSLContext | None = None
        if pem is not None:
            self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self._context.load_cert_chain(pem)
        self._on_peer = on_peer
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=256)
        self._listener.settimeout(0.2)
        self.port: int = self._listener.getsockname()[1]
        self.url = f"{'wss' if pem else 'ws'}://127.0.0.1:{self.port}/ws"
        self.refusals: queue.Queue[bytes] = queue.Queue()
        self.welcome = b""
        """Bytes that go out in the same write as the upgrade answer."""
        self.read = True
        self.peers: list[Peer] = []
        self.upgrades = 0
        self._new: queue.Queue[Peer] = queue.Queue()
        self._stopping = threading.Event()
        self._threads: list[threading.Thread] = []
        self._thread = threading.Thread(target=self._accept, name="ws-server", daemon=True)
        self._thread.start()

    def peer(self, timeout_s: float = WAIT_S) -> Peer:
        """The next accepted connection."""
        return self._new.get(timeout=timeout_s)

    def alive(self) -> int:
        """Connections whose client has not gone."""
        return sum(not peer.gone.is_set() for peer in self.peers)

    def stop(self) -> None:
        self._stopping.set()
        self._thread.join(WAIT_S)
        self._listener.close()
        for peer in self.peers:
            peer.drop()
        for thread in self._threads:
            thread.join(WAIT_S)

    def _accept(self) -> None:
        while not self._stopping.is_set():
            try:
                sock, _ = self._listener.accept()
            except TimeoutError:
                continue
            except OSError:
                return
            thread = threading.Thread(target=self._serve, args=(sock,), name="ws-peer", daemon=True)
            self._threads.append(thread)
            thread.start()

    def _serve(self, sock: socket.socket) -> None:
        sock.settimeout(30)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            if self._context is not None:
                sock = self._context.wrap_socket(sock, server_side=True)
            peer = self._upgrade(sock)
        except (OSError, EOFError):
            sock.close()
            return
        if peer is None:
            sock.close()
            return
        self.peers.append(peer)
        self._new.put(peer)
        if self._on_peer is not None:
            self._on_peer(peer)
        if not peer.deaf:
            peer.run()

    def _upgrade(self, sock: socket.socket) -> Peer | None:
        request = b""
        while b"\r\n\r\n" not in request:
            data = sock.recv(4096)
            if not data:
                raise EOFError
            request += data
        self.upgrades += 1
        lines = request.decode().split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:])}
        try:
            sock.sendall(self.refusals.get_nowait())
            return None
        except queue.Empty:
            pass
        key = headers["sec-websocket-key"] + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
        accept = base64.b64encode(hashlib.sha1(key.encode()).digest()).decode()
        sock.sendall(
            (
                "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                f"Sec-WebSocket-Accept: {accept}\r\n\r\n"
            ).encode()
            + self.welcome
        )
        return Peer(sock, lines[0].split(" ")[1], headers, deaf=not self.read)
