"""From settings to what an engine is made of. Pure."""

from __future__ import annotations

from connector.core.ports import PositionEvents, Role
from connector.core.settings import Settings
from connector.streams.engine import EngineOptions
from connector.streams.liveness import LivenessRules


def engine_options(settings: Settings, role: Role) -> EngineOptions:
    """What an engine of this role needs of the settings."""
    liveness = None
    if settings.liveness_enabled:
        stale_ms = max(settings.liveness_stale_ms, 60_000)
        liveness = LivenessRules(
            scan_s=max(settings.liveness_scan_ms, 30_000) / 1000,
            stale_s=stale_ms / 1000,
            cooldown_s=max(settings.liveness_cooldown_ms, stale_ms) / 1000,
            max_per_scan=max(settings.liveness_max_per_scan, 1),
            paper_only=settings.liveness_paper_only,
        )
    return EngineOptions(
        role=role,
        price_role=settings.price_role,
        price_exchanges=settings.price_exchanges,
        price_symbols=settings.price_symbols,
        symbols_listed=settings.symbols_from == "service",
        gateway=settings.venue_gateway,
        endpoints=settings.venue_endpoints,
        ca_file=settings.venue_ca_file,
        ways=settings.ways,
        io_threads=settings.io_threads,
        connect_threads=settings.connect_threads,
        capacity=settings.max_streams,
        lease_ttl_s=settings.lease_ttl_s,
        drain_timeout_s=settings.drain_timeout_s,
        rejoin_grace_s=settings.rejoin_grace_s,
        cooldown_base_ms=settings.cooldown_base_ms,
        cooldown_cap_ms=settings.cooldown_cap_ms,
        auth_threshold=settings.auth_fail_threshold,
        auth_window_ms=settings.auth_window_ms,
        flap_threshold=settings.flap_threshold,
        flap_window_ms=settings.flap_window_ms,
        candle_stall_s=settings.candle_stall_ms / 1000 if settings.candle_stall_ms else None,
        admin_config=settings.admin_config_enabled,
        admin_refresh_s=settings.admin_config_refresh_ms / 1000,
        service_url=settings.exchange_service_url,
        venue_options={"PAPER_WS": settings.paper_ws, **settings.venue_options},
        position_events=_position_events(settings),
        liveness=liveness,
    )


def _position_events(settings: Settings) -> PositionEvents:
    """Without RabbitMQ nobody takes what is kept from Redis."""
    alone = settings.position_events == "rabbitmq" and "rabbitmq" not in settings.sinks
    return "none" if alone else settings.position_events
