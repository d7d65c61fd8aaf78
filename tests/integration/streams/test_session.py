"""Session, I/O thread and dialler against a scripted server, plain and over TLS."""

from __future__ import annotations

import contextlib
import logging
import struct
import threading
from collections.abc import Iterable
from typing import Any

import pytest

from connector.streams.dial import Dial
from connector.streams.transport import Transport
from exchanges._adapter import ClockOffset, Connect, Emit, Fail, FailKind, Instant, Live, Output, Send
from exchanges._venue import Rate
from exchanges.events import BalanceUpdate
from tests.integration.streams.rig import WAIT_S, Heard, Rig, Script, fds, quiet_limits, until
from tests.integration.streams.ws_server import PING, PONG, TEXT, WsServer, frame

pytestmark = pytest.mark.integration


def own_threads() -> int:
    """Threads besides the pool of the dialler, which grows to its size, and the test server."""
    return sum(not thread.name.startswith(("connect", "ws-")) for thread in threading.enumerate())


def test_frames_go_both_ways(rig: Rig, server: WsServer) -> None:
    script = Script(server.url)
    script.on_connected = lambda now: [Send("hello"), Live("s1")]
    script.on_frame = lambda data, now: [Send(f"got {data.decode()}")]
    rig.open(script)
    peer = server.peer()
    assert peer.next() == "hello"
    assert rig.heard.wait("live") == "s1"
    peer.send("one")
    assert peer.next() == "got one"
    assert script.wait_frames(1) == [b"one"]


def test_a_measured_clock_is_told(rig: Rig, server: WsServer) -> None:
    script = Script(server.url)
    script.on_connected = lambda now: [ClockOffset(-250), Live("s1")]
    session = rig.open(script)
    assert rig.heard.wait("clock") == (session.venue, -250)


def test_the_path_and_the_headers_arrive(rig: Rig, server: WsServer) -> None:
    script = Script(server.url)
    script.on_start = lambda now: [Connect(f"{server.url}/a?key=1", (("X-Venue", "yes"),))]
    rig.open(script)
    peer = server.peer()
    assert (peer.path, peer.headers["x-venue"]) == ("/ws/a?key=1", "yes")
    assert "origin" not in peer.headers


def test_a_frame_that_comes_in_pieces_is_one_frame(rig: Rig, server: WsServer) -> None:
    script = Script(server.url)
    rig.open(script)
    peer = server.peer()
    whole = frame(TEXT, b"x" * 70_000)
    for start, end in ((0, 1), (1, 3), (3, 9), (9, 20_000), (20_000, len(whole))):
        peer.raw(whole[start:end])
        rig.settle()
    assert script.wait_frames(1) == [b"x" * 70_000]


def test_a_message_in_fragments_with_a_ping_between_is_one_frame(rig: Rig, server: WsServer) -> None:
    script = Script(server.url)
    rig.open(script)
    peer = server.peer()
    peer.raw(frame(TEXT, b"one ", fin=False) + frame(PING, b"p") + frame(0, b"two"))
    assert script.wait_frames(1) == [b"one two"]
    assert peer.wait_for(PONG) == b"p"


def test_a_burst_is_read_to_its_end_although_nothing_more_arrives(rig: Rig, server: WsServer) -> None:
    script = Script(server.url)
    rig.open(script)
    peer = server.peer()
    sent = [f"frame {number}" for number in range(500)]
    peer.send(*sent)
    assert script.wait_frames(500) == [text.encode() for text in sent]


def test_frames_that_come_with_the_upgrade_answer_are_all_read(rig: Rig, server: WsServer) -> None:
    """They wait inside TLS, where the selector can't see them, and there are more than one turn reads."""
    server.welcome = b"".join(frame(TEXT, b"%d" % number) for number in range(300))
    script = Script(server.url)
    rig.open(script)
    assert script.wait_frames(300) == [b"%d" % number for number in range(300)]


def test_a_server_ping_is_answered(rig: Rig, server: WsServer) -> None:
    script = Script(server.url)
    rig.open(script)
    peer = server.peer()
    peer.raw(frame(PING, b"abc"))
    assert peer.wait_for(PONG) == b"abc"


