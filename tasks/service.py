"""What the actors talk to: the one object that the boot code makes after the fork."""

from __future__ import annotations

import threading
from typing import Final, Protocol

from connector.core.copies import Copy
from connector.core.errors import StateUnavailable
from tasks.commands import Command


class CommandService(Protocol):
    """Carries out commands. Called from worker threads, several at a time, but in order per stream."""

    def apply(self, command: Command, nonce: str = "", copy: Copy | None = None) -> object:
        """Change what is wanted and return; never wait for a venue. The result is the reply's value (contract 1.2).

        Raises `StateUnavailable` when it is not known to have taken effect: the caller keeps the command and calls again,
        with the same `nonce`, which lets it count once. `copy`: of a message without an id, which may come to several
        processes.
        """

    def reconcile(self, stream_id: str) -> None:
        """Make what runs equal to what is wanted, for one stream. Idempotent. May raise `StateUnavailable`."""


class _Holder:
    def __init__(self) -> None:
        self.changed: Final = threading.Condition()
        self.service: CommandService | None = None


_HOLDER: Final = _Holder()


def set_service(service: CommandService | None) -> None:
    """Set by the boot code once everything runs; None = not any more (commands then wait for another process)."""
    with _HOLDER.changed:
        _HOLDER.service = service
        _HOLDER.changed.notify_all()


def service(timeout_s: float = 5.0) -> CommandService:
    """The service of this process. Consumers start before the boot code is done, so this waits for it a moment.

    Raises `StateUnavailable` when there is none by then.
    """
    with _HOLDER.changed:
        _HOLDER.changed.wait_for(lambda: _HOLDER.service is not None, timeout_s)
        found = _HOLDER.service
    if found is None:
        raise StateUnavailable("the command service is not running in this process")
    return found
