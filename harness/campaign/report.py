"""The table at the end of a campaign."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from harness.campaign.run import Result


def percentile(ordered: Sequence[float], percent: float) -> float:
    """Nearest rank of sorted values; 0.0 of none."""
    if not ordered:
        return 0.0
    return ordered[max(0, math.ceil(len(ordered) * percent / 100) - 1)]


class Report:
    """Sums over runs."""

    def __init__(self) -> None:
        self.runs: list[Result] = []
        self.leaks: list[str] = []
        """Found at the end: threads, files, memory, secrets at rest."""

    def add(self, result: Result) -> None:
        self.runs.append(result)

    @property
    def bad(self) -> list[Result]:
        return [result for result in self.runs if not result.good]

    @property
    def good(self) -> bool:
        return not self.bad and not self.leaks

    def totals(self) -> dict[str, Any]:
        verdicts = [result.verdict for result in self.runs]
        redis = [result.redis for result in self.runs]
        lags = sorted(lag for verdict in verdicts for lag in verdict.lags)
        return {
            "runs": len(self.runs),
            "faults": sum(len(result.plans) for result in self.runs),
            "order events": sum(verdict.transitions for verdict in verdicts),
            "messages on RabbitMQ": sum(verdict.events for verdict in verdicts),
            "messages on Redis": sum(verdict.events for verdict in redis),
            "lost": sum(len(verdict.lost) for verdict in verdicts),
            "duplicated final states": sum(len(verdict.duplicated) for verdict in verdicts),
            "out of order": sum(len(verdict.backwards) for verdict in verdicts),
            "lost / duplicated / out of order on Redis": " / ".join(
                str(sum(len(getattr(verdict, name)) for verdict in redis))
                for name in ("lost", "duplicated", "backwards")
            ),
            "other failures": sum(len(v.wrong) for v in (*verdicts, *redis)) + len(self.leaks),
            "repeated under the same id": sum(verdict.repeated for verdict in verdicts),
            "collapsed into a later event": sum(verdict.collapsed for verdict in verdicts),
            "told, not published (paper)": sum(verdict.told for verdict in verdicts),
            "longest gap": f"{lags[-1] if lags else 0.0:.2f} s",
            "publish lag p50 / p99": f"{percentile(lags, 50) * 1000:.1f} / {percentile(lags, 99) * 1000:.0f} ms",
        }

    def recoveries(self) -> dict[str, list[tuple[float, int]]]:
        """Seconds and seed of each stream that came back, by fault."""
        groups: dict[str, list[tuple[float, int]]] = defaultdict(list)
        for result in self.runs:
            for recovery in result.recoveries:
                groups[recovery.group].append((recovery.seconds, result.seed))
        return {group: sorted(times) for group, times in sorted(groups.items())}

    def text(self) -> str:
        lines = _rows(self.totals())
        lines += ["", f"{'recovery after':<40}{'streams':>9}{'p50 s':>9}{'p99 s':>9}{'longest s':>11}{'seed':>9}"]
        for group, rows in self.recoveries().items():
            times = [seconds for seconds, _ in rows]
            p50, p99 = percentile(times, 50), percentile(times, 99)
            lines.append(f"{group:<40}{len(times):>9}{p50:>9.2f}{p99:>9.2f}{times[-1]:>11.2f}{rows[-1][1]:>9}")
        kinds = Counter(plan.kind for result in self.runs for plan in result.plans)
        lines += ["", "faults: " + ", ".join(f"{kind} {count}" for kind, count in sorted(kinds.items()))]
        lines += [f"LEAK {leak}" for leak in self.leaks]
        lines += [f"FAILED {result.describe()}" for result in self.bad]
        return "\n".join(lines)


def _rows(values: Mapping[str, Any]) -> list[str]:
    return [f"{name:<44}{value!s:>14}" for name, value in values.items()]


def figures(name: str, values: Mapping[str, Any]) -> str:
    return "\n".join([name, *(f"  {key:<34}{value}" for key, value in values.items())])
