"""`connector why`: the story of one stream: where it stands, since when, why, and what came before."""

from __future__ import annotations

import argparse
from typing import Final

from cli import _health

NAME: Final = "why"
HELP: Final = "tell the story of one stream of a running service"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("stream", metavar="STREAM", help="id of the stream (`connector streams` lists them)")
    _health.add_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """0 = it is live, 1 = it is not, or nobody knows it, 2 = the service can't be asked."""
    from workers.stream_pages import is_live, story_text

    text, page = _health.story(args.url, args.stream)
    print(text if args.json else story_text(page))
    return 0 if is_live(page) else 1
