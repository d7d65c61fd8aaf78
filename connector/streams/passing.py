"""A stream on its way to another process as a table: phases x cues -> phase (docs/architecture.md, Hand-over). Pure.

The giver's side and the taker's are one machine, because a process can be on one side of a stream at a time only::

    giver   OURS --GIVE--> OFFERED --TAKER_READY--> LINGERING --LINGERED--> LEAVING --CONFIRMED--> OURS, not here any more
    taker   OURS --TAKE--> JOINING --LIVE--> READY --RELEASED--> OURS, here alone

Cues that other processes send may come at any time, late or twice: they are legal in every phase. A pair that is not in the
table is a bug and raises; nothing changes then.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Final


class Phase(Enum):
    OURS = "settled"
    """Not on its way: it runs here, or it does not."""
    OFFERED = "offered"
    """Giver: the lease is the taker's, our session goes on and publishes until the taker is live."""
    LINGERING = "lingering"
    """Giver: the taker is live; what was on its way to our session comes nowhere else."""
    LEAVING = "leaving"
    """Giver: the last event is published; it waits until the sinks have it."""
    JOINING = "joining"
    """Taker: it opens its own session beside the giver's, and holds its events back."""
    READY = "ready"
    """Taker: it is live; it waits for the giver's last word."""


class Cue(Enum):
    # own decisions and what they meet
    GIVE = "give"
    NO_SESSION = "no session"
    """The stream is not live here: there is nothing to keep until the taker is."""
    LINGERED = "lingered"
    TAKER_LATE = "taker late"
    DEADLINE = "deadline"
    """The drain has no time left."""
    TAKEN_BACK = "taken back"
    """The taker died, drains or refused, and the lease is ours again."""
    LOST = "lost"
    """A third process has the lease."""
    CONFIRMED = "confirmed"
    """The sinks have everything, or had their time."""
    LIVE = "live"
    GIVER_SILENT = "giver silent"
    """It died, or does not answer that the taker is ready."""
    CANT_OPEN = "can't open"
    # what other processes say
    TAKE = "take"
    TAKER_READY = "taker ready"
    RELEASED = "released"
    ENDED = "ended"
    """It was closed or fenced, here or there."""


HEARD: Final = frozenset({Cue.TAKE, Cue.TAKER_READY, Cue.RELEASED, Cue.ENDED})
"""Said by other processes: legal in every phase."""
GIVING: Final = frozenset({Phase.OFFERED, Phase.LINGERING, Phase.LEAVING})
TAKING: Final = frozenset({Phase.JOINING, Phase.READY})

READY_TIMEOUT_S: Final = 45.0
"""The giver keeps its session this long for a taker that does not get live."""
RELEASE_TIMEOUT_S: Final = 6.0
"""A taker that is ready waits this long for the giver."""

_P, _C = Phase, Cue

MOVES: Final[dict[tuple[Phase, Cue], Phase]] = {
    (_P.OURS, _C.GIVE): _P.OFFERED,
    (_P.OURS, _C.TAKE): _P.JOINING,
    (_P.OFFERED, _C.TAKER_READY): _P.LINGERING,
    (_P.OFFERED, _C.NO_SESSION): _P.LEAVING,
    (_P.OFFERED, _C.TAKER_LATE): _P.LEAVING,
    (_P.OFFERED, _C.DEADLINE): _P.LEAVING,
    (_P.OFFERED, _C.LOST): _P.LEAVING,
    (_P.OFFERED, _C.TAKE): _P.LEAVING,  # the taker has it and gives it back already: first this one ends
    (_P.OFFERED, _C.TAKEN_BACK): _P.OURS,
    (_P.OFFERED, _C.ENDED): _P.OURS,
    (_P.LINGERING, _C.LINGERED): _P.LEAVING,
    (_P.LINGERING, _C.TAKER_LATE): _P.LEAVING,
    (_P.LINGERING, _C.DEADLINE): _P.LEAVING,
    (_P.LINGERING, _C.LOST): _P.LEAVING,
    (_P.LINGERING, _C.TAKE): _P.LEAVING,
    (_P.LINGERING, _C.TAKEN_BACK): _P.OURS,
    (_P.LINGERING, _C.ENDED): _P.OURS,
    (_P.LEAVING, _C.CONFIRMED): _P.OURS,
    (_P.LEAVING, _C.DEADLINE): _P.LEAVING,
    (_P.JOINING, _C.LIVE): _P.READY,
    (_P.JOINING, _C.RELEASED): _P.OURS,
    (_P.JOINING, _C.GIVER_SILENT): _P.OURS,
    (_P.JOINING, _C.CANT_OPEN): _P.OURS,
    (_P.JOINING, _C.ENDED): _P.OURS,
    (_P.READY, _C.RELEASED): _P.OURS,
    (_P.READY, _C.GIVER_SILENT): _P.OURS,
    (_P.READY, _C.ENDED): _P.OURS,
}
for _phase in Phase:
    for _cue in (*HEARD, Cue.LIVE):  # and a session may say again that it is live
        MOVES.setdefault((_phase, _cue), _phase)


class IllegalCue(RuntimeError):
    """A cue that can't come in this phase: a bug in the caller."""


def follow(phase: Phase, cue: Cue) -> Phase:
    """The next phase. Raises `IllegalCue` for a pair that is not in the table."""
    try:
        return MOVES[phase, cue]
    except KeyError:
        raise IllegalCue(f"cue {cue.value!r} in phase {phase.value!r}") from None


@dataclass(slots=True)
class Passing:
    """A stream on its way, and what this process knows of the other one."""

    other: str
    """The taker's name while this process gives, the giver's while it takes."""
    fence: int
    since: float
    """When it was offered, or when this process was ready to take it."""
    told_at: float
    phase: Phase = Phase.OURS
    ready_ms: int = 0
    """When the taker was live: our session must have been alive until then."""
    seamless: bool = False
    refused: bool = False
    """The taker said no when it was too late to go on here."""
    over: bool = False
    """Nobody listens to the stream any more: whoever publishes last says so, too."""
    mark: object = None
    """What the sinks had when this process published its last event of the stream."""
