"""Structured, redacted logs: one line per life-cycle change.

`configure` puts one handler on the root logger, so lines of libraries go the same way as ours: through `core.redact`, as
JSON or for people, with identical lines collapsed. Levels mean something: ERROR = a person should look.
"""

from __future__ import annotations

import json as json_module
import logging
import sys
import threading
import traceback
from collections import OrderedDict
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from types import TracebackType
from typing import Final, NamedTuple, TextIO

from connector.core import redact
from connector.core.clock import SystemClock
from connector.core.log_codes import code_of
from connector.core.ports import Clock

COLLAPSE_S: Final = 30.0
"""Identical lines within this time are printed once; the number of the others follows (bug C6)."""
MAX_COLLAPSED: Final = 1_024
"""Different lines watched for repetition at a time."""
_QUIET: Final = {"pika": "CRITICAL", "urllib3": "WARNING", "apscheduler": "WARNING", "websocket": "WARNING"}
"""Libraries whose INFO lines say what ours say already."""


class Logger:
    """`log.info("session live", stream=…, venue=…)`: a constant text and named fields. Any thread; never raises.

    `code`: that of an operational line (WARNING and above) whose text is not constant; others have theirs in
    `connector.core.log_codes`.
    """

    def __init__(self, name: str) -> None:
        self._logger = logging.getLogger(name)

    def _log(self, level: int, text: str, code: str, fields: dict[str, object], *, exc_info: bool = False) -> None:
        if self._logger.isEnabledFor(level):
            self._logger.log(level, text, extra={"fields": fields, "code": code}, exc_info=exc_info, stacklevel=3)

    def debug(self, text: str, /, *, code: str = "", **fields: object) -> None:
        self._log(logging.DEBUG, text, code, fields)

    def info(self, text: str, /, *, code: str = "", **fields: object) -> None:
        self._log(logging.INFO, text, code, fields)

    def warning(self, text: str, /, *, code: str = "", **fields: object) -> None:
        self._log(logging.WARNING, text, code, fields)

    def error(self, text: str, /, *, code: str = "", **fields: object) -> None:
        self._log(logging.ERROR, text, code, fields)

    def exception(self, text: str, /, *, code: str = "", **fields: object) -> None:
        """Like `error`, with the traceback of the exception being handled."""
        self._log(logging.ERROR, text, code, fields, exc_info=True)


def get_logger(name: str) -> Logger:
    return Logger(name)


class _Again(NamedTuple):
    """How often a line came again after it was printed, and between which moments (seconds since the epoch)."""

    times: int
    first: float
    last: float


class _Line:
    """What one record says, without secrets. Two records of equal `identity` are the same line."""

    __slots__ = ("code", "fields", "identity", "level", "logger", "text", "trace")

    def __init__(self, record: logging.LogRecord) -> None:
        self.level = record.levelname
        self.logger = record.name
        self.code = _code(record)
        self.text = redact.text(_message(record))
        fields = record.__dict__.get("fields")
        cleaned = redact.scrub(fields) if isinstance(fields, Mapping) and fields else {}
        self.fields: dict[str, object] = cleaned if isinstance(cleaned, dict) else {"fields": cleaned}
        self.trace = redact.text(_trace(record))
        self.identity = (self.logger, self.level, self.text, repr(self.fields), self.trace)


def _code(record: logging.LogRecord) -> str:
    code = record.__dict__.get("code")
    if isinstance(code, str) and code:
        return code
    return code_of(record.msg) if (record.levelno or 0) >= logging.WARNING else ""


def _message(record: logging.LogRecord) -> str:
    try:
        return record.getMessage()
    except Exception:  # noqa: BLE001 - wrong format arguments or a broken __str__ in a library's call (A52)
        return redact.text_of(record.msg)


def _trace(record: logging.LogRecord) -> str:
    if not record.exc_info or record.exc_info[0] is None:
        return record.exc_text or ""
    try:
        return "".join(traceback.format_exception(*record.exc_info)).rstrip()
    except Exception:  # noqa: BLE001 - an exception whose own text fails (A52)
        return f"{record.exc_info[0].__name__}: its text could not be made"


def _iso(created: float, sep: str = "T") -> str:
    return datetime.fromtimestamp(created, UTC).isoformat(sep=sep, timespec="milliseconds").replace("+00:00", "Z")


