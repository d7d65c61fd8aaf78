"""`RedisState` over a real server and real sockets."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import threading
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import pytest
import redis
from cryptography.fernet import Fernet

from connector.core.errors import StateUnavailable
from connector.core.places import Host, RedisPlace
from connector.core.ports import State
from connector.core.settings import Settings
from connector.core.window import SLICES
from connector.state._listener import Listener
from connector.state.redis_state import KEEP_BUCKET_MS, RedisState
from connector.state.vault import Vault
from exchanges.credentials import credentials
from tests.unit.connector.state.backing import NOW, Heard, eventually, opened, want
from tests.unit.connector.state.promises import Promises

pytestmark = pytest.mark.integration

PLACE = Settings.from_env(os.environ).redis
CANARY = "canary-77ab"


class ServerBacking:
    """Unique prefixes on the server that everybody shares."""

    def __init__(self) -> None:
        self.run = uuid.uuid4().hex
        self.prefix = f"test-{self.run}:"
        self.admin_prefix = f"test-admin-{self.run}:"
        self.client: Any = redis.Redis(*PLACE.hosts[0], password=PLACE.password or None, socket_timeout=5)
        self._vault = Vault.from_setting(Fernet.generate_key().decode())
        self._built: list[RedisState] = []

    def state(self) -> State:
        connection = replace(PLACE, name=self.run)
        state = RedisState(
            connection, prefix=self.prefix, admin_prefix=self.admin_prefix, vault=self._vault, socket_timeout_s=5
        )
        self._built.append(state)
        return state

    def stored(self) -> list[bytes]:
        return [
            key
            for prefix in (self.prefix, self.admin_prefix)
            for key in self.client.scan_iter(f"{prefix}*", count=1000)
        ]

    def flush(self) -> None:
        keys = self.stored()
        if keys:
            self.client.delete(*keys)

    def evict(self, key: str) -> None:
        assert self.client.delete(f"{self.prefix}{key}")

    def enable_exchanges(self, text: str | None) -> None:
        name = f"{self.admin_prefix}enabled_exchanges"
        if text is None:
            self.client.delete(name)
        else:
            self.client.set(name, text)
        self.client.publish(f"{self.admin_prefix}config", "changed")

    def kill_connections(self) -> int:
        """Cut the connections of this test's states, as a restarting server does."""
        mine = [client["id"] for client in self.client.client_list() if client["name"] == self.run]
        for number in mine:
            self.client.client_kill_filter(_id=number)
        return len(mine)

    def end(self) -> None:
        for state in self._built:
            state.close_connections()
        self.flush()
        self.client.close()


@pytest.fixture
def backing() -> Iterator[ServerBacking]:
    backing = ServerBacking()
    yield backing
    backing.end()


class TestRedisServer(Promises):
    """Over the real server."""


def test_raw_content_holds_no_secret(backing: ServerBacking) -> None:
    state = backing.state()
    state.open("s1", "kraken", "u", credentials(f"{CANARY}k", f"{CANARY}s", f"{CANARY}p"), NOW)
    state.remember(want(state))

    dumps = [backing.client.dump(key) + key for key in backing.stored()]

    assert len(dumps) >= 2
    assert not any(CANARY.encode() in dump for dump in dumps)
    assert backing.client.hget(f"{backing.prefix}stream:s1", "sealed").startswith(b"gAAAA")


def test_a_cut_subscription_heals_and_asks_to_resync(backing: ServerBacking) -> None:
    state, heard = backing.state(), Heard()
    stop = state.listen("w1", heard)

    assert backing.kill_connections() >= 1
    heard.wait_for("resync")
    state.notify("w1", "after")

    heard.wait_for("after")
    assert heard.texts == ["resync", "after"]
    stop()


def test_pooled_connections_that_the_server_cut_are_replaced_unnoticed(backing: ServerBacking) -> None:
    state = backing.state()
    opened(state)
    assert backing.kill_connections() >= 1

    assert opened(state).wanted is not None


def test_who_stopped_listening_or_died_is_known_not_to_listen(backing: ServerBacking) -> None:
    state = backing.state()
    stop, _ = state.listen("w1", Heard()), backing.state().listen("w2", Heard())
    assert state.listening() == {"w1", "w2"}
    stop()
    eventually(lambda: state.listening() == {"w2"})


def test_another_database_is_another_world(backing: ServerBacking) -> None:
    opened(backing.state())
    elsewhere = RedisState(replace(PLACE, db=1), prefix=backing.prefix)

    assert elsewhere.wanted_ids() == set()
    elsewhere.close_connections()


def test_a_closed_port_is_state_unavailable() -> None:
    with socket.socket() as reserved:
        reserved.bind(("127.0.0.1", 0))
        state = RedisState(RedisPlace(hosts=(Host(*reserved.getsockname()),)), prefix="t:")

        with pytest.raises(StateUnavailable, match="ConnectionError"):
            opened(state)
        assert state.ping() is False


def test_a_server_that_never_answers_is_state_unavailable() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = RedisPlace(hosts=(Host(*silent.getsockname()),))
        state = RedisState(address, prefix="t:", socket_timeout_s=0.1, connect_timeout_s=0.1)

        with pytest.raises(StateUnavailable, match="TimeoutError"):
            opened(state)
        state.close_connections()


