"""KuCoin account streams: which kind of account it is (docs/venues/kucoin.md, section "Unified account")."""

from __future__ import annotations

from functools import partial
from typing import Final

import msgspec

from exchanges._account import OneAccount
from exchanges._adapter import Adapter, Answer, Call, FailKind, Instant, Note, Output, Outputs, Rotate, UserSubscription
from exchanges._clock import ClockCheck, VenueClock
from exchanges._frames import NO_WEIGHT, UNREADABLE
from exchanges._rows import tolerant
from exchanges._timers import earliest
from exchanges._venue import Setup
from exchanges.errors import CredentialUnusable
from exchanges.kucoin import _errors, _signer, _symbols
from exchanges.kucoin._gap_unified import Api
from exchanges.kucoin._user_classic import ClassicUser
from exchanges.kucoin._user_unified import UnifiedUser

_MODE: Final = "account mode"
MODE_TRIES: Final = 2
RECHECK_S: Final = 600.0
"""A session whose account mode is not known runs as classic, and asks again after this long."""
TOLD_EVERY: Final = 144
"""So many questions make a day: an account whose mode stays unknown is told once a day."""
OFF: Final = frozenset({"off", "false", "0", "no"})


class _Mode(msgspec.Struct, rename="camel"):
    self_account_mode: str = ""


_decode_mode = tolerant(_Mode)


class UserAdapter(OneAccount):
    """Finds out whether the account is classic or unified, then hands every input to that session."""

    def __init__(self, setup: Setup) -> None:
        self._setup = setup
        self._inner: Adapter | None = None
        self._recheck_at: float | None = None
        self._clock = VenueClock(setup)
        self._check = ClockCheck(self._clock, _errors.time_call(_symbols.SPOT_REST), _errors.time_of)
        self._versions = _signer.KeyVersion()
        self._checks = 0

    def _open(self, subscription: UserSubscription, now: Instant) -> Outputs:
        check(subscription, now)
        # The venue calls its unified API not final: an operator can switch the detection off.
        if self._setup.options.get("KUCOIN_UNIFIED", "auto").lower() in OFF:
            return self._classic(subscription, now)
        return self._ask_mode(subscription, now)

    def _ask_mode(
        self, subscription: UserSubscription, now: Instant, attempt: int = 1, version: int = 2
    ) -> list[Output]:
        url = Api(version).url("account/mode")
        call = Call(tag=_MODE, method="GET", url=url, weight=30, pool="unified", attempt=attempt, context=version)
        return [self._signed(subscription, call, now)]

    def _signed(self, subscription: UserSubscription, call: Call, now: Instant) -> Call:
        signed = self._sign(subscription, call, now)
        return msgspec.structs.replace(signed, again=partial(self._sign, subscription, call))

    def _sign(self, subscription: UserSubscription, call: Call, now: Instant) -> Call:
        version = self._versions.of(call.url)
        return _signer.sign(call, subscription.credentials, self._clock.stamp(now), version)

    def _classic(self, subscription: UserSubscription, now: Instant) -> Outputs:
        if self._inner is not None:  # it runs already: the mode was asked again
            return []
        return self._choose(ClassicUser(self._setup, subscription, self._clock, self._versions), now)

    def _choose(self, inner: Adapter, now: Instant) -> Outputs:
        self._inner = inner
        return inner.start(now)

    def answered(self, call: Call, answer: Answer, now: Instant) -> Outputs:
        subscription = self._subscription
        if subscription is not None and call.tag == _MODE:
            return self._mode_told(subscription, call, answer, now)
        if self._inner is not None:
            return self._inner.answered(call, answer, now)
        if subscription is not None and call.tag == _errors.TIME:
            read = self._check.told(answer, now)
            return [*([] if read is None else [read]), *self._ask_mode(subscription, now)]
        return []

    def _mode_told(self, subscription: UserSubscription, call: Call, answer: Answer, now: Instant) -> Outputs:
        version = call.context if isinstance(call.context, int) else 2
        if self._versions.again(call, answer):
            return [self._signed(subscription, call, now)]
        envelope = _errors.read(answer)
        if not _errors.succeeded(answer, envelope):
            return self._no_mode(subscription, call, answer, envelope, now)
        try:
            unified = _decode_mode(envelope.data).self_account_mode == "UNIFIED"
        except UNREADABLE:
            unified = False
        self._recheck_at = None
        if not unified:
            return self._classic(subscription, now)
        if self._inner is not None:
            return [Rotate("the account has turned out to be a unified one")]
        return self._choose(UnifiedUser(self._setup, subscription, self._clock, self._versions, Api(version)), now)

    def _no_mode(
        self, subscription: UserSubscription, call: Call, answer: Answer, envelope: _errors.Envelope, now: Instant
    ) -> Outputs:
        fail = _errors.failure(answer, envelope)
        code = str(envelope.code)
        if code == _errors.CLOCK and self._inner is None and (ask := self._check.ask()) is not None:
            return [ask]
        if (fail.kind is FailKind.RATE_LIMITED or answer.error == NO_WEIGHT) and self._inner is None:
            return [fail]  # it was not asked, or has to be asked later: that says nothing of the account
        if _errors.unknown_path(answer, envelope):
            if call.context == 2:
                return self._ask_mode(subscription, now, version=1)
            return self._mode_unknown(subscription, "neither version of the venue's API tells it", now)
        if answer.status == 0 or answer.status >= 500 or code.startswith("5") or fail.kind is FailKind.RATE_LIMITED:
            if call.attempt < MODE_TRIES and self._inner is None:
                version = call.context if isinstance(call.context, int) else 2
                return self._ask_mode(subscription, now, call.attempt + 1, version)
            return self._mode_unknown(subscription, fail.reason, now)
        # A business error: not a unified account. A bad key is told by the token call that follows.
        self._recheck_at = None
        return self._classic(subscription, now)

    def _mode_unknown(self, subscription: UserSubscription, why: str, now: Instant) -> Outputs:
        """The API that tells the mode is not final: its absence must not keep classic accounts from streaming."""
        self._recheck_at = now.mono + RECHECK_S
        note = Note(f"account mode not known, taken for classic: {why}")
        told = [note] if self._checks % TOLD_EVERY == 0 else []
        self._checks += 1
        return [*told, *self._classic(subscription, now)]

    def connected(self, now: Instant) -> Outputs:
        return self._inner.connected(now) if self._inner else []

    def received(self, frame: bytes, now: Instant) -> Outputs:
        return self._inner.received(frame, now) if self._inner else []

    def woken(self, now: Instant) -> Outputs:
        if self._inner is None:
            return []
        outputs = list(self._inner.woken(now))
        if self._recheck_at is not None and now.mono >= self._recheck_at and self._subscription is not None:
            self._recheck_at = None
            outputs.extend(self._ask_mode(self._subscription, now))
        return outputs

    def deadline(self) -> float | None:
        return earliest(self._recheck_at, self._inner.deadline()) if self._inner else None

    def _leave(self, stream_id: str, now: Instant) -> Outputs:
        self._recheck_at = None
        return self._inner.remove(stream_id, now) if self._inner is not None else []

    def closing(self, now: Instant) -> Outputs:
        return self._inner.closing(now) if self._inner else []


def check(subscription: UserSubscription, now: Instant) -> None:
    """Raises `CredentialUnusable` for material that can never sign a request."""
    key = subscription.credentials.key.reveal()
    if not key or not key.isascii():
        raise CredentialUnusable("the API key is empty or holds characters that no key has")
    _signer.sign(Call(tag="", method="GET", url=_symbols.SPOT_REST), subscription.credentials, now.wall_ms)
