"""Account streams of the futures markets and of Binance.US: a listen key made over REST, one account a connection.

The key lives 60 minutes from the last POST or PUT, and its end does not close the socket: the stream just goes quiet. So it
is kept alive here, and everything that says that it is gone ends the connection (the next one makes a new key).
The key belongs to the account, not to the connection: deleting it silences every other connection of the account, so that
happens only in `closing`.
"""

from __future__ import annotations

import zlib
from typing import Final

import msgspec

from exchanges._account import OneAccount
from exchanges._adapter import Answer, Call, Connect, Fail, FailKind, Instant, Note, Output, Rotate, UserSubscription
from exchanges._frames import UNREADABLE
from exchanges._timers import earliest
from exchanges._venue import Setup
from exchanges.binance import _errors, _orders
from exchanges.binance._clock import BinanceClock
from exchanges.binance._gap import AccountRepair
from exchanges.binance._hosts import Market, market_of
from exchanges.binance._positions import AccountPositions
from exchanges.binance._signer import Signer, encoded
from exchanges.events import AccountEvent

REFRESH_S: Final = 1800.0
JITTER_S: Final = 240.0
"""Keys made together after a restart are not refreshed together."""
RETRY_S: Final = 60.0
VALID_S: Final = 58 * 60.0
"""A key that could not be refreshed for this long counts as gone (60 min, less the time that an answer takes)."""

_CREATE: Final = "listen key"
_REFRESH: Final = "listen key refresh"
_DELETE: Final = "listen key removal"


class _Key(msgspec.Struct, rename="camel"):
    listen_key: str = ""


class _Wrapped(msgspec.Struct):
    data: msgspec.Raw = msgspec.Raw()
    e: str = ""


_decode_key = msgspec.json.Decoder(_Key).decode
_decode_wrapped = msgspec.json.Decoder(_Wrapped).decode


