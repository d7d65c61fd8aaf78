"""KuCoin unified accounts: another socket, another protocol, other frames (venue file section "Unified account").

The venue calls this API not final, so it can be switched off (`KUCOIN_UNIFIED=off`).
"""

from __future__ import annotations

from typing import Final

import msgspec

from exchanges._adapter import (
    Answer,
    Call,
    Connect,
    Fail,
    FailKind,
    Instant,
    Note,
    Output,
    Outputs,
    Seen,
    Send,
    Setup,
    Subscription,
    UserSubscription,
)
from exchanges._clock import VenueClock
from exchanges._frames import UNREADABLE
from exchanges._repair import GapRepair
from exchanges._signing import hmac_sha256_base64
from exchanges._timers import Heartbeat, Waiting, earliest
from exchanges.events import AccountEvent
from exchanges.kucoin import _events, _markets, _rest
from exchanges.kucoin._unified_events import BalancePush, OrderPush, UnifiedGap, balance_event, order_event

WELCOME_S: Final = 5.0
ACK_S: Final = 5.0
PING_INTERVAL_S: Final = 18.0
PONG_S: Final = 10.0
PING_SHARE: Final = 0.8
_VERIFY: Final = "POST/api/websocket/users/verify"
_LOGIN: Final = "login"


class _Frame(msgspec.Struct, rename="camel"):
    T: str = ""
    d: msgspec.Raw = msgspec.Raw(b"null")
    id: str | int = ""
    op: str = ""
    type: str = ""
    message: str = ""
    result: bool | None = None
    reason: str | None = None
    msg: str | None = None
    ping_interval: float | None = None


_frame = msgspec.json.Decoder(_Frame).decode
_ORDERS: Final = frozenset({"orderAll", "order"})
"""KuCoin's own SDK hands pushes of either topic to whoever subscribed `orderAll`."""
_order = msgspec.json.Decoder(OrderPush).decode
_balance = msgspec.json.Decoder(BalancePush).decode


