"""`connector streams`: which streams are not live, why, since when, and what to do; from the health port of the service."""

from __future__ import annotations

import argparse
import sys
from typing import Final
from urllib.parse import urlencode

from cli._health import Unanswered, add_url, ask

NAME: Final = "streams"
HELP: Final = "list the streams of a running service: those that are not live, or all"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_url(parser)
    parser.add_argument("--not-live", action="store_true", help="only those that are not live")
    parser.add_argument("--exchange", default="", metavar="ID", help="only those of this exchange id")
    parser.add_argument("--text", default="", metavar="TEXT", help="only those whose stream or user id has this in it")
    parser.add_argument("--json", action="store_true", help="print the raw JSON")


def run(args: argparse.Namespace) -> int:
    """0 = told, 1 = some of those that were asked for are not live, 2 = the service can't be asked."""
    import msgspec

    from connector.streams.lifecycle import CONNECTED_STATES
    from workers.stream_pages import list_text
    from workers.streams_seen import StreamList

    query = urlencode({"not_live": str(args.not_live).lower(), "exchange": args.exchange, "text": args.text})
    try:
        text = ask(args.url, f"/streams.json?{query}")
        listed = msgspec.json.decode(text, type=StreamList)
    except Unanswered as error:
        print(f"connector: {error}", file=sys.stderr)
        return 2
    except msgspec.DecodeError as error:
        print(f"connector: this is not the service's health port: {error}", file=sys.stderr)
        return 2
    print(text.decode() if args.json else list_text(listed))
    live = {state.value for state in CONNECTED_STATES}
    return 1 if any(row.told.state not in live for row in listed.rows) else 0
