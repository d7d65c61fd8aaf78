"""Life of a stream as a table: states x signals -> state. Pure.

A stream is what somebody wants: one account, one shard of tickers, one candle topic. A session carries it, alone or with
others. Retries, cooldowns and hand-overs are states, not flags::

    WAITING --DUE--> OPENING --CONNECTED--> JOINING --LIVE_SEEN--> LIVE
       ^                |                      |                    | ROTATE          DRAIN
       +------LOST------+---------LOST---------+<-------LOST--------+--> ROTATING     +--> DRAINING
    REFUSED in any of these leads to COOLING; its DUE leads to OPENING. STOP leads to STOPPED from everywhere.

A pair that is not in the table is a bug and raises; nothing changes then.
"""

from __future__ import annotations

from enum import Enum
from typing import Final


class StreamState(Enum):
    WAITING = "waiting"
    """Not connected; a timer says when to try."""
    OPENING = "opening"
    """A session is being prepared: tokens, DNS, TCP, TLS, upgrade."""
    JOINING = "joining"
    """Connected: login, subscribe, gap repair."""
    LIVE = "live"
    ROTATING = "rotating"
    """Live, while a replacement session is on its way (make before break)."""
    DRAINING = "draining"
    """Live, while another process takes over."""
    COOLING = "cooling"
    """The venue refuses the key: waiting for the end of the auth cooldown."""
    STOPPED = "stopped"


class Signal(Enum):
    DUE = "due"
    CONNECTED = "connected"
    LIVE_SEEN = "live seen"
    LOST = "lost"
    REFUSED = "refused"
    ROTATE = "rotate"
    REPLACED = "replaced"
    KEPT = "kept"
    """The replacement failed, or the process that was to take over died; the old session goes on."""
    DRAIN = "drain"
    LIFTED = "lifted"
    """The cooldown is over early: new key material."""
    STOP = "stop"


_S, _G = StreamState, Signal

MOVES: Final[dict[tuple[StreamState, Signal], StreamState]] = {
    (_S.WAITING, _G.DUE): _S.OPENING,
    (_S.WAITING, _G.REFUSED): _S.COOLING,
    (_S.WAITING, _G.LOST): _S.WAITING,
    (_S.OPENING, _G.CONNECTED): _S.JOINING,
    (_S.OPENING, _G.LOST): _S.WAITING,
    (_S.OPENING, _G.REFUSED): _S.COOLING,
    (_S.JOINING, _G.LIVE_SEEN): _S.LIVE,
    (_S.JOINING, _G.LOST): _S.WAITING,
    (_S.JOINING, _G.REFUSED): _S.COOLING,
    (_S.LIVE, _G.LIVE_SEEN): _S.LIVE,
    (_S.LIVE, _G.LOST): _S.WAITING,
    (_S.LIVE, _G.REFUSED): _S.COOLING,
    (_S.LIVE, _G.ROTATE): _S.ROTATING,
    (_S.LIVE, _G.DRAIN): _S.DRAINING,
    (_S.ROTATING, _G.REPLACED): _S.LIVE,
    (_S.ROTATING, _G.KEPT): _S.LIVE,
    (_S.ROTATING, _G.LIVE_SEEN): _S.ROTATING,
    (_S.ROTATING, _G.ROTATE): _S.ROTATING,
    (_S.ROTATING, _G.LOST): _S.WAITING,
    (_S.ROTATING, _G.REFUSED): _S.COOLING,
    (_S.ROTATING, _G.DRAIN): _S.DRAINING,
    (_S.DRAINING, _G.LIVE_SEEN): _S.DRAINING,
    (_S.DRAINING, _G.LOST): _S.STOPPED,
    (_S.DRAINING, _G.REFUSED): _S.STOPPED,
    (_S.DRAINING, _G.ROTATE): _S.DRAINING,
    (_S.DRAINING, _G.DRAIN): _S.DRAINING,
    (_S.DRAINING, _G.KEPT): _S.LIVE,
    (_S.COOLING, _G.DUE): _S.OPENING,
    (_S.COOLING, _G.LIFTED): _S.WAITING,
    (_S.COOLING, _G.REFUSED): _S.COOLING,
    (_S.COOLING, _G.LOST): _S.COOLING,
}
MOVES.update({(state, _G.STOP): _S.STOPPED for state in StreamState})

CONNECTED_STATES: Final = frozenset({_S.LIVE, _S.ROTATING, _S.DRAINING})
"""Events flow in these states."""


class IllegalMove(RuntimeError):
    """A signal that can't happen in this state: a bug in the caller."""


def move(state: StreamState, signal: Signal) -> StreamState:
    """The next state. Raises `IllegalMove` for a pair that is not in the table."""
    try:
        return MOVES[state, signal]
    except KeyError:
        raise IllegalMove(f"signal {signal.value!r} in state {state.value!r}") from None
