"""Waiting until a stream that was asked for is live, and saying why it is not."""

from __future__ import annotations

import argparse
import sys
import time
from typing import Final

from cli._health import Unanswered, add_url, story

DEFAULT_S: Final = 30.0
LOOK_S: Final = 0.5
REFUSED_LOOKS: Final = 6
"""A stream that was refused before it was asked for again shows so for a moment."""


def add_wait(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--wait",
        nargs="?",
        type=float,
        const=DEFAULT_S,
        metavar="SECONDS",
        help=f"wait until the stream is live ({DEFAULT_S:.0f} s unless said), and say why it is not; asks the health port",
    )
    add_url(parser)


def wait_live(url: str | None, stream_id: str, timeout_s: float) -> int:
    """0 = it is live, 1 = it is not (yet), or nobody knows it, 2 = the service can't be asked."""
    from workers.stream_pages import is_live, story_text

    deadline = time.monotonic() + timeout_s
    refused = 0
    while True:
        error = page = None
        try:
            page = story(url, stream_id)[1]
        except Unanswered as caught:
            error = caught
        if page is not None and is_live(page):
            print(f"live: {stream_id}")
            return 0
        refused = refused + 1 if page is not None and page.story.state == "cooling" else 0
        if refused >= REFUSED_LOOKS or time.monotonic() >= deadline or (error is not None and not error.missing):
            print(story_text(page) if page is not None else f"connector: {error}", file=sys.stderr)
            return error.exit_code if error is not None else 1
        time.sleep(LOOK_S)
