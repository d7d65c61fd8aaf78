"""The process that `bench.orders` measures: an engine as a user service has it, with real sinks and a real state.

Started by path, so that `PYTHONPATH` says whose `connector` runs. It reads orders from its standard input, one a line, and
answers each with a line of JSON.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from connector.core.log import configure
from connector.core.messages import AccountMessage
from connector.core.settings import Settings
from connector.sinks.fanout import FanoutSink
from connector.sinks.rabbitmq import RabbitOptions, RabbitSink
from connector.sinks.redis_pubsub import RedisSink
from connector.state.redis_state import RedisState
from connector.state.vault import Vault
from connector.streams.edges import Edges
from connector.streams.engine import Engine
from connector.streams.lifecycle import StreamState
from connector.streams.options import engine_options
from connector.streams.positions import encode_position
from connector.streams.tracker import Position
from exchanges._adapter import KnownOrder
from exchanges.credentials import credentials

EXCHANGE: Final = "bybitLinear"
OPEN_S: Final = 300.0


def stream_of(account: int) -> str:
    return f"bench-{account}"


def history(account: int, orders: int, now_ms: int) -> bytes:
    """Where an account stood that has finished so many orders."""
    known = [
        KnownOrder(
            order_id=f"9{account:05}{number:06}", client_order_id=f"GRID-BO-9{account:05}{number:06}", symbol="BTCUSDT",
            status="FILLED", executed="0.015", executed_quote="957", price="63800", quantity="0.015", side="BUY",
            order_type="LIMIT", order_time_ms=now_ms - 60_000, creation_time_ms=now_ms - 120_000,
        )
        for number in range(orders)
    ]  # fmt: skip
    return encode_position(Position(live_until_ms=now_ms - 1_000, stamp=now_ms - 1_000, orders=known))


class Member:
    """Sinks and engine, and what is asked of them."""

    def __init__(self, env: Mapping[str, str], vault_key: str) -> None:
        settings = Settings.from_env(env)
        edges = Edges()
        rabbit = RabbitOptions(place=settings.rabbit, exchange=settings.events_exchange, outbox_dir=settings.outbox_dir)
        self.sink = FanoutSink([RabbitSink(rabbit), RedisSink(place=settings.redis)])
        self.state = RedisState(settings.redis, vault=Vault([vault_key]))
        self.engine = Engine(engine_options(settings, "user"), self.state, self.sink, edges)
        self._confirmed: list[tuple[float, list[str]]] = []
        self.sink.on_confirmed = self._note
        self.sink.permitted = self.engine.leases.permitted_s
        self.sink.start()
        self.engine.start()

    def _note(self, messages: Sequence[AccountMessage]) -> None:
        self._confirmed.append((time.monotonic(), [message.event_id for message in messages]))
        self.engine.pipeline.confirmed(messages)

    def open(self, first: int, accounts: int, orders: int) -> dict[str, float]:
        """Open the accounts with these numbers and wait until all are live."""
        names = range(first, first + accounts)
        if orders:
            now_ms = time.time_ns() // 1_000_000
            self.state.save_positions({stream_of(name): history(name, orders, now_ms) for name in names}, 3_600)
        began, cpu = time.monotonic(), time.process_time()
        for name in names:
            stream_id = stream_of(name)
            self.state.open(stream_id, EXCHANGE, "owner", credentials(f"key-{name}", "secret"), 0)
            self.engine.units.notified(json.dumps({"t": "reconcile", "id": stream_id}))
        deadline = began + OPEN_S
        while sum(state is StreamState.LIVE for state in self.engine.supervisor.states().values()) < first + accounts:
            if time.monotonic() > deadline:
                raise TimeoutError(f"not all of {accounts} accounts were live after {OPEN_S:.0f} s")
            time.sleep(0.05)
        return {
            "opened_s": round(time.monotonic() - began, 2),
            "open_cpu_ms_per_account": round((time.process_time() - cpu) / accounts * 1000, 2),
        }

    def cpu(self) -> dict[str, Any]:
        """CPU time and context switches up to now, ms and number; also by thread."""
        threads: dict[str, float] = {}
        switches = 0
        for thread in threading.enumerate():
            place = Path(f"/proc/self/task/{thread.native_id}")
            try:
                spent_ms = int((place / "schedstat").read_text().split()[0]) / 1e6
                rows = (place / "status").read_text().splitlines()
            except OSError:
                continue  # it has ended
            name = thread.name.rstrip("0123456789").rstrip("_-")
            threads[name] = threads.get(name, 0.0) + spent_ms
            switches += sum(int(row.split()[1]) for row in rows if "ctxt_switches" in row)
        return {"cpu_ms": time.process_time() * 1000, "switches": switches, "threads": threads}

    def confirmed(self) -> list[tuple[float, list[str]]]:
        """What RabbitMQ confirmed since the last question: when (monotonic), and the events' ids."""
        rows, self._confirmed = self._confirmed, []
        return rows

    def waiting(self) -> dict[str, int]:
        status = self.sink.status()
        return {"queued": status.queued, "lost": status.lost_account_events}


def main() -> None:
    given = json.loads(sys.argv[1])
    configure(json=False, level="WARNING", stream=sys.stderr)
    member = Member({**os.environ, **given["env"]}, given["vault_key"])
    for line in sys.stdin:
        name, *arguments = json.loads(line)
        answer = getattr(member, name)(*arguments)
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()
    os._exit(0)


if __name__ == "__main__":
    main()
