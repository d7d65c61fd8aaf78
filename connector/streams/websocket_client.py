"""Connections over websocket-client, and the pool of threads that opens them: DNS, TCP, TLS, upgrade, each with a timeout.

The one file of this room that knows websocket-client and the errors of TLS.
"""

from __future__ import annotations

import errno
import socket
import ssl
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final
from urllib.parse import urlsplit

import websocket
from websocket import ABNF

from connector.core.clock import SystemClock
from connector.core.errors import InvalidSetting
from connector.core.log import get_logger
from connector.streams.dial import Dial
from connector.streams.egress import Egresses, NoWayThere
from connector.streams.endpoints import Endpoints
from connector.streams.transport import DialFailure, Kind, Transport, TransportLost
from connector.streams.tunnel import reach
from exchanges._times import retry_after_s

log = get_logger(__name__)

SEND_TIMEOUT_S: Final = 1.0
GOODBYE_TIMEOUT_S: Final = 0.2
MAX_FRAME_BYTES: Final = 64 * 1024 * 1024
"""Of a frame, and of a message in fragments. The largest known ones (all tickers of a market) have some hundred kB."""
MAX_FRAGMENTS: Final = 4_096
"""Of one message: whoever sends more never comes to its end."""

_WOULD_BLOCK = (ssl.SSLWantReadError, BlockingIOError)
_BROKEN = (OSError, websocket.WebSocketException)
_TOO_MANY: Final = frozenset({418, 429})
"""Statuses of a refused upgrade that mean our own address, wherever else we try."""
_DATA: Final = frozenset({ABNF.OPCODE_TEXT, ABNF.OPCODE_BINARY, ABNF.OPCODE_CONT})
_MAX_CONTROL_BYTES: Final = 125
"""Of a control frame (RFC 6455, 5.5)."""
READ_BYTES: Final = 16_384
"""Asked of a socket at a time: several small frames, or one record of TLS."""


class Connection(websocket.WebSocket):
    """A connection whose reads never fail because an answer to a control frame could not be sent.

    The library asks for the parts of a frame one after the other, and then for the next frame. Here the socket is asked for
    all that it has, and not again once it gave less than was asked for: nothing of a TLS record is left then, and what comes
    later shows in the poller.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._ahead = b""
        """Read and not asked for yet, from `_at` on."""
        self._at = 0
        self._emptied = False
        """The last read got all that the socket had."""

    def pong(self, payload: str | bytes = b"") -> None:
        """Pings are answered by the session, whose writes have a timeout: nothing is sent from inside a read."""

    def _recv(self, bufsize: int) -> bytes:
        """What the socket has. A frame of absurd size ends the connection before it is read: it may come without a pause."""
        if (self.frame_buffer.length or 0) > MAX_FRAME_BYTES:
            raise websocket.WebSocketPayloadException("a frame of absurd size was announced")
        if self._at == len(self._ahead):
            if self._emptied:
                self._emptied = False
                raise BlockingIOError
            asked = max(bufsize, READ_BYTES)
            self._ahead, self._at = super()._recv(asked), 0  # type: ignore[no-untyped-call]
            self._emptied = len(self._ahead) < asked
        start, self._at = self._at, min(self._at + bufsize, len(self._ahead))
        return self._ahead[start : self._at]

    def recv_frame(self) -> ABNF:
        """One frame. A server must not mask (RFC 6455, 5.1): whoever does is no venue, and the connection fails."""
        frame: ABNF = super().recv_frame()  # type: ignore[no-untyped-call]
        if frame.mask_value:
            raise websocket.WebSocketProtocolException("a masked frame from the server")
        return frame

    def send_close(self, status: int = websocket.STATUS_NORMAL, reason: str | bytes = b"") -> None:
        """Say goodbye if that is possible; the venue's own close code counts, not whether it still listens (A12)."""
        try:
            super().send_close(status, reason)
        except _BROKEN as error:
            log.debug("no close frame could be sent", error=type(error).__name__)


