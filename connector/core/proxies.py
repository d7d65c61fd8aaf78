"""Proxies towards exchanges as settings tell them: their forms, and which hosts the standard variables leave out. Pure.

A proxy is shown as `scheme://host:port` only: whoever it lets in is nobody else's business.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Literal
from urllib.parse import SplitResult, unquote, urlsplit

DIRECT: Final = "direct"
"""In a list of proxies: without one."""
OF_VENUE: Final = "PROXY_"
"""Before the name of an exchange in capitals: the variable with the proxies towards this one."""
TAKES: Final = "takes http://host:port or socks5://host:port, with user:password@ before the host where it wants them"
_SCHEMES: Final[dict[str, Literal["http", "socks5"]]] = {"http": "http", "socks5": "socks5", "socks5h": "socks5"}
_PORTS: Final = {"http": 80, "socks5": 1080}
_LONGEST_CREDENTIAL: Final = 255
"""Bytes of a user name or a password in SOCKS5 (RFC 1929)."""


@dataclass(frozen=True, slots=True)
class Proxy:
    """One proxy. Names of exchanges are resolved by it, never here: `socks5` means what others call `socks5h`."""

    scheme: Literal["http", "socks5"]
    host: str
    port: int
    user: str = field(default="", repr=False)
    password: str = field(default="", repr=False)

    @property
    def label(self) -> str:
        """For people, logs and ledgers: without user and password."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}:{self.port}"

    def __str__(self) -> str:
        return self.label


@dataclass(frozen=True, slots=True)
class Standard:
    """What `HTTPS_PROXY`, `ALL_PROXY` and `NO_PROXY` say."""

    https: Proxy | None = None
    every: Proxy | None = None
    exempt: str = ""

    def proxy_for(self, host: str, port: int, *, secure: bool) -> Proxy | None:
        """`HTTPS_PROXY` is for `https` and `wss`, `ALL_PROXY` for what has none of its own. This host needs none."""
        proxy = self.https if secure and self.https is not None else self.every
        return None if proxy is None or _is_here(host) or exempted(self.exempt, host, port) else proxy


@dataclass(frozen=True, slots=True)
class Ways:
    """The ways out to the exchanges that a deployment has: our own addresses, proxies, proxies for single venues."""

    ips: tuple[str, ...] = ()
    proxies: tuple[Proxy | None, ...] = ()
    """None = without a proxy."""
    venues: Mapping[str, tuple[Proxy | None, ...]] = field(default_factory=dict)
    standard: Standard = field(default_factory=Standard)
    unused: tuple[str, ...] = ()
    """Variables that look as if they named a venue, and name none."""

    def said(self) -> str:
        """One line for people: every setting of proxies with what it means; empty if there is none."""
        said = [f"EGRESS_PROXIES: {_shown(self.proxies)}"] if self.proxies else []
        said += [f"{OF_VENUE}{venue.upper()}: {_shown(proxies)}" for venue, proxies in self.venues.items()]
        pairs = (("HTTPS_PROXY", self.standard.https), ("ALL_PROXY", self.standard.every))
        standard = [f"{name}: {proxy}" for name, proxy in pairs if proxy is not None]
        if standard and (self.ips or self.proxies):
            standard.append("neither is used: EGRESS_IPS and EGRESS_PROXIES come first")
        elif standard and self.standard.exempt:
            standard.append(f"NO_PROXY: {self.standard.exempt}")
        if self.unused:
            standard.append(f"not used, because no exchange has this name: {', '.join(self.unused)}")
        return "; ".join(said + standard)


def _shown(proxies: tuple[Proxy | None, ...]) -> str:
    return ", ".join(proxy.label if proxy is not None else DIRECT for proxy in proxies)


def read_proxy(text: str) -> Proxy:
    """A proxy from its URL; without a scheme it is an HTTP proxy. Raises `ValueError` that says what it takes."""
    url = text.strip()
    try:
        parts = urlsplit(url if "://" in url else f"http://{url}")
        host, port = parts.hostname or "", parts.port
    except ValueError:
        raise ValueError(TAKES) from None
    scheme = _SCHEMES.get(parts.scheme.lower())
    if scheme is None:
        raise ValueError(f"{TAKES}; others ({parts.scheme[:12]}) are not spoken")
    if not _is_host(host) or port == 0 or parts.path.strip("/") or parts.query or parts.fragment:
        raise ValueError(TAKES)
    return Proxy(scheme, host, port or _PORTS[scheme], *_credentials(parts))


def _credentials(parts: SplitResult) -> tuple[str, str]:
    user, password = unquote(parts.username or ""), unquote(parts.password or "")
    if max(len(user.encode()), len(password.encode())) > _LONGEST_CREDENTIAL or not (user + password).isprintable():
        raise ValueError(f"{TAKES}; user and password are printable and have at most {_LONGEST_CREDENTIAL} bytes each")
    if password and not user:
        raise ValueError(f"{TAKES}; this one has a password and no user")
    return user, password


def _is_host(host: str) -> bool:
    return bool(host) and host.isprintable() and not set(host) & set(" /@?#%\\,")


def read_proxies(text: str) -> tuple[Proxy | None, ...]:
    """A comma list of proxies and `direct`. Raises `ValueError` with the place in the list, never with its text."""
    found: list[Proxy | None] = []
    for number, part in enumerate((part.strip() for part in text.split(",")), start=1):
        if not part:
            continue
        try:
            proxy = None if part.lower() == DIRECT else read_proxy(part)
        except ValueError as error:
            raise ValueError(f"entry {number} {error}, or direct") from None
        if proxy in found:
            raise ValueError(f"entry {number} stands there already: its connections would be counted twice")
        found.append(proxy)
    if not found:
        raise ValueError(f"{TAKES}, or direct; several are separated by commas")
    return tuple(found)


def exempted(exempt: str, host: str, port: int) -> bool:
    """Whether `NO_PROXY` covers a host: names with all that is below them, `name:port`, addresses, networks, or `*`."""
    name = host.lower().rstrip(".")
    address = _address(name)
    for entry in exempt.lower().replace(",", " ").split():
        if entry == "*" or (address is not None and _in_network(address, entry)):
            return True
        suffix, colon, only = entry.rpartition(":") if entry.count(":") == 1 else (entry, "", "")
        if colon and only != str(port):
            continue
        suffix = suffix.removeprefix("*").strip(".")
        if suffix and (name == suffix or name.endswith(f".{suffix}")):
            return True
    return False


def _is_here(host: str) -> bool:
    address = _address(host)
    return host.lower().rstrip(".") == "localhost" or (address is not None and address.is_loopback)


def _address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(text.strip("[]"))
    except ValueError:
        return None


def _in_network(address: ipaddress.IPv4Address | ipaddress.IPv6Address, entry: str) -> bool:
    try:
        network = ipaddress.ip_network(entry.strip("[]"), strict=False)
    except ValueError:
        return False
    return address in network
