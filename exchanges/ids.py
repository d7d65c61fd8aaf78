"""Exchange ids as they stand on the wire, and what each one can do (contract section 8)."""

from __future__ import annotations

from typing import Final, Literal

Feed = Literal["user", "ticker", "candle"]

PAPER_TO_REAL: Final[dict[str, str]] = {
    "paperBinance": "binance",
    "paperBinanceUsdm": "binanceUsdm",
    "paperBinanceCoinm": "binanceCoinm",
    "paperKucoin": "kucoin",
    "paperKucoinLinear": "kucoinLinear",
    "paperKucoinInverse": "kucoinInverse",
    "paperBybit": "bybit",
    "paperBybitLinear": "bybitLinear",
    "paperBybitInverse": "bybitInverse",
    "paperOkx": "okx",
    "paperOkxLinear": "okxLinear",
    "paperOkxInverse": "okxInverse",
    "paperBitget": "bitget",
    "paperBitgetUsdm": "bitgetUsdm",
    "paperBitgetCoinm": "bitgetCoinm",
    "paperCoinbase": "coinbase",
    "paperKraken": "kraken",
    "paperKrakenUsdm": "krakenUsdm",
    "paperHyperliquid": "hyperliquid",
    "paperHyperliquidLinear": "hyperliquidLinear",
    "paperWhitebit": "whitebit",
    "paperWhitebitUsdm": "whitebitUsdm",
    "paperMexc": "mexc",
    "paperFtx": "ftx",
}

FAMILIES: Final[dict[str, tuple[str, ...]]] = {
    "binance": ("binance", "binanceUsdm", "binanceCoinm", "binanceUS"),
    "kucoin": ("kucoin", "kucoinLinear", "kucoinInverse"),
    "bybit": ("bybit", "bybitLinear", "bybitInverse"),
    "okx": ("okx", "okxLinear", "okxInverse"),
    "bitget": ("bitget", "bitgetUsdm", "bitgetCoinm"),
    "coinbase": ("coinbase",),
    "kraken": ("kraken", "krakenUsdm"),
    "hyperliquid": ("hyperliquid", "hyperliquidLinear"),
    "whitebit": ("whitebit", "whitebitUsdm"),
}

DEAD: Final = frozenset({"mexc", "ftx", "ftxUS"})
"""Known ids whose live market has no stream; only their paper twins can be opened."""

LIVE: Final = frozenset(exchange for family in FAMILIES.values() for exchange in family)
KNOWN: Final = LIVE | DEAD | frozenset(PAPER_TO_REAL)

_FAMILY_OF: Final = {exchange: family for family, members in FAMILIES.items() for exchange in members}


def real_id(exchange: str) -> str:
    """The live id behind a paper id; every other id maps to itself."""
    return PAPER_TO_REAL.get(exchange, exchange)


def is_paper(exchange: str) -> bool:
    return exchange in PAPER_TO_REAL


def family_of(exchange: str) -> str:
    """The venue family of a live or paper id (`binance` for `paperBinanceUsdm`); the real id itself for dead venues."""
    real = real_id(exchange)
    return _FAMILY_OF.get(real, real)
