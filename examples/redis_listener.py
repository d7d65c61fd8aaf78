"""Prices and account events from Redis: `pip install redis`, then `STREAMS=<uuid>,… python examples/redis_listener.py`.

Redis gives no ids and keeps nothing for who was not there. So the states of orders are acted on once each, and
`Subscribed to user` says when to ask the exchange what was missed (docs/events.md).
"""

from __future__ import annotations

import json
import os
from collections import OrderedDict
from typing import Any

import redis

KEPT = 100_000
STATE = ("orderId", "clientOrderId", "newClientOrderId", "orderStatus", "totalTradeQuantity", "price", "quantity")
done: OrderedDict[str, None] = OrderedDict()


def act(channel: str, body: dict[str, Any]) -> None:
    """What your program does with an event."""
    print(channel, body.get("eventType", "ticker"), body.get("orderStatus", ""), body.get("price", ""), flush=True)


def on_event(channel: str, body: dict[str, Any]) -> None:
    if channel.startswith("trade@"):
        return act(channel, body)
    what = [body.get(name) for name in STATE] if "orderStatus" in body else [body["uniqueMessageId"]]
    key = json.dumps([channel, *what])
    if key not in done:
        act(channel, body)
        done[key] = None
        if len(done) > KEPT:
            done.popitem(last=False)
    return None


host, port = os.environ.get("REDIS_HOST", "127.0.0.1"), int(os.environ.get("REDIS_PORT", "6379"))
channels = redis.Redis(host, port, password=os.environ.get("REDIS_PASSWORD"), decode_responses=True).pubsub()
channels.psubscribe(os.environ.get("PRICES", "trade@BTCUSDT@*"))
for stream in filter(None, os.environ.get("STREAMS", "").split(",")):
    channels.subscribe(stream, f"userStreamInfo{stream}")
for message in channels.listen():
    if message["type"] in {"message", "pmessage"}:
        if message["channel"].startswith("userStreamInfo"):
            print(message["channel"], message["data"], flush=True)
        else:
            on_event(message["channel"], json.loads(message["data"]))
