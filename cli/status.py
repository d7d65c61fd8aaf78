"""`connector status`: what a running service is doing, from its health port."""

from __future__ import annotations

import argparse
import os
import sys
from typing import Final

import msgspec

NAME: Final = "status"
HELP: Final = "show the processes, streams and queues of a running service"

TIMEOUT_S: Final = 10.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--url", help="health endpoint (default: http://127.0.0.1:HEALTH_PORT)")
    parser.add_argument("--json", action="store_true", help="print the raw JSON")


def run(args: argparse.Namespace) -> int:
    """0 = ready, 1 = the service says that it is not ready, 2 = it can't be asked."""
    import requests

    from workers.status_page import read_status, status_text

    url = (args.url or f"http://127.0.0.1:{os.environ.get('HEALTH_PORT') or 3000}").rstrip("/")
    try:
        response = requests.get(f"{url}/status.json", timeout=TIMEOUT_S)
        response.raise_for_status()
        status = read_status(response.content)
    except requests.RequestException as error:
        print(f"connector: no status from {url}: {error}", file=sys.stderr)
        return 2
    except msgspec.DecodeError as error:
        print(f"connector: {url} is not this service's health endpoint: {error}", file=sys.stderr)
        return 2
    print(response.text if args.json else status_text(status))
    return 1 if status.problems else 0
