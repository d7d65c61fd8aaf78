"""`connector check`: does the venue take this key? Opens the account stream once, as the service would, and says."""

from __future__ import annotations

import argparse
import math
import os
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

import msgspec

from cli._demo import add_demo, redis_and_gateway
from cli._keys import add_key_arguments, material
from connector.core import log
from connector.core.errors import InvalidCommand

if TYPE_CHECKING:
    from cli._probe import Verdict

NAME: Final = "check"
HELP: Final = "try a key against its exchange: exit code 0 accepted, 2 rejected, 3 the exchange could not be asked"

TIMEOUT_S: Final = 30.0
DEMO_KEY: Final = "demo-"
EXIT_CODES: Final = {"accepted": 0, "rejected": 2, "unreachable": 3}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Opens the account stream once with the service's own adapter, VENUE_GATEWAY and VENUE_ENDPOINTS included, and "
        "closes it again. Exit code 0: accepted. 2: rejected (or wrong usage, then nothing is on standard output). 3: "
        "unreachable, the key was not judged. 1: no key, or a setting that can't be used."
    )
    parser.add_argument("--exchange", required=True, metavar="ID", help="exchange id: binance, paperOkx, …")
    parser.add_argument(
        "--timeout", type=_seconds, default=TIMEOUT_S, metavar="SECONDS", help="give up after (default: %(default)s)"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    add_key_arguments(parser)
    add_demo(parser)


def _seconds(text: str) -> float:
    value = float(text)
    if not (0 < value <= 3600 and math.isfinite(value)):
        raise ValueError(text)
    return value


def run(args: argparse.Namespace) -> int:
    from cli._probe import probe
    from connector.core.settings import Settings
    from tasks.commands import parse_open

    keys = material(args)
    if not keys.get("key", "").strip() or not keys.get("secret", "").strip():
        raise InvalidCommand("a key and a secret are needed: --key-env and --secret-env, --secret-file, or --keys")
    api = {
        "provider": args.exchange,
        **keys,
        "keysType": args.keys_type,
        "okxSource": args.okx_source,
        "bybitHost": args.bybit_host,
    }
    command = parse_open({"uuid": "check", "data": {"userId": "check", "api": api}})
    environ = _environ(args, keys["key"])
    # Standard output is for the verdict; what the service would log as an error is worth seeing here, too.
    undo = log.configure(json=False, level="ERROR", stream=sys.stderr)
    try:
        verdict = probe(command, Settings.from_env(environ), args.timeout)
    finally:
        undo()
    print(msgspec.json.encode(verdict).decode() if args.json else as_text(verdict))
    return EXIT_CODES[verdict.result]


def _environ(args: argparse.Namespace, key: str) -> Mapping[str, str]:
    """The settings of the check. A key of the simulated exchanges never goes to a real one."""
    if args.demo:
        gateway = redis_and_gateway()[1]
        return {**os.environ, "VENUE_GATEWAY": gateway, "PAPER_WS": f"ws://{gateway}"}
    if key.startswith(DEMO_KEY) and not os.environ.get("VENUE_GATEWAY"):
        raise InvalidCommand("this is a key of the simulated exchanges: --demo tries it against a `connector run` here")
    return os.environ


def as_text(verdict: Verdict) -> str:
    """One line for the result, a second one for what to do."""
    wait = f"; wait {verdict.retry_after_s:.0f} s" if verdict.retry_after_s else ""
    through = f" (through {verdict.through})" if verdict.through else ""
    line = f"{verdict.result:<12}{verdict.exchange}: {verdict.reason}{wait}{through}"
    return f"{line}\n{'':<12}→ {verdict.advice}" if verdict.advice else line
