"""A derivatives account on whichever way its key opens: found once by asking, then remembered (venues/kraken-unified.md 2).

Both kinds of keys look alike. Only `EAPI:Invalid key` leads to the second question, and neither is asked again for a key
whose kind is known: repeated invalid keys end in a lockout of the account.
"""

from __future__ import annotations

from typing import Final

import msgspec

from exchanges._account import OneAccount
from exchanges._adapter import (
    Adapter,
    Answer,
    Call,
    Fail,
    FailKind,
    Instant,
    KeyKind,
    Live,
    Output,
    Outputs,
    UserSubscription,
)
from exchanges._clock import VenueClock
from exchanges._failures import Failure
from exchanges._renewal import renewable
from exchanges._timers import Alarms, earliest
from exchanges._venue import Setup
from exchanges.kraken import _errors, _hosts, _rows_futures_rest, _signer
from exchanges.kraken._line import RestLine
from exchanges.kraken._route import AUTO, CLASSIC, NEW_KEY, UNIFIED, WARN_MS, route_of
from exchanges.kraken._user_futures import FuturesUser
from exchanges.kraken._user_spot import LOGIN, TOKEN_TRIES, token_call
from exchanges.kraken._user_unified import PERMISSION, UnifiedUser, refused_key

DERIVATIVES_KEY: Final = "derivatives"
API_KEY: Final = "api"
KINDS: Final = "key kind"
UNKNOWN_KEY: Final = "Kraken knows this key neither as API key nor as Derivatives key"


class DerivativesUser(OneAccount):
    """One account: which way? → the way. See `exchanges._adapter.Adapter`."""

    def __init__(self, setup: Setup) -> None:
        self._setup = setup
        self._clock = VenueClock(setup)
        self._inner: Adapter | None = None
        self._kind = ""
        self._signer: _signer.Signer | None = None
        self._line = RestLine(setup, self._signed)
        self._alarms: Alarms[int] = Alarms()

    # --- which way ---

    def _open(self, subscription: UserSubscription, now: Instant) -> Outputs:
        refusal = _hosts.account_refusal(self._setup.options, subscription.credentials)
        if refusal is not None:
            return [Fail(kind=FailKind.REQUEST, reason=refusal, stream_id=subscription.stream_id)]
        way = route_of(self._setup.options, now.wall_ms)
        if way == AUTO:
            way = {DERIVATIVES_KEY: CLASSIC, API_KEY: UNIFIED}.get(subscription.key_kind, AUTO)
        if way != AUTO:
            return self._go(way, subscription, now)
        self._signer = _signer.Signer(subscription.credentials)
        return self._line.send([token_call()], now)

    @renewable
    def _signed(self, call: Call, now: Instant) -> Call:
        signer = self._signer
        if signer is None:
            return call
        signed = signer.futures(call) if call.tag == KINDS else signer.spot(call, self._clock.stamp(now))
        stream_id = self._subscription.stream_id if self._subscription is not None else None
        return msgspec.structs.replace(signed, stream_id=stream_id)

    def _go(self, way: str, subscription: UserSubscription, now: Instant) -> Outputs:
        self._kind = DERIVATIVES_KEY if way == CLASSIC else API_KEY
        inner = self._inner = FuturesUser(self._setup) if way == CLASSIC else UnifiedUser(self._setup)
        return self._told([*inner.add(subscription, now), *inner.start(now)])

    def _told(self, outputs: Outputs) -> Outputs:
        """What the way says, with the kind of the key before it is live."""
        if not any(isinstance(output, Live) for output in outputs) or self._subscription is None:
            return outputs
        old = self._kind == DERIVATIVES_KEY
        kind = KeyKind(
            stream_id=self._subscription.stream_id,
            kind=self._kind,
            advice=NEW_KEY if old else "",
            warn_ms=WARN_MS if old else 0,
        )
        return [kind, *outputs]

    def _asked(self, call: Call, answer: Answer, now: Instant) -> Outputs:
        subscription, meant = self._subscription, self._line.answered(call)
        if subscription is None or meant is None:
            return []
        if meant.tag == LOGIN:
            return self._token_told(meant, answer, subscription, now)
        read = _errors.read_futures(answer)
        if read.failure is None:
            return self._go(CLASSIC, subscription, now)
        if read.failure.kind is FailKind.CREDENTIAL:
            return [self._failed(Failure(FailKind.CREDENTIAL, UNKNOWN_KEY))]
        return [self._failed(read.failure)]

    def _token_told(self, call: Call, answer: Answer, subscription: UserSubscription, now: Instant) -> Outputs:
        failure = _errors.read_spot(answer).failure
        if failure is None:
            return self._go(UNIFIED, subscription, now)
        if refused_key(failure.reason):
            return self._line.send([_rows_futures_rest.accounts_call(_hosts.FUTURES_REST, KINDS)], now)
        if _errors.bad_nonce(failure.reason) and call.attempt < TOKEN_TRIES:
            self._alarms.set(call.attempt + 1, now.mono + _errors.NONCE_WAIT_S)
            return []
        if failure.kind is FailKind.CREDENTIAL and "permission" in failure.reason.lower():
            return [self._failed(failure._replace(reason=f"{failure.reason} ({PERMISSION})"))]
        return [self._failed(failure)]

    def _failed(self, failure: Failure) -> Output:
        return _errors.fail_of(failure, self._subscription.stream_id if self._subscription is not None else None)

    # --- inputs ---

    def connected(self, now: Instant) -> Outputs:
        return self._told(self._inner.connected(now)) if self._inner is not None else []

    def received(self, frame: bytes, now: Instant) -> Outputs:
        return self._told(self._inner.received(frame, now)) if self._inner is not None else []

    def answered(self, call: Call, answer: Answer, now: Instant) -> Outputs:
        if self._inner is None:
            return self._asked(call, answer, now)
        return self._told(self._inner.answered(call, answer, now))

    def woken(self, now: Instant) -> Outputs:
        if self._inner is not None:
            return self._told(self._inner.woken(now))
        again = [token_call(attempt) for attempt in self._alarms.due(now)]
        return [*self._line.due(now), *self._line.send(again, now)]

    def deadline(self) -> float | None:
        if self._inner is not None:
            return self._inner.deadline()
        return earliest(self._alarms.deadline(), self._line.deadline())

    def _leave(self, stream_id: str, now: Instant) -> Outputs:
        self._alarms = Alarms()
        return self._inner.remove(stream_id, now) if self._inner is not None else []

    def closing(self, now: Instant) -> Outputs:
        return self._inner.closing(now) if self._inner is not None else []
