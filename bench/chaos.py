"""The fault campaign: `make chaos`, or parts of it.

    python -m bench.chaos [runs] [--runs 500] [--seed 1] [--minutes 60] [--venues binance,okx]
    python -m bench.chaos --repro SEED               one run again, with everything that is known about it
    python -m bench.chaos rolling [--streams 200] | rabbit-away [--seconds 300] | rabbit-away-restarts
                          | sigkill [--streams 500] | rejected-key | half-open
    python -m bench.chaos all                        the runs, then each of the longer scenarios
    python -m bench.chaos report --keep FILE         the table over all runs in a file that `--keep` wrote, in several goes

Every run is decided by its seed. A failing one prints its faults, the offending orders and the calls of gap repair, and the
services' logs are kept.
"""

from __future__ import annotations

import argparse
import random
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import msgspec

from harness.campaign.check import TERMINAL
from harness.campaign.longer import SCENARIOS, Outcome
from harness.campaign.measure import Ceiling, doubled, leaks, levels
from harness.campaign.report import Report, figures
from harness.campaign.rest import at_rest
from harness.campaign.run import Result, Scenario
from harness.campaign.stack import Stack
from harness.campaign.traffic import Traffic
from harness.servers import wait_for

SLOW_S = 5.0
"""Recoveries that took longer are named."""
QUIET_VERDICTS = ("lost", "duplicated", "backwards", "wrong")


def warm_up(stack: Stack) -> Ceiling:
    """Every account trades once on every symbol that will be used, and every connection is cut once: then pools are full
    and the level is taken that processes must come back to."""
    stack.wait_ready()
    stack.open_all()
    traffic = Traffic(stack.sim, stack.accounts, random.Random(0), "DBOwarm")
    traffic.warm()
    ends = {step.order for step in traffic.transitions if step.status in TERMINAL}
    wait_for(
        lambda: ends <= {event.order for event in stack.rabbit_reader.events if event.status in TERMINAL},
        60.0,
        "the first orders published",
    )
    stack.sim.fault("drop", feed="user")
    stack.wait_clock(1.0)
    stack.wait_live(stack.accounts)
    level = Ceiling()
    level.see(levels(stack))
    return level


def settled(stack: Stack) -> list[str]:
    """What is still doubled after hand-overs and rotations had time to end."""
    try:
        wait_for(lambda: not doubled(stack), 60.0, "one connection per account", 0.5)
    except TimeoutError:
        return doubled(stack)
    return []


@contextmanager
def running(stack: Stack) -> Iterator[Stack]:
    """Takes the stack down at the end, also on Ctrl-C and SIGTERM; the logs stay."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        yield stack
    finally:
        stack.stop(keep=True)


def campaign(args: argparse.Namespace) -> Report:
    """Many short scenarios on one long-lived stack."""
    report = Report()
    venues = [name for name in args.venues.split(",") if name]
    began = time.monotonic()
    services = [int(count) for count in args.processes.split(",")]
    with running(Stack(venues=venues, services=services)) as stack:
        level = warm_up(stack)
        print(f"{len(stack.accounts)} streams live; {level}; logs in {stack.folder}", flush=True)
        seeds = [args.repro] if args.repro is not None else range(args.seed, args.seed + args.runs)
        for seed in seeds:
            if time.monotonic() - began > args.minutes * 60:
                print(f"time is up after {len(report.runs)} runs")
                break
            scenario = Scenario(seed, stack.accounts, len(stack.workers), node=stack.real_restarts())
            result = scenario.play(stack)
            report.add(result)
            if args.keep:
                with Path(args.keep).open("ab") as file:
                    file.write(msgspec.json.encode(result) + b"\n")
            tell(result, verbose=args.repro is not None)
        stack.wait_live(stack.accounts)
        report.leaks += settled(stack)
        looks = levels(stack)
        after = Ceiling()
        after.see(looks)
        served = {account.venue for account in stack.accounts}
        report.leaks += [*leaks(level, looks, len(served)), *at_rest(stack)]
        print(f"before: {level}\nafter:  {after}\n")
    print(report.text(), flush=True)
    return report


def tell(result: Result, *, verbose: bool = False) -> None:
    """One line a run; everything about a failing one."""
    word = "ok  " if result.good else "FAIL"
    print(f"{word} {result.seconds:5.1f} s {result.verdict.transitions:4} events  {result.describe()}")
    for recovery in result.recoveries:
        if recovery.seconds > SLOW_S or verbose or not result.good:
            print(f"       {recovery.group}: {recovery.stream} back after {recovery.seconds:.2f} s")
    if result.good and not verbose:
        sys.stdout.flush()
        return
    for name, verdict in (("RabbitMQ", result.verdict), ("Redis", result.redis)):
        for kind in QUIET_VERDICTS:
            for line in getattr(verdict, kind)[:8]:
                print(f"  {name}, {kind}: {line}")
        for text in verdict.offenders[:3]:
            print(text)
    for note in result.notes[:80]:
        print(f"    {note}")
    sys.stdout.flush()


def longer(name: str, args: argparse.Namespace) -> Outcome:
    """One of the long scenarios, on a stack of its own."""
    copies = 2 if name in {"rolling", "rabbit-away", "rabbit-away-restarts"} and not args.streams else 1
    venues = [venue for venue in args.venues.split(",") if venue]
    play = {
        "rabbit-away": partial(SCENARIOS[name], seconds=args.seconds),
        "sigkill": partial(SCENARIOS[name], streams=args.streams or 500),
        "rolling": partial(SCENARIOS[name], streams=args.streams),
    }.get(name, SCENARIOS[name])
    with running(Stack(copies=copies, venues=venues)) as stack:
        if name == "rejected-key":
            # Nobody else may dial meanwhile: every attempt that is counted belongs to the rejected account.
            stack.accounts.clear()
            stack.wait_ready()
        else:
            warm_up(stack)
        outcome = play(stack)
        outcome.verdict.wrong += at_rest(stack)
    print(figures(outcome.name, outcome.figures))
    for kind in QUIET_VERDICTS:
        for line in getattr(outcome.verdict, kind)[:10]:
            print(f"  {kind}: {line}")
    for text in outcome.verdict.offenders[:3]:
        print(text)
    sys.stdout.flush()
    return outcome


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", nargs="?", default="runs", choices=["runs", *SCENARIOS, "all", "report"])
    parser.add_argument("--runs", type=int, default=500)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--venues", default="", help="families, comma list; all of them by default")
    parser.add_argument("--keep", default="", help="file that gets one line of JSON per run")
    parser.add_argument("--processes", default="1,1", help="worker processes of each service")
    parser.add_argument("--repro", type=int, help="play this seed only")
    parser.add_argument("--seconds", type=float, default=300.0, help="how long RabbitMQ is away")
    parser.add_argument("--streams", type=int, default=0, help="at least so many accounts (sigkill: 500)")
    args = parser.parse_args(argv)
    good = True
    if args.what == "report":
        report = Report()
        for line in Path(args.keep).read_bytes().splitlines():
            report.add(msgspec.json.decode(line, type=Result))
        print(report.text())
        good = report.good
    if args.what in {"runs", "all"}:
        good = campaign(args).good
    for name in SCENARIOS:
        if args.what in {name, "all"}:
            good = longer(name, args).verdict.good and good
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
