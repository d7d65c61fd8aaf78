"""Entry point of the account-stream service: `dramatiq workers.user`."""

from __future__ import annotations

import os

import dramatiq

from connector.core.clock import SystemClock
from connector.core.otel import init_traces
from connector.servers.rabbit import connection_arguments
from connector.state.positions_on_disk import PositionsOnDisk
from connector.streams.edges import Edges
from connector.streams.options import engine_options
from tasks import user as tasks_user
from workers._boot import Boot
from workers._build import make_sinks, make_state, observe
from workers._check import check
from workers._deployment import refuse_beside_another
from workers._limits import say_mistyped
from workers._process import Process
from workers._refusal import settings_or_end
from workers._translate import USER_QUEUES
from workers.broker import PlatformBroker

settings = settings_or_end()
observe(settings)
broker = PlatformBroker(USER_QUEUES, parameters=connection_arguments(settings.rabbit, name="connector-user"))


def make_process() -> Process:
    check(settings)
    say_mistyped(os.environ)
    init_traces(os.environ)  # after the fork: it has a thread
    clock = SystemClock()
    # After the fork: its process id, its own chance.
    edges = Edges(clock=clock, positions=PositionsOnDisk(settings.outbox_dir, clock))
    state = make_state(settings, edges)
    name = refuse_beside_another(state, settings.rabbit)
    process = Process(
        engine_options(settings, "user"),
        state,
        make_sinks(settings, edges),
        broker.wait_until_ready,
        broker.watch_consumers,
        edges,
        broker.problems,
        broker.announced,
        broker.watch_sure,
    )
    broker.knows_its_name(process.engine.report, name)
    return process


broker.add_middleware(Boot("user", make_process))
dramatiq.set_broker(broker)
actors = tasks_user.declare(broker)
