"""The settings that say where RabbitMQ and Redis are; `Settings.rabbit` and `Settings.redis` are what comes of them."""

from __future__ import annotations

from typing import Final

from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator, model_validator

from connector.core.places import (
    AMQP_FORM,
    AMQP_PORTS,
    LOCALHOST,
    REDIS_FORM,
    REDIS_PORTS,
    SENTINEL_PORT,
    Address,
    Host,
    RabbitPlace,
    RedisPlace,
    read_hosts,
    read_url,
)
from connector.core.setting_forms import Flag, Names, host

_ONE_REDIS: Final = "takes one host name or address; several can be nodes of a cluster (REDIS_CLUSTER=true)"


class ServerSettings(BaseModel):
    """Part of `Settings`. Raises `ValueError` naming what says the same thing twice, or what can't be said together."""

    model_config = ConfigDict(frozen=True, extra="ignore", populate_by_name=True)

    # RabbitMQ
    rabbit_url: SecretStr | None = Field(None, alias="RABBIT_URL")
    rabbit_host: Names = Field((), alias="RABBIT_HOST")
    """Several are nodes of one cluster."""
    rabbit_port: int = Field(5672, alias="RABBIT_PORT", ge=1, le=65535)
    rabbit_user: str = Field("guest", alias="RABBIT_USER")
    rabbit_password: SecretStr = Field(SecretStr("guest"), alias="RABBIT_PASSWORD")
    rabbit_vhost: str = Field("/", alias="RABBIT_VHOST")
    rabbit_tls: Flag = Field(False, alias="RABBIT_TLS")

    # Redis
    redis_url: SecretStr | None = Field(None, alias="REDIS_URL")
    redis_host: Names = Field((), alias="REDIS_HOST")
    """Several only of a Cluster."""
    redis_port: int = Field(6379, alias="REDIS_PORT", ge=1, le=65535)
    redis_user: str = Field("", alias="REDIS_USER")
    redis_password: SecretStr | None = Field(None, alias="REDIS_PASSWORD")
    redis_db: int = Field(0, alias="REDIS_DB", ge=0)
    redis_tls: Flag = Field(False, alias="REDIS_TLS")
    redis_sentinels: Names = Field((), alias="REDIS_SENTINELS")
    redis_master: str = Field("mymaster", alias="REDIS_MASTER_NAME")
    redis_sentinel_user: str = Field("", alias="REDIS_SENTINEL_USER")
    redis_sentinel_password: SecretStr | None = Field(None, alias="REDIS_SENTINEL_PASSWORD")
    redis_cluster: Flag = Field(False, alias="REDIS_CLUSTER")
    tls_ca_file: str = Field("", alias="TLS_CA_FILE")
    """Certificate authority of RabbitMQ and Redis, if not a public one; only used where they are reached over TLS."""
    state_prefix: str = Field("wsc:", alias="STATE_PREFIX")
    """Prefix of our own Redis keys; the contract's channels and keys have none."""

    @field_validator("redis_host", "rabbit_host", mode="after")
    @classmethod
    def _without_scheme(cls, values: tuple[str, ...]) -> tuple[str, ...]:
        # An old sample file wrote http://localhost (contract 7.1).
        return tuple(host(value.split("://", 1)[-1].strip().rstrip("/")) for value in values)

    @field_validator("rabbit_url", mode="after")
    @classmethod
    def _amqp(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None:
            read_url(value.get_secret_value(), AMQP_PORTS, AMQP_FORM)
        return value

    @field_validator("redis_url", mode="after")
    @classmethod
    def _resp(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None:
            path = read_url(value.get_secret_value(), REDIS_PORTS, REDIS_FORM).path
            if path and not (path.isascii() and path.isdigit()):
                raise ValueError("takes the number of a database behind the slash")
        return value

    @field_validator("redis_sentinels", mode="after")
    @classmethod
    def _sentinels(cls, values: tuple[str, ...]) -> tuple[str, ...]:
        read_hosts(values, SENTINEL_PORT)
        return values

    @model_validator(mode="after")
    def _said_once(self) -> ServerSettings:
        for url, address in (("RABBIT_URL", self._rabbit_address), ("REDIS_URL", self._redis_address)):
            if address is not None:
                self._beside(url, address)
        return self

    def _beside(self, url: str, address: Address) -> None:
        """Refuse settings that the URL says, too: one of the two would be forgotten when the server moves."""
        name = url.removesuffix("_URL")
        said = {f"{name}_HOST", f"{name}_PORT", f"{name}_TLS"}
        said |= {f"{name}_USER"} if address.user is not None else set()
        said |= {f"{name}_PASSWORD"} if address.password is not None else set()
        said |= {"RABBIT_VHOST", "REDIS_DB"} if address.path else set()
        fields = {field.alias: key for key, field in type(self).model_fields.items()}
        twice = sorted(alias for alias in said if fields[alias] in self.model_fields_set)
        if twice:
            raise ValueError(f"{url}: says what {', '.join(twice)} says, too; set one of them")

    @model_validator(mode="after")
    def _one_way_to_redis(self) -> ServerSettings:
        hosts = self._redis_address.hosts if self._redis_address is not None else self.redis_host
        if self.redis_sentinels and self.redis_cluster:
            raise ValueError("REDIS_SENTINELS, REDIS_CLUSTER: a cluster needs no sentinels; set one of them")
        if self.redis_sentinels and hosts:
            named = "REDIS_URL" if self.redis_url is not None else "REDIS_HOST"
            raise ValueError(f"REDIS_SENTINELS, {named}: the sentinels say which server is the master; set one of them")
        if len(hosts) > 1 and not self.redis_cluster:
            named = "REDIS_URL" if self.redis_url is not None else "REDIS_HOST"
            raise ValueError(f"{named}: {_ONE_REDIS}")
        if self.redis_cluster and not hosts:
            raise ValueError("REDIS_CLUSTER: needs some nodes of the cluster in REDIS_HOST or REDIS_URL")
        if self.redis_cluster and self.redis.db:
            raise ValueError("REDIS_CLUSTER: a cluster has database 0 only (REDIS_DB, REDIS_URL)")
        return self

    @property
    def _rabbit_address(self) -> Address | None:
        url = self.rabbit_url
        return None if url is None else read_url(url.get_secret_value(), AMQP_PORTS, AMQP_FORM)

    @property
    def _redis_address(self) -> Address | None:
        url = self.redis_url
        return None if url is None else read_url(url.get_secret_value(), REDIS_PORTS, REDIS_FORM)

    @property
    def names_rabbit(self) -> bool:
        """Whether any setting says where RabbitMQ is."""
        return self.rabbit_url is not None or bool(self.rabbit_host)

    @property
    def names_redis(self) -> bool:
        """Whether any setting says where Redis is."""
        return self.redis_url is not None or bool(self.redis_host or self.redis_sentinels)

    @property
    def rabbit(self) -> RabbitPlace:
        """Where RabbitMQ is; this machine if no setting says it."""
        address = self._rabbit_address
        hosts = tuple(Host(name, self.rabbit_port) for name in self.rabbit_host or (LOCALHOST,))
        user, password, vhost = self.rabbit_user, self.rabbit_password.get_secret_value(), self.rabbit_vhost
        if address is not None:
            hosts, vhost = address.hosts, address.path or vhost
            user = user if address.user is None else address.user
            password = password if address.password is None else address.password
        return RabbitPlace(
            hosts=hosts,
            user=user,
            password=password,
            vhost=vhost,
            tls=self.rabbit_tls if address is None else address.tls,
            ca_file=self.tls_ca_file,
        )

    @property
    def redis(self) -> RedisPlace:
        """Where Redis is; this machine if no setting says it."""
        address = self._redis_address
        hosts = tuple(Host(name, self.redis_port) for name in self.redis_host or (LOCALHOST,))
        user, password, db = self.redis_user, _text(self.redis_password), self.redis_db
        if address is not None:
            hosts, db = address.hosts, int(address.path or db)
            user = user if address.user is None else address.user
            password = password if address.password is None else address.password
        return RedisPlace(
            hosts=hosts,
            user=user,
            password=password,
            db=db,
            tls=self.redis_tls if address is None else address.tls,
            ca_file=self.tls_ca_file,
            sentinels=read_hosts(self.redis_sentinels, SENTINEL_PORT),
            master=self.redis_master,
            sentinel_user=self.redis_sentinel_user,
            sentinel_password=_text(self.redis_sentinel_password),
            cluster=self.redis_cluster,
        )

    @property
    def server_secrets(self) -> tuple[str, ...]:
        """What no log may show."""
        urls = (_text(self.rabbit_url), _text(self.redis_url))
        return (*urls, self.rabbit.password, self.redis.password, self.redis.sentinel_password)


def _text(secret: SecretStr | None) -> str:
    return "" if secret is None else secret.get_secret_value()
