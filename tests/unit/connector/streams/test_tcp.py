"""Connecting to hosts with dead addresses, and what a client must not take from a server."""

from __future__ import annotations

import queue
import select
import socket
import threading
import time
from collections.abc import Callable, Iterator

import pytest
import websocket

from connector.streams import tcp, websocket_client
from connector.streams.transport import Kind, TransportLost
from connector.streams.websocket_client import Connection, WebSocketTransport

V4, V6 = socket.AF_INET, socket.AF_INET6


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server


def silent() -> socket.socket:
    """A socket that never becomes writable, as one whose SYN is swallowed."""
    mine, _theirs = socket.socketpair()
    KEPT.append(_theirs)
    mine.setblocking(False)
    try:
        while True:
            mine.send(bytes(65_536))
    except BlockingIOError:
        return mine


KEPT: list[socket.socket] = []


def resolve_to(monkeypatch: pytest.MonkeyPatch, addresses: list[tcp.Address]) -> list[tcp.Address]:
    """The resolver gives these; returns the list of attempts. Addresses called `dead` swallow everything."""
    attempts: list[tcp.Address] = []
    begun = tcp._begun

    def begin(address: tcp.Address, source_ip: str) -> socket.socket:
        attempts.append(address)
        return silent() if address[1][0] == "dead" else begun(address, source_ip)

    monkeypatch.setattr(tcp, "_resolved", lambda host, port, source_ip, timeout_s: addresses)
    monkeypatch.setattr(tcp, "_begun", begin)
    return attempts


def test_dead_addresses_cost_a_fraction_of_a_second_each(
    monkeypatch: pytest.MonkeyPatch, listener: socket.socket
) -> None:
    good: tcp.Address = (V4, listener.getsockname())
    attempts = resolve_to(monkeypatch, [(V6, ("dead", 1)), (V6, ("dead", 2)), good])
    begun = time.monotonic()
    tcp.connect("venue", 443, 10.0).close()
    assert time.monotonic() - begun < 2.0
    assert attempts[:2] == [(V6, ("dead", 1)), good], "the families take turns"