class ListenKeyUser(OneAccount):
    """Adapter of one listen-key connection."""

    def __init__(self, setup: Setup, market: Market) -> None:
        self._setup, self._market = setup, market
        self._clock = BinanceClock(market, setup)
        self._signer: Signer | None = None
        self._repair: AccountRepair | None = None
        self._positions: AccountPositions | None = None
        self._up = False
        self._call: Call | None = None
        self._key = ""
        self._refreshed_mono = 0.0
        self._refresh_at: float | None = None

    # --- inputs ---

    def _open(self, subscription: UserSubscription, now: Instant) -> list[Output]:
        self._market = market_of(self._market, subscription.credentials)
        self._clock = BinanceClock(self._market, self._setup)
        self._signer = Signer(subscription.credentials)
        repair = AccountRepair(self._market, subscription, self._signer, self._clock, self._setup.table)
        self._repair = repair
        self._positions = AccountPositions(
            self._market, subscription, self._signer, self._clock, self._setup.table, lambda: repair.passing
        )
        return self._create()

    def connected(self, now: Instant) -> list[Output]:
        self._up = True
        # The upgrade is the confirmation: there is no other one on these sockets.
        if self._positions is not None:
            self._positions.begin(now)
        return self._repair.begin(now) if self._repair is not None else []

    def received(self, frame: bytes, now: Instant) -> list[Output]:
        try:
            wrapped = _decode_wrapped(frame)
            raw = bytes(wrapped.data) or frame
            kind = _orders.kind_of(raw) if wrapped.data else wrapped.e
            if kind == "serverShutdown":
                return [Rotate("serverShutdown")]
            event, odd, lost = _orders.read(kind, raw)
        except UNREADABLE:
            return [Note("unreadable account frame")]
        if kind == "listenKeyExpired":
            return self._gone("listenKeyExpired", now, event)
        if self._repair is None:
            return []
        if lost is not None:
            return self._repair.ask(lost, now)
        if event is None:
            note = _orders.unknown(kind) if kind else "account frame without a type"
            return [Note(note)] if note else []
        outputs = self._repair.live(event)
        if self._positions is not None:
            outputs += self._positions.live(event)
        if odd:
            outputs.append(Note(f"unreadable fields in {kind}: {', '.join(odd)}"))
        return outputs

    def answered(self, call: Call, answer: Answer, now: Instant) -> list[Output]:
        if self._clock.owns(call):
            return self._clock.answered(answer, now)
        if call is self._call:
            self._call = None
            return self._created(answer, now) if call.tag == _CREATE else self._refreshed(answer, now)
        if self._repair is not None and self._repair.owns(call):
            return self._repair.answered(call, answer, now)
        if self._positions is not None and self._positions.owns(call):
            return self._positions.answered(call, answer, now)
        return []

    def woken(self, now: Instant) -> list[Output]:
        outputs: list[Output] = []
        if self._refresh_at is not None and self._refresh_at <= now.mono:
            outputs += self._refresh(now)
        if self._up and self._repair is not None:
            due = self._repair.deadline()
            if due is not None and due <= now.mono:
                outputs += self._repair.due(now)
        if self._positions is not None:
            outputs += self._positions.due(now)
        return outputs

    def deadline(self) -> float | None:
        parts = (self._repair, self._positions)
        return earliest(self._refresh_at, *(part.deadline() for part in parts if part is not None))

    def _leave(self, _stream_id: str, _now: Instant) -> list[Output]:
        self._signer = self._repair = self._positions = self._refresh_at = None
        return []

    def closing(self, now: Instant) -> list[Output]:
        return [self._key_call(_DELETE, "DELETE", with_key=True)] if self._key and self._signer is not None else []

    # --- the listen key ---

    def _key_call(self, tag: str, method: str, *, with_key: bool = False) -> Call:
        url = f"{self._market.rest}{self._market.listen_key_path}"
        if with_key and self._market.spot:  # futures keys are found by the API key alone
            url += f"?{encoded({'listenKey': self._key})}"
        return Call(
            tag=tag,
            method=method,
            url=url,
            headers=self._signer.headers if self._signer is not None else {},
            stream_id=self._subscription.stream_id if self._subscription is not None else None,
            pool=self._market.pool,
        )

    def _create(self) -> list[Output]:
        self._call = self._key_call(_CREATE, "POST")
        return [self._call]

    def _created(self, answer: Answer, now: Instant) -> list[Output]:
        error = _errors.of_answer(answer)
        if error is not None:
            return [self._failed(error, now)]
        self._key = _key_of(answer.body)
        if not self._key:
            return [Fail(kind=FailKind.TRANSIENT, reason="the answer holds no listen key")]
        self._plan_refresh(now)
        return [Connect(self._market.user_url.format(key=self._key))]

    def _refresh(self, now: Instant) -> list[Output]:
        self._refresh_at = None
        if self._signer is None or self._call is not None:
            return []
        self._call = self._key_call(_REFRESH, "PUT", with_key=True)
        return [self._call]

    def _refreshed(self, answer: Answer, now: Instant) -> list[Output]:
        error = _errors.of_answer(answer)
        if error is None:
            self._plan_refresh(now)
            told = _key_of(answer.body)
            return [] if told in ("", self._key) else self._gone("the venue answered with another listen key", now)
        if error.code == _errors.LISTEN_KEY_UNKNOWN:
            return self._gone(_errors.describe(error), now)
        if _errors.kind_of(error) in (FailKind.CREDENTIAL, FailKind.KEY_TYPE):
            return [self._failed(error, now)]
        if now.mono - self._refreshed_mono >= VALID_S:
            return self._gone("the listen key could not be refreshed in its lifetime", now)
        wait_s = _errors.wait_s(error, now) if _errors.kind_of(error) is FailKind.RATE_LIMITED else RETRY_S
        last_chance = self._refreshed_mono + VALID_S
        self._refresh_at = max(now.mono + RETRY_S, min(now.mono + wait_s, last_chance))
        return [Note(f"listen key refresh failed: {_errors.describe(error)}")]

    def _gone(self, why: str, now: Instant, marker: AccountEvent | None = None) -> list[Output]:
        """The key is gone. Only the futures ids have an event that says so (contract 2.3)."""
        outputs: list[Output] = []
        if self._repair is not None and not self._market.spot:
            outputs = self._repair.live(marker or _orders.expired(self._clock.stamp(now)))
        return [*outputs, Fail(kind=FailKind.TRANSIENT, reason=why)]

    def _failed(self, error: _errors.VenueError, now: Instant) -> Fail:
        fail = _errors.fail(error, now)
        if fail.kind in (FailKind.CREDENTIAL, FailKind.KEY_TYPE) and self._subscription is not None:
            return msgspec.structs.replace(fail, stream_id=self._subscription.stream_id)
        return fail

    def _plan_refresh(self, now: Instant) -> None:
        self._refreshed_mono = now.mono
        # Spread by an id that differs from connection to connection: adapters have no randomness of their own.
        spread = zlib.crc32(self._setup.new_id().encode()) / 2**32
        self._refresh_at = now.mono + REFRESH_S - JITTER_S * spread


def _key_of(body: bytes) -> str:
    try:
        return _decode_key(body).listen_key
    except UNREADABLE:
        return ""
