"""How a failed world is told to a person: what was planned, what happened in order, which promise broke, on which order."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from harness.worlds.play import Outcome

MAX_LINES = 160
MAX_FAILURES = 6


def told(outcome: Outcome) -> str:
    return "\n".join(_lines(outcome))


def _lines(outcome: Outcome) -> Iterator[str]:
    plan = outcome.plan
    setup = plan.setup
    yield (
        f"world {setup.seed}: {plan.kind}, {', '.join(setup.venues)}, {setup.processes} processes, "
        f"{setup.accounts} accounts, {'with' if setup.sealed else 'without'} keys at rest, {outcome.virtual_s:.0f} s"
    )
    yield "faults:"
    yield from (f"  {fault}" for fault in plan.faults)
    yield "what happened:"
    yield from (f"  {line}" for line in _shortened(outcome.story))
    yield f"broken promises ({len(outcome.failures)}):"
    for failure in outcome.failures[:MAX_FAILURES]:
        yield f"  {failure.invariant}: {failure.text}"
        yield from (f"    {line}" for line in failure.life.splitlines())


def _shortened(lines: list[str]) -> Iterable[str]:
    if len(lines) <= MAX_LINES:
        return lines
    half = MAX_LINES // 2
    return [*lines[:half], f"… {len(lines) - 2 * half} lines left out …", *lines[-half:]]
