"""Named deadlines of one adapter. Pure: the adapter is woken at `next()` and asks which have come."""

from __future__ import annotations

from exchanges._adapter import Instant


class Alarms:
    """A handful of deadlines by name, monotonic seconds. I/O thread of the adapter's session only."""

    __slots__ = ("_at",)

    def __init__(self) -> None:
        self._at: dict[str, float] = {}

    def set(self, name: str, at: float) -> None:
        """Arm a deadline, or move it."""
        self._at[name] = at

    def clear(self, name: str) -> None:
        """Disarm a deadline; unknown names are ignored."""
        self._at.pop(name, None)

    def armed(self, name: str) -> bool:
        return name in self._at

    def at(self, name: str) -> float:
        """When an armed deadline comes; `KeyError` for any other."""
        return self._at[name]

    def next(self) -> float | None:
        return min(self._at.values(), default=None)

    def due(self, now: Instant) -> list[str]:
        """The names whose time has come, earliest first; they are disarmed."""
        names = sorted((at, name) for name, at in self._at.items() if at <= now.mono)
        for _, name in names:
            del self._at[name]
        return [name for _, name in names]
