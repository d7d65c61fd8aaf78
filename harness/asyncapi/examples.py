"""A body of every message: recorded frames as the adapters read them, and the rest written down."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from cli.normalise import normalise
from exchanges._adapter import Instant
from harness.asyncapi.schemas import ACCOUNT, type_of

GOLDEN: Final = Path(__file__).parents[2] / "tests" / "golden"
NOW: Final = Instant(1000.0, 1_796_000_000_000)
"""After every recorded frame."""
STREAM: Final = "0b7e1c1e-5a0f-4c0a-9a5e-2f6d3c1b9a01"
BY_TYPE: Final = {type_of(event): event.__name__ for event in ACCOUNT}
_FROM_MS, _TO_MS = 1_790_000_000_000, 1_790_000_004_000

WRITTEN: Final[dict[str, Any]] = {
    "MarginCall": {
        "eventType": "MARGIN_CALL",
        "eventTime": _FROM_MS,
        "positions": [
            {"symbol": "BTCUSDT", "positionSide": "BOTH", "positionAmount": "0.5", "marginType": "cross"},
        ],
        "uniqueMessageId": "1790000000000-margin",
        "crossWalletBalance": "120.5",
    },
    "Info": {"info": f"Subscribed to user {STREAM}"},
    "InfoText": f"Subscribed to user {STREAM}",
    "Restart": {"restart": "priceConnector", "bootId": "7f3a9c"},
    "PriceConnectorAliveMessage": {"priceConnectorAlive": {"bootId": "7f3a9c", "role": "all"}},
    "StreamGapMessage": {
        "streamGap": {
            "exchange": "bybit",
            "stream": STREAM,
            "from": _FROM_MS,
            "to": _TO_MS,
            "orders": 2,
            "balances": 1,
            "candles": 0,
            "missing": [],
        }
    },
    "UserStreamAuthRejectMessage": {
        "userStreamAuthReject": {
            "exchange": "bybit",
            "userId": "u1",
            "reason": "10003: API key is invalid.",
            "exchangeUUID": STREAM,
            "kind": "authReject",
        }
    },
    "UserStreamAuthRecoveredMessage": {"userStreamAuthRecovered": {"exchangeUUID": STREAM}},
    "UserStreamFlapMessage": {
        "userStreamFlap": {"exchange": "bybit", "userId": STREAM, "reconnects": 4, "windowSec": 600}
    },
    "WatchdogStallMessage": {"watchdogStall": {"exchange": "okx", "kind": "price", "staleSeconds": 51, "role": "all"}},
    "OpenStream": {
        "payload": {
            "event": "open stream",
            "uuid": STREAM,
            "data": {"userId": "u1", "api": {"provider": "bybitLinear", "key": "a-key", "secret": "a-secret"}},
        }
    },
    "CloseStream": {"payload": {"event": "close stream", "uuid": STREAM}},
    "RestartStream": {"payload": {"event": "force restart stream", "uuid": STREAM}},
    "CandleRequest": {"payload": {"symbol": "BTCUSDT", "exchange": "binance", "interval": "1m"}},
}


def golden() -> Iterator[tuple[str, str, Any]]:
    """(case, name of the schema, body) of everything that the recorded frames become."""
    for path in sorted(GOLDEN.glob("*.jsonl")):
        for line in path.read_bytes().splitlines():
            if not line.strip():
                continue
            result: dict[str, Any] = normalise(line, NOW)
            for body in result.get("events", []):
                body.pop("channel", None)
                name = BY_TYPE.get(body.get("eventType", "")) or ("Candle" if "open" in body else "Ticker")
                yield f"{path.stem}: {result['case']}", name, body


def examples() -> dict[str, Any]:
    """By name of the message."""
    found: dict[str, Any] = {}
    for _, name, body in golden():
        known = found.get(name)
        if known is None or (name == "ExecutionReport" and known["orderStatus"] == "NEW"):
            found[name] = body
    found["Tickers"] = [found["Ticker"]]
    return json.loads(json.dumps({**WRITTEN, **found}))  # type: ignore[no-any-return]
