"""An account of WhiteBIT on the one socket, with a token from REST.

The token is asked for once the socket is open, because only ten a minute can be had: none is spent on a connection that does
not come about. It lives for seconds and is never used again.
"""

from __future__ import annotations

from typing import Final

import msgspec

from exchanges._account import OneAccount
from exchanges._adapter import Answer, Call, Connect, Fail, FailKind, Instant, Note, Output, Outputs, UserSubscription
from exchanges._failures import Failure
from exchanges._frames import NO_WEIGHT, UNREADABLE
from exchanges._timers import Alarms, earliest
from exchanges._venue import Setup
from exchanges.whitebit import _errors, _hosts, _signer
from exchanges.whitebit._connection import missing_market
from exchanges.whitebit._connection_frames import PING_ID, Frame, Numbers, decode_frame, heartbeat, request
from exchanges.whitebit._positions import CHANNEL as POSITIONS
from exchanges.whitebit._symbols import FUTURES
from exchanges.whitebit._user_account import Account

TOKEN: Final = "socket token"  # noqa: S105 - a name
TIME: Final = "time"
STATUS: Final = "platform status"
ACK_S: Final = 10.0
TOKEN_TRIES: Final = 3
LIST_EVERY_S: Final = 0.5
LIST_WITHIN_S: Final = 30.0
"""So long the symbol list may take: orders can only be subscribed by the names of their markets."""
CHECK_EVERY_S: Final = 60.0
"""How often the subscribed markets are compared with the list: a market that was listed since is silent until then."""
TOKEN_WAIT_S: Final = 6.5
"""Between tries while the address's ten tokens of a minute are used up."""


class _Token(msgspec.Struct):
    websocket_token: str = ""


class _Time(msgspec.Struct):
    time: int


_decode_token = msgspec.json.Decoder(_Token).decode
_decode_time = msgspec.json.Decoder(_Time).decode