def _as_json(line: _Line, created: float, thread: str, again: _Again | None) -> str:
    data: dict[str, object] = {
        "time": _iso(created),
        "level": "info" if again else line.level.lower(),
        **({"code": line.code} if line.code else {}),
        "logger": line.logger,
        "message": line.text,
        "thread": thread,
    }
    for name, value in line.fields.items():
        data[f"field_{name}" if name in data else name] = value
    if again:
        data |= {
            "repeated": again.times,
            "first": _iso(again.first),
            "last": _iso(again.last),
            "of": line.level.lower(),
        }
    if line.trace:
        data["exception"] = line.trace
    return json_module.dumps(data, ensure_ascii=False, default=str)


def _as_text(line: _Line, created: float, thread: str, again: _Again | None) -> str:
    fields = "".join(f" {name}={_field(value)}" for name, value in line.fields.items())
    times = f" (again {again.times} times, the last at {_iso(again.last, ' ')})" if again else ""
    level = "INFO" if again else line.level
    # A line break inside a message would let a venue's text look like a line of ours.
    text = line.text.replace("\r", "\\r").replace("\n", "\\n")
    code = f"{line.code} " if line.code else ""
    head = f"{_iso(created, ' ')} {level:<7} {code}{line.logger} [{redact.text(thread)}] {text}{fields}{times}"
    return f"{head}\n{line.trace}" if line.trace else head


def _field(value: object) -> str:
    if isinstance(value, str):
        return (
            value
            if value and value.isprintable() and " " not in value
            else json_module.dumps(value, ensure_ascii=False)
        )
    return json_module.dumps(value, ensure_ascii=False, default=str)


class LineHandler(logging.Handler):
    """Writes redacted lines to a stream; collapses identical ones. Any thread; never raises (bug A52).

    How often a line came again is told when its window ends, at level info: on a quiet night nothing else is logged that
    could bring it along, and an alarm on errors must not ring for what is over (review A8).
    """

    def __init__(self, stream: TextIO, *, json: bool, clock: Clock | None = None) -> None:
        super().__init__()
        self._stream = stream
        self._render = _as_json if json else _as_text
        self._clock: Clock = clock or SystemClock()
        self._seen: OrderedDict[tuple[str, ...], tuple[float, _Line, _Again | None]] = OrderedDict()
        self._teller: threading.Thread | None = None
        self._ended = threading.Event()

    def emit(self, record: logging.LogRecord) -> None:
        try:
            line = _Line(record)
            now = self._clock.mono()
            self._close_windows(now, record.created)
            known = self._seen.get(line.identity)
            if known is not None:
                again = known[2] or _Again(0, record.created, record.created)
                again = again._replace(times=again.times + 1, last=record.created)
                self._seen[line.identity] = (known[0], known[1], again)
                self._tell_later()
                return
            self._seen[line.identity] = (now, line, None)
            if len(self._seen) > MAX_COLLAPSED:
                self._close_oldest(record.created)
            self._write(self._render(line, record.created, record.threadName or "", None))
        except Exception:  # noqa: BLE001 - a log call must never hurt its caller; stderr is all that is left
            self._complain()

    def flush(self) -> None:
        """Print the counts of lines that are still being collapsed."""
        with self.lock or threading.RLock():
            while self._seen:
                self._close_oldest(self._clock.wall_ms() / 1000)

    def tell_due(self) -> float:
        """Tell of the lines whose windows are over; returns for how long there is nothing to tell, seconds."""
        with self.lock or threading.RLock():
            now = self._clock.mono()
            self._close_windows(now, self._clock.wall_ms() / 1000)
            ends = (started + COLLAPSE_S - now for started, _, again in self._seen.values() if again is not None)
            return max(0.1, min(ends, default=COLLAPSE_S))

    def close(self) -> None:
        self._ended.set()
        super().close()

    def _tell_later(self) -> None:
        """A thread of its own, from the first repetition on; in a forked process a new one."""
        if self._teller is None or not self._teller.is_alive():
            self._teller = threading.Thread(target=self._tell_on, name="log-repetitions", daemon=True)
            self._teller.start()

    def _tell_on(self) -> None:
        while not self._ended.wait(self.tell_due()):
            pass

    def _close_windows(self, now: float, created: float) -> None:
        while self._seen:
            started, _, _ = next(iter(self._seen.values()))
            if now - started < COLLAPSE_S:
                return
            self._close_oldest(created)

    def _close_oldest(self, created: float) -> None:
        _, (_, line, again) = self._seen.popitem(last=False)
        if again is not None:
            line.trace = ""
            self._write(self._render(line, created, "", again))

    def _write(self, text: str) -> None:
        try:
            self._stream.write(text + "\n")
            self._stream.flush()
        except (OSError, ValueError):
            pass  # the stream is closed or its reader is gone: there is nobody to tell

    @staticmethod
    def _complain() -> None:
        try:
            kind = sys.exc_info()[0]
            sys.stderr.write(f"a log line could not be written: {kind.__name__ if kind else 'unknown'}\n")
        except (OSError, ValueError, AttributeError):
            pass


