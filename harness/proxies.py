"""Real proxies for tests, each a process of its own: SOCKS5 and HTTP of pproxy, HTTP CONNECT of proxy.py."""

from __future__ import annotations

import socket
import subprocess
import sys
from types import TracebackType
from typing import Final, Literal, Self

from harness.servers import free_port, wait_for

Kind = Literal["socks5", "http", "proxy.py"]
START_S: Final = 30.0


class RealProxy:
    """Runs from its construction until `kill` or the end of its context. With a user it lets nobody else through."""

    def __init__(self, kind: Kind, user: str = "", password: str = "", port: int = 0) -> None:
        self.port = port or free_port()
        self.label = f"{'socks5' if kind == 'socks5' else 'http'}://127.0.0.1:{self.port}"
        login = f"{user}:{password}@" if user else ""
        self.url = self.label.replace("://", f"://{login}")
        if kind == "proxy.py":
            command = ["-m", "proxy", "--hostname", "127.0.0.1", "--port", str(self.port)]
            command += ["--num-workers", "1", "--num-acceptors", "1", "--log-level", "ERROR"]
            command += ["--basic-auth", f"{user}:{password}"] if user else []
        else:
            command = ["-m", "pproxy", "-l", f"{self.label}{f'#{user}:{password}' if user else ''}"]
        self._process = subprocess.Popen(
            [sys.executable, *command], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
        )
        try:
            wait_for(self._listens, START_S, f"{kind} listens")
        except BaseException:
            self.kill()
            raise

    def _listens(self) -> bool:
        assert self._process.poll() is None, "the proxy ended"
        with socket.socket() as sock:
            return sock.connect_ex(("127.0.0.1", self.port)) == 0

    def kill(self) -> None:
        """As if its host had gone: every connection through it is reset."""
        self._process.kill()
        self._process.wait(START_S)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()
