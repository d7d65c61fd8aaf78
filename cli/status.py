"""`connector status`: what a running service is doing, from its health port."""

from __future__ import annotations

import argparse
import sys
from typing import Final

import msgspec

from cli._health import Unanswered, add_url, ask

NAME: Final = "status"
HELP: Final = "show the processes, streams and queues of a running service"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_url(parser)
    parser.add_argument("--json", action="store_true", help="print the raw JSON")


def run(args: argparse.Namespace) -> int:
    """0 = ready, 1 = the service says that it is not ready, 2 = it can't be asked."""
    from workers.status_page import read_status, status_text

    try:
        text = ask(args.url, "/status.json")
        status = read_status(text)
    except Unanswered as error:
        print(f"connector: no status: {error}", file=sys.stderr)
        return 2
    except msgspec.DecodeError as error:
        print(f"connector: this is not the service's health port: {error}", file=sys.stderr)
        return 2
    print(text.decode() if args.json else status_text(status))
    return 1 if status.problems else 0