def configure(json: bool = True, level: str = "INFO", stream: TextIO | None = None) -> Callable[[], None]:
    """Send every log line of this process to `stream` (default: standard output), and return what undoes that.

    Also takes over uncaught exceptions of threads and of the process, whose default text would be unredacted.
    """
    root = logging.getLogger()
    # Dramatiq's command line installs its own plain handler first; test runners' capturing handlers are subclasses and stay.
    replaced = [handler for handler in root.handlers if type(handler) in {logging.StreamHandler, LineHandler}]
    before = (
        root.level,
        sys.excepthook,
        threading.excepthook,
        {name: logging.getLogger(name).level for name in _QUIET},
    )
    handler = LineHandler(stream or sys.stdout, json=json)
    for old in replaced:
        root.removeHandler(old)
    root.addHandler(handler)
    root.setLevel(level.upper())
    for name, quiet in _QUIET.items():
        # More of a library only if somebody debugs, but never its own DEBUG lines: what pika says about a connection fills
        # the pipe to Dramatiq's master, which reads nothing before all workers are up; the start then took 30 s.
        logging.getLogger(name).setLevel(quiet if root.level > logging.DEBUG else logging.INFO)
    sys.excepthook = _uncaught
    threading.excepthook = _uncaught_in_thread

    def undo() -> None:
        # Whoever set the log up once more since then is undone as well.
        for ours in {handler, *(one for one in root.handlers if type(one) is LineHandler)}:
            ours.flush()
            ours.close()
            root.removeHandler(ours)
        for old in replaced:
            root.addHandler(old)
        root.setLevel(before[0])
        sys.excepthook, threading.excepthook = before[1], before[2]
        for name, old_level in before[3].items():
            logging.getLogger(name).setLevel(old_level)

    return undo


def _uncaught(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    if issubclass(kind, KeyboardInterrupt):
        return
    logging.getLogger("uncaught").critical("uncaught exception", exc_info=(kind, error, trace))


def _uncaught_in_thread(arguments: threading.ExceptHookArgs) -> None:
    if arguments.exc_type is SystemExit:
        return
    error = arguments.exc_value or arguments.exc_type()
    logging.getLogger("uncaught").critical(
        "uncaught exception in a thread",
        exc_info=(arguments.exc_type, error, arguments.exc_traceback),
        extra={"fields": {"in_thread": arguments.thread.name if arguments.thread else ""}},
    )


def describe_error(error: BaseException) -> str:
    """One line that says what went wrong: type, message, HTTP status of a refused upgrade, close code, cause (A12, C7).

    Free of secrets; never raises.
    """
    try:
        return redact.text(_describe(error, depth=0))
    except Exception:  # noqa: BLE001 - A52
        return type(error).__name__


def _describe(error: BaseException, depth: int) -> str:
    name = type(error).__name__
    message = str(error).strip().replace("\n", " ")
    parts = [f"{name}: {message}" if message else f"{name}{_arguments(error)}"]
    status = getattr(error, "status_code", None)
    response = getattr(error, "response", None)
    if status is None:
        status = getattr(response, "status_code", None)
    if isinstance(status, int):
        parts.append(f"HTTP {status}" if status < 1000 else f"close code {status}")
    body = getattr(error, "resp_body", None)
    if isinstance(body, bytes) and body:
        parts.append(f"body {body[:200].decode('utf-8', 'replace')!r}")
    for attribute in ("close_code", "reply_code", "errno"):
        code = getattr(error, attribute, None)
        if isinstance(code, int) and str(code) not in message:
            parts.append(f"{attribute.replace('_', ' ')} {code}")
    cause = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    # Wrappers like to quote what they wrap: once is enough.
    if cause is not None and depth < 3 and not (str(cause).strip() and str(cause).strip() in message):
        parts.append(f"caused by {_describe(cause, depth + 1)}")
    return "; ".join(parts)


def _arguments(error: BaseException) -> str:
    return f"({', '.join(repr(argument) for argument in error.args)})" if error.args else ""
