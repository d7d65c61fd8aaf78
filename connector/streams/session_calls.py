"""The REST calls of a session: whether one still waits for the venue's budget, and signatures that stay young meanwhile."""

from __future__ import annotations

from collections.abc import Callable

from connector.core.log import get_logger
from connector.streams.rest import Caller
from exchanges._adapter import Call, Instant

log = get_logger(__name__)


class SessionCalls:
    """`caller` goes with each call; the rest is asked on the I/O thread, `waiting` by any."""

    def __init__(
        self,
        name: str,
        post: Callable[[Callable[[], None]], None],
        now: Callable[[], Instant],
        wanted: Callable[[], bool],
        patient: Callable[[], bool],
    ) -> None:
        """`post`, `now`: of the I/O thread. `wanted`, `patient`: see `Caller`."""
        self._name, self._post, self._now = name, post, now
        self.caller = Caller(wanted, patient, self._renew)
        self.looked_mono: float
        """When the session was made, or last found to wait."""

    @property
    def waiting(self) -> bool:
        """Whether what precedes the connect waits for the venue's budget."""
        return self.caller.waiting > 0 and self.caller.patient()

    @property
    def only_mono(self) -> float:
        """Since when nothing but the venue delays the connect."""
        return max(self.looked_mono, self.caller.granted_mono)

    def _renew(self, call: Call, go: Callable[[Call], None]) -> None:
        """From any thread. `go` is called in any case."""
        self._post(lambda: go(self._signed_anew(call)))

    def _signed_anew(self, call: Call) -> Call:
        if call.again is None or not self.caller.wanted():
            return call
        try:
            return call.again(self._now())
        except Exception:
            log.exception("a call could not be signed anew", session=self._name)
            return call
