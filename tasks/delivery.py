"""One received command on its way through the actors: order, patience, reply, and when its message may be acknowledged."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Final

from connector.core.copies import Copy
from connector.core.errors import StateUnavailable
from connector.core.log import get_logger
from connector.core.metrics import METRICS
from tasks.commands import Command, RestartStream, lane_of
from tasks.envelope import ReplyAddress, response_body
from tasks.lanes import Lanes

Apply = Callable[[Command, str], object]
Respond = Callable[[ReplyAddress, bytes], None]

FIRST_PAUSE_S: Final = 0.2
LONGEST_PAUSE_S: Final = 5.0
"""While Redis is away a command is tried again after 0.2 s, then doubling, at least every 5 s."""

_log = get_logger(__name__)


class Delivery:
    """A command as the only argument of an actor's message. Opaque: its text never shows key material.

    It is *settled* when the command took effect or failed for good. Its message is acknowledged then, not when the actor
    returns: a command that is parked behind another one, or waits for Redis, comes again if this process dies.
    """

    __slots__ = (
        "_copy",
        "_elsewhere",
        "_lock",
        "_on_settled",
        "_reply",
        "_respond",
        "_settled",
        "_stopping",
        "_ticket",
        "command",
        "late",
        "nonce",
    )

    def __init__(
        self,
        command: Command,
        lanes: Lanes,
        stopping: threading.Event,
        *,
        nonce: str = "",
        copy: Callable[[], Copy | None] = lambda: None,
        reply: ReplyAddress | None = None,
        respond: Respond | None = None,
    ) -> None:
        self.command = command
        self.nonce = nonce
        """Names this delivery to the registry: tried again because an answer was late or lost, it counts once."""
        self._copy = copy
        self.late = False
        """The connection that brought it was lost."""
        self._elsewhere = False
        self._ticket = lanes.ticket(lane_of(command))
        self._stopping = stopping
        self._reply = reply
        self._respond = respond
        self._lock = threading.Lock()
        self._settled = False
        self._on_settled: list[Callable[[], None]] = []

    @property
    def sequence(self) -> int:
        """Rises with every command that this process receives."""
        return self._ticket.sequence

    @property
    def given_up(self) -> bool:
        """It will not be carried out here; its message stays unacknowledged and goes to another process."""
        return self._ticket.dropped

    def copy(self) -> Copy | None:
        """How it is known should the broker bring it again, as things stand; None if its message has an id."""
        copy = self._copy()
        return replace(copy, late=True) if copy is not None and self.late else copy

    def leave(self) -> None:
        """Its queue is gone, and its sender is asked to say everything again: it must not count beside that. An attempt that
        is on its way goes on."""
        self._elsewhere = True

    def carry_out(self, apply: Apply) -> None:
        """Carry out the command as soon as its turn has come: now, or in the thread that finishes its predecessor."""
        self._ticket.run(lambda: self._perform(apply))

    def end(self) -> None:
        """Its actor has returned. If the actor never got to it (a middleware skipped the message), it ends here."""
        if not self._ticket.brought:
            _log.warning("command skipped", **self._about())
            METRICS.count("commands_total", command=self.command.name, result="skipped")
            self._settle(None)
            self._ticket.skip()

    def when_settled(self, callback: Callable[[], None]) -> None:
        """Call back, from whatever thread settles it, or at once if it is settled. Never, if it is given up."""
        with self._lock:
            if not self._settled:
                self._on_settled.append(callback)
                return
        callback()

    def give_up(self) -> None:
        """The process stops before this command's turn: leave it, and what came after it, to another process."""
        self._ticket.drop()

    def _perform(self, apply: Apply) -> bool:
        value: object = None
        result = "applied"
        try:
            value = self._patiently(apply)
        except _Stopping:
            return False
        except _Elsewhere:
            _log.info("a command of a queue that is gone is left to its sender", **self._about())
            METRICS.count("commands_total", command=self.command.name, result="skipped")
            return True
        except Exception:  # noqa: BLE001 - a failing command is acknowledged and answered like any other (contract 1.2)
            result = "failed"
            _log.exception("command failed", **self._about())
        except BaseException:
            self._settle(None)
            raise
        METRICS.count("commands_total", command=self.command.name, result=result)
        self._settle(value)
        return True

    def _patiently(self, apply: Apply) -> object:
        pause_s = FIRST_PAUSE_S
        while True:
            if self._elsewhere:
                raise _Elsewhere
            try:
                return apply(self.command, self.nonce)
            except StateUnavailable as error:
                _log.warning("commands wait for the registry", reason=str(error))
            if self._stopping.wait(pause_s):
                raise _Stopping
            pause_s = min(pause_s * 2, LONGEST_PAUSE_S)

    def _settle(self, value: object) -> None:
        if self._reply is not None and self._respond is not None:
            self._respond(self._reply, self._response(value))
        with self._lock:
            self._settled = True
            callbacks, self._on_settled = self._on_settled, []
        for callback in callbacks:
            callback()

    def _response(self, value: object) -> bytes:
        try:
            return response_body(value)
        except (TypeError, ValueError):
            _log.exception("the result of a command is no JSON value", command=self.command.name)
            return response_body(None)

    def _about(self) -> dict[str, Any]:
        command = self.command
        about: dict[str, object] = {"command": command.name, "sequence": self.sequence}
        if isinstance(command, RestartStream):
            about["stream"] = command.stream_id or "all"
        else:
            about["stream"] = lane_of(command) or str(command)
        return about

    def __repr__(self) -> str:
        return f"Delivery({self.sequence}, {self.command!r})"


class _Elsewhere(Exception):
    """The command went with its queue."""


class _Stopping(Exception):
    """The process stops while a command waits for Redis."""
