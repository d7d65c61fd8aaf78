"""A place of one's own on real servers, so that runs don't see each other: a Redis process, a RabbitMQ virtual host."""

from __future__ import annotations

import os
import random
import shutil
import socket
import subprocess
import tempfile
import time
import uuid
from collections.abc import Callable
from pathlib import Path

import pika
import pika.exceptions
import redis


def free_port() -> int:
    """A port that nobody listens on, outside the range from which outgoing connections take theirs."""
    while True:
        port = random.randint(20_000, 32_000)
        with socket.socket() as sock:
            try:
                sock.bind(("127.0.0.1", port))
            except OSError:
                continue
        return port


def listens(port: int) -> bool:
    """Whether somebody on this host takes connections on a port."""
    try:
        with socket.create_connection(("127.0.0.1", port), 1.0):
            return True
    except OSError:
        return False


def wait_for(condition: Callable[[], object], timeout_s: float, what: str, every_s: float = 0.02) -> object:
    """Poll until `condition` gives something true; its value. Raises `TimeoutError` naming `what`."""
    deadline = time.monotonic() + timeout_s
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() >= deadline:
            raise TimeoutError(f"{what} did not happen within {timeout_s} s")
        time.sleep(every_s)


class PrivateRedis:
    """A `redis-server` without persistence on a free port. `restart` forgets everything, like the platform's Redis."""

    def __init__(self, *options: str, sentinel: str = "", password: str = "") -> None:
        """`options`: more of the command line. `sentinel`: the configuration of a sentinel instead."""
        binary = shutil.which("redis-server")
        if binary is None:
            raise RuntimeError("redis-server is not installed (Debian package redis-server)")
        self._binary = binary
        self._folder = tempfile.mkdtemp(prefix="redis-")
        self._options, self._sentinel, self._password = options, sentinel, password
        self.host, self.port = "127.0.0.1", free_port()
        self._process: subprocess.Popen[bytes] | None = None
        self.start()

    def start(self) -> None:
        arguments = ["--port", str(self.port), "--bind", self.host, "--dir", self._folder]
        if self._sentinel:
            # It writes down what it finds out.
            config = Path(self._folder) / "sentinel.conf"
            config.write_text(self._sentinel)
            arguments = [str(config), "--sentinel", *arguments]
        else:
            arguments += ["--save", "", "--appendonly", "no", *self._options]
            arguments += ["--requirepass", self._password, "--masterauth", self._password] if self._password else []
        self._process = subprocess.Popen(
            [self._binary, *arguments], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        wait_for(self._answers, 10.0, "redis-server answering")

    def _answers(self) -> bool:
        try:
            with self.client() as client:
                return bool(client.ping())
        except redis.RedisError:
            return False

    def client(self) -> redis.Redis:
        return redis.Redis(
            host=self.host,
            port=self.port,
            password=self._password or None,
            socket_timeout=5.0,
            socket_connect_timeout=5.0,
        )

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait(10.0)
            self._process = None

    def restart(self, away_s: float = 0.0) -> None:
        self.kill()
        time.sleep(away_s)
        self.start()

    def stop(self) -> None:
        self.kill()
        shutil.rmtree(self._folder, ignore_errors=True)


class Rabbit:
    """The RabbitMQ that RABBIT_HOST names (default: this machine), in a virtual host of its own where that can be made."""

    def __init__(self) -> None:
        self.host = os.environ.get("RABBIT_HOST", "") or "127.0.0.1"
        self.port = int(os.environ.get("RABBIT_PORT", "") or 5672)
        self.user = os.environ.get("RABBIT_USER", "") or "guest"
        self.password = os.environ.get("RABBIT_PASSWORD", "") or "guest"
        self._users: set[str] = set()
        self.vhost = self._made = f"run-{uuid.uuid4().hex[:10]}"
        self._own = self._ctl("add_vhost", self.vhost) and self._ctl(
            "set_permissions", "-p", self.vhost, self.user, ".*", ".*", ".*"
        )
        if not self._own or not self._reachable():
            self.vhost = "/"

    @staticmethod
    def _ctl(*arguments: str) -> bool:
        binary = shutil.which("rabbitmqctl")
        if binary is None:
            return False
        node = os.environ.get("RABBITMQ_NODENAME")
        command = [binary, *(["-n", node] if node else []), "-q", *arguments]
        return subprocess.run(command, capture_output=True, timeout=60, check=False).returncode == 0

    def _reachable(self) -> bool:
        """Whether the virtual host is there: `rabbitmqctl` may have spoken to another node than RABBIT_HOST's."""
        try:
            self.connect("look").close()
        except pika.exceptions.AMQPError:
            return False
        return True

    def connect(self, name: str = "stand-in backend", heartbeat: int = 60) -> pika.BlockingConnection:
        """`heartbeat` in seconds; 0 = none, for a thread that does no I/O for minutes."""
        return pika.BlockingConnection(
            pika.ConnectionParameters(
                self.host,
                self.port,
                self.vhost,
                pika.PlainCredentials(self.user, self.password),
                client_properties={"connection_name": name},
                heartbeat=heartbeat,
                blocked_connection_timeout=30,
            )
        )

    def env(self) -> dict[str, str]:
        return {
            "RABBIT_HOST": self.host,
            "RABBIT_PORT": str(self.port),
            "RABBIT_USER": self.user,
            "RABBIT_PASSWORD": self.password,
            "RABBIT_VHOST": self.vhost,
        }

    def allow(self, name: str, password: str) -> bool:
        """A user of the virtual host, or a new password for one; False where `rabbitmqctl` can't make it."""
        made = self._ctl("add_user", name, password) or self._ctl("change_password", name, password)
        self._users.add(name)
        return made and self._ctl("set_permissions", "-p", self.vhost, name, ".*", ".*", ".*")

    def drop_connections(self) -> bool:
        """Close every client connection of the virtual host, as a broker restart would."""
        return self._ctl("close_all_connections", "-p", self.vhost, "closed by the test")

    def stop(self) -> None:
        for name in sorted(self._users):
            self._ctl("delete_user", name)
        if self._own:
            self._ctl("delete_vhost", self._made)


ROOT = Path(__file__).resolve().parent.parent
