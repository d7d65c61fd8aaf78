"""A futures account: orders, fills and balances on one socket, with a signed challenge (venues/kraken.md 2 to 8)."""

from __future__ import annotations

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
    Send,
    UserSubscription,
)
from exchanges._failures import Failure
from exchanges._frames import UNREADABLE
from exchanges._timers import Alarms, earliest
from exchanges._venue import Setup
from exchanges.kraken import _errors, _hosts
from exchanges.kraken._connection_futures_frames import Frame, decode_frame
from exchanges.kraken._positions import FEED as POSITIONS
from exchanges.kraken._user_futures_account import FuturesAccount

FEEDS: Final = ("open_orders", "fills", "balances")
ANSWER_S: Final = 10.0
"""For the challenge, and for all acknowledgements."""
_SILENT: Final = frozenset({"info", "pong", "unsubscribed"})


class FuturesUser(OneAccount):
    """One account: connect → challenge → subscribe → repair → live. See `exchanges._adapter.Adapter`."""

    def __init__(self, setup: Setup) -> None:
        self._setup = setup
        self._session: FuturesAccount | None = None
        self._alarms: Alarms[str] = Alarms()
        self._proof: dict[str, str] = {}
        self._unconfirmed: set[str] = set()
        self._positions_asked = False
        """For the feed of positions there is no answer yet."""

    # --- inputs ---

    def connected(self, now: Instant) -> Outputs:
        session = self._session
        if session is None:
            return []
        self._alarms.set("challenge", now.mono + ANSWER_S)
        return [_frame(session.signer.asks_challenge())]

    def received(self, frame: bytes, now: Instant) -> Outputs:
        session = self._session
        if session is None:
            return []
        try:
            message = decode_frame(frame)
            if message.event:
                return self._control(session, message, now)
            return session.told(message.feed, frame, now)
        except UNREADABLE:
            return [Note(f"private frame of {len(frame)} bytes is not understood", "error")]

    def answered(self, call: Call, answer: Answer, now: Instant) -> Outputs:
        session = self._session
        if session is None:
            return []
        return session.answered(call, answer, now)

    def woken(self, now: Instant) -> Outputs:
        session = self._session
        if session is None:
            return []
        for name in self._alarms.due(now):
            return [Fail(kind=FailKind.TRANSIENT, reason=f"no answer to the {name} request")]
        return session.due(now)

    def deadline(self) -> float | None:
        return earliest(self._alarms.deadline(), self._session.deadline() if self._session else None)

    def _leave(self, _stream_id: str, _now: Instant) -> Outputs:
        proof, self._proof = self._proof, {}
        self._session = None
        self._alarms = Alarms()
        return (
            [_frame({"event": "unsubscribe", "feed": feed, **proof}) for feed in (*FEEDS, POSITIONS)] if proof else []
        )

    # --- joining ---

    def _open(self, subscription: UserSubscription, now: Instant) -> Outputs:
        refusal = _hosts.account_refusal(self._setup.options, subscription.credentials)
        if refusal is not None:
            return [Fail(kind=FailKind.REQUEST, reason=refusal, stream_id=subscription.stream_id)]
        self._setup.table()  # orders are told by pair ids: this starts the loading of the symbols
        self._session = FuturesAccount(self._setup, _hosts.FUTURES_REST, subscription, now)
        return [Connect(_hosts.FUTURES_WS)]

    def _control(self, session: FuturesAccount, message: Frame, now: Instant) -> list[Output]:
        """A frame with an event. Acknowledgements repeat the key and the signature, so nothing of them is told."""
        event = message.event
        if event == "challenge":
            return self._subscribe(session, message.message, now)
        if event == "subscribed" and message.feed == POSITIONS:
            self._positions_asked = False
            return []
        if event == "subscribed":
            return self._confirmed(session, message.feed, now)
        if event in _SILENT:
            return []
        if event not in ("alert", "error", "subscribed_failed"):
            return [Note(f"unknown private event {event[:40]}")]
        text = message.message or message.error or f"subscribing {message.feed[:40]} failed"
        if self._positions_asked and message.feed in ("", POSITIONS):
            self._positions_asked = False
            return [Note(f"positions are not told: {text[:100]}")]
        if _errors.benign(text):
            return [Note(text[:100], "info"), *self._confirmed(session, message.feed, now)]
        return self._refused(session, event, _errors.failure_of_text(text))

    def _subscribe(self, session: FuturesAccount, challenge: str, now: Instant) -> list[Output]:
        if "challenge" not in self._alarms:
            return []
        self._alarms.clear("challenge")
        self._alarms.set("subscribe", now.mono + ANSWER_S)
        self._proof = session.signer.challenge(challenge)
        self._unconfirmed = set(FEEDS)
        return [_frame({"event": "subscribe", "feed": feed, **self._proof}) for feed in FEEDS]

    def _confirmed(self, session: FuturesAccount, feed: str, now: Instant) -> list[Output]:
        if feed not in self._unconfirmed:
            return []
        self._unconfirmed.discard(feed)
        if self._unconfirmed:
            return []
        self._alarms.clear("subscribe")
        self._positions_asked = True
        # Behind the orders, and of an answer that nothing waits for.
        return [*session.begin(now), _frame({"event": "subscribe", "feed": POSITIONS, **self._proof})]

    def _refused(self, session: FuturesAccount, event: str, failure: Failure) -> list[Output]:
        passing = failure.kind is not FailKind.CREDENTIAL and event != "subscribed_failed"
        if passing and self._alarms.deadline() is None:
            return [Note(f"{event}: {failure.reason}")]
        return [_errors.fail_of(failure, session.stream_id)]

    def replay(self, subscription: UserSubscription, names: dict[str, str]) -> None:
        """Enter the live state of a recorded frame: REST can't be asked, and time stands still."""
        now = Instant(0.0, 0)
        session = self._session = FuturesAccount(self._setup, _hosts.FUTURES_REST, subscription, now)
        session.recorded(names, now)


def _frame(message: dict[str, str]) -> Send:
    return Send(msgspec.json.encode(message).decode())
