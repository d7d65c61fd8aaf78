"""Tries one credential: one account stream through the real adapter, session, dialler and REST pool, then goes away."""

# The methods of a listener have its signature whether they need every argument or not.
# ruff: noqa: ARG002

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Final, Literal

import msgspec

from connector.core import redact
from connector.core.clock import SystemClock
from connector.core.errors import ConnectorError
from connector.core.loop import Loop
from connector.core.settings import Settings
from connector.state.memory_state import MemoryState
from connector.streams.advice import advice, names_refusal
from connector.streams.budget import Budget
from connector.streams.dial import Dialler
from connector.streams.egress import Egresses
from connector.streams.endpoints import Endpoints
from connector.streams.http_client import HttpClient, RestPool
from connector.streams.instruments import Instruments
from connector.streams.io import IoThread
from connector.streams.poller import SocketPoller
from connector.streams.rest import Caller, RestQueue
from connector.streams.session import Session
from connector.streams.websocket_client import SocketOpener, tls_context
from exchanges import venue_of
from exchanges._adapter import (
    Adapter,
    Answer,
    Call,
    Emit,
    EmitCandle,
    EmitTickers,
    Fail,
    FailKind,
    GapReport,
    Instant,
    KeyKind,
    Note,
    Outputs,
    Resume,
    Subscription,
    UserSubscription,
)
from exchanges._venue import Limits, Setup, Venue
from exchanges.ids import is_paper
from exchanges.paper._user import UNKNOWN_ACCOUNT
from tasks.commands import OpenStream

ATTEMPTS: Final = 2
"""Refusals that may be an accident (contract 4.3 counts them, too) and lost connections are tried once more."""
STOP_TIMEOUT_S: Final = 5.0

_REFUSALS: Final = frozenset({FailKind.CREDENTIAL, FailKind.KEY_TYPE, FailKind.REQUEST})


class NoAdapter(ConnectorError):
    """The exchange id is known, but nothing here can open its account streams."""


