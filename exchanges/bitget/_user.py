"""Bitget account streams: classic (v2) and unified (v3) accounts on one private connection (venues/bitget.md 2 to 8)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final
from zlib import crc32

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
    UserSubscription,
)
from exchanges._clock import ClockCheck
from exchanges._frames import UNREADABLE
from exchanges._meaning import PASSING
from exchanges._numbers import decimal
from exchanges._positions import Positions, Read
from exchanges._renewal import renewable
from exchanges._repair import GapRepair
from exchanges._rows import Odd, read_rows
from exchanges._timers import earliest
from exchanges._venue import Setup
from exchanges.bitget import _hosts, _mode, _orders, _rows, _signer
from exchanges.bitget._asking import Asking
from exchanges.bitget._connection import ACCOUNT, Arg, Socket, code_of
from exchanges.bitget._errors import NOT_LOGGED_IN, SOCKET, time_of
from exchanges.bitget._gap import ClassicGap, Gap, UnifiedGap
from exchanges.bitget._positions import (
    decode_held,
    own,
    position_calls,
    position_update,
    product_of,
    read_positions,
)
from exchanges.bitget._report import Told
from exchanges.errors import CredentialUnusable
from exchanges.events import AccountPosition

LOGIN_S: Final = 10.0
MODE_EVERY_S: Final = 3600.0
"""Accounts move to Unified while their stream is up, and pongs keep coming on the old socket."""
MODE_SPREAD_S: Final = 600.0
DOUBT_S: Final = 60.0
"""A gap may doubt the mode with each of its orders; it is asked for all of them."""
POSITIONS: Final = "positions"
_TIME: Final = "time"

_order = msgspec.json.Decoder(_rows.OrderRow).decode
_spot = msgspec.json.Decoder(_rows.SpotBalance).decode
_futures = msgspec.json.Decoder(_rows.FuturesBalance).decode
_unified_order = msgspec.json.Decoder(_rows.UnifiedOrder).decode
_unified_account = msgspec.json.Decoder(_rows.UnifiedAccount).decode


class UserAdapter(OneAccount, Socket):
    """One account. Whether it is classic or unified is asked by REST before the connection is opened, and now and then."""

    def __init__(self, setup: Setup) -> None:
        super().__init__(setup)
        self.unified = False
        self.account = _orders.Account(setup.exchange, table=setup.table)
        self.repair: GapRepair | None = None
        self._gap: Gap | None = None
        self._asking: Asking | None = None
        time = Call(tag=_TIME, method="GET", url=f"{_hosts.REST}/api/v2/public/time", pool="public")
        self._check = ClockCheck(self._clock, time, time_of)
        self._login_by: float | None = None
        self._mode_at: float | None = None
        self._mode_doubted_at: float | None = None
        self._relogged = False
        self._orders_left: set[Arg] = set()
        self._positions: Positions | None = None
        self._positions_wanted = False

    # --- before the connection ---

    def _open(self, subscription: UserSubscription, now: Instant) -> Outputs:
        key = subscription.credentials.key.reveal()
        if not key or not key.isascii():
            raise CredentialUnusable("the API key is empty or holds characters that no key has")
        if not _hosts.is_spot(self._exchange):
            self._positions = Positions(
                subscription,
                calls=lambda: position_calls(self.account.products, unified=self.unified),
                parse=self._read_positions,
                sign=self._signed,
                ready=lambda: self._repair().passing,
            )
        for order in subscription.resume.orders if subscription.resume else ():
            self.account.seed(order.order_id, order.status, decimal(order.executed), decimal(order.executed_quote))
        return [self._signed(_mode.first(), now)]

    def restore(self, subscription: UserSubscription, products: tuple[str, ...], *, unified: bool) -> None:
        """Put the session in its live state without a connection (recorded frames): nothing can be asked."""
        self._subscription = subscription
        self.unified = unified
        self.account = _orders.Account(self._exchange, products, self._setup.table)
        self.repair = GapRepair(subscription)
        self.repair.done = True
        self._positions = None if _hosts.is_spot(self._exchange) else Positions(subscription)

    @property
    def _added(self) -> UserSubscription:
        if self._subscription is None:
            raise AssertionError("used before a subscription was added")
        return self._subscription

    @renewable
    def _signed(self, call: Call, now: Instant) -> Call:
        stream_id = self._subscription.stream_id if self._subscription else None
        call = msgspec.structs.replace(call, stream_id=stream_id)
        return _signer.sign(call, self._added.credentials, self._clock.stamp(now))

    def _refuse(self, reason: str, *, first_sight: bool = True) -> Fail:
        stream_id = self._subscription.stream_id if self._subscription else None
        return Fail(kind=FailKind.CREDENTIAL, reason=reason, stream_id=stream_id, first_sight=first_sight)

    def answered(self, call: Call, answer: Answer, now: Instant) -> Outputs:
        if self._subscription is None:
            return []
        if self.repair is not None and self._gap is not None and self.repair.owns(call):
            return [*self.repair.answered(call, answer, self._gap.parse, now), *self._doubted(now)]
        if self._asking is not None and self._gap is not None and self._asking.owns(call):
            outputs = self._asking.answered(call, answer, self._gap.parse, self._repair().live, now)
            return [*outputs, *self._doubted(now)]
        if self._positions is not None and self._positions.owns(call):
            return self._positions.answered(call, answer, now)
        if call.tag == _mode.TAG:
            finding = _mode.found(self._exchange, call, answer)
            return self._mode_again(finding, now) if self.repair is not None else self._mode_told(finding, now)
        return self._clock_told(answer, now, relogin=bool(call.context)) if call.tag == _TIME else []

    # --- the account's mode ---

    def _mode_told(self, finding: _mode.Finding, now: Instant) -> Outputs:
        notes: list[Output] = [Note(finding.note)] if finding.note else []
        if finding.unified is not None:
            self.unified = finding.unified
            demo = _signer.is_demo(self._added.credentials)
            return [*notes, Connect(_hosts.ws_url("v3" if self.unified else "v2", "private", demo=demo))]
        if finding.ask is not None:
            return [*notes, self._signed(finding.ask, now)]
        if finding.clock:
            return self._check_clock(finding.clock, relogin=False)
        fail = finding.fail or Fail(kind=FailKind.TRANSIENT, reason="the account mode is not known")
        if fail.kind is FailKind.CREDENTIAL:
            return [self._refuse(fail.reason)]
        return [fail]

    def _mode_again(self, finding: _mode.Finding, now: Instant) -> Outputs:
        """The answer while the stream is up. One that is not known changes nothing."""
        if finding.ask is not None:
            return [self._signed(finding.ask, now)]
        if finding.unified is None or finding.unified is self.unified:
            return []
        return [self._fail(FailKind.TRANSIENT, f"the account moved to {'Unified' if finding.unified else 'Classic'}")]

    def _doubted(self, now: Instant) -> list[Output]:
        """The mode is asked again after an answer that fits another one; what it says counts, not the answer."""
        gap = self._gap
        if gap is None or not gap.doubted:
            return []
        gap.doubted = False
        if self._mode_doubted_at is not None and now.mono < self._mode_doubted_at + DOUBT_S:
            return []
        self._mode_doubted_at = now.mono
        return [self._signed(_mode.first(), now)]

    # --- the clock ---

    def _check_clock(self, reason: str, *, relogin: bool) -> Outputs:
        ask = self._check.ask(relogin)
        return [ask or self._refuse(f"{reason} although the clock was checked", first_sight=False)]

    def _clock_told(self, answer: Answer, now: Instant, *, relogin: bool) -> Outputs:
        measured = self._check.told(answer, now)
        if measured is None:
            return [self._fail(FailKind.TRANSIENT, "the venue's clock can't be read")]
        return [measured, *(self._login(now) if relogin else [self._signed(_mode.first(), now)])]

    # --- the connection ---

    def connected(self, now: Instant) -> Outputs:
        self._beat.start(now)
        return self._login(now)

    def _login(self, now: Instant) -> Outputs:
        self._login_by = now.mono + LOGIN_S
        return [Send(_signer.login(self._added.credentials, self._clock.stamp(now)))]

    def _other(self, frame: _rows.Frame, now: Instant) -> Outputs:
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
        self._positions_wanted = False
        return self._begin(now)

    def _args(self) -> list[Arg]:
        if self.unified:
            return [Arg("UTA", topic) for topic in ("order", ACCOUNT)]
        products = self.account.products
        orders = [Arg(product, "orders", "default") for product in products]
        return orders + [Arg(product, ACCOUNT, "default") for product in products]

    def _position_args(self) -> list[Arg]:
        if self._positions is None:
            return []
        if self.unified:
            return [Arg("UTA", "position")]
        return [Arg(product, POSITIONS, "default") for product in self.account.products]

    def _rejected(self, frame: _rows.Frame, code: str, now: Instant) -> Outputs | None:
        reason = f"{frame.code} {frame.msg or ''}".strip()
        meaning = SOCKET.get(code, PASSING)
        if meaning.kind is FailKind.CREDENTIAL:
            return [self._refuse(reason)]
        if meaning.clock:
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
        if set(topics) <= set(self._position_args()):
            return [Note(f"changes of positions are not told: {fail.reason}"), *self._settled(now)]
        self._orders_left.difference_update(topics)
        if not self._orders_left:
            return [self._fail(FailKind.TRANSIENT, fail.reason)]
        return [Note(f"refused: {fail.reason}"), *self._settled(now)]

    def _silent(self, topics: Sequence[Arg], now: Instant) -> list[Output]:
        if set(topics) <= set(self._position_args()):
            return [Note("changes of positions are not told: no answer to the subscription"), *self._settled(now)]
        return [self._fail(FailKind.TRANSIENT, f"no answer to the subscription of {topics[0].text}")]

    def _settled(self, now: Instant) -> list[Output]:
        if not self._book.settled:
            return []
        if self._mode_at is None:
            self._mode_at = now.mono + MODE_EVERY_S + self._spread_s()
        outputs = self._repair().begin(self._gap.calls(now) if self._gap else [], now)
        if self._positions is None:
            return outputs
        if self._positions_wanted:
            self._positions.begin(now)
            return outputs
        # Behind the orders: a refusal of positions costs them nothing.
        self._positions_wanted = True
        self._book.want(self._position_args(), now)
        return [*outputs, *self._pump(now)]

    def _spread_s(self) -> float:
        """Accounts that came up together do not ask together."""
        return crc32(self._added.stream_id.encode()) % int(MODE_SPREAD_S)

    def _repair(self) -> GapRepair:
        if self.repair is None:
            kind = UnifiedGap if self.unified else ClassicGap
            self._gap = kind(self.account, self._added, self._setup.table, self._clock.stamp)
            self._asking = Asking(self._gap.single, self._signed)
            self.repair = GapRepair(self._added, self._signed, self._gap.then)
        return self.repair

    # --- frames ---

    def _pushed(self, frame: _rows.Frame, now: Instant) -> Outputs:
        arg = frame.arg
        if arg is None:
            return [Note("push without an argument")]
        if self._subscription is None:
            return []
        seen = Seen(self._subscription.stream_id)
        channel = arg.channel or arg.topic
        try:
            if self.unified and arg.inst_type == "UTA":
                outputs = self._unified_push(channel, frame, now)
            elif arg.inst_type in self.account.products:
                outputs = self._classic_push(channel, frame, now)
            else:
                return [seen]
        except (*UNREADABLE, ValueError):
            return [Note(f"{channel} push is not understood", "error")]
        return outputs or [seen]

    def _classic_push(self, channel: str, frame: _rows.Frame, now: Instant) -> list[Output]:
        if channel == "orders":
            rows, odd = read_rows(frame.data, _order)
            outputs = _noted(odd, "orders")
            for row in rows:
                try:
                    told = self.account.order(row)
                except ValueError as error:
                    told = Told(note=f"order {row.order_id} can't be read: {error}")
                outputs += self._tell(str(row.order_id), row.inst_id, told, now)
            return outputs
        if channel == POSITIONS:
            return self._positions_push(frame)
        if channel != "account":
            return [Note(f"channel {channel} is not known")]
        time_ms = int(frame.ts)
        if _hosts.is_spot(self._exchange):
            coins, odd = read_rows(frame.data, _spot)
            return self._balances(_orders.spot_position(coins, time_ms), odd)
        margins, odd = read_rows(frame.data, _futures)
        return self._balances(_orders.futures_position(margins, time_ms), odd)

    def _unified_push(self, topic: str, frame: _rows.Frame, now: Instant) -> list[Output]:
        if topic == "order":
            rows, odd = read_rows(frame.data, _unified_order)
            outputs = _noted(odd, "orders")
            for row in rows:
                try:
                    told = self.account.unified_order(row)
                except ValueError as error:
                    told = Told(note=f"order {row.order_id} can't be read: {error}")
                outputs += self._tell(str(row.order_id), row.symbol, told, now)
            return outputs
        if topic == "position":
            return self._positions_push(frame)
        if topic != "account":
            return [Note(f"topic {topic} is not known")]
        accounts, odd = read_rows(frame.data, _unified_account)
        outputs, coins = _noted(odd, "balances"), list[_rows.UnifiedCoin]()
        for account in accounts:
            found, odd = _rows.coins_of(account)
            coins += found
            outputs += _noted(odd, "balances")
        return [*outputs, *self._balances(self.account.unified_position(coins, int(frame.ts)), Odd())]

    def _positions_push(self, frame: _rows.Frame) -> list[Output]:
        kept, table, event_ms = self._positions, self._setup.table(), int(frame.ts)
        if kept is None or frame.arg is None:
            return []
        rows, odd = read_rows(frame.data, decode_held)
        found = [position_update(row, table, event_ms) for row in rows if own(row, self.account.products, table)]
        if self.unified:
            return [*kept.live(found), *_noted(odd, "positions")]
        product = frame.arg.inst_type
        told = kept.whole(
            found, event_ms, part=product, covers=lambda pair: product_of(pair, table) == product, complete=not odd
        )
        return [*told, *_noted(odd, "positions")]

    def _read_positions(self, _call: Call, answer: Answer, now: Instant) -> Read:
        products, table, event_ms = self.account.products, self._setup.table(), self._clock.stamp(now)
        return read_positions(answer, products, table, event_ms, unified=self.unified)

    def _tell(self, order_id: str, symbol: str, told: Told, now: Instant) -> list[Output]:
        """Publish what a row says; what it leaves open is asked for first."""
        live = self._repair().live
        outputs: list[Output] = [Note(told.note, "error")] if told.note else []
        if told.ask and self._asking is not None:
            return [*outputs, *self._asking.ask(order_id, symbol, told, live, now)]
        return [*outputs, *(live(told.event) if told.event is not None else ())]

    def _balances(self, position: AccountPosition | None, odd: Odd) -> list[Output]:
        return [*_noted(odd, "balances"), *(self._repair().live(position) if position is not None else ())]

    # --- timers and the rest ---

    def woken(self, now: Instant) -> Outputs:
        outputs = list(super().woken(now))
        if self._subscription is None:
            return outputs
        if self._login_by is not None and now.mono >= self._login_by:
            return [*outputs, self._fail(FailKind.TRANSIENT, "no answer to the login")]
        if self._mode_at is not None and now.mono >= self._mode_at:
            self._mode_at = now.mono + MODE_EVERY_S
            outputs.append(self._signed(_mode.first(), now))
        repair, asking = self.repair, self._asking
        if repair is not None and (deadline := repair.deadline()) is not None and now.mono >= deadline:
            outputs.extend(repair.due(now))
        if asking is not None and (deadline := asking.deadline()) is not None and now.mono >= deadline:
            outputs.extend(asking.due(self._repair().live, now))
        if self._positions is not None:
            outputs.extend(self._positions.due(now))
        return outputs

    def deadline(self) -> float | None:
        times: list[float | None] = []
        if self._subscription is not None:
            parts = (self.repair, self._asking, self._positions)
            times = [self._login_by, self._mode_at, *(part.deadline() for part in parts if part is not None)]
        return earliest(super().deadline(), *times)

    def _leave(self, _stream_id: str, now: Instant) -> Outputs:
        self._book.drop([*self._args(), *self._position_args()], now)
        return self._pump(now)


def _noted(odd: Odd, what: str) -> list[Output]:
    return [Note(odd.phrase(what), "error")] if odd else []