class WebSocketTransport:
    """A `Transport` over a connected `Connection`, which it makes non-blocking. Fragments are joined here: the library would
    read on, for ever perhaps, until the message has an end."""

    __slots__ = ("_connection", "_parts", "_size")

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._parts: list[bytes] = []
        self._size = 0
        connection.settimeout(0)

    def read(self) -> tuple[Kind, bytes] | None:
        connection = self._connection
        try:
            frame = connection.recv_frame()
            data: bytes = frame.data  # type: ignore[assignment]  # text is what one sends
            if frame.opcode in _DATA:
                return self._joined(frame, data)
            if len(data) > _MAX_CONTROL_BYTES:
                raise websocket.WebSocketProtocolException("a control frame is too long")
            if frame.opcode == ABNF.OPCODE_CLOSE:
                connection.send_close()
                return Kind.CLOSE, data
        except _WOULD_BLOCK:
            return None
        except _BROKEN as error:
            raise TransportLost(f"connection lost: {type(error).__name__}: {error}") from error
        return (Kind.PING if frame.opcode == ABNF.OPCODE_PING else Kind.PONG), data

    def _joined(self, frame: ABNF, data: bytes) -> tuple[Kind, bytes]:
        """The message, if this is its last frame."""
        parts, more = self._parts, frame.opcode == ABNF.OPCODE_CONT
        if more != bool(parts):
            raise websocket.WebSocketProtocolException("a fragment without a beginning, or a message within another")
        if frame.fin and not more:
            return Kind.DATA, data
        parts.append(data)
        self._size += len(data)
        if len(parts) > MAX_FRAGMENTS or self._size > MAX_FRAME_BYTES:
            raise websocket.WebSocketPayloadException("a message in fragments does not end")
        if not frame.fin:
            return Kind.PART, b""
        whole = b"".join(parts)
        self._parts, self._size = [], 0
        return Kind.DATA, whole

    def send(self, text: str) -> None:
        self._write(text, ABNF.OPCODE_TEXT)

    def ping(self) -> None:
        self._write(b"", ABNF.OPCODE_PING)

    def pong(self, payload: bytes) -> None:
        self._write(payload, ABNF.OPCODE_PONG)

    def _write(self, payload: str | bytes, opcode: int) -> None:
        # A send that stops half way leaves the stream broken, so it gets a short blocking timeout.
        connection = self._connection
        try:
            connection.settimeout(SEND_TIMEOUT_S)
            connection.send(payload, opcode)
            connection.settimeout(0)
        except _BROKEN as error:
            raise TransportLost(f"send failed: {type(error).__name__}: {error}") from error

    def say_goodbye(self) -> None:
        try:
            self._connection.settimeout(GOODBYE_TIMEOUT_S)
            self._connection.send_close()
        except _BROKEN as error:
            log.debug("no close frame could be sent", error=type(error).__name__)

    def close(self) -> None:
        sock: socket.socket | None = self._connection.sock
        if sock is not None:
            try:
                sock.close()
            except OSError as error:
                log.debug("closing a socket failed", error=str(error))
            self._connection.sock = None
            self._connection.connected = False

    @property
    def closed(self) -> bool:
        return self._connection.sock is None

    def fileno(self) -> int:
        sock: socket.socket | None = self._connection.sock
        return sock.fileno() if sock is not None else -1


def tls_context(ca_file: str = "") -> ssl.SSLContext:
    """The one context of a process: certificates are always verified; `ca_file` adds a private authority. Raises
    `InvalidSetting` for a file that holds none."""
    context = ssl.create_default_context()
    if ca_file:
        try:
            context.load_verify_locations(ca_file)
        except OSError as error:  # also `ssl.SSLError`
            raise InvalidSetting(f"VENUE_CA_FILE: no certificate authority in {ca_file}: {error}") from None
    return context


