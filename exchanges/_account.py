"""Connections that carry exactly one account: when they open. Pure base of venues' adapters."""

from __future__ import annotations

from abc import ABC, abstractmethod

from exchanges._adapter import Fail, FailKind, Instant, Outputs, Subscription, UserSubscription
from exchanges.errors import CredentialUnusable


class OneAccount(ABC):
    """Opens once it was started and given its account. See `exchanges._adapter.Adapter`."""

    _subscription: UserSubscription | None = None
    _started = False

    @abstractmethod
    def _open(self, subscription: UserSubscription, now: Instant) -> Outputs:
        """The first calls, or `Connect`. Raises `CredentialUnusable` for material that can't sign."""

    def start(self, now: Instant) -> Outputs:
        self._started = True
        return self._try(now)

    def add(self, subscription: Subscription, now: Instant) -> Outputs:
        if not isinstance(subscription, UserSubscription) or self._subscription is not None:
            reason = "this connection carries exactly one account"
            return [Fail(kind=FailKind.REQUEST, reason=reason, stream_id=subscription.stream_id)]
        self._subscription = subscription
        return self._try(now) if self._started else []

    def remove(self, stream_id: str, now: Instant) -> Outputs:
        if self._subscription is None or self._subscription.stream_id != stream_id:
            return []
        self._subscription = None
        return self._leave(stream_id, now)

    @abstractmethod
    def _leave(self, stream_id: str, now: Instant) -> Outputs:
        """Forget the account and what was waited for on its behalf; unsubscribe politely if it had joined."""

    def closing(self, now: Instant) -> Outputs:
        return []

    def _try(self, now: Instant) -> Outputs:
        subscription = self._subscription
        if subscription is None:
            return []
        try:
            return self._open(subscription, now)
        except CredentialUnusable as error:
            return [Fail(kind=FailKind.CREDENTIAL, reason=str(error), stream_id=subscription.stream_id)]