def test_a_wrong_password_is_state_unavailable_and_not_shown(backing: ServerBacking) -> None:
    state = RedisState(replace(PLACE, password=f"{CANARY}-password"), prefix=backing.prefix)

    with pytest.raises(StateUnavailable) as caught:
        opened(state)

    assert CANARY not in str(caught.value)
    assert CANARY not in repr(state)
    state.close_connections()


def test_tls_to_a_server_without_tls_is_state_unavailable(backing: ServerBacking) -> None:
    state = RedisState(replace(PLACE, tls=True), prefix=backing.prefix)

    with pytest.raises(StateUnavailable):
        opened(state)
    state.close_connections()


class _Private:
    """A server of this test alone, without a disk, that can be killed and started again."""

    def __init__(self) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.start()

    def start(self) -> None:
        command = ["redis-server", "--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
        self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        with redis.Redis(port=self.port) as client:
            eventually(lambda: _answers(client))

    def kill(self) -> None:
        self._process.kill()
        self._process.wait(10)


def _answers(client: redis.Redis) -> bool:
    try:
        return bool(client.ping())
    except redis.ConnectionError:
        return False


@pytest.mark.skipif(shutil.which("redis-server") is None, reason="needs the redis-server program")
def test_a_server_that_was_killed_comes_back_empty_and_is_filled_again() -> None:
    server, heard = _Private(), Heard()
    state = RedisState(
        RedisPlace(hosts=(Host("127.0.0.1", server.port),)), vault=Vault([Fernet.generate_key().decode()])
    )
    stop = state.listen("w1", heard)
    epoch = state.begin_epoch(NOW)
    opened(state)
    opened(state)
    held, leases = want(state), state.claim(["s1"], "w1", 60)

    server.kill()
    with pytest.raises(StateUnavailable):
        opened(state)
    with pytest.raises(StateUnavailable):
        state.renew(leases, "w1", 60)
    server.start()
    heard.wait_for("resync")

    assert state.wanted_ids() == set()
    assert state.renew(leases, "w1", 60) == set()
    state.remember(held)
    assert want(state) == held
    applied = opened(state)
    assert applied.wanted is not None
    assert (applied.wanted.count, applied.wanted.epoch, applied.owner) == (3, epoch, "w1")
    assert state.begin_epoch(NOW - 1) > epoch
    stop()
    state.close_connections()
    server.kill()


class _Deaf:
    """Confirms subscriptions, then neither answers a PING nor closes: a connection whose other end has gone."""

    def __init__(self) -> None:
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port = self._socket.getsockname()[1]
        self.subscribed = 0
        self._connections: list[socket.socket] = []
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            self._connections.append(connection)
            received = b""
            while b"SUBSCRIBE" not in received or not received.endswith(b"chan\r\n"):
                more = connection.recv(4096)
                if not more:
                    return
                received += more
                if b"CLIENT" in received:
                    connection.sendall(b"+OK\r\n")
                    received = b""
            self.subscribed += 1
            connection.sendall(b"*3\r\n$9\r\nsubscribe\r\n$4\r\nchan\r\n:1\r\n")

    def end(self) -> None:
        # A close alone does not wake a thread in accept().
        self._socket.shutdown(socket.SHUT_RDWR)
        self._thread.join(5)
        for open_socket in [self._socket, *self._connections]:
            open_socket.close()


def test_a_subscription_whose_server_fell_silent_is_given_up() -> None:
    deaf, heard = _Deaf(), Heard()
    client = redis.Redis(host="127.0.0.1", port=deaf.port, socket_timeout=2, protocol=2, driver_info=None)
    listener = Listener(client, {"chan": None}, heard, name="deaf", ping_s=0.2)
    try:
        listener.start(5)

        heard.wait_for("resync")

        assert deaf.subscribed >= 2
    finally:
        listener.stop()
        client.close()
        deaf.end()


def test_opens_and_closes_from_many_processes_end_where_they_should(backing: ServerBacking) -> None:
    states = [backing.state() for _ in range(4)]
    opened(states[0])

    def work(state: State) -> None:
        for _ in range(50):
            opened(state)
            state.restart("s1")
            state.close("s1")

    threads = [threading.Thread(target=work, args=[state]) for state in states]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)

    final = want(states[0])
    assert (final.count, final.generation) == (1, 200)
    eventually(lambda: not any(thread.is_alive() for thread in threads))


def test_a_bucket_stays_small_and_lapses_by_itself(backing: ServerBacking) -> None:
    state = backing.state()
    for at in range(3000):
        assert state.take("busy", 1, 6000, 60.0, NOW + at * 30) == 0

    [key] = backing.stored()
    assert sorted(backing.client.hkeys(key)) == [b"since", b"slices"]
    assert backing.client.hget(key, "slices").count(b":") <= SLICES + 1
    assert backing.client.memory_usage(key) < 3000
    assert 60_000 < backing.client.pttl(key) <= KEEP_BUCKET_MS + 60_000


def test_processes_that_ask_at_once_get_the_count_and_no_more(backing: ServerBacking) -> None:
    states = [backing.state() for _ in range(4)]

    def greedy(i: int) -> int:
        return sum(states[i].take("b", 1, 100, 60.0, NOW + at % 50) == 0 for at in range(100))

    with ThreadPoolExecutor(4) as pool:
        granted = list(pool.map(greedy, range(4)))

    assert sum(granted) == 100
    assert 59_000 < states[0].take("b", 1, 100, 60.0, NOW + 50) <= 60_000
