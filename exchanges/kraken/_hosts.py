"""Hosts of Kraken, spot and futures, and what of them can't be had (docs/venues/kraken.md 1)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from exchanges.credentials import Credentials
from exchanges.kraken._route import route_refusal

SPOT_REST: Final = "https://api.kraken.com"
SPOT_WS: Final = "wss://ws.kraken.com/v2"
SPOT_PRIVATE_WS: Final = "wss://ws-auth.kraken.com/v2"
FUTURES_HOST: Final = "futures.kraken.com"
NO_SANDBOX: Final = "Kraken has no sandbox: spot never had one, and the futures demo was retired on 2026-07-14"
UNIFIED_WS: Final = "wss://uws.kraken.com/v2/public"
UNIFIED_PRIVATE_WS: Final = "wss://uws.kraken.com/v2/private"
FUTURES_WS: Final = f"wss://{FUTURES_HOST}/ws/v1"
"""Public and private frames share a socket address."""
FUTURES_REST: Final = f"https://{FUTURES_HOST}"


def option_refusal(options: Mapping[str, str]) -> str | None:
    """None, or why the deployment's options can't be had. A key of the demo must never be sent to production."""
    demo = options.get("KRAKEN_ENV", "").strip().lower() == "demo"
    return f"KRAKEN_ENV=demo: {NO_SANDBOX}" if demo else route_refusal(options)


def account_refusal(options: Mapping[str, str], credentials: Credentials) -> str | None:
    """None, or why an account can't be streamed."""
    return NO_SANDBOX if credentials.environment == "sandbox" else option_refusal(options)
