"""`connector streams`: which streams are not live, why, since when, and what to do; from the health port of the service."""

from __future__ import annotations

import argparse
from typing import Final
from urllib.parse import urlencode

from cli import _health

NAME: Final = "streams"
HELP: Final = "list the streams of a running service: those that are not live, or all"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    _health.add_arguments(parser)
    parser.add_argument("--not-live", action="store_true", help="only those that are not live")
    parser.add_argument("--exchange", default="", metavar="ID", help="only those of this exchange id")
    parser.add_argument("--text", default="", metavar="TEXT", help="only those whose stream or user id has this in it")


def run(args: argparse.Namespace) -> int:
    """0 = told, 1 = some of those that were asked for are not live, 2 = the service can't be asked."""
    from connector.streams.lifecycle import CONNECTED_STATES
    from workers.stream_pages import list_text
    from workers.streams_seen import StreamList

    query = urlencode({"not_live": str(args.not_live).lower(), "exchange": args.exchange, "text": args.text})
    text, listed = _health.fetched(args.url, f"/streams.json?{query}", StreamList)
    print(text if args.json else list_text(listed))
    live = {state.value for state in CONNECTED_STATES}
    return 1 if any(row.told.state not in live for row in listed.rows) else 0
