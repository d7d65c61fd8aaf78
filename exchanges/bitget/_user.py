"""Bitget account streams: classic (v2) and unified (v3) accounts on one private connection (venue file 2 to 8)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec

from exchanges._account import OneAccount
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
    UserSubscription,
)
from exchanges._frames import UNREADABLE
from exchanges._numbers import decimal
from exchanges._repair import GapRepair
from exchanges._timers import earliest
from exchanges.bitget import _events, _frames, _markets, _rest
from exchanges.bitget._gap import ClassicGap, Gap, UnifiedGap
from exchanges.bitget._socket import (
    ACCOUNT,
    BAD_CLOCK,
    BAD_KEY,
    LOGIN_FAILED,
    NOT_LOGGED_IN,
    Arg,
    Socket,
    code_of,
)
from exchanges.credentials import Credentials
from exchanges.errors import CredentialUnusable
from exchanges.events import AccountEvent

LOGIN_S: Final = 10.0
_MODE: Final = "account mode"
_TIME: Final = "time"
_VERIFY: Final = "GET/user/verify"
_PROBE: Final = "/api/v2/spot/account/assets?coin=USDT"
"""Classic accounts answer, unified ones refuse with 40085."""


class _Time(msgspec.Struct, rename="camel"):
    server_time: str | int


_orders = msgspec.json.Decoder(list[_frames.OrderRow]).decode
_spot = msgspec.json.Decoder(list[_frames.SpotBalance]).decode
_futures = msgspec.json.Decoder(list[_frames.FuturesBalance]).decode
_unified_orders = msgspec.json.Decoder(list[_frames.UnifiedOrder]).decode
_unified_accounts = msgspec.json.Decoder(list[_frames.UnifiedAccount]).decode
_time = msgspec.json.Decoder(_Time).decode


class User(OneAccount, Socket):
    """One account. Whether it is classic or unified is asked by REST before the connection is opened."""

    def __init__(self, setup: Setup) -> None:
        super().__init__(setup)
        self.unified = False
        self.account = _events.Account(setup.exchange)
        self.repair: GapRepair | None = None
        self._gap: Gap | None = None
        self._clock_checked = False
        self._login_by: float | None = None
        self._relogged = False
        self._orders_left: set[Arg] = set()

    # --- before the connection ---

    def _open(self, subscription: UserSubscription, now: Instant) -> Outputs:
        self.now = now
        key = subscription.credentials.key.reveal()
        if not key or not key.isascii():
            raise CredentialUnusable("the API key is empty or holds characters that no key has")
        for order in subscription.resume.orders if subscription.resume else ():
            self.account.seed(order.order_id, order.status, decimal(order.executed), decimal(order.executed_quote))
        return self._probe()

    def restore(self, subscription: UserSubscription, products: tuple[str, ...], *, unified: bool) -> None:
        """Put the session in its live state without a connection (recorded frames)."""
        self._subscription = subscription
        self.unified = unified
        self.account = _events.Account(self._exchange, products)
        self.repair = GapRepair(subscription)
        self.repair.done = True

    @property
    def _credentials(self) -> Credentials:
        if self._subscription is None:
            raise AssertionError("used before a subscription was added")
        return self._subscription.credentials

    def _probe(self) -> Outputs:
        return [self._signed(Call(tag=_MODE, method="GET", url=_markets.REST + _PROBE, pool="private"))]

    def _signed(self, call: Call) -> Call:
        stream_id = self._subscription.stream_id if self._subscription else None
        call = msgspec.structs.replace(call, stream_id=stream_id)
        return _rest.sign(call, self._credentials, self._clock.stamp(self.now))

    def _refuse(self, reason: str, *, first_sight: bool = True) -> Fail:
        self._ended = True
        stream_id = self._subscription.stream_id if self._subscription else None
        return Fail(kind=FailKind.CREDENTIAL, reason=reason, stream_id=stream_id, first_sight=first_sight)

    def answered(self, call: Call, answer: Answer, now: Instant) -> Outputs:
        self.now = now
        if self._ended:
            return []
        if self.repair is not None and self._gap is not None and self.repair.owns(call):
            return self.repair.answered(call, answer, self._gap.parse, now)
        if call.tag == _MODE:
            return self._mode(answer)
        return self._clock_told(answer, relogin=bool(call.context)) if call.tag == _TIME else []

    def _mode(self, answer: Answer) -> Outputs:
        envelope = _rest.read(answer)
        code = str(envelope.code)
        if _rest.succeeded(answer, envelope):
            return self._dial(unified=False)
        if code == _rest.UNIFIED:
            return self._dial(unified=True)
        if code in _rest.CLOCK:
            return self._check_clock(f"{code} {envelope.msg}", relogin=False)
        if code == _rest.PERMISSION and not _markets.is_spot(self._exchange):
            return self._dial(unified=False)  # a key for futures only may not read spot balances
        fail = _rest.failure(answer, envelope)
        if fail.kind is FailKind.CREDENTIAL:
            return [self._refuse(fail.reason)]
        self._ended = True
        return [fail]

    def _dial(self, *, unified: bool) -> Outputs:
        self.unified = unified
        version = "v3" if unified else "v2"
        return [Connect(_markets.ws_url(version, "private", demo=_rest.is_demo(self._credentials)))]

    def _check_clock(self, reason: str, *, relogin: bool) -> Outputs:
        if self._clock_checked:
            return [self._refuse(f"{reason} although the clock was checked", first_sight=False)]
        self._clock_checked = True
        url = f"{_markets.REST}/api/v2/public/time"
        return [Call(tag=_TIME, method="GET", url=url, pool="public", context=relogin)]

    def _clock_told(self, answer: Answer, *, relogin: bool) -> Outputs:
        try:
            server_ms = int(_time(_rest.read(answer).data).server_time)
        except (*UNREADABLE, ValueError):
            return [self._fail(FailKind.TRANSIENT, "the venue's clock can't be read")]
        measured = self._clock.read(server_ms, self.now)
        return [measured, *(self._login(self.now) if relogin else self._probe())]

    # --- the connection ---

    def connected(self, now: Instant) -> Outputs:
        self.now = now
        self._beat.start(now)
        return self._login(now)

    def _login(self, now: Instant) -> Outputs:
        credentials = self._credentials
        stamp = str(self._clock.stamp(now) // 1000)
        self._login_by = now.mono + LOGIN_S
        login = {
            "apiKey": credentials.key.reveal(),
            "passphrase": _rest.passphrase(credentials),
            "timestamp": stamp,
            "sign": _rest.signature(credentials, stamp + _VERIFY),
        }
        return [Send(msgspec.json.encode({"op": "login", "args": [login]}).decode())]

    def _other(self, frame: _frames.Frame, now: Instant) -> Outputs:
        if frame.event != "login":
            return super()._other(frame, now)
        if self._login_by is None:
            return []
        self._login_by = None
        code = code_of(frame)
        if code:
            return self._rejected(frame, code, now) or [self._refuse(f"{code} {frame.msg or ''}".strip())]
        args = self._args()
        self._orders_left = {arg for arg in args if arg.channel in ("orders", "order")}
        self._book.want(args, now)
        return self._begin(now)

    def _args(self) -> list[Arg]:
        if self.unified:
            return [Arg("UTA", topic) for topic in ("order", ACCOUNT)]
        products = self.account.products
        orders = [Arg(product, "orders", "default") for product in products]
        return orders + [Arg(product, ACCOUNT, "default") for product in products]

    def _rejected(self, frame: _frames.Frame, code: int, now: Instant) -> Outputs | None:
        reason = f"{frame.code} {frame.msg or ''}".strip()
        if code in BAD_KEY:
            return [self._refuse(reason)]
        if code in BAD_CLOCK or code == LOGIN_FAILED:
            self._login_by = None
            return self._check_clock(reason, relogin=True)
        if code == NOT_LOGGED_IN:
            if self._relogged:
                return [self._fail(FailKind.TRANSIENT, reason)]
            self._relogged = True
            self._book.forget()
            return self._login(now)
        return None

    def _confirmed(self, topics: Sequence[Arg], now: Instant) -> list[Output]:
        return self._settled(now)

    def _refused(self, topics: Sequence[Arg], fail: Fail, now: Instant) -> list[Output]:
        self._orders_left.difference_update(topics)
        if not self._orders_left:
            return [self._fail(FailKind.TRANSIENT, fail.reason)]
        return [Note(f"refused: {fail.reason}"), *self._settled(now)]

    def _silent(self, topics: Sequence[Arg], now: Instant) -> list[Output]:
        return [self._fail(FailKind.TRANSIENT, f"no answer to the subscription of {topics[0].text}")]

    def _settled(self, now: Instant) -> list[Output]:
        if not self._book.settled:
            return []
        return self._repair().begin(self._gap.calls() if self._gap else [], now)

    def _repair(self) -> GapRepair:
        if self.repair is None:
            if self._subscription is None:
                raise AssertionError("used before a subscription was added")
            kind = UnifiedGap if self.unified else ClassicGap
            self._gap = kind(self.account, self._subscription, self._setup.table, lambda: self.now.wall_ms)
            self.repair = GapRepair(self._subscription, self._signed, self._gap.then)
        return self.repair

    # --- frames ---

    def _pushed(self, frame: _frames.Frame, now: Instant) -> Outputs:
        arg = frame.arg
        if arg is None or self._subscription is None:
            return [Note("push without an argument")]
        seen = Seen(self._subscription.stream_id)
        channel = arg.channel or arg.topic
        try:
            if self.unified and arg.inst_type == "UTA":
                events, notes = self._unified_push(channel, frame)
            elif arg.inst_type in self.account.products:
                events, notes = self._classic_push(channel, frame)
            else:
                return [seen]
        except (*UNREADABLE, ValueError):
            return [Note(f"{channel} push is not understood")]
        repair = self._repair()
        outputs: list[Output] = [Note(note) for note in notes]
        for event in events:
            outputs.extend(repair.live(event))
        return outputs or [seen]

    def _classic_push(self, channel: str, frame: _frames.Frame) -> tuple[list[AccountEvent], list[str]]:
        time_ms = int(frame.ts)
        if channel == "orders":
            rows = _orders(frame.data)
            found = [self.account.order(row) for row in rows]
            return [event for event in found if event is not None], _unknown([row.status for row in rows])
        if channel != "account":
            return [], [f"channel {channel} is not known"]
        if _markets.is_spot(self._exchange):
            position = _events.spot_position(_spot(frame.data), time_ms)
        else:
            position = _events.futures_position(_futures(frame.data), time_ms)
        return [] if position is None else [position], []

    def _unified_push(self, topic: str, frame: _frames.Frame) -> tuple[list[AccountEvent], list[str]]:
        if topic == "order":
            rows = _unified_orders(frame.data)
            found = [self.account.unified_order(row) for row in rows]
            return [event for event in found if event is not None], _unknown([row.order_status for row in rows])
        if topic != "account":
            return [], [f"topic {topic} is not known"]
        coins = [coin for account in _unified_accounts(frame.data) for coin in account.coin or ()]
        position = _events.unified_position(coins, int(frame.ts))
        return [] if position is None else [position], []

    # --- timers and the rest ---

    def woken(self, now: Instant) -> Outputs:
        outputs = list(super().woken(now))
        if self._ended:
            return outputs
        if self._login_by is not None and now.mono >= self._login_by:
            return [*outputs, self._fail(FailKind.TRANSIENT, "no answer to the login")]
        deadline = self.repair.deadline() if self.repair else None
        if self.repair is not None and deadline is not None and now.mono >= deadline:
            outputs.extend(self.repair.due(now))
        return outputs

    def deadline(self) -> float | None:
        if self._ended:
            return None
        return earliest(super().deadline(), self._login_by, self.repair.deadline() if self.repair else None)

    def remove(self, stream_id: str, now: Instant) -> Outputs:
        if self._subscription is None or stream_id != self._subscription.stream_id:
            return []
        self._book.drop(self._args(), now)
        return self._pump(now)


def _unknown(statuses: list[str]) -> list[str]:
    """Notes about order states that are not known; they are never guessed."""
    return [f"order state {status} is not known" for status in statuses if status not in _events.STATUSES]
