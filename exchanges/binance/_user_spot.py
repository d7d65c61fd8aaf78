"""Account streams of binance.com spot: the WebSocket API, many accounts on one connection (docs/venues/binance.md 2).

Each account subscribes with a signed `userDataStream.subscribe.signature`; its events carry the `subscriptionId` of the
answer. No listen key, no keep-alive. Streams with the same key share one subscription: the venue allows one per account.
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
    Rotate,
    Send,
    Subscription,
    UserSubscription,
)
from exchanges._frames import UNREADABLE
from exchanges._timers import earliest
from exchanges._venue import Setup
from exchanges.binance import _errors, _orders
from exchanges.binance._clock import BinanceClock
from exchanges.binance._connection_requests import (
    LIST,
    SUBSCRIBE,
    UNSUBSCRIBE,
    Frame,
    decode,
    decode_list,
    decode_result,
    error_of,
    request,
)
from exchanges.binance._gap import AccountRepair
from exchanges.binance._hosts import MARKETS, Market, market_of
from exchanges.binance._signer import Signer
from exchanges.binance._user_links import Link, Member, State
from exchanges.errors import CredentialUnusable

ANSWER_S: Final = 30.0
"""How long a subscribe may stay unanswered; it may wait for the message limit behind 200 others."""
MAX_CLOCK_TRIES: Final = 2
MAX_EARLY_FRAMES: Final = 1000
"""Events that overtook the answer that names their subscription."""
RESUBSCRIBE_EVERY_S: Final = 60.0
"""A subscription that the venue ends again within this time is given up (the session then tries with backoff)."""


class SpotUser:
    """Adapter of one WebSocket API connection."""

    def __init__(self, setup: Setup, market: Market) -> None:
        self._setup, self._market = setup, market
        self._clock = BinanceClock(market, setup)
        self._links: dict[str, Link] = {}
        self._busy: dict[str, Link] = {}
        """Links that may have a deadline: asked for after every frame, so 200 idle accounts must not be looked at."""
        self._by_request: dict[str, Link] = {}
        self._by_subscription: dict[int, Link] = {}
        self._streams: dict[str, Link] = {}
        self._orphans: set[str] = set()
        self._gone: set[int] = set()
        self._early: list[tuple[int, bytes]] = []
        self._up = False

    # --- inputs ---

    def start(self, now: Instant) -> list[Output]:
        return [Connect(self._market.user_url)]

    def connected(self, now: Instant) -> list[Output]:
        self._up = True
        outputs: list[Output] = []
        for link in self._links.values():
            outputs += self._subscribe(link, now)
        return outputs

    def add(self, subscription: Subscription, now: Instant) -> list[Output]:
        if not isinstance(subscription, UserSubscription):
            reason = "an account connection carries account streams only"
            return [Fail(kind=FailKind.REQUEST, reason=reason, stream_id=subscription.stream_id)]
        market = market_of(MARKETS[self._market.exchange], subscription.credentials)
        if market != self._market and (self._links or self._up):
            reason = "this connection carries accounts of another environment"
            return [Fail(kind=FailKind.TRANSIENT, reason=reason, stream_id=subscription.stream_id)]
        if market != self._market:
            self._market, self._clock = market, BinanceClock(market, self._setup)
        outputs = self.remove(subscription.stream_id, now)
        digest = subscription.credentials.digest
        link = self._links.get(digest)
        if link is None:
            try:
                link = Link(digest, Signer(subscription.credentials))
            except CredentialUnusable as error:
                reason = str(error)
                return [*outputs, Fail(kind=FailKind.CREDENTIAL, reason=reason, stream_id=subscription.stream_id)]
            self._links[digest] = link
        member = Member(subscription, self._repair_of(subscription, link))
        link.members[subscription.stream_id] = member
        self._streams[subscription.stream_id] = link
        if link.state is State.LIVE:
            self._busy[digest] = link
            outputs += self._learn(member, member.repair.begin(now))
        elif self._up and link.state is State.IDLE:
            outputs += self._subscribe(link, now)
        return outputs

    def remove(self, stream_id: str, now: Instant) -> list[Output]:
        link = self._streams.pop(stream_id, None)
        if link is None:
            return []
        del link.members[stream_id]
        return [] if link.members else self._leave(link)

    def received(self, frame: bytes, now: Instant) -> list[Output]:
        try:
            decoded = decode(frame)
        except UNREADABLE:
            return [Note("unreadable frame on the WebSocket API")]
        if decoded.event:
            return self._event(decoded.subscription_id, bytes(decoded.event), now)
        if decoded.status or decoded.error is not None:
            return self._response(decoded, now)
        return [Note("unknown frame on the WebSocket API")]

    def answered(self, call: Call, answer: Answer, now: Instant) -> list[Output]:
        if self._clock.owns(call):
            return self._clock_read(answer, now)
        link = self._streams.get(call.stream_id or "")
        member = link.members.get(call.stream_id or "") if link is not None else None
        if link is None or member is None or not member.repair.owns(call):
            return []
        self._busy[link.digest] = link
        return self._learn(member, member.repair.answered(call, answer, now))

    def woken(self, now: Instant) -> list[Output]:
        outputs: list[Output] = []
        for link in list(self._busy.values()):
            if link.answer_by is not None and link.answer_by <= now.mono:
                outputs += self._drop(link, FailKind.TRANSIENT, "no answer to the subscribe request")
                continue
            for member in link.members.values():
                due = member.repair.deadline()
                if due is not None and due <= now.mono:
                    outputs += self._learn(member, member.repair.due(now))
        return outputs

    def deadline(self) -> float | None:
        times = {digest: link.deadline() for digest, link in self._busy.items()}
        self._busy = {digest: link for digest, link in self._busy.items() if times[digest] is not None}
        return earliest(*times.values())

    def closing(self, now: Instant) -> list[Output]:
        return []  # the venue forgets the subscriptions with the connection

    # --- subscribing ---

    def _repair_of(self, subscription: UserSubscription, link: Link) -> AccountRepair:
        return AccountRepair(self._market, subscription, link.signer, self._clock, self._setup.table)

    def _subscribe(self, link: Link, now: Instant) -> list[Output]:
        try:
            params = link.signer.params(self._clock.stamp(now))
        except CredentialUnusable as error:
            return self._drop(link, FailKind.CREDENTIAL, str(error))
        link.state = State.ASKED
        self._await(link, now)
        return [self._request(link, SUBSCRIBE, params)]

    def _await(self, link: Link, now: Instant) -> None:
        link.answer_by = now.mono + ANSWER_S
        self._busy[link.digest] = link

    def _request(self, link: Link, method: str, params: dict[str, str | int] | None = None) -> Send:
        if link.request_id is not None:
            self._by_request.pop(link.request_id, None)
        link.request_id = self._setup.new_id()
        self._by_request[link.request_id] = link
        return request(link.request_id, method, params)

    def _response(self, frame: Frame, now: Instant) -> list[Output]:
        request_id = str(frame.id) if frame.id is not None else None
        if request_id in self._orphans:
            self._orphans.discard(request_id)
            return self._let_go(frame)
        link = self._by_request.pop(request_id, None) if request_id is not None else self._only_asker()
        if link is None:
            return [] if frame.error is None else [self._unassigned(frame, now)]
        link.request_id = link.answer_by = None
        if frame.error is not None:
            return self._refused(link, frame, now)
        try:
            return self._confirmed(link, decode_result(frame.result).subscription_id, now)
        except msgspec.DecodeError:
            return self._confirmed_by_list(link, frame, now)

    def _only_asker(self) -> Link | None:
        """Whom an error without an id means: the only account here, or the only one that waits for an answer."""
        asking = list(self._by_request.values())
        links = asking if len(asking) == 1 else list(self._links.values())
        if len(links) != 1:
            return None
        if links[0].request_id is not None:
            self._by_request.pop(links[0].request_id, None)
        return links[0]

    def _unassigned(self, frame: Frame, now: Instant) -> Output:
        error = error_of(frame)
        fail = _errors.fail(error, now)
        if fail.kind is FailKind.RATE_LIMITED:
            return fail
        if frame.id is None and fail.kind is FailKind.CREDENTIAL:
            # One of several accounts is meant, but not told which; on a new connection each answer will carry its id.
            return Fail(kind=FailKind.TRANSIENT, reason=fail.reason)
        return Note(f"error answer to an unknown request: {_errors.describe(error)}")

    def _confirmed(self, link: Link, subscription_id: int, now: Instant) -> list[Output]:
        link.state = State.LIVE
        self._busy[link.digest] = link
        link.clock_tries = 0
        link.subscription_id = subscription_id
        self._by_subscription[subscription_id] = link
        self._gone.discard(subscription_id)
        early = [raw for known, raw in self._early if known == subscription_id]
        self._early = [(known, raw) for known, raw in self._early if known != subscription_id]
        outputs: list[Output] = []
        for raw in early:
            outputs += self._event(subscription_id, raw, now)
        for member in link.members.values():
            outputs += self._learn(member, member.repair.begin(now))
        return outputs

    def _confirmed_by_list(self, link: Link, frame: Frame, now: Instant) -> list[Output]:
        """The list of subscriptions, asked for after "already active": the one that nobody here has is this account's."""
        try:
            told = {row.subscription_id for row in decode_list(frame.result)}
        except msgspec.DecodeError:
            return self._drop(link, FailKind.TRANSIENT, "the answer to the subscribe request names no subscription")
        free = told - self._by_subscription.keys()
        if len(free) == 1:
            return self._confirmed(link, free.pop(), now)
        return self._drop(
            link, FailKind.TRANSIENT, "this account is subscribed on this connection through another key already"
        )

    def _refused(self, link: Link, frame: Frame, now: Instant) -> list[Output]:
        error = error_of(frame)
        if error.code == _errors.CLOCK and link.clock_tries < MAX_CLOCK_TRIES:
            link.clock_tries += 1
            self._await(link, now)
            return self._clock.resync()
        if error.code == _errors.ALREADY_SUBSCRIBED:
            self._await(link, now)
            return [Note("already subscribed", level="info"), self._request(link, LIST)]
        outputs: list[Output] = []
        if error.code == _errors.IDS_USED_UP:
            outputs.append(Rotate("the subscription ids of this connection are used up"))
        fail = _errors.fail(error, now)
        return [*outputs, *self._drop(link, fail.kind, fail.reason, fail.retry_after_s, fail.first_sight)]

    def _drop(
        self,
        link: Link,
        kind: FailKind,
        reason: str,
        retry_after_s: float | None = None,
        first_sight: bool = True,
    ) -> list[Output]:
        """Give an account up: every stream of it fails, the other accounts go on."""
        streams = list(link.members)
        link.members.clear()
        for stream_id in streams:
            self._streams.pop(stream_id, None)
        outputs = self._leave(link)
        outputs += [
            Fail(kind=kind, reason=reason, stream_id=stream, retry_after_s=retry_after_s, first_sight=first_sight)
            for stream in streams
        ]
        return outputs

    def _leave(self, link: Link) -> list[Output]:
        self._links.pop(link.digest, None)
        self._busy.pop(link.digest, None)
        link.answer_by = None
        if link.request_id is not None:
            self._by_request.pop(link.request_id, None)
            self._orphans.add(link.request_id)
        if link.subscription_id is None:
            return []
        self._by_subscription.pop(link.subscription_id, None)
        return [self._unsubscribe(link.subscription_id)]

    def _unsubscribe(self, subscription_id: int) -> Send:
        self._gone.add(subscription_id)
        return request(self._setup.new_id(), UNSUBSCRIBE, {"subscriptionId": subscription_id})

    def _let_go(self, frame: Frame) -> list[Output]:
        """The late answer to a subscribe that nobody wants any more."""
        try:
            return [self._unsubscribe(decode_result(frame.result).subscription_id)]
        except msgspec.DecodeError:
            return []

    def _clock_read(self, answer: Answer, now: Instant) -> list[Output]:
        outputs = self._clock.answered(answer, now)
        for link in list(self._links.values()):
            if link.state is State.ASKED and link.request_id is None:
                outputs += self._subscribe(link, now)
        return outputs

    # --- events ---

    def _event(self, subscription_id: int | None, raw: bytes, now: Instant) -> list[Output]:
        try:
            kind = _orders.kind_of(raw)
            if kind == "serverShutdown":
                return [Rotate("serverShutdown")]
            link = self._link_of(subscription_id)
            if link is None:
                return self._unrouted(subscription_id, raw)
            if kind == "eventStreamTerminated":
                return self._terminated(link, now)
            event, odd, lost = _orders.read(kind, raw)
        except UNREADABLE:
            return [Note("unreadable account event")]
        if lost is not None:
            self._busy[link.digest] = link
            return [output for member in link.members.values() for output in member.repair.ask(lost, now)]
        outputs: list[Output] = [Note(f"unreadable fields in {kind}: {', '.join(odd)}")] if odd else []
        if event is None:
            note = _orders.unknown(kind)
            return [Note(note)] if note else outputs
        for member in link.members.values():
            outputs += self._learn(member, member.repair.live(event))
        return outputs

    def _link_of(self, subscription_id: int | None) -> Link | None:
        if subscription_id is not None:
            return self._by_subscription.get(subscription_id)
        return next(iter(self._links.values())) if len(self._links) == 1 else None

    def _unrouted(self, subscription_id: int | None, raw: bytes) -> list[Output]:
        if subscription_id is None:
            return [Note("account event without a subscription id")]
        if subscription_id not in self._gone and self._by_request and len(self._early) < MAX_EARLY_FRAMES:
            self._early.append((subscription_id, raw))
            return []
        return [] if subscription_id in self._gone else [Note("account event of an unknown subscription")]

    def _terminated(self, link: Link, now: Instant) -> list[Output]:
        """The subscription is gone, the connection is not: subscribe again and read what was missed."""
        ended_lately = link.ended_mono is not None and now.mono - link.ended_mono < RESUBSCRIBE_EVERY_S
        link.ended_mono = now.mono
        if link.subscription_id is not None:
            self._by_subscription.pop(link.subscription_id, None)
            link.subscription_id = None
        link.state = State.IDLE
        if ended_lately:
            return self._drop(link, FailKind.TRANSIENT, "the venue ended the subscription again")
        for member in link.members.values():
            resume = member.orders.resume(now.wall_ms)
            if not member.repair.done and member.subscription.resume is not None:
                resume = msgspec.structs.replace(resume, since_ms=member.subscription.resume.since_ms)
            member.subscription = msgspec.structs.replace(member.subscription, resume=resume)
            member.repair = self._repair_of(member.subscription, link)
        return [Note("eventStreamTerminated: subscribing again"), *self._subscribe(link, now)]

    def _learn(self, member: Member, outputs: list[Output]) -> list[Output]:
        member.orders.learn(outputs)
        return outputs
