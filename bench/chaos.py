"""The fault campaign: `make chaos`, or parts of it.

python -m bench.chaos [--runs 500] [--seed 1] [--minutes 60] [--venues binance,okx]
python -m bench.chaos --repro SEED
"""

from __future__ import annotations

import argparse
import random
import sys
import time

from harness.campaign.check import TERMINAL
from harness.campaign.run import Scenario
from harness.campaign.stack import Stack
from harness.campaign.traffic import Traffic
from harness.servers import wait_for


def warm_up(stack: Stack) -> None:
    """Every account trades once on every symbol that will be used."""
    traffic = Traffic(stack.sim, stack.accounts, random.Random(0), "DBOwarm")
    traffic.warm()
    wait_for(
        lambda: (
            {step.order for step in traffic.transitions if step.status in TERMINAL}
            <= {event.order for event in stack.rabbit_reader.events if event.status in TERMINAL}
        ),
        60.0,
        "the first orders published",
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=500)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--venues", default="")
    parser.add_argument("--repro", type=int)
    args = parser.parse_args()
    venues = [name for name in args.venues.split(",") if name]
    stack = Stack(venues=venues)
    began = time.monotonic()
    bad = 0
    try:
        stack.wait_ready()
        stack.open_all()
        print(
            f"{len(stack.accounts)} streams live after {time.monotonic() - began:.1f} s; files in {stack.folder}",
            flush=True,
        )
        warm_up(stack)
        seeds = [args.repro] if args.repro is not None else range(args.seed, args.seed + args.runs)
        for seed in seeds:
            if time.monotonic() - began > args.minutes * 60:
                break
            result = Scenario(seed, stack.accounts, len(stack.workers), node=stack.real_restarts()).play(stack)
            print(
                ("ok   " if result.good else "BAD  ")
                + f"{result.seconds:5.1f}s {result.verdict.transitions:4} "
                + result.describe(),
                flush=True,
            )
            for recovery in result.recoveries:
                print(f"       {recovery.group}: {recovery.stream} {recovery.seconds:.2f} s")
            if not result.good:
                bad += 1
                for name, verdict in (("RabbitMQ", result.verdict), ("Redis", result.redis)):
                    for line in [
                        *verdict.lost[:5],
                        *verdict.duplicated[:5],
                        *verdict.backwards[:5],
                        *verdict.wrong[:5],
                    ]:
                        print(f"  {name}: {line}")
                    for text in verdict.offenders[:2]:
                        print(text)
                sys.stdout.flush()
    finally:
        stack.stop(keep=True)
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