def test_silence_is_broken_by_our_ping_and_ended_by_the_silence_limit(rig: Rig, server: WsServer) -> None:
    script = Script(server.url)
    rig.open(script, quiet_limits(ping_interval_s=0.2, silence_s=1.0))
    peer = server.peer()
    assert peer.wait_for(PING) == b""
    peer.raw(frame(PONG, b""))
    assert peer.wait_for(PING) == b""
    fail = rig.heard.wait("lost")
    assert fail.kind is FailKind.TRANSIENT
    assert "no byte" in fail.reason
    assert peer.gone.wait(WAIT_S)


def test_a_venue_that_talks_all_the_time_is_pinged_too(rig: Rig, server: WsServer) -> None:
    """Kraken futures drop a client that sends nothing for a minute, however much they send themselves."""
    rig.open(Script(server.url), quiet_limits(ping_interval_s=0.2, silence_s=5.0))
    peer = server.peer()
    enough = threading.Event()

    def talk() -> None:
        while not enough.wait(0.02):
            peer.raw(frame(TEXT, b"tick"))

    talker = threading.Thread(target=talk, daemon=True)
    talker.start()
    try:
        assert [peer.wait_for(PING), peer.wait_for(PING)] == [b"", b""]
    finally:
        enough.set()
        talker.join(WAIT_S)


def test_a_half_open_peer_is_dropped(rig: Rig, server: WsServer) -> None:
    """It accepts everything and never answers: no pong, no data, no close."""
    server.read = False
    script = Script(server.url)
    rig.open(script, quiet_limits(ping_interval_s=0.2, silence_s=0.8))
    server.peer()
    assert "no byte" in rig.heard.wait("lost").reason


def test_a_peer_that_stalls_inside_a_frame_is_dropped(rig: Rig, server: WsServer) -> None:
    script = Script(server.url)
    rig.open(script, quiet_limits(silence_s=0.8))
    server.peer().raw(frame(TEXT, b"x" * 100)[:50])
    assert "no byte" in rig.heard.wait("lost").reason


def test_a_frame_of_absurd_size_ends_the_session_before_it_fills_the_memory(rig: Rig, server: WsServer) -> None:
    rig.open(Script(server.url))
    server.peer().raw(bytes([0x80 | TEXT, 127]) + struct.pack("!Q", 2**40) + b"x" * 1000)
    assert "absurd size" in rig.heard.wait("lost").reason


def test_messages_keep_to_the_limit_and_urgent_ones_overtake(rig: Rig, server: WsServer) -> None:
    script = Script(server.url)
    texts = [str(number) for number in range(9)]
    script.on_connected = lambda now: [*(Send(text) for text in texts), Send("pong", urgent=True)]
    session = rig.open(script, quiet_limits(messages=Rate(3, 0.3)))
    times: list[float] = []
    write = session._write

    def timed(*arguments: Any) -> bool:
        times.append(rig.io.now().mono)
        return write(*arguments)

    session._write = timed  # type: ignore[method-assign]
    peer = server.peer()
    assert [peer.next() for _ in range(10)] == ["0", "1", "2", "pong", *texts[3:]]
    assert min(later - first for first, later in zip(times, times[3:], strict=False)) >= 0.3


def test_send_after_close_goes_nowhere(rig: Rig, server: WsServer) -> None:
    script = Script(server.url)
    session = rig.open(script)
    peer = server.peer()
    rig.heard.wait("live")
    rig.close(session)
    assert peer.gone.wait(WAIT_S)
    script.on_answer = lambda call, answer: [Send("late")]
    rig.io.post(lambda: session.answered(None, None))  # type: ignore[arg-type]
    rig.io.post(lambda: session.remove("s1"))
    rig.settle()
    assert rig.heard.of("lost") == []
    assert script.count("answered") == script.count("remove") == 0


