"""A spot account: executions and balances on the private socket, with a token from REST (docs/venues/kraken.md 2 to 8).

The token is asked for once the socket is open, so that waiting for the connect budget can't outlast it. It is never used
again: each connection has its own.
"""

from __future__ import annotations

from typing import Final

import msgspec

from exchanges._account import OneAccount
from exchanges._adapter import Answer, Call, Connect, Fail, FailKind, Instant, Note, Output, Outputs, UserSubscription
from exchanges._failures import Failure
from exchanges._frames import UNREADABLE
from exchanges._timers import Alarms, earliest
from exchanges._venue import Setup
from exchanges.kraken import _errors, _hosts
from exchanges.kraken._connection_spot_frames import Frame, Numbers, chatter, decode_frame, heartbeat, request
from exchanges.kraken._user_spot_account import SpotAccount

LOGIN: Final = "socket token"
CHANNELS: Final = ("executions", "balances")
ACK_S: Final = 10.0
TOKEN_TRIES: Final = 5
"""Other users of a key may have sent a higher nonce."""
_MISSING_PERMISSION: Final = "the key needs the permission 'WebSocket interface' (Kraken Pro: 'Access WebSocket API')"


class _Token(msgspec.Struct):
    token: str


_decode_token = msgspec.json.Decoder(_Token).decode