class UserAdapter(OneAccount):
    """One account: connect → token → authorise → subscribe → repair → live. See `exchanges._adapter.Adapter`."""

    def __init__(self, setup: Setup) -> None:
        self._setup = setup
        self._site = _hosts.site_of(setup.options)
        self._numbers = Numbers()
        self._beat = heartbeat()
        self._alarms: Alarms[str] = Alarms()
        self._account: Account | None = None
        self._asked: dict[int, str] = {}
        """Requests without an answer: `authorize`, or the channel."""
        self._positions_asked: int | None = None
        """The request for positions, whose answer nothing waits for."""
        self._markets: tuple[str, ...] = ()
        self._refused: set[str] = set()
        self._tokens = 0
        self._joined = False
        self._list_by = 0.0

    # --- inputs ---

    def _open(self, subscription: UserSubscription, now: Instant) -> Outputs:
        if subscription.credentials.environment == "sandbox":
            return [Fail(kind=FailKind.REQUEST, reason=_hosts.NO_SANDBOX, stream_id=subscription.stream_id)]
        self._setup.table()  # starts the loading of the symbols
        self._account = Account(self._setup, subscription, now)
        return [Connect(self._site.ws)]

    def connected(self, now: Instant) -> Outputs:
        self._beat.start(now)
        account = self._account
        if account is None:
            return []
        self._list_by = now.mono + LIST_WITHIN_S
        return self._when_listed(account, now)

    def received(self, frame: bytes, now: Instant) -> Outputs:
        self._beat.heard()
        account = self._account
        if account is None:
            return []
        try:
            message = decode_frame(frame)
            if message.method is not None:
                return account.told(message, now)
            return self._answer(account, message, now)
        except UNREADABLE:
            return [Note(f"private frame of {len(frame)} bytes is not understood", "error")]

    def answered(self, call: Call, answer: Answer, now: Instant) -> Outputs:
        account = self._account
        if account is None:
            return []
        if call.tag == TOKEN:
            return self._token_told(account, call, answer, now)
        if call.tag == STATUS:
            return [self._passing(call, answer)]
        if call.tag == TIME:
            return self._clock_told(account, call, answer, now)
        return account.rest_told(call, answer, now)

    def woken(self, now: Instant) -> Outputs:
        outputs = self._beat.due(now)
        account = self._account
        if account is None:
            return outputs
        for name in self._alarms.due(now):
            if name == "ack":
                outputs.append(self._fail(FailKind.TRANSIENT, "no answer to a request"))
            elif name == "list":
                outputs.extend(self._when_listed(account, now))
            elif name == "check":
                outputs.extend(self._check(now))
            else:
                outputs.append(self._token_call(account, int(name), now))
        return [*outputs, *account.due(now)]

    def deadline(self) -> float | None:
        account = self._account.deadline() if self._account else None
        return earliest(self._beat.deadline(), self._alarms.deadline(), account)

    def _leave(self, _stream_id: str, _now: Instant) -> Outputs:
        channels = ["ordersPending", "ordersExecuted", "deals", self._wallet] if self._joined else []
        channels += [POSITIONS] if self._positions_asked is not None else []
        self._account = None
        self._alarms = Alarms()
        return [request(f"{name}_unsubscribe", [], self._numbers.next()) for name in channels]

    # --- joining ---

    @property
    def _wallet(self) -> str:
        return "balanceMargin" if self._setup.exchange == FUTURES else "balanceSpot"

    def _listed(self) -> tuple[str, ...]:
        names = (item.wire for item in self._setup.table().active())
        return tuple(sorted(name for name in names if name not in self._refused))

    def _when_listed(self, account: Account, now: Instant) -> list[Output]:
        if self._listed():
            return [self._token_call(account, 1, now)]
        if now.mono >= self._list_by:
            return [self._fail(FailKind.TRANSIENT, "the symbol list is not loaded")]
        self._alarms.set("list", now.mono + LIST_EVERY_S)
        return []

    def _token_call(self, account: Account, attempt: int, now: Instant) -> Call:
        call = _signer.private_call(TOKEN, "profile/websocket_token", {}, pool="token", attempt=attempt)
        return account.sign(call, now)

    def _token_told(self, account: Account, call: Call, answer: Answer, now: Instant) -> list[Output]:
        failure = _errors.failure_of(answer)
        if failure is None:
            try:
                token = _decode_token(answer.body).websocket_token
            except UNREADABLE:
                token = ""
            if not token:
                return [self._fail(FailKind.TRANSIENT, "the token answer is not understood")]
            self._tokens += 1
            self._alarms.set("ack", now.mono + ACK_S)
            return [self._request("authorize", "authorize", [token, "public"])]
        if answer.error == NO_WEIGHT:
            self._alarms.set(str(call.attempt), now.mono + TOKEN_WAIT_S)
            return []
        if _errors.bad_nonce(failure.reason) and call.attempt < TOKEN_TRIES:
            url = f"{self._site.rest}/api/v4/public/time"
            return [Call(tag=TIME, method="GET", url=url, pool="public", context=call.attempt + 1)]
        if answer.status >= 500 and failure.kind is FailKind.TRANSIENT:
            url = f"{self._site.rest}/api/v4/public/platform/status"
            return [Call(tag=STATUS, method="GET", url=url, pool="public", context=failure)]
        if failure.kind is FailKind.RATE_LIMITED and call.attempt < TOKEN_TRIES:
            # Perhaps not the rate: a nonce that was used before is answered with the same text.
            self._alarms.set(str(call.attempt + 1), now.mono + _errors.RATE_WAIT_S * 2 ** (call.attempt - 1))
            return []
        kind = FailKind.TRANSIENT if failure.kind is FailKind.REQUEST else failure.kind
        return [self._fail(kind, failure.reason, failure.retry_after_s)]

    def _passing(self, call: Call, answer: Answer) -> Fail:
        """No token for the venue's own reasons, which pass: the platform's status says whether it is maintenance."""
        reason = call.context.reason if isinstance(call.context, Failure) else "no token"
        if _errors.under_maintenance(answer):
            return self._fail(FailKind.MAINTENANCE, f"system maintenance ({reason})", _errors.MAINTENANCE_WAIT_S)
        return self._fail(FailKind.TRANSIENT, reason, _errors.MAINTENANCE_WAIT_S)

    def _clock_told(self, account: Account, call: Call, answer: Answer, now: Instant) -> list[Output]:
        attempt = int(str(call.context))
        try:
            told: list[Output] = [account.clock.read(_decode_time(answer.body).time * 1000, now)]
        except UNREADABLE:
            told = []
        return [*told, self._token_call(account, attempt, now)]

    def _request(self, what: str, method: str, params: list[object]) -> Output:
        number = self._numbers.next()
        self._asked[number] = what
        return request(method, params, number)

    def _answer(self, account: Account, frame: Frame, now: Instant) -> list[Output]:
        if frame.id == PING_ID:
            return []
        if frame.id is not None and frame.id == self._positions_asked:
            return [Note(f"positions are not told: {frame.error.message[:100]}")] if frame.error is not None else []
        what = self._asked.pop(frame.id, None) if frame.id is not None else None
        if what is None:
            text = frame.error.message if frame.error else "of no request"
            return [Note(f"answer: {text[:100]}")]
        if frame.error is not None:
            return self._refusal(account, what, _errors.failure_of_code(frame.error.code, frame.error.message), now)
        if what == "authorize":
            self._alarms.set("check", now.mono + CHECK_EVERY_S)
            return self._subscribe(now)
        if self._asked:
            return []
        self._alarms.clear("ack")
        if self._joined:
            return []
        self._joined = True
        return [*account.begin(now), *self._ask_positions()]

    def _ask_positions(self) -> list[Output]:
        if self._setup.exchange != FUTURES:
            return []
        self._positions_asked = self._numbers.next()
        return [request(f"{POSITIONS}_subscribe", [], self._positions_asked)]

    def _subscribe(self, now: Instant) -> list[Output]:
        """Markets are named: whether an empty list means all of them is documented for deals and balances only."""
        self._alarms.set("ack", now.mono + ACK_S)
        wallet = self._wallet
        return [
            *self._subscribe_orders(),
            self._request("deals", "deals_subscribe", [[]]),
            self._request(wallet, f"{wallet}_subscribe", []),
        ]

    def _subscribe_orders(self) -> list[Output]:
        self._markets = self._listed()
        markets = list(self._markets)
        return [
            self._request("ordersPending", "ordersPending_subscribe", [*markets]),
            self._request("ordersExecuted", "ordersExecuted_subscribe", [markets, 0]),
        ]

    def _check(self, now: Instant) -> list[Output]:
        """A subscription replaces the one before it, so a changed list is sent whole."""
        self._alarms.set("check", now.mono + CHECK_EVERY_S)
        if not self._joined or self._asked or not self._listed() or self._listed() == self._markets:
            return []
        self._alarms.set("ack", now.mono + ACK_S)
        return self._subscribe_orders()

    def _refusal(self, account: Account, what: str, failure: Failure, now: Instant) -> list[Output]:
        if what == "authorize":
            if failure.kind is FailKind.REQUEST and self._tokens < TOKEN_TRIES:
                return [Note("the token was refused: another one is asked for"), self._token_call(account, 1, now)]
            kind = FailKind.RATE_LIMITED if failure.kind is FailKind.RATE_LIMITED else FailKind.TRANSIENT
            return [self._fail(kind, f"authorize: {failure.reason}", failure.retry_after_s)]
        market = missing_market(failure.reason)
        if what in ("ordersPending", "ordersExecuted") and market in self._markets:
            self._refused.add(market)
            if not self._listed():
                return [self._fail(FailKind.TRANSIENT, failure.reason)]
            self._alarms.set("ack", now.mono + ACK_S)
            params: list[object] = [*self._listed()] if what == "ordersPending" else [list(self._listed()), 0]
            return [Note(f"subscribe: {failure.reason}"), self._request(what, f"{what}_subscribe", params)]
        kind = FailKind.TRANSIENT if failure.kind is FailKind.REQUEST else failure.kind
        return [self._fail(kind, f"{what}: {failure.reason}", failure.retry_after_s)]

    def _fail(self, kind: FailKind, reason: str, retry_after_s: float | None = None) -> Fail:
        """What is about the key belongs to the stream, everything else to the connection."""
        stream_id = self._account.stream_id if self._account and kind is FailKind.CREDENTIAL else None
        return Fail(kind=kind, reason=reason, retry_after_s=retry_after_s, stream_id=stream_id)

    def replay(self, subscription: UserSubscription) -> None:
        """Enter the live state of a recorded frame: REST can't be asked, and time stands still."""
        self._account = Account(self._setup, subscription, Instant(0.0, 0))
        self._account.recorded(Instant(0.0, 0))
        self._joined = True
