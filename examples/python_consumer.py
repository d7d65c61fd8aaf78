"""Account events from RabbitMQ, each acted on once: `pip install pika redis`, then `python examples/python_consumer.py`.

Ids are kept in Redis for a day, so that a repetition is known after a restart, too (docs/events.md).
"""

from __future__ import annotations

import json
import os
from typing import Any

import pika
import redis

QUEUE = os.environ.get("USER_EVENTS_QUEUE", "gainium.user-events")
DAY_S = 86_400
seen = redis.Redis(os.environ.get("REDIS_HOST", "127.0.0.1"), int(os.environ.get("REDIS_PORT", "6379")))


def act(stream: str, kind: str, body: dict[str, Any]) -> None:
    """What your program does with an event."""
    print(stream, kind, body.get("orderStatus", ""), body.get("totalTradeQuantity", ""), flush=True)


def on_message(channel: Any, method: Any, properties: Any, body: bytes) -> None:
    stream = properties.headers["stream"]
    key = f"done:{stream}:{properties.message_id}"
    if not seen.exists(key):
        act(stream, properties.type, json.loads(body))
        seen.set(key, 1, ex=DAY_S)  # after the deed: what a crash interrupts is done again
    channel.basic_ack(method.delivery_tag)


broker = pika.ConnectionParameters(
    os.environ.get("RABBIT_HOST", "127.0.0.1"),
    int(os.environ.get("RABBIT_PORT", "5672")),
    os.environ.get("RABBIT_VHOST", "/"),
    pika.PlainCredentials(os.environ.get("RABBIT_USER", "guest"), os.environ.get("RABBIT_PASSWORD", "guest")),
)
channel = pika.BlockingConnection(broker).channel()
channel.basic_qos(prefetch_count=100)
channel.basic_consume(QUEUE, on_message)
channel.start_consuming()
