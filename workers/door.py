"""The door of the demo (`connector run` with the simulator): commands in, and where its servers are. Loopback only.

With it the command line works inside the demo: `connector open --demo …` reaches no broker but the embedded one, and keys of
the simulated exchanges are tried against these alone.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Mapping
from typing import Final

import msgspec

FACTS: Final = "/demo.json"
COMMANDS: Final = "/demo/commands/"
HEADER: Final = "X-Connector-Demo"
"""A page of another site that a browser shows can't send it."""
MAX_BODY: Final = 65_536


class Facts(msgspec.Struct, frozen=True, kw_only=True):
    """Where a command line finds the servers of the demo; `host:port` each."""

    redis: str
    gateway: str
    """Plays every exchange (`VENUE_GATEWAY`)."""


class Door(msgspec.Struct, frozen=True):
    """Any thread."""

    facts: Facts
    queues: Mapping[str, Callable[[bytes], None]]
    """Command queue → who takes a body, as the backend would publish it."""

    def knock(self, peer: str, path: str, headers: Mapping[str, str], body: bytes) -> tuple[int, dict[str, object]]:
        """The answer to a POST: status and JSON."""
        queue = path.removeprefix(COMMANDS)
        if not ipaddress.ip_address(peer.split("%", maxsplit=1)[0]).is_loopback:
            return 403, {"error": "the demo takes commands from this machine only"}
        if headers.get(HEADER) != "1":
            return 403, {"error": f"needs the header {HEADER}: 1"}
        if not path.startswith(COMMANDS) or queue not in self.queues:
            return 404, {"error": f"no such queue; there are {', '.join(sorted(self.queues))}"}
        self.queues[queue](body)
        return 202, {"sent": True}
