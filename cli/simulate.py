"""`connector simulate`: the simulated venues alone, on a port, with an optional fault script."""

from __future__ import annotations

import argparse
import signal
import sys
import threading
from types import FrameType
from typing import Final

from cli._values import count, port, seconds

NAME: Final = "simulate"
HELP: Final = "play the venues locally: WebSocket and REST on one port, faults on demand"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
    parser.add_argument("--port", type=port, default=7600, help="port; 0 = any free one (default: %(default)s)")
    parser.add_argument("--tls", action="store_true", help="serve wss:// and https:// with a certificate of its own")
    parser.add_argument("--seed", type=int, default=1, help="same seed, same prices (default: %(default)s)")
    parser.add_argument("--symbols", type=count, default=12, help="coins per market (default: %(default)s)")
    parser.add_argument("--venues", default="", help="comma list of venue families (default: all)")
    parser.add_argument("--tick", type=seconds, default=1.0, metavar="SECONDS", help="time between price steps")
    parser.add_argument("--match", action="store_true", help="fill resting limit orders when the price crosses them")
    parser.add_argument("--no-limits", action="store_true", help="don't enforce the venues' rate limits")
    parser.add_argument("--demo", action="store_true", help="demo accounts whose orders live by themselves")
    parser.add_argument("--firehose", type=seconds, metavar="RATE", help="all-ticker frames per second and market")
    parser.add_argument("--script", metavar="FILE", help="fault script: JSON lines, see simulator/script.py")


def run(args: argparse.Namespace) -> int:
    """Serve until SIGINT or SIGTERM. 0 = ended on request, 1 = could not start, 2 = bad fault script or venue."""
    from simulator.script import ScriptError, read_script
    from simulator.simulator import Simulator
    from simulator.venues import halves

    chosen = [name.strip() for name in args.venues.split(",") if name.strip()]
    unknown = sorted(set(chosen) - halves().keys())
    if unknown:
        print(f"--venues: no venue is called {unknown[0]}; there are {', '.join(sorted(halves()))}", file=sys.stderr)
        return 2

    try:
        steps = read_script(args.script) if args.script else []
    except (OSError, ScriptError) as problem:
        print(f"fault script: {problem}", file=sys.stderr)
        return 2
    simulator = Simulator(
        args.port,
        host=args.host,
        tls=args.tls,
        venues=chosen,
        seed=args.seed,
        symbols=args.symbols,
        tick_s=args.tick,
        match=args.match,
        limits=not args.no_limits,
    )
    try:
        simulator.start()
    except (OSError, OverflowError) as problem:
        print(f"can't listen on {args.host}:{args.port}: {problem}", file=sys.stderr)
        return 1
    done = threading.Event()
    before = {number: signal.signal(number, _Ender(done)) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        print(
            f"simulator at {simulator.url}   VENUE_GATEWAY={simulator.gateway}   control API: /__control/", flush=True
        )
        if simulator.ca_file is not None:
            print(f"CA certificate: {simulator.ca_file}", flush=True)
        if args.demo:
            for account in simulator.demo():
                secret = account.secret.replace("\n", "\\n")
                phrase = f", passphrase {account.passphrase}" if account.passphrase else ""
                print(f"demo account {account.account}: key {account.key}, secret {secret}{phrase}", flush=True)
        if args.firehose:
            simulator.firehose(args.firehose)
        if steps:
            simulator.run_script(steps)
        while not done.wait(3600):
            pass
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        simulator.stop()
    print("simulator ended", flush=True)
    return 0


class _Ender:
    """Signal handler that sets an event."""

    def __init__(self, done: threading.Event) -> None:
        self._done = done

    def __call__(self, number: int, frame: FrameType | None) -> None:  # noqa: ARG002 - signature of a handler
        self._done.set()
