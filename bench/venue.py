"""A stub of Bybit's private side that costs little: accounts log in, and order frames go out at a fixed rate.

The simulator plays whole orders, at some 100 µs each; this sends frames made from one text, at a tenth of that, so that on a
machine with two cores the service is what is measured.
"""

from __future__ import annotations

import base64
import hashlib
import json
import selectors
import socket
import time
from multiprocessing.connection import Connection
from typing import Any, Final

ORDERS_PER_ACCOUNT: Final = 1_000_000
"""Order ids of account n are between n times this and the next."""
STEPS: Final = ("New", "Filled")
"""What happens to each order, one frame each."""
_GUID: Final = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_ANSWER: Final = {
    "retCode": 0, "retMsg": "OK", "result": {"unifiedMarginStatus": 6, "list": [], "nextPageCursor": ""}
}  # fmt: skip
"""Good for all that the adapter asks: a unified account without orders, positions and coins."""
_ORDER: Final = (
    '{"id":"%(id)d","topic":"order","creationTime":%(ms)d,"data":[{"category":"linear","symbol":"BTCUSDT",'
    '"orderId":"%(order)d","orderLinkId":"GRID-BO-%(order)d","side":"Buy","orderType":"Limit","orderStatus":"%(status)s",'
    '"cancelType":"UNKNOWN","rejectReason":"EC_NoError","price":"63800.00","qty":"0.015","leavesQty":"0","leavesValue":"0",'
    '"cumExecQty":"%(done)s","cumExecValue":"%(value)s","avgPrice":"%(average)s","cumExecFee":"0","timeInForce":"GTC",'
    '"stopOrderType":"","triggerPrice":"","takeProfit":"","stopLoss":"","reduceOnly":false,"closeOnTrigger":false,'
    '"positionIdx":0,"isLeverage":"0","blockTradeId":"","orderIv":"","smpType":"None","smpGroup":0,"smpOrderId":"",'
    '"feeCurrency":"","createdTime":"%(ms)d","updatedTime":"%(ms)d","cumFeeDetail":{}}]}'
)


def key_of(order_id: int, status: str) -> int:
    """One number for an order's step; it rises along each account's frames."""
    return order_id * len(STEPS) + (status.upper() == STEPS[-1].upper())


def account_of(key: int) -> int:
    return key // len(STEPS) // ORDERS_PER_ACCOUNT


def order_frame(account: int, number: int, now_ms: int) -> tuple[int, bytes]:
    """The `number`-th frame of an account, as it goes over the wire, and its key."""
    step = number % len(STEPS)
    order_id = account * ORDERS_PER_ACCOUNT + 1 + number // len(STEPS)
    done = step == len(STEPS) - 1
    text = _ORDER % {
        "id": number, "ms": now_ms, "order": order_id, "status": STEPS[step],
        "done": "0.015" if done else "0", "value": "957" if done else "0", "average": "63800" if done else "",
    }  # fmt: skip
    return key_of(order_id, STEPS[step]), framed(text.encode())


def framed(payload: bytes) -> bytes:
    """A text frame of a server (RFC 6455)."""
    if len(payload) < 126:
        return b"\x81" + bytes([len(payload)]) + payload
    return b"\x81\x7e" + len(payload).to_bytes(2, "big") + payload


def unframed(data: bytearray) -> list[tuple[int, bytes]]:
    """Take the whole frames of a client off the front of `data`: (opcode, payload). None is longer than 64 KiB."""
    frames = []
    while len(data) >= 6:
        length, start = data[1] & 0x7F, 2
        if length == 126:
            length, start = int.from_bytes(data[2:4], "big"), 4
        if len(data) < start + 4 + length:
            break
        mask, body = data[start : start + 4], data[start + 4 : start + 4 + length]
        frames.append((data[0] & 0x0F, bytes(byte ^ mask[place % 4] for place, byte in enumerate(body))))
        del data[: start + 4 + length]
    return frames


