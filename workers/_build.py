"""From settings to objects: state, sinks, engine options. Nothing here starts anything."""

from __future__ import annotations

from typing import Any

import connector
from connector.core import redact
from connector.core.log import configure
from connector.core.ports import State
from connector.core.sentry import init_sentry
from connector.core.settings import Settings
from connector.sinks.fanout import FanoutSink
from connector.sinks.rabbitmq import RabbitOptions, RabbitSink
from connector.sinks.redis_pubsub import RedisSink
from connector.state.derived import derived_key, weakness
from connector.state.redis_state import RedisState
from connector.state.vault import Vault
from connector.streams.edges import Edges


def observe(settings: Settings) -> None:
    """Logs and Sentry of this process."""
    for secret in (*settings.server_secrets, settings.sentry_dsn.get_secret_value()):
        if len(secret) > 8:
            redact.register(secret)
    for key in (*settings.credentials_keys.get_secret_value().split(","), *settings.tokens):
        redact.register(key.strip())
    configure(json=settings.log_format == "json", level=settings.log_level)
    init_sentry(
        settings.sentry_dsn.get_secret_value(), f"websocket-connector@{connector.VERSION}", settings.environment
    )


def make_state(settings: Settings, edges: Edges | None = None) -> State:
    """Raises `InvalidSetting` for unusable CREDENTIALS_KEYS. Takes about 0.1 s where a key is made from RABBIT_PASSWORD."""
    password = settings.rabbit.password
    if weakness(password) is None:
        redact.register(derived_key(password))
    vault = Vault.from_setting(settings.credentials_keys.get_secret_value(), password)
    return RedisState(settings.redis, prefix=settings.state_prefix, vault=vault, clock=(edges or Edges()).clock)


def make_sinks(settings: Settings, edges: Edges) -> FanoutSink:
    """The sinks that `SINKS` names, RabbitMQ first: it confirms."""
    sinks: list[Any] = []
    if "rabbitmq" in settings.sinks:
        sinks.append(_rabbit_sink(settings, edges))
    if "redis" in settings.sinks:
        sinks.append(RedisSink(place=settings.redis, clock=edges.clock, chance=edges.chance))
    return FanoutSink(sinks, clock=edges.clock)


def _rabbit_sink(settings: Settings, edges: Edges) -> RabbitSink:
    options = RabbitOptions(
        place=settings.rabbit,
        exchange=settings.events_exchange,
        queue=settings.user_events_queue or None,
        queue_type=settings.user_events_queue_type,
        queue_max_length=settings.user_events_max,
        ticker_per_symbol=settings.ticker_messages == "symbol",
        outbox_dir=settings.outbox_dir,
        outbox_bytes=settings.outbox_max_mb * 1024 * 1024,
    )
    return RabbitSink(options, clock=edges.clock, chance=edges.chance)
