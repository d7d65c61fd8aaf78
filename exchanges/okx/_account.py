"""One account: its hosts, signer, channels and gap repair; everything of the private connection that is not a phase."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import msgspec

from exchanges._adapter import Answer, Call, ClockOffset, Instant, Output, Send, Setup, UserSubscription
from exchanges._clock import VenueClock
from exchanges._lookup import Lookups
from exchanges._repair import GapRepair, Repaired
from exchanges.okx._frames import Arg
from exchanges.okx._gap import GapPlan
from exchanges.okx._orders import Order, belongs
from exchanges.okx._rest import ORDER_UNKNOWN, Signer, failure_of, hosts_of

ASK_TIMEOUT_S: Final = 5.0
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
        self.now = Instant(0.0, 0)
        self.key_proven = False
        self._table = setup.table
        kinds = ORDER_KINDS[setup.exchange]
        self.args = (_ACCOUNT, *(Arg(channel="orders", inst_type=kind) for kind in kinds))
        self.plan = GapPlan(self.hosts.rest, kinds, setup.table, self.belongs, self.clock_told, self.stream_id)
        # Holds live events from the first frame on, so it exists before the first of them.
        self.repair = GapRepair(subscription, sign=self.sign, then=self.plan.then)
        self.lookups = Lookups(self.sign)
        self._signer = Signer(subscription.credentials, demo=self.hosts.demo)

    def belongs(self, order: Order) -> bool:
        return belongs(order, self.exchange, self._table())

    def clock_told(self, venue_ms: int) -> ClockOffset:
        return self.clock.read(venue_ms, self.now)

    def sign(self, call: Call) -> Call:
        if call.tag == "time":
            return call
        return self._signer.signed(call, self.clock.stamp(self.now))

    def parse(self, call: Call, answer: Answer) -> Repaired:
        return self.plan.parse(call, answer)

    def look_up(self, order: Order) -> list[Output]:
        """Ask for an order that the stream told in a word that no page lists."""
        return self.lookups.ask(order.ord_id, self.plan.order(order.inst_id, order.ord_id))

    def looked_up(self, call: Call, answer: Answer) -> Repaired:
        """What an answer to `look_up` says. An order that a frame has just told exists: ask again."""
        failure = failure_of(answer)
        if failure is not None and failure.code == ORDER_UNKNOWN:
            return Repaired(retry=True)
        return self.plan.parse(call, answer)

    def login(self) -> dict[str, str]:
        return self._signer.login(self.clock.stamp(self.now))

    def config(self, tag: str) -> Call:
        """A signed call that changes nothing and needs no permission beyond reading."""
        url = f"{self.hosts.rest}/api/v5/account/config"
        return self.sign(Call(tag=tag, method="GET", url=url, timeout_s=ASK_TIMEOUT_S, stream_id=self.stream_id))


def request(op: str, request_id: str, args: tuple[Arg, ...]) -> Send:
    frame = {"id": request_id, "op": op, "args": [_wire_arg(arg) for arg in args]}
    return Send(msgspec.json.encode(frame).decode())


def _wire_arg(arg: Arg) -> Mapping[str, str]:
    if arg == _ACCOUNT:
        # Only changes, not the whole account every few seconds.
        return {"channel": "account", "extraParams": '{"updateInterval": "0"}'}
    return {"channel": arg.channel, "instType": arg.inst_type}