class _Peer:
    """One TCP connection: HTTP until it is upgraded."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.data = bytearray()
        self.upgraded = False


class Venue:
    """Turned by `serve` in a process of its own. Account n logs in with the key `key-n`."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=1_000)
        self.port: int = self._listener.getsockname()[1]
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._listener, selectors.EVENT_READ, None)
        self._accounts: dict[int, socket.socket] = {}
        self._numbers: dict[int, int] = {}

    def serve(self, pipe: Connection) -> None:
        """Orders over the pipe: (events a second, seconds) → the frames that went out as (key, monotonic time)."""
        pipe.send(self.port)
        self._selector.register(pipe.fileno(), selectors.EVENT_READ, pipe)
        while True:
            if self._turn(1.0):
                rate, seconds = pipe.recv()
                pipe.send(self._flow(rate, seconds))

    def _flow(self, rate: float, seconds: float) -> list[tuple[int, float]]:
        accounts = sorted(self._accounts)
        sent: list[tuple[int, float]] = []
        began = time.monotonic()
        while (elapsed := time.monotonic() - began) < seconds:
            while len(sent) < elapsed * rate:
                sent.append(self._send(accounts[len(sent) % len(accounts)]))
            self._turn(min(0.002, max(0.0, len(sent) / rate - (time.monotonic() - began))))
        return sent

    def _send(self, account: int) -> tuple[int, float]:
        number = self._numbers.get(account, 0)
        self._numbers[account] = number + 1
        key, data = order_frame(account, number, time.time_ns() // 1_000_000)
        now = time.monotonic()
        self._accounts[account].sendall(data)
        return key, now

    def _turn(self, wait_s: float) -> bool:
        """Serve what came in; True if it is an order of the parent."""
        asked = False
        for entry, _ in self._selector.select(wait_s):
            if entry.data is None:
                sock, _ = self._listener.accept()
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                self._selector.register(sock, selectors.EVENT_READ, _Peer(sock))
            elif isinstance(entry.data, _Peer):
                self._read(entry.data)
            else:
                asked = True
        return asked

    def _read(self, peer: _Peer) -> None:
        try:
            data = peer.sock.recv(65_536)
        except ConnectionError:
            data = b""
        if not data:
            self._selector.unregister(peer.sock)
            peer.sock.close()
            return
        peer.data += data
        while not peer.upgraded and (end := peer.data.find(b"\r\n\r\n")) >= 0:
            head = bytes(peer.data[:end])
            del peer.data[: end + 4]
            self._request(peer, head)
        if peer.upgraded:
            for opcode, payload in unframed(peer.data):
                if opcode == 0x9:
                    peer.sock.sendall(b"\x8a" + bytes([len(payload)]) + payload)
                elif opcode == 0x1:
                    self._operation(peer, json.loads(payload))

    def _request(self, peer: _Peer, head: bytes) -> None:
        fields = {name.strip().lower(): value.strip() for name, _, value in map(_parted, head.split(b"\r\n")[1:])}
        key = fields.get(b"sec-websocket-key")
        if key is None:
            body = json.dumps({**_ANSWER, "time": time.time_ns() // 1_000_000}).encode()
            start = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(body)
            peer.sock.sendall(start + body)
            return
        accept = base64.b64encode(hashlib.sha1(key + _GUID, usedforsecurity=False).digest())
        peer.sock.sendall(
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Accept: %b\r\n\r\n" % accept
        )
        peer.upgraded = True

    def _operation(self, peer: _Peer, request: dict[str, Any]) -> None:
        op = request["op"]
        if op == "auth":
            self._accounts[int(request["args"][0].removeprefix("key-"))] = peer.sock
        answer: dict[str, Any] = {"success": True, "ret_msg": "", "conn_id": "stub", "op": op}
        if op == "ping":
            answer = {"op": "pong", "args": [str(time.time_ns() // 1_000_000)], "conn_id": "stub"}
        if request.get("req_id"):
            answer["req_id"] = request["req_id"]
        peer.sock.sendall(framed(json.dumps(answer).encode()))


def _parted(line: bytes) -> tuple[bytes, bytes, bytes]:
    return line.partition(b":")


def play(pipe: Connection) -> None:
    """The process of the venue."""
    Venue().serve(pipe)
