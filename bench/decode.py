"""What one ticker row costs, from the bytes of a frame to encoded events: `python -m bench.decode [rows] [seconds]`.

Market rows are by far most of the traffic, so this is the figure that decides how many sockets a core can carry.
"""

from __future__ import annotations

import gc
import random
import sys
import time
from collections.abc import Callable

from exchanges._adapter import EmitTickers, Instant, Output, TickerSubscription
from exchanges._venue import Setup
from exchanges.binance import VENUE
from exchanges.events import encode
from exchanges.instruments import SymbolTable

NOW = Instant(1.0, 1_795_000_000_000)


def frame(rows: int, *, full: bool) -> bytes:
    """An all-market frame: the spot mini tickers, or the full futures tickers with rows of both markets."""
    chance = random.Random(1)
    texts = []
    for number in range(rows):
        price, volume = chance.uniform(0.0001, 90_000), chance.uniform(1, 1e9)
        text = (
            f'"e":"24hr{"" if full else "Mini"}Ticker","E":1795003000123,"s":"SYM{number}USDT","c":"{price:.8f}",'
            f'"o":"{price:.8f}","h":"{price:.8f}","l":"{price:.8f}","v":"{volume:.8f}","q":"{volume * price:.8f}"'
        )
        if full:
            text += (
                f',"p":"1.0","P":"0.2","w":"{price:.8f}","Q":"0.004","O":1794916601000,"C":1795003001000,"F":1,"L":2,'
                f'"n":2,"ps":"SYM{number}USDT","st":{1 if number % 10 else 2}'
            )
        texts.append("{" + text + "}")
    return b'{"stream":"!ticker@arr","data":[' + ",".join(texts).encode() + b"]}"


def per_row(work: Callable[[], int], seconds: float) -> float:
    """Microseconds of CPU per row, the best of five rounds."""
    best = float("inf")
    for _ in range(5):
        gc.collect()
        rows, start = 0, time.process_time()
        while (spent := time.process_time() - start) < seconds / 5:
            rows += work()
        best = min(best, spent / rows * 1e6)
    return best


def measure(exchange: str, rows: int, seconds: float) -> None:
    adapter = VENUE.ticker(Setup(exchange=exchange, new_id=lambda: "1", table=SymbolTable))
    adapter.add(TickerSubscription(stream_id="bench", exchange=exchange), NOW)
    raw = frame(rows, full=exchange != "binance")

    def decode() -> int:
        adapter.received(raw, NOW)
        return rows

    def publish() -> int:
        outputs: list[Output] = list(adapter.received(raw, NOW))
        for output in outputs:
            if isinstance(output, EmitTickers):
                for ticker in output.tickers:
                    encode(ticker)
        return rows

    print(
        f"{exchange}: {len(raw) / rows:.0f} bytes a row, decode {per_row(decode, seconds):.2f} µs a row, "
        f"decode and encode {per_row(publish, seconds):.2f} µs a row"
    )


def main() -> None:
    rows = int(sys.argv[1]) if len(sys.argv) > 1 else 2000
    seconds = float(sys.argv[2]) if len(sys.argv) > 2 else 3.0
    for exchange in ("binance", "binanceUsdm"):
        measure(exchange, rows, seconds)


if __name__ == "__main__":
    main()
