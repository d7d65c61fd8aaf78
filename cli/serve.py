"""`connector serve`: one of the two services, with RabbitMQ and Redis."""

from __future__ import annotations

import argparse
from typing import Final

NAME: Final = "serve"
HELP: Final = "run a service (user: account streams, price: market data) until SIGTERM"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("role", choices=("user", "price"), help="which of the two services")
    parser.add_argument(
        "options",
        nargs=argparse.REMAINDER,
        metavar="…",
        help="options of Dramatiq: --processes N, --threads N, --worker-shutdown-timeout MS",
    )


def run(args: argparse.Namespace) -> int:
    from workers.serve import serve

    return serve(args.role, args.options)
