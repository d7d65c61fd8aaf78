"""Hosts on this machine: network namespaces with an address and a host name of their own, and servers that they all reach.

Needs root and `ip` (Debian: iproute2). Nothing leaves the machine: the namespaces have no way out but to these addresses.
"""

from __future__ import annotations

import os
import secrets
import shutil
import subprocess
from collections.abc import Sequence
from types import TracebackType
from typing import Final, Self

NET: Final = "10.231"
SERVERS: Final = {"redis": f"{NET}.0.1", "rabbit": f"{NET}.0.2", "venues": f"{NET}.0.3"}
"""Addresses of what all hosts reach."""


def _ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, capture_output=True, timeout=20)


def permitted() -> bool:
    """Whether namespaces can be made here."""
    if os.geteuid() != 0 or shutil.which("ip") is None or shutil.which("unshare") is None:
        return False
    name = f"wsc-try-{secrets.token_hex(3)}"
    try:
        _ip("netns", "add", name)
        _ip("netns", "del", name)
    except (subprocess.SubprocessError, OSError):
        return False
    return True


class Host:
    """One host: its namespace, and the pair of interfaces that joins it with ours."""

    def __init__(self, name: str, number: int, run: str) -> None:
        self.name, self.address = name, f"{NET}.{number}.2"
        self._space, self._link = f"wsc-{run}-{name}", f"w{run}{number}"
        _ip("netns", "add", self._space)
        _ip("link", "add", self._link, "type", "veth", "peer", "name", "eth0", "netns", self._space)
        _ip("addr", "add", f"{NET}.{number}.1/24", "dev", self._link)
        _ip("link", "set", self._link, "up")
        self._inside("addr", "add", f"{self.address}/24", "dev", "eth0")
        self._inside("link", "set", "eth0", "up")
        self._inside("link", "set", "lo", "up")
        self._inside("route", "add", f"{NET}.0.0/24", "via", f"{NET}.{number}.1")

    def _inside(self, *arguments: str) -> None:
        _ip("-n", self._space, *arguments)

    @property
    def within(self) -> Sequence[str]:
        """What runs a command on this host."""
        named = f'hostname {self.name} && exec "$@"'
        return ("ip", "netns", "exec", self._space, "unshare", "--uts", "sh", "-c", named, "sh")

    def cut_from(self, server: str) -> None:
        """Packets to this server vanish."""
        self._inside("route", "add", "blackhole", f"{SERVERS[server]}/32")

    def mend(self, server: str) -> None:
        self._inside("route", "del", "blackhole", f"{SERVERS[server]}/32")

    def close(self) -> None:
        subprocess.run(["ip", "netns", "del", self._space], check=False, capture_output=True, timeout=20)


class Lan:
    """Hosts, and the addresses of servers. Use as a context manager."""

    def __init__(self, *names: str) -> None:
        run = secrets.token_hex(2)
        self.hosts: dict[str, Host] = {}
        try:
            for address in SERVERS.values():
                _ip("addr", "add", f"{address}/32", "dev", "lo")
            for number, name in enumerate(names, start=1):
                self.hosts[name] = Host(name, number, run)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        for host in self.hosts.values():
            host.close()
        for address in SERVERS.values():
            undo = ["ip", "addr", "del", f"{address}/32", "dev", "lo"]
            subprocess.run(undo, check=False, capture_output=True, timeout=20)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