class SocketOpener:
    """Opens connections on a pool of threads. Any thread; the callback runs on a pool thread."""

    def __init__(self, endpoints: Endpoints, context: ssl.SSLContext, threads: int, egresses: Egresses) -> None:
        self._endpoints, self._context, self._egresses = endpoints, context, egresses
        self.width = threads
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="connect")

    def open(self, dial: Dial, done: Callable[[Transport | DialFailure], None]) -> bool:
        return self.aside(lambda: done(self._open(dial)))

    def aside(self, work: Callable[[], None]) -> bool:
        try:
            self._pool.submit(work)
        except RuntimeError:  # the pool is shut down
            return False
        return True

    def stop(self) -> None:
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _open(self, dial: Dial) -> Transport | DialFailure:
        """The venue's address; then the others that it has, while none can be opened. "Too many" is an answer."""
        if self._egresses.rests(dial.venue, dial.egress):
            return DialFailure(f"{dial.egress} did not work a moment ago: another way is taken")
        result = self._try(dial, dial.connect.url)
        for url in dial.connect.others:
            if not isinstance(result, DialFailure) or result.status in _TOO_MANY:
                break
            if self._egresses.rests(dial.venue, dial.egress):  # it was the proxy
                break
            log.warning("an address of the venue can't be opened: the next one is tried", venue=dial.venue)
            result = self._try(dial, url)
        return result

    def _try(self, dial: Dial, address: str) -> Transport | DialFailure:
        try:
            return self.connect(dial, address)
        except websocket.WebSocketBadStatusException as error:
            return _refused(error)
        except (OSError, ssl.SSLError, websocket.WebSocketException, ValueError) as error:
            if isinstance(error, OSError) and error.errno in {errno.EMFILE, errno.ENFILE}:
                log.error(
                    "no file descriptor left for another connection: raise the limit (ulimit -n) above MAX_STREAMS"
                )
            return DialFailure(f"{type(error).__name__}: {error}")
        except Exception as error:
            log.exception("unexpected error while connecting", venue=dial.venue)
            return DialFailure(f"{type(error).__name__}: {error}")

    def connect(self, dial: Dial, address: str) -> Transport:
        url = self._endpoints.resolve(address)
        parts = urlsplit(url)
        secure = parts.scheme == "wss"
        host, port = parts.hostname or "", parts.port or (443 if secure else 80)
        timeout_s = dial.limits.connect_timeout_s
        sock = self._reached(dial, host, port, timeout_s, secure)
        try:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            if secure:
                sock = self._context.wrap_socket(sock, server_hostname=host)
            connection = Connection(skip_utf8_validation=True, enable_multithread=False)
            connection.connect(  # type: ignore[no-untyped-call]
                url,
                socket=sock,
                timeout=timeout_s,
                header=[f"{name}: {value}" for name, value in dial.connect.headers],
                suppress_origin=True,
                redirect_limit=0,
            )
        except BaseException:
            sock.close()
            raise
        return WebSocketTransport(connection)

    def _reached(self, dial: Dial, host: str, port: int, timeout_s: float, secure: bool) -> socket.socket:
        try:
            sock = reach(self._egresses, dial.egress, host, port, timeout_s, secure=secure)
        except NoWayThere as error:
            self._egresses.failed(dial.egress, str(error), dial.venue)
            raise
        self._egresses.worked(dial.egress, dial.venue)
        return sock


def _refused(error: websocket.WebSocketBadStatusException) -> DialFailure:
    """The HTTP status of a refused upgrade, with what the venue said (bug C7)."""
    headers: Mapping[str, str] = {str(k).lower(): str(v) for k, v in (error.resp_headers or {}).items()}
    text = (error.resp_body or b"")[:200].decode("utf-8", "replace")
    return DialFailure(
        f"upgrade refused with HTTP {error.status_code} {text}".strip(),
        status=int(error.status_code),
        retry_after_s=retry_after_s(headers.get("retry-after"), SystemClock().wall_ms()),
    )
