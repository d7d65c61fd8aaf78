"""KuCoin unified accounts: another socket, another protocol, other frames (docs/venues/kucoin.md "Unified account").

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
    Subscription,
    UserSubscription,
)
from exchanges._clock import VenueClock
from exchanges._frames import UNREADABLE
from exchanges._lookup import Lookups
from exchanges._positions import Positions
from exchanges._renewal import renewable
from exchanges._repair import GapRepair
from exchanges._rows import tolerant
from exchanges._signing import hmac_sha256_base64
from exchanges._timers import Heartbeat, Waiting, earliest
from exchanges._venue import Setup
from exchanges.events import AccountEvent, ExecutionReport
from exchanges.kucoin import _orders, _signer, _symbols
from exchanges.kucoin._gap_unified import Api, UnifiedGap
from exchanges.kucoin._orders_unified import (
    LIQUIDATION,
    BalancePush,
    OrderPush,
    balance_event,
    liquidation_of,
    order_event,
    unclear,
)
from exchanges.kucoin._positions import Reader, unified_call, unified_held

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


_frame = tolerant(_Frame)
_ORDERS: Final = frozenset({"orderAll", "order"})
"""KuCoin's own SDK hands pushes of either topic to whoever subscribed `orderAll`."""
_order = tolerant(OrderPush)
_balance = tolerant(BalancePush)
_LIQUIDATIONS: Final = "liquidations"
_MAX_SOURCES: Final = 20
_SAME_LIQUIDATION_S: Final = 60.0
"""A liquidation is told on two channels: the later one within this time is the same."""


