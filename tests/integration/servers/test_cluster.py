"""Redis Cluster, three nodes: the state's keys at one of them, the platform's where they belong, channels everywhere."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from typing import Any

import pytest
from cryptography.fernet import Fernet

from cli import doctor
from connector.core.channels import LAST_EVENT_TIME, ORDERS
from connector.core.errors import StateUnavailable
from connector.core.messages import StreamClosed
from connector.core.places import tagged
from connector.core.ports import State
from connector.core.settings import Settings
from connector.sinks._redis_link import CLUSTER_EXPIRY_KEY
from connector.sinks.redis_pubsub import RedisSink
from connector.state.redis_state import RedisState
from connector.state.vault import Vault
from harness.redis_groups import ClusterGroup
from harness.servers import wait_for
from tests.integration.sinks.receivers import account, tickers
from tests.unit.connector.state.backing import opened
from tests.unit.connector.state.promises import Promises

pytestmark = pytest.mark.integration

WAIT_S = 20.0


@pytest.fixture(scope="module")
def group() -> Iterator[ClusterGroup]:
    with ClusterGroup() as group:
        yield group


class ClusterBacking:
    """Unique prefixes in the cluster that all tests share."""

    def __init__(self, group: ClusterGroup) -> None:
        self.group, run = group, uuid.uuid4().hex
        self.prefix, self.admin_prefix = f"test-{run}:", f"test-admin-{run}:"
        self.client: Any = group.client()
        self._vault = Vault.from_setting(Fernet.generate_key().decode())
        self._built: list[RedisState] = []

    def state(self) -> State:
        place = Settings.from_env(self.group.env()).redis
        state = RedisState(
            place, prefix=self.prefix, admin_prefix=self.admin_prefix, vault=self._vault, socket_timeout_s=5
        )
        self._built.append(state)
        return state

    def flush(self) -> None:
        for node in self.group.nodes:
            with node.client() as client:
                for key in client.scan_iter(f"*test-*{self.prefix[5:]}*", count=1000):
                    client.delete(key)

    def evict(self, key: str) -> None:
        assert self.client.delete(f"{tagged(self.prefix)}{key}")

    def enable_exchanges(self, text: str | None) -> None:
        name = f"{self.admin_prefix}enabled_exchanges"
        if text is None:
            self.client.delete(name)
        else:
            self.client.set(name, text)
        # At another node than the state's own keys, too: a cluster hands messages to all of them.
        for node in self.group.nodes[:1]:
            with node.client() as client:
                client.publish(f"{self.admin_prefix}config", "changed")

    def end(self) -> None:
        for state in self._built:
            state.close_connections()
        self.client.close()


@pytest.fixture
def backing(group: ClusterGroup) -> Iterator[ClusterBacking]:
    backing = ClusterBacking(group)
    yield backing
    backing.end()


class TestCluster(Promises):
    """Everything that every `State` promises."""


def test_all_keys_of_the_state_are_at_one_node(backing: ClusterBacking) -> None:
    opened(backing.state())
    home = backing.group.owner(tagged(backing.prefix))
    for node in backing.group.nodes:
        with node.client() as client:
            found = list(client.scan_iter(f"*{backing.prefix}*", count=1000))
        assert bool(found) == (node is home)
        assert all(key.startswith(tagged(backing.prefix).encode()) for key in found)


def test_a_slot_that_moves_to_another_node_is_followed(backing: ClusterBacking) -> None:
    state = backing.state()
    opened(state)
    backing.group.move(tagged(backing.prefix))

    def there() -> bool:
        try:
            return bool(state.wanted_ids())
        except StateUnavailable:
            return False

    wait_for(there, WAIT_S, "the state found at the new node")


def _heard(channel: Any, heard: list[bytes]) -> list[bytes]:
    while (message := channel.get_message(timeout=0.01)) is not None:
        heard.append(message["data"])
    return heard


@pytest.mark.parametrize("number", [0, 1, 2])
def test_every_kind_of_message_of_the_sink_arrives_at_every_node(group: ClusterGroup, number: int) -> None:
    stream, listener = f"u-{uuid.uuid4().hex}", group.nodes[number]
    sink = RedisSink(place=Settings.from_env(group.env()).redis)
    sink.start()
    heard: list[bytes] = []
    with listener.client() as client, client.pubsub(ignore_subscribe_messages=True) as channel:
        channel.subscribe(stream, f"trade@A@{stream}")
        sink.submit([account(stream, 1, order_field=f"{stream}-1", order_ttl_s=300), account(stream, 2)])
        assert sink.flush(WAIT_S)
        sink.submit([tickers(stream, {"A": 7})])
        assert sink.flush(WAIT_S)
        wait_for(lambda: len(_heard(channel, heard)) >= 3, WAIT_S, "the messages")
    assert heard == [account(stream, 1).body, account(stream, 2).body, b"7"]
    platform: Any = group.client()
    assert platform.hget(ORDERS, f"{stream}-1") == account(stream, 1).body
    assert platform.zscore(CLUSTER_EXPIRY_KEY, f"{stream}-1") is not None
    assert platform.zscore(LAST_EVENT_TIME, stream) is not None
    sink.submit([StreamClosed(stream_id=stream)])
    assert sink.flush(WAIT_S)
    assert platform.zscore(LAST_EVENT_TIME, stream) is None
    assert sink.stop(5.0)


@pytest.mark.parametrize("key", [ORDERS, LAST_EVENT_TIME])
def test_no_event_is_lost_or_doubled_when_a_slot_of_the_sink_moves(key: str) -> None:
    with ClusterGroup() as group:
        sink = RedisSink(place=Settings.from_env(group.env()).redis)
        sink.start()
        heard: list[bytes] = []
        with group.nodes[2].client() as client, client.pubsub(ignore_subscribe_messages=True) as channel:
            channel.subscribe("account")
            sink.submit([account("account", 1, order_field="order-1", order_ttl_s=300)])
            assert sink.flush(WAIT_S)
            group.move(key)
            # Of before, so that the first write to the old node is refused.
            for number in range(2, 30):
                sink.submit([account("account", number, order_field=f"order-{number}", order_ttl_s=300)])
                assert sink.flush(WAIT_S)
            wait_for(lambda: len(_heard(channel, heard)) >= 29, WAIT_S, "the events")
        assert heard == [account("account", number).body for number in range(1, 30)]
        platform: Any = group.client()
        assert platform.hget(ORDERS, "order-29") is not None
        assert platform.zscore(LAST_EVENT_TIME, "account") is not None
        assert sink.stop(5.0)


def test_doctor_tells_whether_it_is_a_cluster(group: ClusterGroup) -> None:
    (check,) = doctor.check_redis(Settings.from_env(group.env()))
    assert check.ok
    one = Settings.from_env({"REDIS_HOST": group.nodes[0].host, "REDIS_PORT": str(group.nodes[0].port)})
    last = list(doctor.check_redis(one))[-1]
    assert not last.ok
    assert last.advice == "set REDIS_CLUSTER=true"
