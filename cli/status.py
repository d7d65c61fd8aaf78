"""`connector status`: what a running service is doing, from its health port."""

from __future__ import annotations

import argparse
from typing import Final

from cli import _health

NAME: Final = "status"
HELP: Final = "show the processes, streams and queues of a running service"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    _health.add_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """0 = ready, 1 = the service says that it is not ready, 2 = it can't be asked."""
    from workers.status_page import Status, status_text

    text, status = _health.fetched(args.url, "/status.json", Status)
    print(text if args.json else status_text(status))
    return 1 if status.problems else 0
