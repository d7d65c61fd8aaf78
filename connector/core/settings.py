"""Every setting of the service, read once from the environment and validated (contract 7.1).

Names that upstream already had keep their names and units. `Settings.from_env(os.environ)` is called by `workers/` and `cli/`
only; everything else is handed values.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Annotated, Final, Literal

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    SecretStr,
    ValidationError,
    field_validator,
    model_validator,
)

import exchanges
from connector.core.errors import InvalidSetting
from connector.core.messages import PositionEvents
from connector.core.proxies import OF_VENUE, Proxy, Standard, Ways, read_proxies, read_proxy
from connector.core.secret_files import with_files
from connector.core.server_settings import ServerSettings
from connector.core.setting_forms import Flag, Names, addresses, families, level, name_of_255, origin, paper, token, url
from connector.core.symbol_patterns import read_patterns
from connector.core.venue_options import VENUE_OPTIONS, option_problems


def _proxy(value: object) -> object:
    return read_proxy(value) if isinstance(value, str) else value


def _proxies(value: object) -> object:
    return read_proxies(value) if isinstance(value, str) else value


STANDARD_PROXIES: Final = ("HTTPS_PROXY", "ALL_PROXY", "NO_PROXY")
"""Variables that other programs have, too; in small letters they count as well, and first."""


Token = Annotated[SecretStr, AfterValidator(token)]


class Settings(ServerSettings):
    """Frozen settings. Field aliases are the environment variables; durations end in `_ms` or `_s`."""

    # services around
    exchange_service_url: str = Field("", alias="EXCHANGE_SERVICE_API_URL")
    paper_ws: str = Field("localhost:7506", alias="PAPER_WS")

    # prices
    price_role: Literal["all", "candle", "ticker"] = Field("ticker", alias="PRICEROLE")
    price_exchanges: Names = Field((), alias="PRICE_CONNECTOR_EXCHANGES")
    price_symbols: str = Field("", alias="PRICE_SYMBOLS")
    symbols_from: Literal["venue", "service"] = Field("venue", alias="SYMBOLS_FROM")
    candle_stall_ms: int | None = Field(None, alias="TRADESTIMEOUT", ge=1000)

    # admin config (contract 3.2)
    admin_config_enabled: Flag = Field(False, alias="ADMIN_CONFIG_ENABLED")
    admin_config_refresh_ms: int = Field(10_000, alias="ADMIN_CONFIG_REFRESH_MS", ge=1000)

    # auth breaker (contract 4.3)
    auth_cooldown_ms: int = Field(1_800_000, alias="USER_STREAM_AUTH_COOLDOWN_MS")
    auth_cooldown_max_ms: int = Field(86_400_000, alias="USER_STREAM_AUTH_COOLDOWN_MAX_MS")
    auth_fail_threshold: int = Field(3, alias="USER_STREAM_AUTH_FAIL_THRESHOLD", ge=1)
    auth_window_ms: int = Field(600_000, alias="USER_STREAM_AUTH_WINDOW_MS")

    # flap detection (contract 4.4)
    flap_threshold: int = Field(4, alias="USER_STREAM_FLAP_THRESHOLD", ge=1)
    flap_window_ms: int = Field(600_000, alias="USER_STREAM_FLAP_WINDOW_MS", ge=1000)

    # liveness guard (contract 4.6)
    liveness_enabled: Flag = Field(False, alias="USER_STREAM_LIVENESS_ENABLED")
    liveness_scan_ms: int = Field(120_000, alias="USER_STREAM_LIVENESS_SCAN_MS")
    liveness_stale_ms: int = Field(1_200_000, alias="USER_STREAM_LIVENESS_STALE_MS")
    liveness_cooldown_ms: int = Field(3_600_000, alias="USER_STREAM_LIVENESS_COOLDOWN_MS")
    liveness_max_per_scan: int = Field(15, alias="USER_STREAM_LIVENESS_MAX_PER_SCAN")
    liveness_paper_only: Flag = Field(True, alias="USER_STREAM_LIVENESS_PAPER_ONLY")

    # where venues are reached
    venue_gateway: str = Field("", alias="VENUE_GATEWAY")
    venue_endpoints: Mapping[str, str] = Field(default_factory=dict, alias="VENUE_ENDPOINTS")
    venue_ca_file: str = Field("", alias="VENUE_CA_FILE")
    egress_ips: Names = Field((), alias="EGRESS_IPS")
    egress_proxies: Annotated[tuple[Proxy | None, ...], BeforeValidator(_proxies)] = Field((), alias="EGRESS_PROXIES")
    """None = without a proxy."""
    venue_proxies: Mapping[str, tuple[Proxy | None, ...]] = Field(default_factory=dict)
    """By venue, from `PROXY_<VENUE>`."""
    unused_proxies: tuple[str, ...] = ()
    """Variables that look like `PROXY_<VENUE>` and name no exchange."""
    https_proxy: Annotated[Proxy | None, BeforeValidator(_proxy)] = Field(None, alias="HTTPS_PROXY")
    all_proxy: Annotated[Proxy | None, BeforeValidator(_proxy)] = Field(None, alias="ALL_PROXY")
    no_proxy: str = Field("", alias="NO_PROXY")

    # this process
    io_threads: int = Field(1, alias="IO_THREADS", ge=1, le=16)
    connect_threads: int = Field(16, alias="CONNECT_THREADS", ge=1, le=256)
    max_streams: int = Field(5_000, alias="MAX_STREAMS", ge=1)
    lease_ttl_s: float = Field(3.0, alias="LEASE_TTL_S", ge=1.0)
    drain_timeout_s: float = Field(20.0, alias="DRAIN_TIMEOUT_S", ge=0.0)
    rejoin_grace_s: float = Field(600.0, alias="REJOIN_GRACE_S", ge=1.0)
    """After an announcement: streams that nobody asked for again within this time are closed."""
    credentials_keys: SecretStr = Field(SecretStr(""), alias="CREDENTIALS_KEYS")
    health_port: int = Field(3000, alias="HEALTH_PORT", ge=0, le=65535)
    health_host: str = Field("0.0.0.0", alias="HEALTH_HOST")  # noqa: S104 the compose health check comes from outside
    read_token: Token = Field(SecretStr(""), alias="READ_TOKEN")
    """Asked of whoever reads the health port; empty = nobody is asked."""
    control_token: Token = Field(SecretStr(""), alias="CONTROL_TOKEN")
    """Asked of whoever changes something there; empty = nobody can."""

    # events out
    sinks: Names = Field(("rabbitmq", "redis"), alias="SINKS")
    events_exchange: str = Field("gainium.events", alias="EVENTS_EXCHANGE")
    user_events_queue: str = Field("gainium.user-events", alias="USER_EVENTS_QUEUE")
    """Durable queue bound to `user.#`; `none` = no queue (then ""), because an empty variable counts as absent."""
    user_events_queue_type: Literal["classic", "quorum"] = Field("classic", alias="USER_EVENTS_QUEUE_TYPE")
    user_events_max: int = Field(1_000_000, alias="USER_EVENTS_MAX", ge=1)
    ticker_messages: Literal["batch", "symbol"] = Field("batch", alias="TICKER_MESSAGES")
    position_events: PositionEvents = Field("rabbitmq", alias="POSITION_EVENTS")
    outbox_dir: str = Field("var/outbox", alias="OUTBOX_DIR")
    outbox_max_mb: int = Field(1024, alias="OUTBOX_MAX_MB", ge=1)

    # logs
    log_level: str = Field("INFO", alias="LOG_LEVEL")
    log_format: Literal["json", "console"] = Field("json", alias="LOG_FORMAT")
    sentry_dsn: SecretStr = Field(SecretStr(""), alias="SENTRY_DSN")
    environment: str = Field("production", alias="ENVIRONMENT")

    venue_options: Mapping[str, str] = Field(default_factory=dict)
    """Options that single venues read, by upstream's variable name."""

    @field_validator("user_events_queue", mode="after")
    @classmethod
    def _none_is_none(cls, value: str) -> str:
        return "" if value.strip().lower() == "none" else value.strip()

    _level = field_validator("log_level", mode="after")(level)
    _url = field_validator("exchange_service_url", mode="after")(url)
    _paper = field_validator("paper_ws", mode="after")(paper)
    _origin = field_validator("venue_gateway", mode="after")(origin)
    _addresses = field_validator("egress_ips", mode="after")(addresses)
    _families = field_validator("price_exchanges", mode="after")(families)
    _names = field_validator("events_exchange", "user_events_queue", mode="after")(name_of_255)

    @field_validator("venue_endpoints", mode="before")
    @classmethod
    def _json_map(cls, value: object) -> object:
        if isinstance(value, str):
            return json.loads(value) if value.strip() else {}
        return value

    @field_validator("price_symbols", mode="after")
    @classmethod
    def _readable_patterns(cls, value: str) -> str:
        read_patterns(value)
        return value

    @model_validator(mode="after")
    def _service_to_ask(self) -> Settings:
        if self.symbols_from == "service" and not self.exchange_service_url:
            raise ValueError("SYMBOLS_FROM=service needs EXCHANGE_SERVICE_API_URL")
        return self

    @field_validator("sinks", mode="after")
    @classmethod
    def _known_sinks(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        unknown = set(value) - {"rabbitmq", "redis"}
        if unknown or not value:
            raise ValueError("takes a comma list of rabbitmq and redis, at least one")
        return value

    @property
    def tokens(self) -> tuple[str, ...]:
        """Those of the health port that are set."""
        given = (self.read_token.get_secret_value(), self.control_token.get_secret_value())
        return tuple(token for token in given if token)

    @property
    def chosen_prices(self) -> dict[str, str]:
        """The settings that keep symbols without prices, for people; empty = every symbol has one."""
        given = {"PRICE_SYMBOLS": self.price_symbols, "SYMBOLS_FROM": self.symbols_from.replace("venue", "")}
        return {name: value for name, value in given.items() if value}

    @property
    def ways(self) -> Ways:
        """How this deployment gets out to the exchanges."""
        standard = Standard(self.https_proxy, self.all_proxy, self.no_proxy)
        return Ways(self.egress_ips, self.egress_proxies, self.venue_proxies, standard, self.unused_proxies)

    @property
    def cooldown_base_ms(self) -> int:
        return max(self.auth_cooldown_ms, 60_000)

    @property
    def cooldown_cap_ms(self) -> int:
        return max(self.auth_cooldown_max_ms, self.cooldown_base_ms)

    @classmethod
    def from_env(cls, environ: Mapping[str, str]) -> Settings:
        """Read the environment; empty variables count as absent. Secrets may stand in files (`secret_files`).

        Raises `InvalidSetting` naming the variable and what it takes, never its value.
        """
        environ = with_files(environ)
        aliases = {field.alias: name for name, field in cls.model_fields.items() if field.alias}
        given = {alias: environ[alias] for alias in aliases if environ.get(alias, "").strip()}
        small = {name: environ[name.lower()] for name in STANDARD_PROXIES if environ.get(name.lower(), "").strip()}
        venue_proxies, unused = _venue_proxies(environ)
        more = {**small, "venue_proxies": venue_proxies, "unused_proxies": unused}
        options = {name: environ[name] for name in VENUE_OPTIONS if environ.get(name, "").strip()}
        refused = exchanges.option_refusals(options) or option_problems(options)
        if refused:
            raise InvalidSetting("; ".join(refused))
        try:
            return cls.model_validate({**given, **more, "venue_options": options})
        except (ValidationError, json.JSONDecodeError) as error:
            raise InvalidSetting(_explain(error)) from None


def _venue_proxies(environ: Mapping[str, str]) -> tuple[dict[str, tuple[Proxy | None, ...]], tuple[str, ...]]:
    """The proxies of single venues, and the names of variables that look alike and name none."""
    found: dict[str, tuple[Proxy | None, ...]] = {}
    unused = []
    for name in sorted(environ):
        venue = name.removeprefix(OF_VENUE).lower()
        if not name.startswith(OF_VENUE) or not environ[name].strip():
            continue
        if venue not in exchanges.venues():
            unused.append(name)
            continue
        try:
            found[venue] = read_proxies(environ[name])
        except ValueError as error:
            raise InvalidSetting(f"{name}: {error}") from None
    return found, tuple(unused)


def _explain(error: ValidationError | json.JSONDecodeError) -> str:
    if isinstance(error, json.JSONDecodeError):
        return "VENUE_ENDPOINTS must be a JSON object of origin → origin"
    parts = []
    for item in error.errors(include_input=False, include_url=False, include_context=False):
        name = ".".join(str(part) for part in item["loc"])
        said = item["msg"].removeprefix("Value error, ")
        # What concerns several settings names them itself.
        parts.append(f"{name}: {said}" if name else said)
    return "; ".join(parts)