def test_the_close_code_and_reason_of_the_venue_are_told(rig: Rig, server: WsServer) -> None:
    script = Script(server.url)
    rig.open(script)
    peer = server.peer()
    rig.heard.wait("live")
    peer.close(4009, "too many requests")
    fail = rig.heard.wait("lost")
    assert "4009" in fail.reason
    assert "too many requests" in fail.reason
    assert fail.kind is FailKind.TRANSIENT


def test_a_close_because_of_too_many_connections_makes_the_whole_address_wait(rig: Rig, server: WsServer) -> None:
    """Every further attempt would be refused, too, and count against the venue's limits."""
    told = []
    rig.dialler.block = lambda venue, egress, seconds: told.append((venue, egress, seconds))  # type: ignore[method-assign]
    rig.open(Script(server.url), quiet_limits(close_waits={"Cannot open more than": 60.0}))
    peer = server.peer()
    rig.heard.wait("live")
    peer.close(1008, "Cannot open more than 10 connections")
    fail = rig.heard.wait("lost")
    assert (fail.kind, fail.retry_after_s) == (FailKind.RATE_LIMITED, 60.0)
    assert "Cannot open more than 10 connections" in fail.reason
    assert told == [("testvenue", "", 60.0)]


def test_the_close_reason_is_told_also_when_the_venue_has_hung_up_already(rig: Rig, server: WsServer) -> None:
    """Answering the close frame fails then; the reason must not be replaced by `broken pipe`."""
    hold = threading.Event()
    script = Script(server.url)

    def slow(data: bytes, now: Instant) -> Iterable[Output]:
        hold.wait(WAIT_S)
        return [Send("to a closed socket")]

    script.on_frame = slow
    rig.open(script)
    peer = server.peer()
    rig.heard.wait("live")
    peer.send("first")
    peer.close(1013, "maintenance")
    script.wait_frames(1)
    peer.drop()
    hold.set()
    assert "1013 maintenance" in rig.heard.wait("lost").reason


def test_the_venue_hangs_up_without_a_word(rig: Rig, server: WsServer) -> None:
    script = Script(server.url)
    rig.open(script)
    peer = server.peer()
    rig.heard.wait("live")
    peer.drop()
    assert "connection lost" in rig.heard.wait("lost").reason


def test_a_connection_that_reuses_the_file_number_of_a_lost_one_is_read(rig: Rig, server: WsServer) -> None:
    """After the venue hung up, the next socket gets the same number: the selector must have forgotten the old one."""
    for number in range(5):
        script = Script(server.url)
        rig.open(script)
        peer = server.peer()
        rig.heard.wait("live", number + 1)
        peer.send("data")
        script.wait_frames(1)
        peer.drop()
        rig.heard.wait("lost", number + 1)


def test_a_refused_upgrade_tells_the_status_and_blocks_the_budget(rig: Rig, server: WsServer) -> None:
    body = b"slow down"
    server.refusals.put(
        b"HTTP/1.1 429 Too Many Requests\r\nRetry-After: 17\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)
    )
    rig.open(Script(server.url))
    fail = rig.heard.wait("lost")
    assert (fail.kind, fail.retry_after_s) == (FailKind.RATE_LIMITED, 17.0)
    assert "429" in fail.reason
    assert "slow down" in fail.reason
    wait_s = rig.budget.take("testvenue", "connect", "", Rate(100, 1.0))
    assert 10 < wait_s <= 17
    now_ms = rig.clock.wall_ms()
    assert rig.state.take("testvenue:connect:default", 1, 100, 1.0, now_ms) > 10_000, "other processes are bound too"


def test_a_refusal_without_retry_after_is_told_with_its_status(rig: Rig, server: WsServer) -> None:
    server.refusals.put(b"HTTP/1.1 503 Service Unavailable\r\n\r\n")
    rig.open(Script(server.url))
    fail = rig.heard.wait("lost")
    assert fail.kind is FailKind.TRANSIENT
    assert "503" in fail.reason


def test_nobody_listens(rig: Rig) -> None:
    rig.open(Script("ws://127.0.0.1:9/ws"))
    assert "refused" in rig.heard.wait("lost").reason.lower()


