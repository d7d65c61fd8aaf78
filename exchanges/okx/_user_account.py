"""One account: its hosts, signer, channels and gap repair; everything of the private connection that is not a phase."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final

import msgspec

from exchanges._adapter import Answer, Call, Instant, Note, Output, Send, UserSubscription
from exchanges._clock import ClockCheck, VenueClock
from exchanges._frames import UNREADABLE
from exchanges._lookup import Lookups
from exchanges._positions import Positions
from exchanges._renewal import renewable
from exchanges._repair import GapRepair, Repaired
from exchanges._venue import Setup
from exchanges.okx._connection_frames import Arg
from exchanges.okx._errors import ORDER_UNKNOWN, failure_of, time_of
from exchanges.okx._gap import GapPlan
from exchanges.okx._hosts import hosts_of, time_call
from exchanges.okx._orders import Order, belongs
from exchanges.okx._positions import (
    CHANNEL,
    decode_held,
    own,
    position_args,
    position_calls,
    position_update,
    read_positions,
)
from exchanges.okx._signer import Signer

ASK_TIMEOUT_S: Final = 5.0
CLOCK_TRIES: Final = 3
_ACCOUNT: Final = Arg(channel="account")
XPERP_ORDERS: Final = Arg(channel="orders", inst_type="FUTURES")
ORDER_KINDS: Final[Mapping[str, tuple[str, ...]]] = {
    "okx": ("SPOT",),
    # X-Perps are futures to the venue, and accounts of every site trade them.
    "okxLinear": ("SWAP", "FUTURES"),
    "okxInverse": ("SWAP",),
}
"""Instrument types whose orders belong to an exchange id."""


class AccountSession:
    """What belongs to the one subscription: signer, hosts, gap repair. Raises `CredentialUnusable`."""

    def __init__(self, subscription: UserSubscription, setup: Setup) -> None:
        self.stream_id = subscription.stream_id
        self.resume = subscription.resume
        self.exchange = setup.exchange
        self.hosts = hosts_of(subscription.credentials, setup.options)
        self.clock = VenueClock(setup)
        self.check = ClockCheck(self.clock, time_call(self.hosts.rest), time_of, tries=CLOCK_TRIES)
        self.key_proven = False
        self._table = setup.table
        kinds = ORDER_KINDS[setup.exchange]
        self.args = (_ACCOUNT, *(Arg(channel="orders", inst_type=kind) for kind in kinds))
        self.plan = GapPlan(self.hosts.rest, kinds, setup.table, self.belongs, self.clock.read, self.stream_id)
        # Holds live events from the first frame on, so it exists before the first of them.
        self.repair = GapRepair(subscription, sign=self.sign, then=self.plan.then)
        self.lookups = Lookups(self.sign)
        self.position_args = position_args(kinds)
        self.position_requests: dict[str, Arg] = {}
        """Requests for the positions' channels that are not answered yet."""
        self.positions = Positions(
            subscription,
            calls=lambda: position_calls(self.hosts.rest, kinds, self.stream_id),
            parse=lambda _, answer, now: read_positions(answer, self.exchange, self._table(), self.clock.stamp(now)),
            sign=self.sign,
            ready=lambda: self.repair.passing,
        )
        self._signer = Signer(subscription.credentials, demo=self.hosts.demo)

    def belongs(self, order: Order) -> bool:
        return belongs(order, self.exchange, self._table())

    def follow_positions(self, new_id: Callable[[], str]) -> list[Output]:
        """Subscribe the positions, each by a request of its own: what is refused costs nothing else."""
        self.position_requests = {new_id(): arg for arg in self.position_args}
        return [request("subscribe", request_id, (arg,)) for request_id, arg in self.position_requests.items()]

    def positions_answered(self, request_id: str | None, now: Instant, refusal: str = "") -> list[Output] | None:
        """What follows from an answer to one of those requests; None if it is to another one."""
        if self.position_requests.pop(request_id or "", None) is None:
            return None
        if not self.position_requests:
            self.positions.begin(now)
        return [Note(f"changes of positions are not told: {refusal}")] if refusal else []

    def told_positions(self, rows: Sequence[msgspec.Raw], now: Instant) -> list[Output]:
        outputs: list[Output] = []
        for row in rows:
            try:
                held = decode_held(row)
            except UNREADABLE as error:
                outputs.append(Note(f"unreadable position: {error}", "error"))
                continue
            if own(held, self.exchange, self._table()):
                outputs.extend(self.positions.live([position_update(held, self._table(), self.clock.stamp(now))]))
        return outputs

    @renewable
    def sign(self, call: Call, now: Instant) -> Call:
        if call.tag == "time":
            return call
        return self._signer.signed(call, self.clock.stamp(now))

    def look_up(self, order: Order, now: Instant) -> list[Output]:
        """Ask for an order that the stream told in a word that no page lists."""
        return self.lookups.ask(order.ord_id, self.plan.order(order.inst_id, order.ord_id), now)

    def looked_up(self, call: Call, answer: Answer, now: Instant) -> Repaired:
        """What an answer to `look_up` says. An order that a frame has just told exists: ask again."""
        failure = failure_of(answer)
        if failure is not None and failure.code == ORDER_UNKNOWN:
            return Repaired(retry=True)
        return self.plan.parse(call, answer, now)

    def login(self, now: Instant) -> dict[str, str]:
        return self._signer.login(self.clock.stamp(now))

    def config(self, tag: str, now: Instant) -> Call:
        """A signed call that changes nothing and needs no permission beyond reading."""
        url = f"{self.hosts.rest}/api/v5/account/config"
        call = Call(tag=tag, method="GET", url=url, timeout_s=ASK_TIMEOUT_S, stream_id=self.stream_id)
        return self.sign(call, now)


def request(op: str, request_id: str, args: tuple[Arg, ...]) -> Send:
    frame = {"id": request_id, "op": op, "args": [_wire_arg(arg) for arg in args]}
    return Send(msgspec.json.encode(frame).decode())


def _wire_arg(arg: Arg) -> Mapping[str, str]:
    if arg == _ACCOUNT:
        # Only changes, not the whole account every few seconds.
        return {"channel": "account", "extraParams": '{"updateInterval": "0"}'}
    if arg.channel == CHANNEL:  # the same: only changes
        return {"channel": CHANNEL, "instType": arg.inst_type, "extraParams": '{"updateInterval": "0"}'}
    return {"channel": arg.channel, "instType": arg.inst_type}
