"""What every venue's reading of a bad answer or of a refusal comes to. Pure."""

from __future__ import annotations

from typing import NamedTuple

from exchanges._adapter import Fail, FailKind


class Failure(NamedTuple):
    """What is wrong, and what follows from it."""

    kind: FailKind
    reason: str
    """The venue's own text and code, without any secret."""
    retry_after_s: float | None = None
    """Wait so long; None: as long as whoever asks waits by itself."""
    code: str = ""
    """The venue's, where an adapter decides by it."""
    clock: bool = False
    """Our time is off: fetch the venue's and ask again."""
    own: bool = True
    """It counts for the account alone and says nothing about others on the address."""
    retry: bool = False
    """The same call may well succeed in a moment."""

    def fail(self, stream_id: str | None = None) -> Fail:
        """What the session is told: of one stream, or of the connection."""
        return Fail(kind=self.kind, reason=self.reason, stream_id=stream_id, retry_after_s=self.retry_after_s)
