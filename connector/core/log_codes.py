"""The code of each operational line (WARNING and above): stable where a wording is not, and the anchor in docs/runbook.md.

A line that is new, or says something else, gets its text here, under a code that fits or a new one with a section in the
runbook (tests/unit/docs/test_runbook.py keeps the three equal). A code never changes its meaning.
"""

from __future__ import annotations

from typing import Final

LIBRARY: Final = "WSC-LIBRARY"
"""Lines of libraries."""

CODES: Final[dict[str, tuple[str, ...]]] = {
    # start and end
    "WSC-START-REFUSED": ("can't start", "the health process can't start"),
    "WSC-SETTING-HABIT": (
        "tickers are off (PRICEROLE=candle): paper orders fill only if another price service sends them",
        "candles are off (PRICEROLE=ticker): indicators get them only from another price service",
        "no such site: the venue's main site is used",
        "this variable is no setting",
    ),
    "WSC-OPEN-FILES": (
        "fewer open files allowed than streams: raise the limit (ulimit -n), or lower MAX_STREAMS",
        "the limit of open files could not be raised",
        "no file descriptor left for another connection: raise the limit (ulimit -n) above MAX_STREAMS",
    ),
    "WSC-KEYS-NOT-KEPT": (
        "without CREDENTIALS_KEYS or a strong RABBIT_PASSWORD streams can't be taken over by other processes, nor survive a "
        "restart",
    ),
    "WSC-END-UNCONFIRMED": (
        "events were left unconfirmed at the end; the outbox on disk keeps account events",
        "unconfirmed messages are kept on disk",
        "a stream leaves with unconfirmed events",
        "a stream waits for the next scan: the state is unavailable",
        "a job still runs at the end",
    ),
    "WSC-HEALTH-PORT": ("health port not available, going on without", "health page failed"),
    "WSC-CONTROL": ("control refused", "control: somebody acted on a stream"),
    # RabbitMQ
    "WSC-SINK-AWAY": ("not connected",),
    "WSC-BROKER-ALARM": (
        "the broker takes no messages (memory or disk alarm)",
        "the broker takes messages again",
    ),
    "WSC-BROKER-REFUSES": ("the broker closed the channel", "the broker refuses messages, they will be sent again"),
    "WSC-QUEUE-GONE": ("the event queue is gone, or not bound: it is declared again, nothing is lost",),
    "WSC-QUEUE-ARGUMENTS": ("the event queue has other arguments than set: used as it is",),
    "WSC-COMMAND-REFUSED": (
        "command refused",
        "command skipped",
        "open dropped: this exchange has no stream here",
        "candle request refused",
    ),
    "WSC-COMMANDS-WAIT": ("commands wait for the registry",),
    "WSC-COMMAND-QUEUE": (
        "the command queue was gone: senders are asked again",
        "can't note that this queue is known: each process that takes it over will ask all senders again",
    ),
    # events that wait or are lost
    "WSC-OUTBOX-FULL": ("outbox can't take more, events wait in memory", "account events refused"),
    "WSC-OUTBOX-UNUSABLE": (
        "outbox unusable, account events wait in memory only",
        "outbox can't be read, newer messages wait behind it",
        "outbox records can't be deleted, they will be sent again after a restart",
        "an outbox file can't be deleted, it will be sent again after a restart",
        "unconfirmed messages can't be kept on disk",
    ),
    "WSC-OUTBOX-DAMAGED": (
        "an outbox file can't be read whole, it is kept aside",
        "outbox segment ends in what is no record",
        "outbox records can't be read",
    ),
    "WSC-OUTBOX-USED": ("messages wait on disk", "messages of an earlier process will be sent first"),
    "WSC-EVENTS-LOST": (
        "messages can't be published",
        "unconfirmed messages are lost with this process",
        "account events were lost while Redis was away",
        "an account event could not be queued",
    ),
    "WSC-OUTCOME-UNKNOWN": ("balance updates dropped, outcome unknown",),
    "WSC-REDIS-REFUSES": (
        "the server refuses to publish account events",
        "the server refuses to publish",
        "lastEventTime or orders not written",
    ),
    "WSC-CALLBACKS-SLOW": (
        "callbacks are too slow: a stream ends, and is repaired once there is room",
        "this connector can't go on: stop it and make another one",
    ),
    "WSC-CALLBACK-FAILED": ("a callback raised", "message callback failed"),
    # Redis
    "WSC-STATE-AWAY": (
        "the state is unavailable; account events wait",
        "leases end with this process: the state is unavailable",
        "reconcile waits: the state is unavailable",
        "reconcile left to the next sweep",
        "a hand-over waits: the state is unavailable",
        "candles stay: the state is unavailable",
        "positions could not be saved: the state is unavailable",
        "announcements wait: the state is unavailable",
        "a gate is kept in this process only: the state is unavailable",
        "a gate could not be removed: the state is unavailable",
        "the block binds only this process: the state is unavailable",
        "notifications interrupted",
        "notification lost; the next sweep makes up for it",
    ),
    "WSC-STATE-FORGOT": (
        "the state forgot running streams; they were written again",
        "the state forgot candle subscriptions; they were written again",
    ),
    "WSC-STATE-UNREADABLE": (
        "unreadable value in Redis",
        "a notification can't be read",
        "unknown notification",
        "what was announced last can't be read",
        "saved candle positions can't be read",
        "a saved position can't be read",
    ),
    "WSC-POSITIONS-DISK": (
        "the file of positions can't be used, it is kept aside",
        "positions can't be kept on disk",
    ),
    "WSC-KEYS-UNREADABLE": (
        "keys at rest can't be read and are asked for again: was RABBIT_PASSWORD changed, or a key taken out of "
        "CREDENTIALS_KEYS?",
        "the keys of some streams can't be read any more: they are asked for again",
    ),
    # ownership
    "WSC-KEYS-UNKNOWN": (),
    "WSC-FULL": (
        "this process is full and wanted streams are run by nobody: start more processes or raise MAX_STREAMS",
    ),
    "WSC-FENCED": ("fenced: another process owns this stream",),
    "WSC-PROCESS-GONE": ("a process is gone: others take over what it held",),
    "WSC-HANDOVER": (
        "given up: another process knows the new key of this stream",
        "the position of a stream could not be handed over",
        "took a stream back: the other process did not",
        "a stream that was being handed over went to a third process",
        "the former owner of a stream is silent: going on without it",
    ),
    "WSC-THREAD-STUCK": (
        "a thread of this process is stuck: no lease is renewed, the process ends and others take over",
    ),
    "WSC-OVERLOADED": ("too much work is waiting", "a deadline was missed"),
    # exchanges
    "WSC-KEY-REFUSED": ("key rejected by the venue: cooling down",),
    "WSC-KEY-OLD": ("accounts of this process have keys that the venue will refuse",),
    "WSC-SESSION-LOST": ("session lost", "rotation failed, the old session goes on"),
    "WSC-SUBSCRIPTION-REFUSED": ("the venue refuses this subscription",),
    "WSC-FEED-STALLED": ("feed stalled again without data in between: rebuilding it whole",),
    "WSC-VENUE-LIMIT": ("venue budget blocked", "a venue's connections are all in use: others wait"),
    "WSC-VENUE-UNREACHABLE": (
        "an address of the venue can't be opened: the next one is tried",
        "a proxy does not work: others are taken, if there are any",
    ),
    "WSC-VENUE-NOTE": (),
    "WSC-SYMBOL-LIST": (
        "the venue's symbol list could not be loaded",
        "a symbol list can't be understood",
        "the symbol list can't be asked for",
        "the exchange service's answer can't be read",
        "the exchange service has no symbols",
        "the exchange service lists no symbols; asked again",
    ),
    "WSC-CLOCK": (
        "the host's clock jumped; signed requests fail until it is right: check NTP",
        "the host's clock is off: check NTP; gaps are measured by the venue's clock",
        "the host's clock agrees with the venue's again",
        "a venue refused our clock; its own is used",
    ),
    "WSC-FRAME-FAILED": ("a frame could not be handled", "an adapter failed"),
    # defects of ours
    "WSC-DEFECT": (
        "unexpected error",
        "unexpected error on an I/O thread",
        "unexpected error in a REST call",
        "a call could not be signed anew",
        "unexpected error while connecting",
        "publisher failed",
        "publisher callback failed",
        "a message can't be encoded",
        "can't try to connect",
        "callback of a sink failed",
        "sink failed to flush or stop",
        "sink failed to take messages",
        "a notification callback failed",
        "stream can't open: no session could be made",
        "rotation failed: no session could be made",
        "a stream had no timer; the sweep gave it one",
        "a stream had no session; it is opened again",
        "a dial could not be launched",
        "the result of a dial could not be delivered",
        "a scheduler job failed",
        "reading a command failed",
        "command failed",
        "the result of a command is no JSON value",
        "a reply could not be handed over",
        "telling that a consumer is up failed",
        "uncaught exception",
        "uncaught exception in a thread",
    ),
    LIBRARY: (),
}

_BY_TEXT: Final = {text: code for code, texts in CODES.items() for text in texts}


def code_of(text: object) -> str:
    """The code of a line with this constant text; that of libraries for any other."""
    return _BY_TEXT.get(text, LIBRARY) if isinstance(text, str) else LIBRARY
