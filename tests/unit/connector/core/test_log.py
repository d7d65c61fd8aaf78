"""Every line goes through one handler: redacted, structured, collapsed; and logging never raises (C6, C9–C11, A12, A52)."""

from __future__ import annotations

import io
import json
import logging
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from types import SimpleNamespace

import pytest

from connector.core.log import COLLAPSE_S, LineHandler, configure, describe_error, get_logger
from exchanges.credentials import credentials
from harness.servers import wait_for
from tests.clocks import Standing

KEY = "AKlogcanary0123456789"
SECRET = "SKlogcanary9876543210"


@dataclass
class Output:
    stream: io.StringIO = field(default_factory=io.StringIO)

    @property
    def text(self) -> str:
        return self.stream.getvalue()

    @property
    def lines(self) -> list[dict[str, object]]:
        return [json.loads(line) for line in self.text.splitlines()]


@pytest.fixture
def out() -> Iterator[Output]:
    credentials(KEY, SECRET)
    output = Output()
    undo = configure(json=True, level="DEBUG", stream=output.stream)
    yield output
    undo()


def test_a_line_is_one_json_object_with_its_fields(out):
    get_logger("connector.streams.session").info("session live", stream="u-1", venue="okx", count=3)
    (line,) = out.lines
    assert line["message"] == "session live"
    assert line["level"] == "info"
    assert line["logger"] == "connector.streams.session"
    assert (line["stream"], line["venue"], line["count"]) == ("u-1", "okx", 3)
    assert str(line["time"]).endswith("Z")


def test_fields_cannot_replace_the_line_s_own_names(out):
    get_logger("x").info("hello", level="fake", message="fake")
    (line,) = out.lines
    assert line["level"] == "info"
    assert line["message"] == "hello"
    assert line["field_level"] == "fake"


def test_secrets_do_not_reach_the_output_by_any_way(out):
    log = get_logger("x")
    log.info(f"text with {SECRET}", key=KEY, frame=f'{{"op":"login","args":["{KEY}"]}}', nested={"a": [{"b": SECRET}]})
    log.error("object", error=ValueError(SECRET), creds=credentials(KEY, SECRET))
    logging.getLogger("dramatiq.worker").error(
        "Failed to process message %s.", f"open({{'unknownSignature3': '{KEY}'}})"
    )
    logging.getLogger("urllib3.connectionpool").warning("GET /api?apiKey=%s&signature=unknownSignature1", KEY)
    logging.getLogger("websocket").error("send: %r", f'{{"op":"auth","args":["{KEY}","unknownSignature2"]}}'.encode())
    try:
        try:
            raise ValueError(f"inner {SECRET}")
        except ValueError as error:
            raise RuntimeError(f"outer {KEY}") from error
    except RuntimeError:
        log.exception("it failed")
    assert KEY not in out.text
    assert SECRET not in out.text
    assert "unknownSignature" not in out.text
    assert "RuntimeError: outer [redacted]" in str(out.lines[-1]["exception"])
    assert "ValueError: inner [redacted]" in str(out.lines[-1]["exception"])


def test_an_uncaught_exception_of_a_thread_is_a_redacted_line_with_its_stack(out):
    def fail() -> None:
        raise ValueError(f"thread died with {SECRET}")

    thread = threading.Thread(target=fail, name="worker-7")
    thread.start()
    thread.join(5)
    (line,) = out.lines
    assert line["level"] == "critical"
    assert line["in_thread"] == "worker-7"
    assert "in fail" in str(line["exception"])
    assert SECRET not in out.text


def test_the_console_form_is_readable_and_one_line():
    stream = io.StringIO()
    undo = configure(json=False, level="info", stream=stream)
    try:
        get_logger("x").warning("odd text\nERROR forged", venue="okx", why="two words")
    finally:
        undo()
    assert stream.getvalue().count("\n") == 1
    assert 'odd text\\nERROR forged venue=okx why="two words"' in stream.getvalue()


def test_identical_lines_collapse_and_the_count_follows():
    clock = Standing(0.0)
    stream = io.StringIO()
    handler = LineHandler(stream, json=True, clock=clock)

    def log(text: str) -> None:
        handler.handle(logging.makeLogRecord({"name": "x", "levelname": "INFO", "levelno": 20, "msg": text}))

    for _ in range(500):
        log("venue down")
    log("another")
    assert len(stream.getvalue().splitlines()) == 2
    clock.now = COLLAPSE_S + 0.1
    log("venue down")
    lines = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert [line["message"] for line in lines] == ["venue down", "another", "venue down", "venue down"]
    assert lines[2]["repeated"] == 499
    assert "repeated" not in lines[3]
    log("venue down")
    handler.flush()
    assert json.loads(stream.getvalue().splitlines()[-1])["repeated"] == 1


def test_the_count_of_a_quiet_night_is_told_in_time_and_rings_no_alarm():
    """It came with the next line, whenever that was, at the old level and with the new time (review A8)."""
    clock = Standing(0.0)
    stream = io.StringIO()
    handler = LineHandler(stream, json=True, clock=clock)
    for created in (10.0, 12.0, 14.0):
        record = logging.makeLogRecord({"name": "x", "levelname": "ERROR", "levelno": 40, "msg": "broker away"})
        record.created = created
        handler.handle(record)
    assert 0 < handler.tell_due() <= COLLAPSE_S
    assert len(stream.getvalue().splitlines()) == 1
    clock.now = COLLAPSE_S + 0.1
    handler.tell_due()
    told = json.loads(stream.getvalue().splitlines()[-1])
    assert (told["level"], told["of"], told["repeated"]) == ("info", "error", 2)
    assert (told["first"], told["last"]) == ("1970-01-01T00:00:12.000Z", "1970-01-01T00:00:14.000Z")


