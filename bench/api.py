"""What the Python API costs: an order's way from the adapter's event to a callback, against the service's own pipeline.

    python -m bench.api            # the figures of docs/python.md
    python -m bench.api --path     # one figure only: µs of the service's order path, to compare two versions in pairs

Both ways share admitting, encoding and bookkeeping (`connector.streams.lines`). The service's goes on to AMQP's properties
(what `RabbitSink` makes of each message before it writes); the API's through its queue to a callback with a typed event.
"""

from __future__ import annotations

import argparse
import gc
import statistics
import threading
import time
from collections.abc import Callable, Sequence

from connector import Connector
from connector.core.clock import Chance
from connector.core.messages import AccountMessage, Message
from connector.sinks._amqp_messages import Outgoing, publishing
from connector.sinks.memory import MemorySink
from connector.streams.pipeline import Pipeline
from exchanges._adapter import Emit
from exchanges.events import ExecutionReport

EVENTS = 20_000
ROUNDS = 7
BATCH = 64
STREAM = "a-stream"


def orders(count: int) -> list[Emit]:
    """So many events of so many orders, each new."""
    return [
        Emit(
            STREAM,
            ExecutionReport(
                symbol="BTCUSDT", new_client_order_id=f"D-BO-{number}", original_client_order_id=f"D-BO-{number}",
                order_id=str(number), order_status="FILLED", order_type="LIMIT", side="BUY", price="61000.5",
                quantity="0.25", total_trade_quantity="0.25", total_quote_trade_quantity="15250.125", creation_time=1,
                event_time=2, order_time=2, unique_message_id=f"bybit:{number}", liquidation=False,
            ),
        )
        for number in range(1, count + 1)
    ]  # fmt: skip


class AmqpSink(MemorySink):
    """Does with each account message what the RabbitMQ sink does up to the socket. `settle` confirms what is there."""

    def __init__(self) -> None:
        super().__init__()
        self.unconfirmed: list[AccountMessage] = []

    def settle(self) -> None:
        batch, self.unconfirmed = self.unconfirmed, []
        if self.on_confirmed is not None:
            self.on_confirmed(batch)

    def submit(self, messages: Sequence[Message]) -> bool:
        for message in messages:
            if isinstance(message, AccountMessage):
                publishing(Outgoing(message, message.event_id, 0.0), 1)
                self.unconfirmed.append(message)
        return True


def service_us(emits: Sequence[Emit]) -> float:
    """µs of CPU an event, on one thread."""
    sink = AmqpSink()
    pipeline = Pipeline(sink, Chance())
    sink.on_confirmed = pipeline.confirmed
    pipeline.lines.open(STREAM, "bybit", None)
    begin = time.process_time()
    for number, emit in enumerate(emits):
        pipeline.account(emit, 0.0)
        if number % BATCH == 0:
            sink.settle()
    sink.settle()
    return (time.process_time() - begin) * 1e6 / len(emits)


def api_us(emits: Sequence[Emit]) -> float:
    """µs of CPU an event until the last callback is done: both threads, and the queue between them."""
    with Connector(queue_limit=len(emits) + 1) as bot:
        told, left = threading.Event(), len(emits)

        def count(_: object) -> None:
            nonlocal left
            left -= 1
            if not left:
                told.set()

        bot.on("executionReport", count)
        pipeline = bot._engine.pipeline
        pipeline.lines.open(STREAM, "bybit", None)
        begin = time.process_time()
        for emit in emits:
            pipeline.account(emit, 0.0)
        if not told.wait(60.0):
            raise TimeoutError(f"{left} events were not told")
        return (time.process_time() - begin) * 1e6 / len(emits)


def measured(way: Callable[[], float], rounds: int) -> tuple[float, float]:
    """Median and fastest, µs."""
    times = []
    for _ in range(rounds):
        gc.collect()
        times.append(way())
    return statistics.median(times), min(times)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, default=EVENTS)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--path", action="store_true", help="the service's order path only")
    given = parser.parse_args()
    emits = orders(given.events)
    if given.path:
        print(f"{measured(lambda: service_us(emits), given.rounds)[1]:.2f}")
        return
    ways: dict[str, Callable[[], float]] = {
        "service, up to the socket": lambda: service_us(emits),
        "API, a callback": lambda: api_us(emits),
    }
    for name, way in ways.items():
        median, best = measured(way, given.rounds)
        print(f"{name:32} {median:6.1f} µs of CPU an event (best {best:.1f}), {1e6 / median:,.0f} events/s and core")


if __name__ == "__main__":
    main()
