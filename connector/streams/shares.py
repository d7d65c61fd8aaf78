"""What a process holds beyond its fair share. Pure reading."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Final

from connector.streams.leases import Leases

AT_ONCE: Final = 5
SLACK: Final = 1.1
"""A process may hold a tenth more than its share, and one stream: less is not worth a hand-over."""


def surplus(leases: Leases, givable: Callable[[str], bool]) -> list[str]:
    """A few units that other processes should have; none while every one holds its fair share."""
    candidates = leases.candidates()
    if len(candidates) < 2:
        return []
    total = sum(worker.streams for worker in leases.workers if not worker.draining)
    fair = math.ceil(total / len(candidates) * SLACK) + 1
    count = min(len(leases) - fair, AT_ONCE)
    if count <= 0:
        return []
    return [unit for unit in leases.held() if not leases.mine_first(unit) and givable(unit)][:count]
