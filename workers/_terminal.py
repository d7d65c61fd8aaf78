"""Events as lines for people: what `make run` prints."""

from __future__ import annotations

import sys
import threading
from collections import Counter
from datetime import UTC, datetime
from typing import Final, TextIO

import msgspec

from connector.core.clock import SystemClock
from connector.core.messages import AccountMessage, CandleMessage, InfoMessage, Message, ServiceMessage, TickerMessage
from connector.core.ports import Clock

SUMMARY_EVERY_S: Final = 5.0
"""Tickers come by the hundred a second: they are summed up."""


class Terminal:
    """Called for every message; prints account events, candles and service messages, and a summary of the tickers."""

    def __init__(self, out: TextIO | None = None, clock: Clock | None = None) -> None:
        self._clock = clock or SystemClock()
        self._out = out or sys.stdout
        self._lock = threading.Lock()
        self._tickers: Counter[str] = Counter()
        self._last: dict[str, tuple[str, float]] = {}
        self._summed_at = self._clock.mono()
        self._color = self._out.isatty()

    def __call__(self, message: Message) -> None:
        match message:
            case AccountMessage():
                self._print(_account_line(message), "36")
            case CandleMessage(closed=True):
                candle = msgspec.json.decode(message.body)
                at = datetime.fromtimestamp(candle["start"] / 1000, UTC).strftime("%H:%M")
                values = "  ".join(f"{name[0]} {candle[name]}" for name in ("open", "high", "low", "close", "volume"))
                self._print(f"candle   {message.exchange:<16} {message.symbol} {message.interval} {at}  {values}", "33")
            case InfoMessage():
                self._print(f"info     {message.exchange:<16} Subscribed to user {message.stream_id}", "32")
            case ServiceMessage():
                self._print(_service_line(message), "35")
            case TickerMessage():
                self._count(message)
            case _:
                return

    def _count(self, message: TickerMessage) -> None:
        with self._lock:
            self._tickers[message.exchange] += len(message.symbols)
            price = msgspec.json.decode(message.bodies[0])["price"]
            self._last[message.exchange] = (message.symbols[0], price)
            elapsed = self._clock.mono() - self._summed_at
            if elapsed < SUMMARY_EVERY_S:
                return
            counts, self._tickers, self._summed_at = self._tickers, Counter(), self._clock.mono()
        for exchange, count in sorted(counts.items()):
            symbol, price = self._last[exchange]
            self._print(f"tickers  {exchange:<16} {count / elapsed:7.1f}/s   {symbol} {price}", "90")

    def _print(self, line: str, color: str) -> None:
        at = datetime.fromtimestamp(self._clock.wall_ms() / 1000, UTC).astimezone().strftime("%H:%M:%S")
        text = f"\x1b[{color}m{at}  {line}\x1b[0m" if self._color else f"{at}  {line}"
        with self._lock:
            print(text, file=self._out, flush=True)


def _service_line(message: ServiceMessage) -> str:
    told = msgspec.json.decode(message.body)
    gap = told.get("streamGap")
    if gap is None:
        return f"service  {message.body.decode()}"
    since = f"{(gap['to'] - gap['from']) / 1000:.1f} s" if gap["from"] else "since nobody knows when"
    rest = ", ".join(gap["missing"]) or "repaired"
    return f"gap      {gap['exchange']:<16} {gap['stream'][:14]:<14} {since}: {rest}"


def _account_line(message: AccountMessage) -> str:
    event = msgspec.json.decode(message.body)
    head = f"{message.exchange:<16} {message.stream_id[:14]:<14}"
    if "orderStatus" in event:
        client_id = event.get("newClientOrderId") or event.get("clientOrderId") or ""
        filled = f"{event['totalTradeQuantity']}/{event['quantity']}"
        return f"order    {head} {event['symbol']:<10} {event['side']:<4} {event['orderStatus']:<16} {filled:<18} {client_id}"
    if event.get("balances"):
        parts = [f"{row['asset']} {row.get('free', row.get('walletBalance', ''))}" for row in event["balances"][:4]]
        return f"balance  {head} {', '.join(parts)}"
    return f"account  {head} {event['eventType']}"
