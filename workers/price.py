"""Entry point of the market-data service: `dramatiq workers.price`."""

from __future__ import annotations

import os

import dramatiq

from connector.core.otel import init_traces
from connector.servers.rabbit import connection_arguments
from connector.streams.edges import Edges
from connector.streams.options import engine_options
from tasks import price as tasks_price
from workers._boot import Boot
from workers._build import make_sinks, make_state, observe
from workers._check import check
from workers._deployment import refuse_beside_another
from workers._limits import say_mistyped
from workers._process import Process
from workers._refusal import settings_or_end
from workers._translate import price_queues
from workers.broker import PlatformBroker

settings = settings_or_end()
observe(settings)
queues = price_queues(settings.price_role)
broker = PlatformBroker(queues, parameters=connection_arguments(settings.rabbit, name="connector-price"))


def make_process() -> Process:
    check(settings)
    say_mistyped(os.environ)
    init_traces(os.environ)  # after the fork: it has a thread
    edges = Edges()  # after the fork: its process id, its own chance
    state = make_state(settings, edges)
    name = refuse_beside_another(state, settings.rabbit)
    process = Process(
        engine_options(settings, "price"),
        state,
        make_sinks(settings, edges),
        broker.wait_until_ready,
        broker.watch_consumers,
        edges,
        broker.problems,
        broker.announced,
    )
    broker.knows_its_name(process.engine.report, name)
    return process


broker.add_middleware(Boot("price", make_process))
dramatiq.set_broker(broker)
actors = tasks_price.declare(broker, platform=bool(queues))