class UnifiedUser:
    """One unified account, filtered to the market of its exchange id."""

    def __init__(self, setup: Setup, subscription: UserSubscription, clock: VenueClock | None = None) -> None:
        self.setup = setup
        self._clock = clock or VenueClock(setup)
        self.subscription = subscription
        self.account = _events.Account(setup.exchange, setup.table)
        self._now = Instant(0.0, 0)
        self._gap = UnifiedGap(self.account, subscription, lambda: self._now.wall_ms)
        self.repair = GapRepair(subscription, self._signed, self._gap.then)
        self._welcome_by: float | None = None
        self._asked: Waiting[str, str] = Waiting()
        self._beat = self._heartbeat(PING_INTERVAL_S)
        self._ended = False

    def _heartbeat(self, every_s: float) -> Heartbeat:
        # The SDK pings with `op`, the documentation with `type`: both fit in one frame.
        return Heartbeat(
            every_s * PING_SHARE, PONG_S, lambda: f'{{"id":"{self.setup.new_id()}","op":"ping","type":"ping"}}'
        )

    def start(self, now: Instant) -> Outputs:
        self._now = now
        return [Connect(_markets.UNIFIED_WS)]

    def answered(self, call: Call, answer: Answer, now: Instant) -> Outputs:
        self._now = now
        return self.repair.answered(call, answer, self._gap.parse, now)

    def connected(self, now: Instant) -> Outputs:
        self._welcome_by = now.mono + WELCOME_S
        return []

    def received(self, frame: bytes, now: Instant) -> Outputs:
        self._now = now
        try:
            head = _frame(frame)
            if head.T:
                return self._pushed(head)
        except (*UNREADABLE, ValueError):
            return [Note(f"frame of {len(frame)} bytes is not understood")]
        if "welcome" in (head.message, head.op, head.type):
            return self._welcome(head, now)
        if "pong" in (head.op, head.type):
            self._beat.heard()
            return []
        if head.result is not None:
            return self._answer(head, now)
        return [Note("frame of an unknown kind")]

    def woken(self, now: Instant) -> Outputs:
        self._now = now
        if self._ended:
            return []
        if self._welcome_by is not None and now.mono >= self._welcome_by:
            return [self._fail(FailKind.TRANSIENT, "no welcome after the connection was opened")]
        late = self._asked.expired(now)
        if late:
            return [self._fail(FailKind.TRANSIENT, f"no answer to {late[0]}")]
        outputs: list[Output] = self._beat.due(now)
        deadline = self.repair.deadline()
        if deadline is not None and now.mono >= deadline:
            outputs.extend(self.repair.due(now))
        return outputs

    def deadline(self) -> float | None:
        if self._ended:
            return None
        return earliest(self._welcome_by, self._asked.deadline(), self._beat.deadline(), self.repair.deadline())

    def add(self, subscription: Subscription, now: Instant) -> Outputs:
        return [Fail(kind=FailKind.REQUEST, reason="the connection is taken", stream_id=subscription.stream_id)]

    def remove(self, stream_id: str, now: Instant) -> Outputs:
        return []

    def closing(self, now: Instant) -> Outputs:
        return []

    # --- frames ---

    def _welcome(self, head: _Frame, now: Instant) -> Outputs:
        self._welcome_by = None
        if head.ping_interval:
            self._beat = self._heartbeat(head.ping_interval / 1000)
        self._beat.start(now)
        credentials = self.subscription.credentials
        stamp = str(self._clock.stamp(now))
        login = {
            "op": "auth",
            "kc-api-key": credentials.key.reveal(),
            "kc-api-timestamp": stamp,
            "kc-api-sign": hmac_sha256_base64(credentials.secret.reveal(), stamp + _VERIFY),
            "kc-api-passphrase": _rest.hashed_passphrase(credentials),
        }
        return [self._ask(_LOGIN, login, now)]

    def _ask(self, what: str, fields: dict[str, str], now: Instant) -> Send:
        request_id = self.setup.new_id()
        self._asked.add(request_id, what, now.mono + ACK_S)
        return Send(msgspec.json.encode({"id": request_id, **fields}).decode())

    def _answer(self, head: _Frame, now: Instant) -> Outputs:
        what = self._asked.take(str(head.id))
        if what is None:
            return [Note("answer to an unknown request")]
        if not head.result:
            reason = f"{what}: {head.reason or head.msg or 'refused'}"
            if what != _LOGIN:
                return [self._fail(FailKind.TRANSIENT, reason)]
            self._ended = True
            # The same key was accepted over REST a moment ago: count it rather than condemn it at once.
            stream_id = self.subscription.stream_id
            return [Fail(kind=FailKind.CREDENTIAL, reason=reason, stream_id=stream_id, first_sight=False)]
        if what == _LOGIN:
            orders = {"action": "subscribe", "channel": "orderAll", "tradeType": "UNIFIED"}
            balances = {"action": "subscribe", "channel": "balance", "accountType": "UNIFIED"}
            return [self._ask("orders", orders, now), self._ask("balances", balances, now)]
        return self.repair.begin(self._gap.calls(), now) if not len(self._asked) else []

    def _pushed(self, head: _Frame) -> Outputs:
        event: AccountEvent | None = None
        kind = head.T.split(".")[0]
        if kind in _ORDERS:
            event = order_event(self.setup.exchange, self.account.pair, _order(head.d))
        elif kind == "balance":
            push = _balance(head.d)
            event = balance_event(push) if self.account.owns_asset(push.currency) else None
        else:
            return [Note(f"channel {kind} is not known")]
        return [Seen(self.subscription.stream_id)] if event is None else self.repair.live(event)

    def _signed(self, call: Call) -> Call:
        call = msgspec.structs.replace(call, stream_id=self.subscription.stream_id)
        return _rest.sign(call, self.subscription.credentials, self._clock.stamp(self._now))

    def _fail(self, kind: FailKind, reason: str) -> Fail:
        self._ended = True
        return Fail(kind=kind, reason=reason)
