"""`connector close`: give an account stream up, as a bot does when it stops."""

from __future__ import annotations

import argparse
from typing import Final

from cli._connections import USER_QUEUE, add_target_arguments, publish
from tasks.commands import parse_close
from tasks.envelope import close_body

NAME: Final = "close"
HELP: Final = "close an account stream (one subscriber less; the last one ends it)"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("uuid", help="id of the exchange connection")
    add_target_arguments(parser, USER_QUEUE)


def run(args: argparse.Namespace) -> int:
    command = parse_close({"uuid": args.uuid})
    return publish(args, close_body(command.stream_id), f"close {command.stream_id}")