def test_a_foreign_certificate_is_refused(server: WsServer) -> None:
    if not server.url.startswith("wss"):
        pytest.skip("only over TLS")
    rig = Rig()  # without the test's own authority
    try:
        rig.open(Script(server.url))
        assert "certificate" in rig.heard.wait("lost").reason.lower()
    finally:
        assert rig.stop()


def test_a_stalled_connection_does_not_hold_up_the_others(rig: Rig, server: WsServer) -> None:
    stalled, healthy = Script(server.url), Script(server.url)
    rig.open(stalled)
    first = server.peer()
    rig.open(healthy)
    second = server.peer()
    first.raw(frame(TEXT, b"y" * 1000)[:500])
    healthy.on_frame = lambda data, now: [Send("pong")]
    for _ in range(20):
        second.send("ping")
        assert second.next() == "pong"
    assert stalled.frames == []


@pytest.mark.parametrize(
    "piece", [frame(0, bytes(1_000_000), fin=False), frame(0, b"", fin=False)], ids=["1 MB", "empty"]
)
def test_a_message_of_endless_fragments_costs_its_session_only(rig: Rig, server: WsServer, piece: bytes) -> None:
    """The neighbours on the I/O thread got no frame while it came, and memory grew without a bound."""
    hostile, healthy = Script(server.url), Script(server.url)
    healthy.on_frame = lambda data, now: [Send("pong")]
    rig.open(healthy)
    second = server.peer()
    server.read = False
    rig.open(hostile)
    first = server.peer()
    batch = piece * (1 if len(piece) > 1000 else 100)

    def flood() -> None:
        with contextlib.suppress(OSError):
            first.sock.sendall(frame(TEXT, b"begin", fin=False))
            while True:
                first.sock.sendall(batch)

    sender = threading.Thread(target=flood, daemon=True)
    sender.start()
    for _ in range(20_000):
        second.send("ping")
        assert second.next() == "pong"
        if rig.heard.of("lost"):
            break
    assert "does not end" in rig.heard.wait("lost").reason
    assert hostile.frames == []
    second.send("ping")
    assert second.next() == "pong"
    sender.join(WAIT_S)
    assert not sender.is_alive()


def test_a_frame_of_absurd_size_that_comes_without_a_pause_is_not_kept(rig: Rig, server: WsServer) -> None:
    """Only when nothing was there to read the size was looked at."""
    server.read = False
    rig.open(Script(server.url))
    peer = server.peer()

    def flood() -> None:
        with contextlib.suppress(OSError):
            peer.sock.sendall(b"\x81\x7f" + (1 << 40).to_bytes(8, "big"))
            while True:
                peer.sock.sendall(bytes(1_000_000))

    sender = threading.Thread(target=flood, daemon=True)
    sender.start()
    assert "absurd size" in rig.heard.wait("lost").reason
    sender.join(WAIT_S)
    assert not sender.is_alive()


@pytest.mark.parametrize(
    ("raw", "why"),
    [
        (frame(0, b"x"), "without a beginning"),
        (frame(TEXT, b"x", fin=False) + frame(TEXT, b"y"), "within another"),
        (frame(PING, b"x" * 126), "too long"),
    ],
)
def test_frames_that_break_the_protocol_end_the_session(rig: Rig, server: WsServer, raw: bytes, why: str) -> None:
    rig.open(Script(server.url))
    server.peer().raw(raw)
    assert why in rig.heard.wait("lost").reason


def test_many_fragments_of_one_message_are_joined_in_their_order(rig: Rig, server: WsServer) -> None:
    """More of them than one turn reads."""
    script = Script(server.url)
    rig.open(script)
    pieces = [b"%d," % number for number in range(1_000)]
    server.peer().raw(
        frame(TEXT, b"", fin=False) + b"".join(frame(0, one, fin=False) for one in pieces) + frame(0, b"!")
    )
    assert script.wait_frames(1) == [b"".join(pieces) + b"!"]


