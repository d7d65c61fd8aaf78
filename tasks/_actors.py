"""How this project declares an actor: never retried by Dramatiq, never interrupted by its time limit."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import dramatiq

from tasks.commands import Command
from tasks.delivery import Delivery
from tasks.service import service


def carry_out(delivery: Delivery) -> None:
    """Body of every command actor. The broker made the argument: see `workers.broker`."""

    def apply(command: Command, nonce: str) -> object:
        return service().apply(command, nonce, delivery.copy())

    delivery.carry_out(apply)


def declare(
    broker: dramatiq.Broker, name: str, function: Callable[..., None], queue: str, **options: Any
) -> dramatiq.Actor[..., None]:
    """Declare one actor on a broker.

    A retried command would overtake its successors and carry its key material through another queue, so there are none
    unless asked for. An interrupt in the middle of a registry call would leave its outcome unknown; every such call has
    its own timeout.
    """
    wanted = {"max_retries": 0, "time_limit": float("inf"), **options}
    known = {option: value for option, value in wanted.items() if option in broker.actor_options}
    return dramatiq.actor(actor_name=name, queue_name=queue, broker=broker, **known)(function)
