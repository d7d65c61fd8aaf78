"""`connector candle`: ask for candles, as the backend's indicators do."""

from __future__ import annotations

import argparse
from typing import Final

from cli._connections import CANDLE_QUEUE, add_target_arguments, publish
from tasks.commands import parse_candle
from tasks.envelope import candle_body

NAME: Final = "candle"
HELP: Final = "ask for candles: exchange id, pair id, and the venue's own interval code"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("exchange", help="exchange id: okxLinear, paperBinance, …")
    parser.add_argument("symbol", help="the platform's pair id: BTC-USDT, BTCUSDT, …")
    parser.add_argument("interval", help="the venue's own code: 1m, candle1H, 60, 1hour, …")
    add_target_arguments(parser, CANDLE_QUEUE)


def run(args: argparse.Namespace) -> int:
    parse_candle({"exchange": args.exchange, "symbol": args.symbol, "interval": args.interval})
    body = candle_body(symbol=args.symbol, exchange=args.exchange, interval=args.interval)
    return publish(args, body, f"candle {args.exchange} {args.symbol} {args.interval}")
