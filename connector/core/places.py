"""Where RabbitMQ and Redis are, as the settings say it: hosts, user, database, TLS, Sentinel, Cluster. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final, NamedTuple
from urllib.parse import SplitResult, unquote, urlsplit

from connector.core.setting_forms import host as checked_host

LOCALHOST: Final = "127.0.0.1"
AMQP_PORTS: Final = {"amqp": 5672, "amqps": 5671}
REDIS_PORTS: Final = {"redis": 6379, "rediss": 6379}
SENTINEL_PORT: Final = 26379
AMQP_FORM: Final = (
    "amqp://user:password@host:port/vhost, with amqps:// for TLS, and several hosts as host:port,host:port"
)
REDIS_FORM: Final = "redis://user:password@host:port/database, with rediss:// for TLS"


class Host(NamedTuple):
    name: str
    port: int

    def __str__(self) -> str:
        return f"[{self.name}]:{self.port}" if ":" in self.name else f"{self.name}:{self.port}"


@dataclass(frozen=True, slots=True, kw_only=True)
class RabbitPlace:
    """A broker: one host, or several nodes of one cluster, of which the next is taken when one does not answer."""

    hosts: tuple[Host, ...] = (Host(LOCALHOST, AMQP_PORTS["amqp"]),)
    user: str = "guest"
    password: str = field(default="guest", repr=False)
    vhost: str = "/"
    tls: bool = False
    ca_file: str = ""
    """Certificate authority, if not a public one."""

    def __str__(self) -> str:
        return ", ".join(map(str, self.hosts))


@dataclass(frozen=True, slots=True, kw_only=True)
class RedisPlace:
    """A Redis: one server, the master that Sentinel names (`sentinels`), or a Cluster of which `hosts` are some nodes."""

    hosts: tuple[Host, ...] = (Host(LOCALHOST, REDIS_PORTS["redis"]),)
    user: str = ""
    password: str = field(default="", repr=False)
    db: int = 0
    tls: bool = False
    ca_file: str = ""
    sentinels: tuple[Host, ...] = ()
    master: str = ""
    """How Sentinel calls the master."""
    sentinel_user: str = ""
    sentinel_password: str = field(default="", repr=False)
    cluster: bool = False
    name: str = ""
    """What `CLIENT LIST` shows of our connections."""

    def __str__(self) -> str:
        if self.sentinels:
            return f"the master {self.master} of the sentinels {', '.join(map(str, self.sentinels))}"
        return ("the cluster of " if self.cluster else "") + ", ".join(map(str, self.hosts))


class Address(NamedTuple):
    """What a URL says of a server; None and empty = it does not."""

    tls: bool
    hosts: tuple[Host, ...]
    user: str | None
    password: str | None
    path: str


def read_url(url: str, ports: dict[str, int], form: str) -> Address:
    """`scheme://user:password@host:port,host:port/path`. Raises `ValueError` saying what is taken, never what was given."""
    try:
        parts = urlsplit(url.strip())
        if parts.scheme not in ports or parts.query or parts.fragment:
            raise ValueError
        return _address(parts, ports)
    except ValueError:
        raise ValueError(
            f"takes {form}; letters like @ : / in names and passwords are written as %40 %3A %2F"
        ) from None


def _address(parts: SplitResult, ports: dict[str, int]) -> Address:
    login, _, places = parts.netloc.rpartition("@")
    user, colon, password = login.partition(":")
    return Address(
        tls=parts.scheme in {"amqps", "rediss"},
        hosts=read_hosts(places.split(","), ports[parts.scheme]),
        user=unquote(user, errors="strict") or None,
        password=unquote(password, errors="strict") if colon else None,
        path=unquote(parts.path.removeprefix("/"), errors="strict"),
    )


def read_hosts(texts: list[str] | tuple[str, ...], port: int) -> tuple[Host, ...]:
    """Each `host`, `host:port` or `[address]:port`. Raises `ValueError`."""
    return tuple(_host(text.strip(), port) for text in texts)


def _host(text: str, port: int) -> Host:
    parts = urlsplit(f"//{text}")
    if not parts.hostname or parts.netloc != text or parts.username is not None or parts.port == 0:
        raise ValueError("takes host:port, several separated by commas")
    return Host(checked_host(parts.hostname), parts.port or port)


def tagged(prefix: str) -> str:
    """A prefix of keys with a hash tag, which puts them all into one slot of a Redis Cluster; one that has a tag stays."""
    start = prefix.find("{")
    return prefix if start >= 0 and prefix.find("}", start + 2) > start else f"{{{prefix}}}"
