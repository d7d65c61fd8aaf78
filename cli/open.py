"""`connector open`: ask for an account stream, as a bot does when it loads."""

from __future__ import annotations

import argparse
from typing import Final

from cli._connections import USER_QUEUE, add_target_arguments, publish
from cli._keys import add_key_arguments, material
from cli._waiting import add_wait, wait_live
from connector.core.errors import InvalidCommand
from tasks.commands import OpenStream, parse_command
from tasks.envelope import open_body, read

NAME: Final = "open"
HELP: Final = "open an account stream (one more subscriber); keys come from the environment, a file or standard input"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--provider", required=True, metavar="ID", help="exchange id: binance, paperOkx, …")
    parser.add_argument("--uuid", help="id of the exchange connection; without it the id is derived from the keys")
    parser.add_argument("--user-id", required=True, help="owner of the account")
    add_key_arguments(parser)
    add_target_arguments(parser, USER_QUEUE)
    add_wait(parser)


def run(args: argparse.Namespace) -> int:
    keys = material(args)
    body = open_body(
        uuid=args.uuid,
        user_id=args.user_id,
        provider=args.provider,
        key=keys.get("key", ""),
        secret=keys.get("secret", ""),
        passphrase=keys.get("passphrase"),
        keys_type=args.keys_type,
        okx_source=args.okx_source,
        bybit_host=args.bybit_host,
    )
    received = read(body, parse_command)
    if not isinstance(received.command, OpenStream):
        raise InvalidCommand(received.problem)
    stream_id = received.command.stream_id
    sent = publish(args, body, f"open {stream_id} ({received.command.exchange})")
    return wait_live(args.url, stream_id, args.wait) if sent == 0 and args.wait is not None else sent