class Verdict(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """The result of a check. No field holds key material."""

    exchange: str
    result: Literal["accepted", "rejected", "unreachable"]
    reason: str
    advice: str = ""
    retry_after_s: float | None = None
    through: str = ""
    """Our address or the proxy by which the venue was asked; empty = directly."""
    seconds: float = 0.0


def probe(command: OpenStream, settings: Settings, timeout_s: float) -> Verdict:
    """Open the account stream of `command`, and close it as soon as the venue has decided.

    Takes at most `timeout_s` and a moment for the end. Raises `NoAdapter`, and `InvalidSetting` for bad endpoints.
    """
    venue = venue_of(command.exchange)
    if venue is None:
        raise NoAdapter(f"there is no adapter for {command.exchange} in this build")
    started = time.monotonic()
    with _Parts(settings).running() as parts:
        attempt = parts.attempt(venue, command, timeout_s)
        for _ in range(ATTEMPTS - 1):
            left_s = timeout_s - (time.monotonic() - started)
            if not attempt.doubtful or left_s <= 0:
                break
            again = parts.attempt(venue, command, left_s)
            attempt = again if again.decided else attempt
    verdict = _verdict(venue, command, attempt, time.monotonic() - started)
    return msgspec.structs.replace(verdict, through=attempt.through)


def _verdict(venue: Venue, command: OpenStream, attempt: _Attempt, seconds: float) -> Verdict:
    took_s = round(seconds, 2)
    fail = attempt.fail
    unread = redact.text("; ".join(attempt.unread))
    if attempt.accepted and names_refusal(venue.name, unread):
        reason = f"the account stream opens, but reading the account over REST is refused: {unread}"
        todo = advice(venue.name, FailKind.CREDENTIAL, unread)
        return Verdict(exchange=command.exchange, result="rejected", reason=reason, advice=todo, seconds=took_s)
    if attempt.accepted:
        reason = "the venue took the key and confirmed the account stream"
        todo = "; ".join(filter(None, (unread and f"gaps could not be repaired now: {unread}", attempt.key_advice)))
        return Verdict(exchange=command.exchange, result="accepted", reason=reason, advice=todo, seconds=took_s)
    if fail is not None and fail.kind in _REFUSALS:
        reason = redact.text(fail.reason)
        todo = advice(venue.name, fail.kind, reason)
        return Verdict(exchange=command.exchange, result="rejected", reason=reason, advice=todo, seconds=took_s)
    return Verdict(
        exchange=command.exchange,
        result="unreachable",
        reason=redact.text(fail.reason if fail is not None else attempt.standstill()),
        advice=_way_out(fail),
        retry_after_s=fail.retry_after_s if fail is not None else None,
        seconds=took_s,
    )


def _way_out(fail: Fail | None) -> str:
    if fail is not None and fail.kind is FailKind.RATE_LIMITED:
        return "the venue limits this host's address: wait, then try again; the key was not judged"
    if fail is not None and fail.kind is FailKind.MAINTENANCE:
        return "the venue is in maintenance: try again later; the key was not judged"
    return "the key was not judged: check the network, DNS, firewall and VENUE_GATEWAY (connector doctor), try again"


class _Attempt:
    """One session's listener and publisher. Told on the I/O thread, read after `wait`."""

    def __init__(self, through: str) -> None:
        self.through = through
        self._done = threading.Event()
        self._upgraded = False
        self._asked: str | None = None
        self._trouble = ""
        self._waited_s = 0.0
        self.accepted = False
        self.key_advice = ""
        """What to do about a kind of key that the venue will refuse one day."""
        self.unread: tuple[str, ...] = ()
        """What gap repair could not read."""
        self.fail: Fail | None = None

    @property
    def decided(self) -> bool:
        return self._done.is_set()

    @property
    def doubtful(self) -> bool:
        """Another try may end differently."""
        fail = self.fail
        if fail is None:
            return False
        return fail.kind is FailKind.TRANSIENT or (fail.kind is FailKind.CREDENTIAL and not fail.first_sight)

    def wait(self, timeout_s: float) -> None:
        self._waited_s = timeout_s
        self._done.wait(timeout_s)

    def standstill(self) -> str:
        """Why nothing was decided in time."""
        if self._asked is not None:
            where = f"no answer to {self._asked}"
        elif self._upgraded:
            where = "the WebSocket is open, but login and subscribe were not confirmed"
        else:
            where = "the WebSocket connection did not open"
        return f"{where} within {self._waited_s:.0f} s{self._because()}"

    def _because(self) -> str:
        return f" ({self._trouble})" if self._trouble else ""

    def _decide(self, fail: Fail | None) -> None:
        if not self._done.is_set():
            self.accepted, self.fail = fail is None, fail
            self._done.set()

    # --- what the adapter says and hears ---

    def said(self, outputs: Outputs) -> None:
        for output in outputs:
            if isinstance(output, Call):
                self._asked = _named(output)
            elif isinstance(output, Note) and output.what == UNKNOWN_ACCOUNT:
                # The service asks again for ever, because paper accounts may be made later. A person wants to know now.
                self._decide(Fail(kind=FailKind.CREDENTIAL, reason="the paper server does not know this account"))

    def heard(self, call: Call, answer: Answer) -> None:
        self._asked = None
        if answer.status == 0 or answer.status >= 500:
            # In this order: redaction takes what follows `…/listenKey:` for one.
            self._trouble = f"{answer.error or f'HTTP {answer.status}'} at {_named(call)}"

    # --- Listener ---

    def connected(self, session: Session) -> None:
        self._upgraded = True

    def live(self, session: Session, stream_id: str, gap: GapReport | None) -> None:
        self.unread = gap.missing if gap is not None else ()
        self._decide(None)

    def refused(self, session: Session, stream_id: str, fail: Fail) -> None:
        self._decide(fail)

    def answered(self, session: Session, answer: Answer) -> None:
        """Its adapter reads it."""

    def clock_read(self, session: Session, offset_ms: int) -> None:
        """The session itself goes on with what it measured."""

    def key_learnt(self, session: Session, kind: KeyKind) -> None:
        self.key_advice = kind.advice

    def noticed(self, session: Session, what: str) -> None:
        """The log has it."""

    def lost(self, session: Session, fail: Fail) -> None:
        self._decide(msgspec.structs.replace(fail, reason=fail.reason + self._because()))

    def rotate(self, session: Session, reason: str) -> None:
        """The venue will close this connection soon; the check does not last that long."""

    # --- Publisher: what the account does meanwhile goes nowhere ---

    def account(self, emit: Emit, mono: float) -> bool:
        return True

    def tickers(self, emit: EmitTickers, mono: float) -> None:
        """Account sessions have none."""

    def candle(self, emit: EmitCandle, mono: float) -> None:
        """Account sessions have none."""


def _named(call: Call) -> str:
    return f"{call.method} {call.url.split('?')[0]}"


class _Overheard:
    """An adapter whose outputs and answers an attempt listens to."""

    def __init__(self, adapter: Adapter, attempt: _Attempt) -> None:
        self._adapter, self._attempt = adapter, attempt

    def _pass(self, outputs: Outputs) -> Outputs:
        self._attempt.said(outputs)
        return outputs

    def start(self, now: Instant) -> Outputs:
        return self._pass(self._adapter.start(now))

    def connected(self, now: Instant) -> Outputs:
        return self._pass(self._adapter.connected(now))

    def received(self, frame: bytes, now: Instant) -> Outputs:
        return self._pass(self._adapter.received(frame, now))

    def answered(self, call: Call, answer: Answer, now: Instant) -> Outputs:
        self._attempt.heard(call, answer)
        return self._pass(self._adapter.answered(call, answer, now))

    def woken(self, now: Instant) -> Outputs:
        return self._pass(self._adapter.woken(now))

    def deadline(self) -> float | None:
        return self._adapter.deadline()

    def add(self, subscription: Subscription, now: Instant) -> Outputs:
        return self._pass(self._adapter.add(subscription, now))

    def remove(self, stream_id: str, now: Instant) -> Outputs:
        return self._pass(self._adapter.remove(stream_id, now))

    def closing(self, now: Instant) -> Outputs:
        return self._pass(self._adapter.closing(now))


class _HurriedRest(RestPool):
    """Ends calls with the check: the threads of a pool are waited for when the process ends."""

    limit_s = 0.0

    def submit(
        self,
        call: Call,
        venue: str,
        egress: str,
        limits: Limits | None,
        done: Callable[[Answer], None],
        caller: Caller | None = None,
    ) -> None:
        # The adapter gets its own object back, because the answer is bound to that one.
        hurried = msgspec.structs.replace(call, timeout_s=min(call.timeout_s, self.limit_s))
        super().submit(hurried, venue, egress, limits, done, caller)


class _Parts:
    """Dialler, REST pool and one I/O thread, as the engine makes them."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        clock = self._clock = SystemClock()
        endpoints = Endpoints(settings.venue_gateway, settings.venue_endpoints)
        budget = Budget(MemoryState(), clock)
        self._egresses = Egresses(settings.ways, clock)
        opener = SocketOpener(endpoints, tls_context(settings.venue_ca_file), ATTEMPTS, self._egresses)
        self._dialler = Dialler(budget, clock, opener)
        client = HttpClient(endpoints, clock, self._egresses, settings.venue_ca_file)
        self._rest = _HurriedRest(RestQueue(budget), client, Loop("rest", clock))
        self._instruments = Instruments(self._rest, clock, settings.venue_options, egress=self._egresses.working)
        """Loaded only for a venue whose adapter asks: most publish nothing here, so no symbol has to be known."""
        self._io = IoThread("io-check", clock, self._dialler, self._rest, SocketPoller())

    @contextmanager
    def running(self) -> Iterator[_Parts]:
        self._dialler.start()
        self._rest.start()
        self._io.start()
        try:
            yield self
        finally:
            self._io.stop(STOP_TIMEOUT_S)
            self._dialler.stop(STOP_TIMEOUT_S)
            self._rest.stop()

    def attempt(self, venue: Venue, command: OpenStream, timeout_s: float) -> _Attempt:
        """Run one session until the venue has decided or the time is over."""
        attempt = _Attempt(self._egresses.working(venue.name)[0])
        self._rest.limit_s = timeout_s
        setup = Setup(
            exchange=command.exchange,
            new_id=lambda: uuid.uuid4().hex[:24],
            table=partial(self._instruments.table, command.exchange),
            options=self._settings.venue_options,
        )
        session = Session(
            f"check:{command.exchange}",
            venue.name,
            command.exchange,
            "user",
            _Overheard(venue.user(setup), attempt),
            _hurried(venue.limits(command.exchange, "user"), timeout_s),
            self._io,
            attempt,
            attempt,
            attempt.through,
        )
        subscription = UserSubscription(
            stream_id=command.stream_id,
            exchange=command.exchange,
            credentials=command.credentials,
            # As if after an empty gap: repair reads over REST. Binance futures open the stream without any signature.
            resume=None if is_paper(command.exchange) else Resume(since_ms=self._clock.wall_ms()),
        )
        self._io.post(partial(session.start, (subscription,)))
        attempt.wait(timeout_s)
        # Not as the account's last holder: that would end the listen key, which the running service may share.
        self._io.post(session.close)
        return attempt


def _hurried(limits: Limits, timeout_s: float) -> Limits:
    return msgspec.structs.replace(limits, connect_timeout_s=min(limits.connect_timeout_s, timeout_s))