def test_a_peer_that_reads_nothing_is_dropped_and_the_others_go_on(rig: Rig, server: WsServer) -> None:
    server.read = False
    deaf = Script(server.url)
    big = "z" * 500_000
    deaf.on_frame = lambda data, now: [Send(big) for _ in range(40)]
    rig.open(deaf)
    first = server.peer()
    rig.heard.wait("live")
    server.read = True
    healthy = Script(server.url)
    healthy.on_frame = lambda data, now: [Send("pong")]
    rig.open(healthy)
    second = server.peer()
    first.send("go")
    assert "send failed" in rig.heard.wait("lost").reason
    second.send("ping")
    assert second.next() == "pong"


def test_an_error_in_the_adapter_costs_that_frame_only(
    rig: Rig, server: WsServer, caplog: pytest.LogCaptureFixture
) -> None:
    script = Script(server.url)

    def on_frame(data: bytes, now: Instant) -> Iterable[Output]:
        if data == b"odd":
            raise KeyError("a field that is not there")
        return [Send(data.decode())]

    script.on_frame = on_frame
    rig.open(script)
    peer = server.peer()
    with caplog.at_level(logging.ERROR):
        for _ in range(10):
            peer.send("odd")
        peer.send("fine")
        assert peer.next() == "fine"
    assert rig.heard.of("lost") == []


def test_an_adapter_whose_deadline_stays_in_the_past_does_not_take_the_thread(rig: Rig, server: WsServer) -> None:
    broken, healthy = Script(server.url), Script(server.url)

    def woken(now: Instant) -> Iterable[Output]:
        raise ValueError("a bug")

    broken.on_woken = woken
    broken.due = 1.0
    rig.open(broken)
    server.peer()
    healthy.on_frame = lambda data, now: [Send("pong")]
    rig.open(healthy)
    peer = server.peer()
    peer.send("ping")
    assert peer.next() == "pong"
    until(lambda: broken.count("woken") >= 2)


def test_a_dial_that_waits_long_for_its_budget_does_not_take_the_thread(rig: Rig, server: WsServer) -> None:
    """The time for the calls before a connect is over while the dial still waits: that is nobody's fault."""
    rig.budget.block("testvenue", "connect", "", 1.5)
    waiting = Script(server.url)
    rig.open(waiting, quiet_limits(join_timeout_s=-29.9))  # 0.1 s for the calls before the connect
    done = threading.Event()
    threading.Event().wait(0.3)  # the deadline passes
    rig.io.post(done.set)
    assert done.wait(1.0), "the I/O thread is busy with a deadline that nobody can meet"
    assert rig.heard.of("lost") == []


def test_deadlines_do_not_pile_up_in_the_heap(rig: Rig, server: WsServer) -> None:
    """Each frame that waits for the message limit asks for an earlier wake-up; the later ones must not stay for good."""
    script = Script(server.url)
    script.on_frame = lambda data, now: [Send(data.decode()) for _ in range(3)]
    rig.open(script, quiet_limits(messages=Rate(2, 0.02), ping_interval_s=0.05, silence_s=5.0))
    peer = server.peer()
    for number in range(30):
        peer.send(str(number))
        for _ in range(3):
            assert peer.next() == str(number)
    rig.settle()
    assert sum(when == session.scheduled_at for when, _, session in rig.io._heap) <= 1
    until(lambda: len(rig.io._heap) <= 3, "entries of one session")


def test_no_answer_to_the_calls_before_the_connect(rig: Rig) -> None:
    script = Script("ws://127.0.0.1:9/")
    script.on_start = lambda now: []
    rig.open(script, quiet_limits(join_timeout_s=-29.5))
    assert "precede the connect" in rig.heard.wait("lost").reason


def test_login_that_is_never_confirmed_ends_the_session(rig: Rig, server: WsServer) -> None:
    script = Script(server.url)
    script.on_connected = lambda now: [Send("login")]
    rig.open(script, quiet_limits(join_timeout_s=0.3))
    server.peer()
    assert "not confirmed" in rig.heard.wait("lost").reason