class SpotUser(OneAccount):
    """One account: connect → token → subscribe → repair → live. See `exchanges._adapter.Adapter`."""

    url = _hosts.SPOT_PRIVATE_WS

    def __init__(self, setup: Setup) -> None:
        self._setup = setup
        self._numbers = Numbers()
        self._beat = heartbeat(self._numbers)
        self._alarms: Alarms[str] = Alarms()
        self._session: SpotAccount | None = None
        self._token = ""
        self._asked: dict[int, str] = {}
        self._unconfirmed: set[str] = set()

    # --- inputs ---

    def connected(self, now: Instant) -> Outputs:
        self._beat.start(now)
        session = self._session
        return session.ask([token_call()], now) if session else []

    def received(self, frame: bytes, now: Instant) -> Outputs:
        self._beat.heard()
        session = self._session
        if session is None:
            return []
        try:
            message = decode_frame(frame)
            told = chatter(message)
            if told is not None:
                return told
            if message.method or message.error:
                return self._answer(session, message, now)
            return session.told(message, now)
        except UNREADABLE:
            return [Note(f"private frame of {len(frame)} bytes is not understood", "error")]

    def answered(self, call: Call, answer: Answer, now: Instant) -> Outputs:
        session = self._session
        if session is None:
            return []
        meant = session.line.answered(call)
        if meant is None:
            return []
        if meant.tag == LOGIN:
            return session.ask(self._token_told(session, meant, answer, now), now)
        return session.ask(session.rest_told(meant, answer, now), now)

    def woken(self, now: Instant) -> Outputs:
        outputs = self._beat.due(now)
        session = self._session
        if session is None:
            return outputs
        for name in self._alarms.due(now):
            outputs.extend(self._alarm(session, name, now))
        return [*outputs, *session.due(now)]

    def _alarm(self, session: SpotAccount, name: str, now: Instant) -> list[Output]:
        if name == "ack":
            return [Fail(kind=FailKind.TRANSIENT, reason="no answer to a subscribe request")]
        return session.ask([token_call(int(name))], now)

    def deadline(self) -> float | None:
        session = self._session.deadline() if self._session else None
        return earliest(self._beat.deadline(), self._alarms.deadline(), session)

    def _leave(self, _stream_id: str, _now: Instant) -> Outputs:
        token, self._token = self._token, ""
        self._session = None
        self._alarms = Alarms()
        self._unconfirmed.clear()
        return [self._request("unsubscribe", channel, token) for channel in CHANNELS] if token else []

    # --- joining ---

    def _open(self, subscription: UserSubscription, now: Instant) -> Outputs:
        if subscription.credentials.environment == "sandbox":
            return [Fail(kind=FailKind.REQUEST, reason=_hosts.NO_SANDBOX, stream_id=subscription.stream_id)]
        self._setup.table()  # orders are told by pair ids: this starts the loading of the symbols
        self._session = self._account(subscription, now)
        return [Connect(self.url)]

    def _account(self, subscription: UserSubscription, now: Instant) -> SpotAccount:
        return SpotAccount(self._setup, subscription, now)

    def _token_told(self, session: SpotAccount, call: Call, answer: Answer, now: Instant) -> list[Output]:
        read = _errors.read_spot(answer)
        failure = read.failure
        if failure is None:
            try:
                self._token = _decode_token(read.data).token
            except UNREADABLE:
                self._token = ""
            if not self._token:
                return [Fail(kind=FailKind.TRANSIENT, reason="the token answer is not understood")]
            return self._subscribe(now)
        if _errors.bad_nonce(failure.reason) and call.attempt < TOKEN_TRIES:
            self._alarms.set(str(call.attempt + 1), now.mono + _errors.NONCE_WAIT_S)
            return []
        return [self._failed(session, failure)]

    def _subscribe(self, now: Instant) -> list[Output]:
        self._alarms.set("ack", now.mono + ACK_S)
        self._unconfirmed = set(CHANNELS)
        return [self._request("subscribe", channel, self._token) for channel in CHANNELS]

    def _request(self, method: str, channel: str, token: str) -> Output:
        params: dict[str, object] = {"channel": channel, "token": token}
        if method == "subscribe":
            params |= self._wishes(channel)
        req_id = self._numbers.next()
        self._asked[req_id] = channel
        return request(method, params, req_id)

    def _wishes(self, channel: str) -> dict[str, object]:
        """What a subscription asks for beside the channel."""
        return {"snap_orders": True, "snap_trades": False} if channel == "executions" else {"snapshot": True}

    def _answer(self, session: SpotAccount, message: Frame, now: Instant) -> list[Output]:
        channel = message.result.channel if message.result else ""
        channel = channel or self._asked.get(message.req_id or 0, "")
        if message.error is None and message.success:
            return self._confirmed(session, channel, now) if message.method == "subscribe" else []
        text = message.error or "refused without a reason"
        if _errors.benign(text):
            return [Note(text[:100], "info"), *self._confirmed(session, channel, now)]
        failure = _errors.failure_of_text(text)
        if channel not in self._unconfirmed and failure.kind is not FailKind.CREDENTIAL:
            return [Note(f"error frame: {failure.reason}")]
        return [self._failed(session, failure)]

    def _confirmed(self, session: SpotAccount, channel: str, now: Instant) -> list[Output]:
        if channel not in self._unconfirmed:
            return []
        self._unconfirmed.discard(channel)
        if self._unconfirmed:
            return []
        self._alarms.clear("ack")
        return self._all_confirmed(session, now)

    def _all_confirmed(self, session: SpotAccount, now: Instant) -> list[Output]:
        return session.ask(session.begin(now), now)

    def _advice(self, reason: str) -> str:
        """What to do about a refused key."""
        return _MISSING_PERMISSION if "permission" in reason.lower() else ""

    def _failed(self, session: SpotAccount, failure: Failure) -> Fail:
        advice = self._advice(failure.reason) if failure.kind is FailKind.CREDENTIAL else ""
        told = failure._replace(reason=f"{failure.reason} ({advice})") if advice else failure
        return _errors.fail_of(told, session.stream_id)

    def replay(self, subscription: UserSubscription, names: dict[str, str]) -> None:
        """Enter the live state of a recorded frame: REST can't be asked, and time stands still."""
        now = Instant(0.0, 0)
        session = self._session = self._account(subscription, now)
        session.recorded(names, now)


def token_call(attempt: int = 1) -> Call:
    url = f"{_hosts.SPOT_REST}/0/private/GetWebSocketsToken"
    return Call(tag=LOGIN, method="POST", url=url, pool="private", attempt=attempt)
