"""Entry point of the market-data service: `dramatiq workers.price`."""

from __future__ import annotations

import os

import dramatiq

from connector.core.settings import Settings
from tasks import price as tasks_price
from workers._boot import Boot, Process
from workers._build import broker_parameters, engine_options, make_sinks, make_state, observe
from workers._translate import PRICE_QUEUES
from workers.broker import PlatformBroker

settings = Settings.from_env(os.environ)
observe(settings)
broker = PlatformBroker(PRICE_QUEUES, parameters=[broker_parameters(settings, "connector-price")])


def make_process() -> Process:
    return Process(
        engine_options(settings, "price"),
        make_state(settings),
        make_sinks(settings),
        Boot.consumer_wait(broker),
        broker.watch_consumers,
    )


broker.add_middleware(Boot("price", make_process))
dramatiq.set_broker(broker)
actors = tasks_price.declare(broker)