def test_full_sinks_end_the_session(rig: Rig, server: WsServer) -> None:
    script = Script(server.url)
    event = BalanceUpdate(asset="A", balance_delta="1", clear_time=1, event_time=1, unique_message_id="x")
    script.on_frame = lambda data, now: [Emit("s1", event), Send("never")]
    rig.heard.takes_accounts = False
    rig.open(script)
    server.peer().send("event")
    assert "sinks are full" in rig.heard.wait("lost").reason


def test_last_words_of_the_adapter_are_sent_before_the_close(rig: Rig, server: WsServer) -> None:
    script = Script(server.url)
    script.on_closing = lambda: [Send("41", urgent=True)]
    session = rig.open(script)
    peer = server.peer()
    rig.heard.wait("live")
    rig.close(session, last_holder=True)
    assert peer.next() == "41"
    assert peer.wait_for(8)[:2] == struct.pack("!H", 1000)


def test_posts_from_many_threads_are_never_lost(rig: Rig) -> None:
    done: list[int] = []
    finished = threading.Event()
    total = 8 * 2_000

    def work() -> None:
        done.append(1)
        if len(done) == total:
            finished.set()

    def poster() -> None:
        for number in range(2_000):
            rig.io.post(work)
            if number % 50 == 0:
                threading.Event().wait(0.0005)  # let the thread go to sleep between

    threads = [threading.Thread(target=poster) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(WAIT_S)
    assert finished.wait(1.5), f"{len(done)} of {total}: a wake-up was lost (the next look comes after 5 s)"


def test_stop_closes_every_socket(pem: object, server: WsServer) -> None:
    before = fds()
    rig = Rig(ca_file=str(pem))
    scripts = [Script(server.url) for _ in range(30)]
    for script in scripts:
        rig.open(script)
    rig.heard.wait("live", 30)
    assert fds() > before + 30
    assert rig.stop()
    until(lambda: server.alive() == 0, "the server sees every client leave")
    rig.rest.stop()
    until(lambda: fds() <= before, f"{fds()} file descriptors instead of {before}")


def test_a_dial_that_ends_after_the_stop_leaves_no_socket(pem: object, server: WsServer) -> None:
    before = fds()
    rig = Rig(ca_file=str(pem))
    answer = threading.Event()
    reached = threading.Event()
    connect = rig.opener.connect

    def late(dial: Dial, address: str) -> Transport:
        connection = connect(dial, address)
        reached.set()
        answer.wait(WAIT_S)
        return connection

    rig.opener.connect = late  # type: ignore[method-assign]
    rig.open(Script(server.url))
    assert reached.wait(WAIT_S)
    assert rig.stop()
    answer.set()
    until(lambda: server.alive() == 0 and fds() <= before, "the connection that came too late is closed")


def test_three_hundred_opens_and_closes_leave_nothing(pem: object, server: WsServer) -> None:
    rig = Rig(ca_file=str(pem))
    heard = Heard()
    warm = rig.open(Script(server.url), heard=heard)
    heard.wait("live")
    rig.close(warm)
    rig.settle()
    until(lambda: server.alive() == 0)
    before, threads = fds(), own_threads()
    for start in range(0, 300, 20):
        sessions = [rig.open(Script(server.url), heard=heard) for _ in range(20)]
        heard.wait("live", 1 + start + 20)
        for number, session in enumerate(sessions):
            rig.close(session, polite=number % 2 == 0)
        rig.settle()
    until(lambda: server.alive() == 0 and fds() <= before, f"{fds()} file descriptors, {before} before")
    until(lambda: own_threads() <= threads)
    assert heard.of("lost") == []
    assert rig.io.open_connections() == 0
    assert rig.stop()


def test_a_rate_limit_told_in_a_frame_binds_every_process(rig: Rig, server: WsServer) -> None:
    script = Script(server.url)
    script.on_frame = lambda data, now: [
        Fail(kind=FailKind.RATE_LIMITED, reason="banned until later", retry_after_s=40.0)
    ]
    rig.open(script)
    server.peer().send("banned")
    assert rig.heard.wait("lost").retry_after_s == 40.0
    until(lambda: rig.state.take("testvenue:connect:default", 1, 100, 1.0, rig.clock.wall_ms()) > 30_000)
