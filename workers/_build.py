"""From settings to objects: state, sinks, engine options. Nothing here starts anything."""

from __future__ import annotations

import ssl
from typing import Any

import connector
from connector.core import redact
from connector.core.log import configure
from connector.core.ports import State
from connector.core.sentry import init_sentry
from connector.core.settings import Settings
from connector.sinks.fanout import FanoutSink
from connector.sinks.rabbitmq import RabbitSink
from connector.sinks.redis_pubsub import RedisSink
from connector.state.derived import derived_key, weakness
from connector.state.redis_state import RedisState
from connector.state.vault import Vault
from connector.streams.edges import Edges
from workers.broker import connection_parameters


def observe(settings: Settings) -> None:
    """Logs and Sentry of this process."""
    for secret in (settings.rabbit_password, settings.redis_password, settings.sentry_dsn):
        if secret is not None and len(secret.get_secret_value()) > 8:
            redact.register(secret.get_secret_value())
    for key in settings.credentials_keys.get_secret_value().split(","):
        redact.register(key.strip())
    configure(json=settings.log_format == "json", level=settings.log_level)
    init_sentry(
        settings.sentry_dsn.get_secret_value(), f"websocket-connector@{connector.VERSION}", settings.environment
    )


def redis_connection(settings: Settings) -> dict[str, Any]:
    connection: dict[str, Any] = {"host": settings.redis_host or "127.0.0.1", "port": settings.redis_port}
    if settings.redis_password is not None:
        connection["password"] = settings.redis_password.get_secret_value()
    if settings.redis_tls:
        connection["ssl"] = True
        if settings.tls_ca_file:
            connection["ssl_ca_certs"] = settings.tls_ca_file
    return connection


def make_state(settings: Settings, edges: Edges | None = None) -> State:
    """Raises `InvalidSetting` for unusable CREDENTIALS_KEYS. Takes about 0.1 s where a key is made from RABBIT_PASSWORD."""
    password = settings.rabbit_password.get_secret_value()
    if weakness(password) is None:
        redact.register(derived_key(password))
    vault = Vault.from_setting(settings.credentials_keys.get_secret_value(), password)
    return RedisState(
        redis_connection(settings), prefix=settings.state_prefix, vault=vault, clock=(edges or Edges()).clock
    )


def make_sinks(settings: Settings, edges: Edges) -> FanoutSink:
    """The sinks that `SINKS` names, RabbitMQ first: it confirms."""
    sinks: list[Any] = []
    if "rabbitmq" in settings.sinks:
        sinks.append(_rabbit_sink(settings, edges))
    if "redis" in settings.sinks:
        password = settings.redis_password
        sinks.append(
            RedisSink(
                host=settings.redis_host or "127.0.0.1",
                port=settings.redis_port,
                password=password.get_secret_value() if password is not None else None,
                tls=settings.redis_tls,
                tls_ca_file=settings.tls_ca_file or None,
                clock=edges.clock,
                chance=edges.chance,
            )
        )
    return FanoutSink(sinks, clock=edges.clock)


def _rabbit_sink(settings: Settings, edges: Edges) -> RabbitSink:
    return RabbitSink(
        host=settings.rabbit_host or "127.0.0.1",
        port=settings.rabbit_port,
        user=settings.rabbit_user,
        password=settings.rabbit_password.get_secret_value(),
        virtual_host=settings.rabbit_vhost,
        tls=_rabbit_tls(settings) or False,
        exchange=settings.events_exchange,
        queue=settings.user_events_queue or None,
        queue_type=settings.user_events_queue_type,
        queue_max_length=settings.user_events_max,
        ticker_per_symbol=settings.ticker_messages == "symbol",
        outbox_dir=settings.outbox_dir,
        outbox_bytes=settings.outbox_max_mb * 1024 * 1024,
        clock=edges.clock,
        chance=edges.chance,
    )


def _rabbit_tls(settings: Settings) -> ssl.SSLContext | None:
    return ssl.create_default_context(cafile=settings.tls_ca_file or None) if settings.rabbit_tls else None


def broker_parameters(settings: Settings, name: str) -> dict[str, Any]:
    return connection_parameters(
        settings.rabbit_host or "127.0.0.1",
        settings.rabbit_port,
        settings.rabbit_user,
        settings.rabbit_password.get_secret_value(),
        vhost=settings.rabbit_vhost,
        tls=_rabbit_tls(settings),
        name=name,
    )
