"""`connector restart`: replace the connection of an account stream, as the backend's watchdog does."""

from __future__ import annotations

import argparse
from typing import Final

from cli._connections import USER_QUEUE, add_target_arguments, publish
from tasks.commands import parse_restart
from tasks.envelope import restart_body

NAME: Final = "restart"
HELP: Final = "replace the connection of an account stream, or of all; subscribers stay"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument("uuid", nargs="?", help="id of the exchange connection")
    which.add_argument("--all", action="store_true", help="every account stream")
    add_target_arguments(parser, USER_QUEUE)


def run(args: argparse.Namespace) -> int:
    # An empty uuid (an unset shell variable) is refused by the parser: it must not mean all.
    command = parse_restart({"uuid": None if args.all else args.uuid})
    return publish(args, restart_body(command.stream_id), f"restart {command.stream_id or 'all streams'}")
