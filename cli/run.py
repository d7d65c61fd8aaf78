"""`connector run`: everything in one process."""

from __future__ import annotations

import argparse
import os

NAME = "run"
HELP = "run everything in one process: simulator, demo accounts, events on the terminal"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Runs both services in one process. RABBIT_HOST and REDIS_HOST put real servers in place of the embedded ones; "
        "LIVE=1 puts the real exchanges' public feeds in place of the simulator."
    )
    parser.add_argument("--live", action="store_true", help="the real exchanges' public feeds (same as LIVE=1)")


def run(args: argparse.Namespace) -> int:
    from workers.local import run as run_local

    environ = dict(os.environ)
    if args.live:
        environ["LIVE"] = "1"
    return run_local(environ)
