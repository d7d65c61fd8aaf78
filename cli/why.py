"""`connector why`: the story of one stream: where it stands, since when, why, and what came before."""

from __future__ import annotations

import argparse
import sys
from typing import Final
from urllib.parse import quote

from cli._health import Unanswered, add_url, ask

NAME: Final = "why"
HELP: Final = "tell the story of one stream of a running service"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("stream", metavar="STREAM", help="id of the stream (`connector streams` lists them)")
    add_url(parser)
    parser.add_argument("--json", action="store_true", help="print the raw JSON")


def run(args: argparse.Namespace) -> int:
    """0 = it is live, 1 = it is not, or nobody knows it, 2 = the service can't be asked."""
    import msgspec

    from connector.streams.lifecycle import CONNECTED_STATES
    from workers.stream_pages import story_text
    from workers.streams_seen import StreamPage

    try:
        text = ask(
            args.url, f"/streams/{quote(args.stream, safe='')}.json", missing=f"no stream {args.stream!r} is known"
        )
        page = msgspec.json.decode(text, type=StreamPage)
    except Unanswered as error:
        print(f"connector: {error}", file=sys.stderr)
        return 1 if error.missing else 2
    except msgspec.DecodeError as error:
        print(f"connector: this is not the service's health port: {error}", file=sys.stderr)
        return 2
    print(text.decode() if args.json else story_text(page))
    return 0 if page.story.state in {state.value for state in CONNECTED_STATES} else 1