def test_a_refused_address_leads_to_the_next_one_at_once(
    monkeypatch: pytest.MonkeyPatch, listener: socket.socket
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        refused: tcp.Address = (V4, closed.getsockname())
    resolve_to(monkeypatch, [refused, (V4, listener.getsockname())])
    begun = time.monotonic()
    tcp.connect("venue", 443, 10.0).close()
    assert time.monotonic() - begun < tcp.ATTEMPT_DELAY_S


def test_the_time_is_for_all_addresses_together(monkeypatch: pytest.MonkeyPatch) -> None:
    resolve_to(monkeypatch, [(V6, ("dead", number)) for number in range(9)])
    begun = time.monotonic()
    with pytest.raises(TimeoutError, match="no address of venue"):
        tcp.connect("venue", 443, 0.6)
    assert time.monotonic() - begun < 2.0


def test_a_host_that_refuses_everywhere_is_told_as_that(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        refused: tcp.Address = (V4, closed.getsockname())
    resolve_to(monkeypatch, [refused, refused])
    with pytest.raises(OSError, match="ECONNREFUSED"):
        tcp.connect("venue", 443, 5.0)


class NameServer:
    """Answers for the families that it likes; what it drops waits until the end of the test."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, answers: dict[int, list[str]]) -> None:
        self.answers, self.asked, self.end = answers, queue.SimpleQueue[int](), threading.Event()
        monkeypatch.setattr(socket, "getaddrinfo", self.look_up)

    def look_up(self, host: str, port: int, family: int, kind: int) -> list[object]:
        self.asked.put(family)
        if family not in self.answers:
            self.end.wait(60.0)
            raise OSError("dropped")
        if not self.answers[family]:
            raise socket.gaierror(socket.EAI_NONAME, "no such name")
        return [(V6 if ":" in one else V4, kind, 0, "", (one, port)) for one in self.answers[family]]


BOTH = int(socket.AF_UNSPEC)


@pytest.fixture
def name_server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[dict[int, list[str]]], NameServer]]:
    made: list[NameServer] = []

    def make(answers: dict[int, list[str]]) -> NameServer:
        made.append(NameServer(monkeypatch, answers))
        return made[-1]

    yield make
    for one in made:
        one.end.set()


def test_names_are_looked_up_once_in_the_resolvers_order(name_server: Callable[..., NameServer]) -> None:
    server = name_server({BOTH: ["127.0.0.1", "::1"]})
    assert tcp._resolved("venue", 443, "", 5.0) == [(V4, ("127.0.0.1", 443)), (V6, ("::1", 443))]
    assert server.asked.get() == BOTH
    assert server.asked.empty()


@pytest.mark.parametrize(("family", "address"), [(V4, "127.0.0.1"), (V6, "::1")])
def test_a_name_server_that_drops_the_question_for_one_family_costs_a_fraction_of_a_second(
    name_server: Callable[..., NameServer], family: int, address: str
) -> None:
    name_server({family: [address]})
    assert tcp._resolved("venue", 443, "", 30.0) == [(family, (address, 443))]


def test_a_name_that_does_not_exist_is_told_at_once(name_server: Callable[..., NameServer]) -> None:
    server = name_server({BOTH: []})
    with pytest.raises(socket.gaierror):
        tcp._resolved("venue", 443, "", 30.0)
    assert server.asked.get() == BOTH
    assert server.asked.empty()


def test_a_name_server_that_answers_nothing_costs_no_more_than_the_time_of_a_connect(
    name_server: Callable[..., NameServer],
) -> None:
    name_server({})
    with pytest.raises(TimeoutError, match="the name venue was not resolved"):
        tcp.connect("venue", 443, 0.5)


def test_only_the_family_of_our_own_address_is_asked_for(name_server: Callable[..., NameServer]) -> None:
    server = name_server({V6: ["::1"]})
    assert tcp._resolved("venue", 443, "2001:db8::7", 5.0) == [(V6, ("::1", 443))]
    assert server.asked.get() == V6
    assert server.asked.empty()


def test_an_answer_that_changes_is_followed_by_the_next_connection(
    name_server: Callable[..., NameServer], listener: socket.socket
) -> None:
    port = listener.getsockname()[1]
    with socket.create_server(("127.0.0.2", port)) as elsewhere:
        server = name_server({BOTH: ["127.0.0.1"]})
        tcp.connect("venue", port, 5.0).close()
        assert listener.accept()[1]
        server.answers[BOTH] = ["127.0.0.2"]
        with tcp.connect("venue", port, 5.0) as sock:
            assert sock.getpeername()[0] == "127.0.0.2"
        assert elsewhere.accept()[1]


def test_families_take_turns_beginning_with_the_preferred_one() -> None:
    six = [(V6, (f"six{number}", 1)) for number in range(3)]
    four = [(V4, ("four", 1))]
    assert tcp.in_turn([*six, *four]) == [six[0], four[0], six[1], six[2]]


@pytest.fixture
def wire() -> Iterator[tuple[WebSocketTransport, socket.socket]]:
    """A connection, and the server's end of it."""
    mine, theirs = socket.socketpair()
    connection = Connection(skip_utf8_validation=True, enable_multithread=False)
    connection.sock, connection.connected = mine, True
    yield WebSocketTransport(connection), theirs
    for sock in (mine, theirs):
        sock.close()


Wire = tuple[WebSocketTransport, socket.socket]


def test_a_masked_frame_from_a_server_ends_the_connection(wire: Wire) -> None:
    transport, theirs = wire
    theirs.send(b"\x81\x03abc")
    assert [transport.read(), transport.read()] == [(Kind.DATA, b"abc"), None]
    theirs.send(b"\x81\x83\x01\x02\x03\x04" + bytes(byte ^ mask for byte, mask in zip(b"abc", b"\1\2\3", strict=True)))
    with pytest.raises(TransportLost, match="masked"):
        transport.read()


def test_one_read_takes_one_fragment_and_leaves_the_rest_for_the_next_turn(wire: Wire) -> None:
    transport, theirs = wire
    theirs.send(b"\x01\x01a" + b"\x00\x01b" + b"\x89\x00" + b"\x80\x01c" + b"\x81\x01d")
    kinds = [transport.read() for _ in range(6)]
    assert kinds == [
        (Kind.PART, b""), (Kind.PART, b""), (Kind.PING, b""), (Kind.DATA, b"abc"), (Kind.DATA, b"d"), None,
    ]  # fmt: skip


def test_fragments_are_kept_up_to_the_size_of_the_largest_message(wire: Wire, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(websocket_client, "MAX_FRAME_BYTES", 1_000)
    transport, theirs = wire
    for _ in range(2):
        theirs.send(b"\x01\x64" + bytes(100) + b"\x80\x7e\x02\x58" + bytes(600))
        assert transport.read() == (Kind.PART, b"")
        assert [transport.read(), transport.read()] == [(Kind.DATA, bytes(700)), None]
    for opcode in (b"\x01", *[b"\x00"] * 9):
        theirs.send(opcode + b"\x64" + bytes(100))
        assert [transport.read(), transport.read()] == [(Kind.PART, b""), None]
    theirs.send(b"\x80\x01x")
    with pytest.raises(TransportLost, match="does not end"):
        transport.read()


def counted(transport: WebSocketTransport, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The number of bytes of each read that the library makes of the socket from here on; -1 = there was nothing."""
    reads: list[int] = []
    inner = websocket.WebSocket._recv

    def recv(self: websocket.WebSocket, bufsize: int) -> bytes:
        reads.append(-1)
        data: bytes = inner(self, bufsize)  # type: ignore[no-untyped-call]
        reads[-1] = len(data)
        return data

    monkeypatch.setattr(websocket.WebSocket, "_recv", recv)
    return reads


def test_a_socket_that_gave_all_it_had_is_not_asked_again_before_the_poller_says_so(
    wire: Wire, monkeypatch: pytest.MonkeyPatch
) -> None:
    transport, theirs = wire
    reads = counted(transport, monkeypatch)
    theirs.send(b"\x81\x01a" + b"\x81\x7e\x01\x2c" + bytes(300) + b"\x81\x01c")
    assert [transport.read() for _ in range(4)] == [(Kind.DATA, b"a"), (Kind.DATA, bytes(300)), (Kind.DATA, b"c"), None]
    assert reads == [310]
    theirs.send(b"\x81\x01d")
    assert [transport.read(), transport.read()] == [(Kind.DATA, b"d"), None]
    assert reads == [310, 3]


def test_half_a_frame_is_kept_until_the_rest_has_come(wire: Wire) -> None:
    transport, theirs = wire
    for piece in (b"\x81", b"\x05a", b"bc"):
        theirs.send(piece)
        assert transport.read() is None
    theirs.send(b"de" + b"\x81\x01f")
    assert [transport.read() for _ in range(3)] == [(Kind.DATA, b"abcde"), (Kind.DATA, b"f"), None]


def test_a_frame_of_many_reads_and_what_follows_it_come_whole(wire: Wire) -> None:
    transport, theirs = wire
    body = bytes(range(256)) * 200
    sender = threading.Thread(
        target=theirs.sendall, args=(b"\x81\x7f" + len(body).to_bytes(8, "big") + body + b"\x81\x01z",)
    )
    sender.start()
    found: list[object] = []
    while len(found) < 2:
        select.select([transport], [], [])
        while (frame := transport.read()) is not None:
            found.append(frame)
    sender.join()
    assert found == [(Kind.DATA, body), (Kind.DATA, b"z")]


def test_the_end_of_a_connection_right_behind_a_frame_is_seen(wire: Wire) -> None:
    transport, theirs = wire
    theirs.send(b"\x81\x01a")
    theirs.shutdown(socket.SHUT_WR)
    assert [transport.read(), transport.read()] == [(Kind.DATA, b"a"), None]
    with pytest.raises(TransportLost):
        transport.read()
