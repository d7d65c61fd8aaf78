"""Options that single venues read, by upstream's variable name, and what each of them takes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

_FLAG: Final = frozenset({"true", "1", "yes", "on", "false", "0", "no", "off"})
_LIVE: Final = frozenset({"live", "prod", "production"})

Rule = Callable[[str], str | None]
"""What a value should have been, in words; None = it can be used."""


def _one_of(*words: str) -> Rule:
    allowed = frozenset(words)
    shown = ", ".join(sorted(allowed))
    return lambda value: None if value.strip().lower() in allowed else f"takes one of {shown}"


def _number(least: int) -> Rule:
    def rule(value: str) -> str | None:
        text = value.strip()
        good = text.isascii() and text.isdigit() and len(text) < 10 and int(text) >= least
        return None if good else f"takes a whole number, at least {least}"

    return rule


def _quotes(value: str) -> str | None:
    names = [name.strip() for name in value.split(",") if name.strip()]
    return None if names and all(name.isalnum() for name in names) else "takes a comma list of currencies"


def _any(_value: str) -> None:
    return None


VENUE_OPTIONS: Final[Mapping[str, Rule]] = {
    "PAPER_WS": _any,  # a setting of its own as well, where it is looked at
    "ENVOKX": _one_of("sandbox", *_LIVE),
    "OKX_EU_ONLY": _one_of(*_FLAG),
    "OKX_EU_SPOT_QUOTES": _quotes,
    "BITGETENV": _one_of("demo", *_LIVE),
    "KUCOIN_UNIFIED": _one_of("auto", *_FLAG),
    "KUCOIN_ALTER_PARK_MS": _number(0),
    "HYPERLIQUIDENV": _one_of("demo", *_LIVE),
    "KRAKEN_ENV": _one_of("demo", *_LIVE),
    "KRAKEN_FUTURES_ROUTE": _one_of("auto", "classic", "unified"),
    "KRAKEN_XSTOCKS_ENABLED": _one_of(*_FLAG),
    "COINBASE_API_KEY": _any,
    "COINBASE_API_SECRET": _any,
    "HYPERLIQUID_MAX_WS_CONNECTIONS": _number(1),
    "WHITEBIT_SITE": _one_of("com", "eu"),
    "WHITEBIT_CANDLE_CONNECTIONS": _number(1),
    "HL_FILL_PARK_GRACE_MS": _number(0),
    "HL_FILL_PARK_MAX_SIZE": _number(1),
    "HL_FILL_REST_RETRIES": _number(0),
    "HL_FILL_REST_RETRY_DELAY_MS": _number(0),
}


def option_problems(options: Mapping[str, str]) -> list[str]:
    """What is wrong with values, one text each, naming the variable."""
    found = ((name, VENUE_OPTIONS[name](value)) for name, value in options.items())
    return [f"{name}: {problem}" for name, problem in found if problem is not None]
