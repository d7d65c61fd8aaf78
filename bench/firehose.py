"""The ticker firehose through the real price service, real Redis and real RabbitMQ.

The simulator sends 4 markets x 2,000 symbols x 1 Hz, all that the service reads of this family; each row carries the wall
time at which its frame was sent. Readers on Redis and RabbitMQ (processes of their own) note the time of arrival of raw bytes
and decode them only afterwards, so that their own speed does not count. Prints events/s, latency, CPU per event of the whole
service process, RSS; with --saturation also raises the rate until the service no longer keeps up. The control runs behind the
service, at a moment of its own: what CPU costs in one version and another is told by `bench.beside`.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import socket
import subprocess
import sys
import time
from collections import Counter, defaultdict
from multiprocessing.connection import Connection
from typing import Any

import msgspec
import pika
import psutil

from bench.subscriber import listen, messages, wall_ms
from harness.servers import ROOT, PrivateRedis, Rabbit, free_port, wait_for
from harness.services import Service

MARKETS = ("binance", "binanceUS", "binanceUsdm", "binanceCoinm")
WARM_UP_S = 6.0
PATTERN = "trade@*"


class Row(msgspec.Struct):
    symbol: str
    time: int
    exchange: str
    read: int = msgspec.field(name="eventTime")


_row = msgspec.json.Decoder(Row).decode
_rows = msgspec.json.Decoder(list[Row]).decode


class Tally:
    """Latencies by arrival and rows by (exchange, send time)."""

    def __init__(self) -> None:
        self.latencies: list[float] = []
        """From the sending of the frame by the simulator."""
        self.inside: list[float] = []
        """From the reading of the frame by the service."""
        self.frames: dict[tuple[str, int], int] = defaultdict(int)
        self.wrong = 0

    def add(self, row: Row, channel_exchange: str, now_ms: float) -> None:
        self.latencies.append(now_ms - row.time)
        self.inside.append(now_ms - row.read)
        self.frames[row.exchange, row.time] += 1
        # COIN-M symbols hold an underscore, the others don't: a row under a wrong exchange shows.
        if channel_exchange != row.exchange or ("_" in row.symbol) != (row.exchange == "binanceCoinm"):
            self.wrong += 1

    def result(self) -> dict[str, Any]:
        ordered = sorted(self.latencies)
        inside = sorted(self.inside)
        complete = Counter(self.frames.values())
        return {
            "events": len(ordered),
            "from_frame_read_p50_ms": inside[len(inside) // 2] if inside else None,
            "from_frame_read_p99_ms": inside[int(len(inside) * 0.99)] if inside else None,
            "p50_ms": ordered[len(ordered) // 2] if ordered else None,
            "p99_ms": ordered[int(len(ordered) * 0.99)] if ordered else None,
            "max_ms": ordered[-1] if ordered else None,
            "wrong_exchange": self.wrong,
            "frame_sizes": {str(size): count for size, count in complete.most_common(6)},
            "frames": len(self.frames),
        }


def read_redis(host: str, port: int, from_ms: int, until_ms: int, pipe: Connection) -> None:
    """Count the rows whose frame was sent in [from, until)."""
    chunks = listen(host, port, PATTERN, wall_ms, lambda: pipe.send("ready"), lambda: wall_ms() >= until_ms + 3_000)
    tally = Tally()
    for now_ms, channel, payload in messages(chunks, PATTERN):
        row = _row(payload)
        if from_ms <= row.time < until_ms and row.exchange in MARKETS:
            tally.add(row, channel.rsplit("@", 1)[1], now_ms)
    pipe.send(tally.result())


def read_rabbit(parameters: dict[str, Any], exchange: str, from_ms: int, until_ms: int, pipe: Connection) -> None:
    credentials = pika.PlainCredentials(parameters.pop("user"), parameters.pop("password"))
    connection = pika.BlockingConnection(pika.ConnectionParameters(credentials=credentials, **parameters))
    channel = connection.channel()
    channel.exchange_declare(exchange, "topic", durable=True)
    queue = channel.queue_declare("", exclusive=True).method.queue
    channel.queue_bind(queue, exchange, "tickers.#")
    arrived: list[tuple[float, str, bytes]] = []

    def on_message(_: Any, method: Any, __: Any, body: bytes) -> None:
        arrived.append((time.time() * 1000, method.routing_key.split(".", 1)[1], body))

    channel.basic_consume(queue, on_message, auto_ack=True)
    pipe.send("ready")
    while time.time() * 1000 < until_ms + 3_000:
        connection.process_data_events(time_limit=0.5)
    connection.close()
    tally = Tally()
    for now_ms, routed, body in arrived:
        for row in _rows(body):
            if from_ms <= row.time < until_ms and row.exchange in MARKETS:
                tally.add(row, routed, now_ms)
    pipe.send(tally.result())


class Stack:
    """Simulator, servers and the price service."""

    def __init__(self, rate: float, symbols: int, sinks: str, *, control: bool = False) -> None:
        self.redis, self.rabbit, self.port = PrivateRedis(), Rabbit(), free_port()
        self.simulator = subprocess.Popen(
            [sys.executable, "-m", "cli.main", "simulate", "--port", str(self.port), "--symbols", str(symbols),
             "--venues", "binance", "--firehose", str(rate), "--no-limits"],
            cwd=ROOT, stdout=subprocess.DEVNULL,
        )  # fmt: skip
        env = {
            **self.rabbit.env(),
            "REDIS_HOST": self.redis.host,
            "REDIS_PORT": str(self.redis.port),
            "VENUE_GATEWAY": f"127.0.0.1:{self.port}",
            "PRICEROLE": "ticker",
            "PRICE_CONNECTOR_EXCHANGES": "binance",
            "SINKS": sinks,
        }
        self.service = None if control else Service("price", env, threads=2)
        self.control: subprocess.Popen[bytes] | None = None

    def ready(self) -> psutil.Process:
        """Wait until it runs; the process to measure."""
        if self.service is None:
            wait_for(self._listening, 20.0, "the simulator listening")
            command = [sys.executable, "-m", "bench.control", str(self.port), str(self.redis.port)]
            self.control = subprocess.Popen(command, cwd=ROOT)
            return psutil.Process(self.control.pid)
        self.service.wait_ready()
        pids = wait_for(self.service.worker_pids, 20.0, "a worker process")
        assert isinstance(pids, list)
        return psutil.Process(pids[0])

    def _listening(self) -> bool:
        with socket.socket() as sock:
            return sock.connect_ex(("127.0.0.1", self.port)) == 0

    def stop(self) -> None:
        if self.service is not None:
            self.service.stop()
        if self.control is not None:
            self.control.kill()
            self.control.wait(10)
        self.simulator.terminate()
        self.simulator.wait(10)
        self.redis.stop()
        self.rabbit.stop()


def measure(
    rate: float, symbols: int, seconds: float, sinks: str = "rabbitmq,redis", *, control: bool = False
) -> dict[str, Any]:
    stack = Stack(rate, symbols, sinks, control=control)
    try:
        worker = stack.ready()
        time.sleep(WARM_UP_S)
        from_ms = int((time.time() + 2.0) * 1000)
        until_ms = from_ms + int(seconds * 1000)
        readers = _readers(stack, from_ms, until_ms)
        time.sleep(max(0.0, from_ms / 1000 - time.time()))
        cpu_before, started = _cpu_s(worker), time.monotonic()
        time.sleep(seconds)
        cpu_s, elapsed_s = _cpu_s(worker) - cpu_before, time.monotonic() - started
        results = {name: pipe.recv() for name, pipe in readers.items()}
        events = results["redis"]["events"] or results["rabbitmq"]["events"]
        return {
            "what": "bare control, Redis only" if control else f"price service, {sinks}",
            "rate_hz": rate,
            "offered_per_s": round(rate * symbols * len(MARKETS)),
            "events_per_s": round(events / seconds),
            "cpu_us_per_event": round(cpu_s / max(events, 1) * 1e6 * seconds / elapsed_s, 2),
            "cpu_share_of_core": round(cpu_s / elapsed_s, 3),
            "rss_mib": round(worker.memory_info().rss / 2**20, 1),
            **results,
        }
    finally:
        stack.stop()


def _cpu_s(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


def _readers(stack: Stack, from_ms: int, until_ms: int) -> dict[str, Connection]:
    context = multiprocessing.get_context("spawn")
    env = stack.rabbit.env()
    rabbit = {
        "host": env["RABBIT_HOST"], "port": int(env["RABBIT_PORT"]), "virtual_host": env["RABBIT_VHOST"],
        "user": env["RABBIT_USER"], "password": env["RABBIT_PASSWORD"],
    }  # fmt: skip
    pipes: dict[str, Connection] = {}
    for name, target, arguments in (
        ("redis", read_redis, (stack.redis.host, stack.redis.port)),
        ("rabbitmq", read_rabbit, (rabbit, "gainium.events")),
    ):
        mine, theirs = context.Pipe()
        context.Process(target=target, args=(*arguments, from_ms, until_ms, theirs), daemon=True).start()
        pipes[name] = mine
    for name, pipe in pipes.items():
        if not pipe.poll(20.0):
            raise TimeoutError(f"the {name} reader did not start")
        pipe.recv()
    return pipes


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--symbols", type=int, default=2_000)
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--rate", type=float, default=1.0, help="frames per second and market")
    parser.add_argument("--saturation", action="store_true", help="also raise the rate until the service falls behind")
    args = parser.parse_args()
    result = measure(args.rate, args.symbols, args.seconds)
    print(json.dumps(result, indent=2))
    # In the same run, because these machines are noisy: the ratio says more than either figure.
    control = measure(args.rate, args.symbols, args.seconds, control=True)
    print(json.dumps(control, indent=2))
    ratio = {
        "cpu_per_event": round(result["cpu_us_per_event"] / control["cpu_us_per_event"], 2),
        "p99_to_redis": round(result["redis"]["p99_ms"] / control["redis"]["p99_ms"], 2),
    }
    print(json.dumps({"service_to_control": ratio}, indent=2))
    rate = args.rate
    while args.saturation:
        rate *= 2
        result = measure(rate, args.symbols, min(args.seconds, 10.0))
        print(json.dumps(result, indent=2))
        if result["events_per_s"] < 0.9 * result["offered_per_s"]:
            break
    return 0


if __name__ == "__main__":
    sys.exit(main())