class UnifiedUser:
    """One unified account, filtered to the market of its exchange id."""

    def __init__(
        self,
        setup: Setup,
        subscription: UserSubscription,
        clock: VenueClock | None = None,
        versions: _signer.KeyVersion | None = None,
        api: Api | None = None,
    ) -> None:
        self.setup = setup
        self._clock = clock or VenueClock(setup)
        self.subscription = subscription
        self._versions = versions or _signer.KeyVersion()
        known = subscription.resume.orders if subscription.resume else ()
        self.account = _orders.Account(setup.exchange, setup.table, known)
        self._gap = UnifiedGap(self.account, subscription, self._clock.stamp, api or Api())
        self.repair = GapRepair(subscription, self._signed, self._gap.then)
        self._lookups = Lookups(self._signed)
        self._reader = Reader(setup.exchange, self.account.pair, setup.table)
        self._positions = Positions(
            subscription,
            calls=lambda: [unified_call(api or Api())],
            parse=lambda _, answer, now: self._reader.read_unified(answer, self._clock.stamp(now)),
            sign=self._signed,
            ready=lambda: self.repair.passing,
        )
        self._sources: set[str] = set()
        self._liquidated: dict[str, float] = {}
        """Symbol → when its liquidation was told last."""
        self._removed = False
        self._welcome_by: float | None = None
        self._asked: Waiting[str, str] = Waiting()
        self._beat = self._heartbeat(PING_INTERVAL_S)

    def _heartbeat(self, every_s: float) -> Heartbeat:
        # The SDK pings with `op`, the documentation with `type`: both fit in one frame.
        return Heartbeat(
            every_s * PING_SHARE, PONG_S, lambda: f'{{"id":"{self.setup.new_id()}","op":"ping","type":"ping"}}'
        )

    def start(self, now: Instant) -> Outputs:
        return [Connect(_symbols.UNIFIED_WS)]

    def answered(self, call: Call, answer: Answer, now: Instant) -> Outputs:
        if self._lookups.owns(call):
            return self._lookups.answered(call, answer, self._gap.looked_up, self.repair.live, now)
        if self._positions.owns(call):
            return self._positions.answered(call, answer, now)
        return self.repair.answered(call, answer, self._gap.parse, now)

    def connected(self, now: Instant) -> Outputs:
        self._welcome_by = now.mono + WELCOME_S
        return []

    def received(self, frame: bytes, now: Instant) -> Outputs:
        try:
            head = _frame(frame)
            if head.T:
                return self._pushed(head, now)
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
        if self._welcome_by is not None and now.mono >= self._welcome_by:
            return [self._fail(FailKind.TRANSIENT, "no welcome after the connection was opened")]
        late = self._asked.expired(now)
        if late:
            return [self._fail(FailKind.TRANSIENT, f"no answer to {late[0]}")]
        outputs: list[Output] = [*self._beat.due(now), *self._lookups.due(now)]
        deadline = self.repair.deadline()
        if deadline is not None and now.mono >= deadline:
            outputs.extend(self.repair.due(now))
        outputs.extend(self._positions.due(now))
        return outputs

    def deadline(self) -> float | None:
        reading = earliest(self.repair.deadline(), self._lookups.deadline(), self._positions.deadline())
        return earliest(self._welcome_by, self._asked.deadline(), self._beat.deadline(), reading)

    def add(self, subscription: Subscription, now: Instant) -> Outputs:
        return [Fail(kind=FailKind.REQUEST, reason="the connection is taken", stream_id=subscription.stream_id)]

    def remove(self, stream_id: str, now: Instant) -> Outputs:
        if stream_id != self.subscription.stream_id or self._removed:
            return []
        self._removed = True
        return [self._send({"action": "unsubscribe", **fields}) for _, fields in self._channels()]

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
            "kc-api-passphrase": _signer.hashed_passphrase(credentials),
        }
        return [self._ask(_LOGIN, login, now)]

    def _ask(self, what: str, fields: dict[str, str], now: Instant) -> Send:
        request_id = self.setup.new_id()
        self._asked.add(request_id, what, now.mono + ACK_S)
        return self._send(fields, request_id)

    def _send(self, fields: dict[str, str], request_id: str = "") -> Send:
        return Send(msgspec.json.encode({"id": request_id or self.setup.new_id(), **fields}).decode())

    def _channels(self) -> list[tuple[str, dict[str, str]]]:
        """What is subscribed; only contracts have positions."""
        channels = [
            ("orders", {"channel": "orderAll", "tradeType": "UNIFIED"}),
            ("balances", {"channel": "balance", "accountType": "UNIFIED"}),
        ]
        if not _symbols.is_spot(self.setup.exchange):
            channels.append((_LIQUIDATIONS, {"channel": "positionAll", "tradeType": "UNIFIED"}))
        return channels

    def _answer(self, head: _Frame, now: Instant) -> Outputs:
        what = self._asked.take(str(head.id))
        if what is None:
            return [Note("answer to an unknown request")]
        if not head.result:
            reason = f"{what}: {head.reason or head.msg or 'refused'}"
            if what == _LIQUIDATIONS:  # an account can do without
                return [Note(f"no liquidation reports, and no changes of positions: {reason}"), *self._joined(now)]
            if what != _LOGIN:
                return [self._fail(FailKind.TRANSIENT, reason)]
            # The same key was accepted over REST a moment ago: count it rather than condemn it at once.
            stream_id = self.subscription.stream_id
            return [Fail(kind=FailKind.CREDENTIAL, reason=reason, stream_id=stream_id, first_sight=False)]
        if what == _LOGIN:
            return [self._ask(name, {"action": "subscribe", **fields}, now) for name, fields in self._channels()]
        return self._joined(now)

    def _joined(self, now: Instant) -> list[Output]:
        if len(self._asked):
            return []
        if not _symbols.is_spot(self.setup.exchange):
            self._positions.begin(now)
        return self.repair.begin(self._gap.calls(now), now)

    def _pushed(self, head: _Frame, now: Instant) -> Outputs:
        if self._removed:
            return []
        kind = head.T.split(".")[0]
        if kind in _ORDERS:
            return self._ordered(_order(head.d), now)
        if kind == "balance":
            push = _balance(head.d)
            event: AccountEvent | None = balance_event(push) if self.account.owns_asset(push.currency) else None
        elif kind == "positionAll":
            return self._held_now(head.d, now)
        else:
            return [Note(f"channel {kind} is not known")]
        return [Seen(self.subscription.stream_id)] if event is None else self.repair.live(event)

    def _ordered(self, push: OrderPush, now: Instant) -> Outputs:
        self._gap.saw(push.symbol)
        if reason := unclear(push.status, push.filled, push.average, push.price):
            note = Note(f"order {push.order_id}: {reason}; it is asked for", "error")
            single = self._gap.single(push.order_id, push.symbol)
            return [note, *self._lookups.ask(push.order_id, single, now)]
        report = order_event(self.setup.exchange, self.account.pair, push)
        told = None if report is None else self.account.clients.told(self._flagged(report, now))
        seen: list[Output] = [Seen(self.subscription.stream_id)]
        return [*self._source(push), *(seen if told is None else self.repair.live(told))]

    def _held_now(self, raw: msgspec.Raw, now: Instant) -> list[Output]:
        """What a position's push says of it, and of its liquidation."""
        event = self._reader.update(unified_held(raw), self._clock.stamp(now))
        told = [] if event is None else self._positions.live([event])
        report = self._liquidation(raw, now)
        if report is not None:
            return [*self.repair.live(report), *told]
        return told or [Seen(self.subscription.stream_id)]

    def _source(self, push: OrderPush) -> list[Output]:
        """A word for who made an order that no page lists is told once: it may be one for liquidations."""
        source = (push.source or "").upper()[:40]
        if source in ("", "USER") or source in self._sources or len(self._sources) > _MAX_SOURCES:
            return []
        self._sources.add(source)
        known = source.startswith(LIQUIDATION)
        return [] if known else [Note(f"orders of source {source}: not known whether they are liquidations")]

    def _flagged(self, report: ExecutionReport, now: Instant) -> ExecutionReport:
        """An order by which the venue liquidates; a plain one if the position told that already: it closes deals once."""
        if report.liquidation is not True:
            return report
        if self._told_lately(report.symbol, now):
            return msgspec.structs.replace(report, liquidation=msgspec.UNSET)
        if report.order_status == "FILLED":
            self._liquidated[report.symbol] = now.mono
        return report

    def _liquidation(self, raw: msgspec.Raw, now: Instant) -> ExecutionReport | None:
        frame = liquidation_of(raw)
        report = None if frame is None else self.account.position(frame)
        if report is None or self._told_lately(report.symbol, now):
            return None
        self._liquidated[report.symbol] = now.mono
        return report

    def _told_lately(self, symbol: str, now: Instant) -> bool:
        told = self._liquidated.get(symbol)
        return told is not None and now.mono - told < _SAME_LIQUIDATION_S

    @renewable
    def _signed(self, call: Call, now: Instant) -> Call:
        call = msgspec.structs.replace(call, stream_id=self.subscription.stream_id)
        return _signer.sign(call, self.subscription.credentials, self._clock.stamp(now), self._versions.of(call.url))

    def _fail(self, kind: FailKind, reason: str) -> Fail:
        return Fail(kind=kind, reason=reason)
