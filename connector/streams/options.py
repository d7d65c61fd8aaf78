"""What an engine is made of, and how that follows from the settings. Pure."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from connector.core.messages import PositionEvents
from connector.core.ports import Role
from connector.core.proxies import Ways
from connector.core.settings import Settings
from connector.streams.liveness import LivenessRules


class EngineOptions(msgspec.Struct, frozen=True, kw_only=True):
    """What an engine needs of the settings; durations in the unit of the name."""

    role: Role
    price_role: str = "ticker"
    price_exchanges: tuple[str, ...] = ()
    price_symbols: str = ""
    """Patterns of the symbols whose prices are published (`connector.streams.price_symbols`); empty = all."""
    symbols_listed: bool = False
    """Only prices of symbols that the exchange service at `service_url` lists."""
    gateway: str = ""
    endpoints: Mapping[str, str] = {}
    ca_file: str = ""
    ways: Ways = Ways()
    """How connections get out: addresses of ours, proxies."""
    io_threads: int = 1
    connect_threads: int = 16
    capacity: int = 5_000
    lease_ttl_s: float = 3.0
    drain_timeout_s: float = 20.0
    rejoin_grace_s: float = 600.0
    announced: bool = True
    """Whether accounts are asked for by announcements of this deployment; a program opens its own."""
    cooldown_base_ms: int = 1_800_000
    cooldown_cap_ms: int = 86_400_000
    auth_threshold: int = 3
    auth_window_ms: int = 600_000
    flap_threshold: int = 4
    flap_window_ms: int = 600_000
    candle_stall_s: float | None = None
    admin_config: bool = False
    admin_refresh_s: float = 10.0
    service_url: str = ""
    venue_options: Mapping[str, str] = {}
    position_events: PositionEvents = "all"
    """Where the accounts' positions go."""
    liveness: LivenessRules | None = None


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
