"""The bare minimum to compare with: read the firehose, decode, encode, publish to Redis in batches. No broker.

Runs as a process of its own: `python -m bench.control <simulator port> <redis port>`.
"""

from __future__ import annotations

import sys
import threading
import time

import msgspec
import redis
import websocket

STREAMS = {
    "binance": "stream.binance.com:9443/ws/!miniTicker@arr",
    "binanceUS": "stream.binance.us:9443/ws/!miniTicker@arr",
    "binanceUsdm": "fstream.binance.com/market/ws/!ticker@arr",
    "binanceCoinm": "dstream.binance.com/ws/!ticker@arr",
}
BATCH = 500
_SCRIPT = "for i = 1, #ARGV, 2 do redis.call('PUBLISH', ARGV[i], ARGV[i + 1]) end"


class Row(msgspec.Struct):
    s: str
    E: int
    c: float
    v: float
    q: float
    st: int = 0


class Out(msgspec.Struct):
    symbol: str
    time: int
    price: float
    volume: float
    best_ask: float = msgspec.field(name="bestAsk")
    best_bid: float = msgspec.field(name="bestBid")
    ask_quantity: float = msgspec.field(name="bestAskQnt")
    bid_quantity: float = msgspec.field(name="bestBidQnt")
    unique: str = msgspec.field(name="uniqueMessageId")
    event_time: int = msgspec.field(name="eventTime")
    exchange: str


_decode = msgspec.json.Decoder(list[Row], strict=False).decode
_encode = msgspec.json.Encoder().encode
_KEEP = {"binance": 0, "binanceUS": 0, "binanceUsdm": 1, "binanceCoinm": 2}


def follow(exchange: str, url: str, redis_port: int) -> None:
    client = redis.Redis(port=redis_port)
    script = client.register_script(_SCRIPT)
    socket = websocket.create_connection(url, skip_utf8_validation=True, timeout=60)
    while True:
        rows = _decode(socket.recv_data()[1])
        now_ms = time.time_ns() // 1_000_000
        arguments: list[str | bytes] = []
        for row in rows:
            if row.st == _KEEP[exchange]:
                unique = f"{row.s}@{row.E}@{exchange}"
                out = Out(row.s, row.E, row.c, row.v, row.c, row.c, row.q, row.q, unique, now_ms, exchange)
                arguments += (f"trade@{row.s}@{exchange}", _encode(out))
        for start in range(0, len(arguments), 2 * BATCH):
            script(args=arguments[start : start + 2 * BATCH])


def main() -> None:
    port, redis_port = int(sys.argv[1]), int(sys.argv[2])
    threads = [
        threading.Thread(target=follow, args=(exchange, f"ws://127.0.0.1:{port}/{path}", redis_port), daemon=True)
        for exchange, path in STREAMS.items()
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


if __name__ == "__main__":
    main()
