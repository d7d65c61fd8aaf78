"""A program that tells what it hears, one line of JSON an event: `python program.py '{"gateway": …, "state": …}'`.

Opens what `apis` holds, each under a user of its own, and goes on until its standard input ends.
"""

from __future__ import annotations

import json
import sys
from typing import Any

from connector import Connector, Event


def line(event: Event[Any]) -> dict[str, Any]:
    data = event.data
    return {
        "name": event.name,
        "id": event.id,
        "stream": event.stream_id,
        "user": event.user_id,
        "client": getattr(data, "new_client_order_id", None) or getattr(data, "client_order_id", ""),
        "status": getattr(data, "order_status", ""),
        "executed": getattr(data, "total_trade_quantity", ""),
        "missing": getattr(data, "missing", []),
        "text": getattr(data, "text", ""),
    }


def main(asked: dict[str, Any]) -> None:
    with Connector(asked["settings"], gateway=asked["gateway"], state=asked["state"]) as bot:
        bot.on("*", lambda event: print(json.dumps(line(event)), flush=True))
        for number, api in enumerate(asked["apis"]):
            bot.open_stream(user_id=f"user-{number}", api=api)
        sys.stdin.read()


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
