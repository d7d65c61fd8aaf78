"""The demo on this machine (`connector run`), instead of servers: `--demo`."""

from __future__ import annotations

import argparse
from typing import Final

from cli._health import Unanswered, ask, tell

_NOT_A_DEMO: Final = "what answers there is no `connector run` with the simulator"


def add_demo(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--demo", action="store_true", help="the `connector run` of this machine (HEALTH_PORT), instead of servers"
    )


def redis_and_gateway() -> tuple[str, str]:
    """`host:port` of the demo's Redis and of its simulated exchanges. Raises `Unanswered`."""
    import msgspec

    from workers.door import FACTS, Facts

    try:
        facts = msgspec.json.decode(ask(None, FACTS, missing=_NOT_A_DEMO), type=Facts)
    except msgspec.DecodeError:
        raise Unanswered(_NOT_A_DEMO) from None
    return facts.redis, facts.gateway


def send(queue: str, body: bytes) -> None:
    """Give the demo one command. Raises `Unanswered`."""
    from workers.door import COMMANDS, HEADER

    tell(COMMANDS + queue, body, {HEADER: "1", "Content-Type": "application/json"}, missing=_NOT_A_DEMO)
