"""Accounts on a shared connection: one subscription of the venue for each key, and the streams that share it."""

from __future__ import annotations

import enum

from exchanges._adapter import UserSubscription
from exchanges._timers import earliest
from exchanges.binance._gap import AccountRepair
from exchanges.binance._orders_known import OrderMemory
from exchanges.binance._signer import Signer


class State(enum.Enum):
    IDLE = "idle"
    """Nothing asked yet: the connection is not up."""
    ASKED = "asked"
    """Subscribe sent, or the clock is being read before the next try."""
    LIVE = "live"


class Member:
    """One stream of an account."""

    def __init__(self, subscription: UserSubscription, repair: AccountRepair) -> None:
        self.subscription = subscription
        self.repair = repair
        self.orders = OrderMemory(subscription.resume)


class Link:
    """One key's subscription, shared by the streams that use this key."""

    def __init__(self, digest: str, signer: Signer) -> None:
        self.digest = digest
        self.signer = signer
        self.members: dict[str, Member] = {}
        self.state = State.IDLE
        self.subscription_id: int | None = None
        self.request_id: str | None = None
        self.answer_by: float | None = None
        self.clock_tries = 0
        self.ended_mono: float | None = None

    def deadline(self) -> float | None:
        return earliest(self.answer_by, *(member.repair.deadline() for member in self.members.values()))
