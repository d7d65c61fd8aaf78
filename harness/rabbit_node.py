"""A RabbitMQ node of one's own, which can really be restarted: free ports, all files in a temporary directory."""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path

import pika

from harness.servers import free_port, wait_for

START_TIMEOUT_S = 90.0
_PROGRAMS = ("/usr/lib/rabbitmq/bin/rabbitmq-server", "rabbitmq-server")
"""Debian's own wrapper changes the user and the directory; the script behind it does not."""


def program() -> str | None:
    """Where RabbitMQ's start script is, or None."""
    return next((found for name in _PROGRAMS if (found := shutil.which(name))), None)


class RabbitNode:
    """`start` on creation. Like `harness.servers.Rabbit` for whoever connects, plus `restart` and `kill`."""

    def __init__(self) -> None:
        found = program()
        if found is None:
            raise RuntimeError("rabbitmq-server is not installed (Debian package rabbitmq-server)")
        self._program = found
        self.host, self.port = "127.0.0.1", free_port()
        self.user = self.password = "guest"
        self.vhost = "/"
        self._home = Path(tempfile.mkdtemp(prefix="rabbit-"))
        self._epmd = free_port()
        (self._home / "log").mkdir()
        (self._home / "enabled_plugins").write_text("[].\n")
        (self._home / "rabbitmq.conf").write_text(
            f"listeners.tcp.1 = 127.0.0.1:{self.port}\ndisk_free_limit.absolute = 20MB\n"
        )
        home = str(self._home)
        self._environment = {
            **os.environ,
            "HOME": home,
            "ERL_EPMD_PORT": str(self._epmd),
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "ERL_CRASH_DUMP": "/dev/null",
            "RABBITMQ_NODENAME": f"node{secrets.token_hex(4)}@localhost",
            "RABBITMQ_DIST_PORT": str(free_port()),
            "RABBITMQ_CONF_ENV_FILE": "/dev/null",
            "RABBITMQ_CONFIG_FILE": f"{home}/rabbitmq",
            "RABBITMQ_ENABLED_PLUGINS_FILE": f"{home}/enabled_plugins",
            "RABBITMQ_MNESIA_BASE": f"{home}/mnesia",
            "RABBITMQ_LOG_BASE": f"{home}/log",
            "RABBITMQ_PID_FILE": f"{home}/pid",
        }
        self._process: subprocess.Popen[bytes] | None = None
        self.start()

    def start(self) -> None:
        with (self._home / "out").open("ab") as out:
            self._process = subprocess.Popen(
                [self._program], env=self._environment, stdout=out, stderr=out, start_new_session=True
            )
        wait_for(self._answers, START_TIMEOUT_S, "RabbitMQ answering", 0.1)

    def _answers(self) -> bool:
        """The protocol header gets a method frame once the node is up."""
        if self._process is not None and self._process.poll() is not None:
            raise RuntimeError("RabbitMQ ended: " + (self._home / "out").read_text(errors="replace")[-2000:])
        try:
            with socket.create_connection((self.host, self.port), 2.0) as sock:
                sock.sendall(b"AMQP\x00\x00\x09\x01")
                return sock.recv(1) == b"\x01"
        except OSError:
            return False

    def kill(self) -> None:
        """Like a power cut: what was not synced is gone."""
        process, self._process = self._process, None
        if process is not None:
            _signal_group(process.pid, signal.SIGKILL)
            process.wait(10.0)

    def restart(self, away_s: float = 0.0) -> None:
        """An orderly stop and start of the broker inside its node; durable queues and persistent messages survive."""
        self._control("stop_app")
        time.sleep(away_s)
        self._control("start_app")
        wait_for(self._answers, START_TIMEOUT_S, "RabbitMQ answering after its restart", 0.1)

    def alarm(self, *, on: bool) -> None:
        """The node's disk alarm: it reads nothing any more from connections that publish."""
        self._control("set_disk_free_limit", str(10**15) if on else "20MB")

    def _control(self, *arguments: str) -> None:
        binary = shutil.which("rabbitmqctl") or "rabbitmqctl"
        command = (
            ["/usr/lib/rabbitmq/bin/rabbitmqctl"] if Path("/usr/lib/rabbitmq/bin/rabbitmqctl").exists() else [binary]
        )
        subprocess.run([*command, "-q", *arguments], env=self._environment, capture_output=True, timeout=90, check=True)

    def connect(self, name: str = "stand-in backend", port: int | None = None) -> pika.BlockingConnection:
        return pika.BlockingConnection(
            pika.ConnectionParameters(
                self.host,
                port or self.port,
                self.vhost,
                pika.PlainCredentials(self.user, self.password),
                client_properties={"connection_name": name},
                heartbeat=60,
                blocked_connection_timeout=30,
                socket_timeout=5,
                stack_timeout=10,
            )
        )

    def env(self, port: int | None = None) -> dict[str, str]:
        """Settings for a service; `port`: of a proxy in front."""
        return {
            "RABBIT_HOST": self.host,
            "RABBIT_PORT": str(port or self.port),
            "RABBIT_USER": self.user,
            "RABBIT_PASSWORD": self.password,
            "RABBIT_VHOST": self.vhost,
        }

    def stop(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            _signal_group(process.pid, signal.SIGTERM)
            try:
                process.wait(20.0)
            except subprocess.TimeoutExpired:
                _signal_group(process.pid, signal.SIGKILL)
                process.wait(10.0)
        subprocess.run(
            ["epmd", "-port", str(self._epmd), "-kill"],
            env={**os.environ, "ERL_EPMD_PORT": str(self._epmd)},
            capture_output=True,
            timeout=10,
            check=False,
        )
        shutil.rmtree(self._home, ignore_errors=True)


def _signal_group(pid: int, number: int) -> None:
    try:
        os.killpg(pid, number)
    except ProcessLookupError:
        return