def test_repetitions_are_told_by_a_thread_when_nothing_else_is_logged(monkeypatch):
    monkeypatch.setattr("connector.core.log.COLLAPSE_S", 0.2)
    stream = io.StringIO()
    handler = LineHandler(stream, json=True)
    for _ in range(3):
        handler.handle(logging.makeLogRecord({"name": "x", "levelname": "INFO", "levelno": 20, "msg": "again"}))
    wait_for(lambda: len(stream.getvalue().splitlines()) == 2, 10.0, "the count")
    handler.close()
    assert json.loads(stream.getvalue().splitlines()[-1])["repeated"] == 2


def test_lines_that_differ_in_a_field_are_all_printed(out):
    for index in range(3):
        get_logger("x").info("session lost", stream=str(index))
    assert [line["stream"] for line in out.lines] == ["0", "1", "2"]


def test_logging_never_raises():
    class Broken:
        def __str__(self) -> str:
            raise RuntimeError("no text")

        __repr__ = __str__

    class BrokenError(Exception):
        def __str__(self) -> str:
            raise RuntimeError("no text")

    # The test runner's own handlers would raise, so the records go to ours directly.
    stream = io.StringIO()
    handler = LineHandler(stream, json=True)
    for message, arguments in (("%d %s", ("not a number", Broken())), ("%s", (Broken(),)), (Broken(), ())):
        handler.handle(logging.makeLogRecord({"name": "lib", "levelname": "INFO", "msg": message, "args": arguments}))
    error = BrokenError()
    fields = {"value": Broken(), "other": float("nan"), "data": {1: {2: b"\xff"}}}
    record = {"name": "lib", "msg": "odd", "fields": fields, "exc_info": (BrokenError, error, None)}
    handler.handle(logging.makeLogRecord(record))
    assert len(stream.getvalue().splitlines()) == 4
    stream.close()
    get_logger("x").info("nobody listens")
    handler.handle(logging.makeLogRecord({"name": "lib", "msg": "nobody listens"}))


def test_quiet_libraries_and_levels():
    stream = io.StringIO()
    undo = configure(json=True, level="INFO", stream=stream)
    try:
        logging.getLogger("pika.connection").info("chatter")
        logging.getLogger("dramatiq").info("useful")
        get_logger("x").debug("hidden")
    finally:
        undo()
    assert [json.loads(line)["message"] for line in stream.getvalue().splitlines()] == ["useful"]


def test_the_start_of_a_worker_does_not_block_on_debug_chatter_of_libraries():
    stream = io.StringIO()
    undo = configure(json=True, level="DEBUG", stream=stream)
    try:
        logging.getLogger("pika.adapters.select_connection").debug("added timeout")
        logging.getLogger("pika.connection").info("connecting")
        get_logger("x").debug("ours")
    finally:
        undo()
    assert [json.loads(line)["message"] for line in stream.getvalue().splitlines()] == ["connecting", "ours"]


def test_configure_replaces_a_handler_that_was_there_and_undo_restores():
    root = logging.getLogger()
    plain = logging.StreamHandler(io.StringIO())
    root.addHandler(plain)
    try:
        undo = configure(stream=io.StringIO())
        assert plain not in root.handlers
        undo()
        assert plain in root.handlers
    finally:
        root.removeHandler(plain)


def test_undo_leaves_no_handler_of_whoever_set_the_log_up_once_more():
    """Each test of wrong settings left one: behind them every line was written 160 times over, by a thread each."""
    before = list(logging.getLogger().handlers)
    again = io.StringIO()
    undo = configure(stream=io.StringIO())
    configure(stream=again)
    undo()
    logging.getLogger("other").warning("for nobody of ours")
    assert again.getvalue() == ""
    assert logging.getLogger().handlers == before


def test_an_error_is_described_with_type_message_status_and_cause():
    from websocket import WebSocketBadStatusException, WebSocketConnectionClosedException

    refused = WebSocketBadStatusException("Handshake status 403 Forbidden", 403, "Forbidden", {}, b"denied by region")
    assert describe_error(refused).startswith("WebSocketBadStatusException: Handshake status 403 Forbidden")
    assert "HTTP 403" in describe_error(refused)
    assert "denied by region" in describe_error(refused)
    assert describe_error(WebSocketConnectionClosedException("Connection to remote host was lost.")) == (
        "WebSocketConnectionClosedException: Connection to remote host was lost."
    )
    assert describe_error(ConnectionResetError(104, "Connection reset by peer")) == (
        "ConnectionResetError: [Errno 104] Connection reset by peer"
    )
    closed = RuntimeError()
    closed.close_code = 4001  # type: ignore[attr-defined]
    assert describe_error(closed) == "RuntimeError; close code 4001"
    http = RuntimeError("bad answer")
    http.response = SimpleNamespace(status_code=418)  # type: ignore[attr-defined]
    assert describe_error(http) == "RuntimeError: bad answer; HTTP 418"
    wrapped = KeyError("x")
    wrapped.__cause__ = OSError("disk")
    assert describe_error(wrapped) == "KeyError: 'x'; caused by OSError: disk"


def test_a_description_holds_no_secret():
    credentials(KEY, SECRET)
    assert SECRET not in describe_error(ValueError(f"signed {SECRET} https://x?signature=abc"))
    assert "abc" not in describe_error(ValueError(f"signed {SECRET} https://x?signature=abc"))
