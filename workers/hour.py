"""The last hour at a glance: how many streams were live and not, and how many events left, minute by minute.

Each worker process keeps its own hour and shares it with its figures; the page adds them up.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from html import escape
from typing import Final

from connector.core.metrics import Metrics, Minute
from connector.core.ports import Clock
from connector.streams.lifecycle import CONNECTED_STATES, StreamState

MINUTES: Final = 60
_LIVE: Final = frozenset(state.value for state in CONNECTED_STATES)
_WIDTH, _HEIGHT = 240, 36


class Hour:
    """One thread."""

    def __init__(self, clock: Clock, metrics: Metrics, states: Callable[[], Mapping[str, int]] | None = None) -> None:
        """`states`: how many streams are in which state; None = what the figures say, which are those of one engine."""
        self._clock, self._metrics = clock, metrics
        self._states = states or self._of_figures
        self._minutes: deque[Minute] = deque(maxlen=MINUTES)
        self._before = 0.0

    def note(self) -> Sequence[Minute]:
        """Take down how it is now; the last `MINUTES` minutes, the oldest first."""
        number = self._clock.wall_ms() // 60_000
        states = self._states()
        live = sum(count for state, count in states.items() if state in _LIVE)
        wanted = sum(count for state, count in states.items() if state != StreamState.STOPPED.value)
        sent = sum(self._metrics.rows("events_published_total").values())
        if self._minutes and self._minutes[-1].number == number:
            events = self._minutes.pop().events + sent - self._before
        else:
            events = sent - self._before
        self._before = sent
        unowned = int(self._metrics.rows("streams_unowned").get((), 0))
        self._minutes.append(Minute(number, live, wanted - live, int(events), unowned))
        return list(self._minutes)

    def _of_figures(self) -> Mapping[str, int]:
        found: Counter[str] = Counter()
        for (state, _), count in self._metrics.rows("streams").items():
            found[state] += int(count)
        return found


def summed(hours: Iterable[Sequence[Minute]], until_ms: int) -> list[Minute]:
    """Those of several processes as one: the last `MINUTES` before this moment, without those that nobody tells of."""
    total: dict[int, Minute] = {}
    first = until_ms // 60_000 - MINUTES
    for hour in hours:
        for one in hour:
            if one.number > first:
                was = total.get(one.number, Minute(one.number, 0, 0, 0))
                total[one.number] = Minute(
                    one.number,
                    was.live + one.live,
                    was.blind + one.blind,
                    was.events + one.events,
                    max(was.unowned, one.unowned),
                )
    return [total[number] for number in sorted(total)]


def hour_lines(hour: Sequence[Minute]) -> str:
    """The hour as HTML: a line for each figure; empty if there is nothing to draw yet."""
    if len(hour) < 2:
        return ""
    drawn = (
        _line("live", hour, [one.live for one in hour]),
        _line("not live", hour, [one.blind + one.unowned for one in hour]),
        _line("events a minute", hour, [one.events for one in hour]),
    )
    return f'<h2>Last hour</h2><div class="hour">{"".join(drawn)}</div>'


def _line(name: str, hour: Sequence[Minute], values: Sequence[int]) -> str:
    last, top = hour[-1].number, max(*values, 1)
    points = " ".join(
        f"{_WIDTH - (last - one.number) * _WIDTH / (MINUTES - 1):.0f},{_HEIGHT - value * _HEIGHT / top:.0f}"
        for one, value in zip(hour, values, strict=True)
    )
    told = f"{name}: {values[-1]} now, {min(values)} to {max(values)} in the last hour"
    return (
        f"<figure><figcaption>{escape(name)} <b>{values[-1]}</b> "
        f'<span class="quiet">{min(values)}–{max(values)}</span></figcaption>'
        f'<svg role="img" aria-label="{escape(told)}" viewBox="0 -2 {_WIDTH} {_HEIGHT + 4}" preserveAspectRatio="none">'
        f'<polyline points="{points}"/></svg></figure>'
    )
