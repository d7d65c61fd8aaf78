"""`python -m bench.mutants`: how many small changes of the code the unit tests notice (docs/mutants.md).

    python -m bench.mutants                                all modules of tests/mutants.toml
    python -m bench.mutants tracker leases                 those with one of these in their name
    python -m bench.mutants --since main                   only the lines that are other than there

Ends with a table; the status is 1 when a module is under its floor or a judged line is gone.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from harness.mutants.judge import BadJudgement, Judge, read, score, table
from harness.mutants.play import TEST_S, Outcome, Player, Verdict, play
from harness.mutants.sites import Module, changed_since, module
from harness.mutants.trace import references, traced

ROOT = Path(__file__).parents[1]
COUNT = 40
WORKERS = 2


def arguments(argv: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.mutants", description=__doc__.split("\n")[0])
    parser.add_argument("modules", nargs="*", metavar="MODULE", help="part of a module's name (default: all)")
    parser.add_argument("--since", metavar="REVISION", help="only lines that changed since this revision of git")
    parser.add_argument("--count", type=int, default=COUNT, help="mutants a module (default: %(default)s)")
    parser.add_argument("--workers", type=int, default=WORKERS, help="processes (default: %(default)s)")
    parser.add_argument("--tests", default="tests/unit", help="which tests have to notice (default: %(default)s)")
    parser.add_argument(
        "--patience", type=int, default=TEST_S, metavar="SECONDS",
        help="what takes a test longer is an endless loop (default: %(default)s; a slow test gets ten times its time)",
    )  # fmt: skip
    parser.add_argument("--quiet", action="store_true", help="tell survivors and the table only")
    parser.add_argument("--root", type=Path, default=ROOT, help="the project (default: this one)")
    return parser.parse_args(argv)


def main(argv: Sequence[str]) -> int:
    args = arguments(argv)
    root: Path = args.root.resolve()
    try:
        judge = read(root / "tests" / "mutants.toml", root)
        only = None if args.since is None else changed_since(root, args.since)
        modules = [module(root, name, only) for name in judge.modules(args.modules)]
    except (BadJudgement, ValueError) as error:
        print(f"mutants: {error}", file=sys.stderr)
        return 1
    modules = [one for one in modules if one.mutants]
    if not modules:
        print("mutants: nothing to try")
        return 0
    try:
        verdicts, player = _play(args, root, modules, judge)
    except RuntimeError as error:
        print(f"mutants: {error}", file=sys.stderr)
        return 1
    scores = [score(one.name, len(one.mutants), verdicts[one.name], judge) for one in modules]
    for test in sorted(player.flaky):
        print(f"mutants: fails without any change: {test}")
    print(table(scores))
    return 1 if any(one.low for one in scores) else 0


def _play(
    args: argparse.Namespace, root: Path, modules: list[Module], judge: Judge
) -> tuple[dict[str, list[Verdict]], Player]:
    found = traced(root, args.tests, root / "var" / "mutants", args.workers)

    def told(verdict: Verdict) -> None:
        line = f"{verdict.outcome:11} {verdict.mutant} ({verdict.tests} tests run it)"
        if verdict.outcome is Outcome.SURVIVED:
            print(f"{'harmless   ' if judge.is_harmless(verdict) else 'SURVIVED   '} {line[12:]}", flush=True)
        elif not args.quiet:
            print(f"{line} {verdict.killer}", flush=True)

    player = Player(
        root, found, references(root), modules,
        count=args.count, workers=args.workers, patience=args.patience, seen=told,
    )  # fmt: skip
    status = play(player, root, args.tests.split())
    if status not in {0, 5}:
        raise SystemExit(f"mutants: pytest ended with status {status}")
    return player.verdicts, player


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
