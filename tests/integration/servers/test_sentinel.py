"""Redis with Sentinel: who is the master is asked with each connect, and a fail-over loses nothing that waits here."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest
from cryptography.fernet import Fernet

from cli import doctor
from connector.core.errors import StateUnavailable
from connector.core.places import Host, RedisPlace
from connector.core.settings import Settings
from connector.sinks._common import always
from connector.sinks.redis_pubsub import RedisSink
from connector.state.redis_state import RedisState
from connector.state.vault import Vault
from exchanges.credentials import credentials
from harness.redis_groups import SentinelGroup
from harness.servers import wait_for
from tests.integration.sinks.receivers import account
from tests.unit.connector.state.backing import NOW

pytestmark = pytest.mark.integration

PASSWORD = "of the master"
WAIT_S = 30.0


@pytest.fixture
def group() -> Iterator[SentinelGroup]:
    with SentinelGroup(PASSWORD) as group:
        yield group


def place(group: SentinelGroup) -> RedisPlace:
    return Settings.from_env({**group.env(), "REDIS_PASSWORD": PASSWORD}).redis


def state(where: RedisPlace) -> RedisState:
    return RedisState(where, prefix="t:", vault=Vault([Fernet.generate_key().decode()]))


def answers(one: RedisState) -> bool:
    try:
        return one.wanted_ids() is not None
    except StateUnavailable:
        return False


def test_state_and_sink_follow_the_master(group: SentinelGroup) -> None:
    mine = state(place(group))
    mine.open("before", "kraken", "u", credentials("k", "s"), NOW)
    sink = RedisSink(place=place(group), reply_timeout_s=1.0)
    sink.start()
    heard: list[bytes] = []
    numbers = iter(range(1, 1_000))
    # What is published at the master is heard at its replica, which becomes the master.
    with group.replica.client() as client, client.pubsub(ignore_subscribe_messages=True) as channel:
        channel.subscribe("account")
        sink.submit([account("account", next(numbers)) for _ in range(10)])
        assert sink.flush(WAIT_S)
        wait_for(lambda: _collect(channel, heard) >= 10, WAIT_S, "the first events")

    # As the service does while no beat is answered.
    sink.permitted = lambda: 0.0
    group.master.kill()
    sink.submit([account("account", next(numbers)) for _ in range(10)])
    group.wait_failed_over()
    # Sentinel drops the subscribers of a server that changes its role.
    with group.replica.client() as client, client.pubsub(ignore_subscribe_messages=True) as channel:
        channel.subscribe("account")
        channel.ping()
        sink.submit([account("account", next(numbers)) for _ in range(10)])
        sink.permitted = always
        assert sink.flush(WAIT_S)
        wait_for(lambda: _collect(channel, heard) >= 30, WAIT_S, "the events of before and after the fail-over")
    wait_for(lambda: answers(mine), WAIT_S, "the new master answering")
    assert heard == [account("account", number).body for number in range(1, 31)]
    assert mine.wanted_ids() == {"before"}
    mine.open("after", "kraken", "u", credentials("k", "s"), NOW)
    assert mine.wanted_ids() == {"before", "after"}
    mine.close_connections()
    assert sink.stop(5.0)


def _collect(channel: object, heard: list[bytes]) -> int:
    while (message := channel.get_message(timeout=0.01)) is not None:  # type: ignore[attr-defined]
        if message["type"] == "message":
            heard.append(message["data"])
    return len(heard)


def test_a_sentinel_that_is_gone_is_passed_over_and_one_that_knows_nothing_too(group: SentinelGroup) -> None:
    group.sentinels[0].kill()
    found = place(group)
    stranger = Host(group.master.host, group.master.port)
    mine = state(replace(found, sentinels=(Host("127.0.0.1", 1), stranger, *found.sentinels)))
    assert mine.wanted_ids() == set()
    mine.close_connections()


def test_an_unknown_name_of_the_master_is_told(group: SentinelGroup) -> None:
    mine = state(replace(place(group), master="nobody"))
    with pytest.raises(StateUnavailable, match="does not know"):
        mine.wanted_ids()
    mine.close_connections()


def test_a_server_that_is_a_replica_by_now_is_not_taken_for_the_master(group: SentinelGroup) -> None:
    """A sentinel tells the old one for a moment; its reads would be those of before."""

    mine = state(place(group))
    pool = mine._client.connection_pool
    pool.connection_kwargs["locate"] = lambda: Host(group.replica.host, group.replica.port)
    with pytest.raises(StateUnavailable, match="no master any more"):
        mine.wanted_ids()
    mine.close_connections()


def test_a_master_that_was_made_a_replica_is_left_at_the_first_write(group: SentinelGroup) -> None:
    mine = state(RedisPlace(hosts=(Host(group.master.host, group.master.port),), password=PASSWORD))
    mine.open("a", "kraken", "u", credentials("k", "s"), NOW)
    with group.master.client() as client:
        client.execute_command("REPLICAOF", group.replica.host, group.replica.port)
    with pytest.raises(StateUnavailable, match="not the server to ask"):
        mine.open("b", "kraken", "u", credentials("k", "s"), NOW)
    assert not any(connection.is_connected for connection in mine._client.connection_pool._connections)
    mine.close_connections()


def test_doctor_names_the_master_and_what_a_cut_off_one_would_do(group: SentinelGroup) -> None:
    settings = Settings.from_env({**group.env(), "REDIS_PASSWORD": PASSWORD})
    checks = list(doctor.check_redis(settings))
    assert all(check.ok for check in checks)
    assert "main" in checks[0].text
    assert "min-replicas-to-write is not set" in checks[1].text
    (check,) = doctor.check_redis(Settings.from_env({**group.env(), "REDIS_MASTER_NAME": "nobody"}))
    assert not check.ok
    assert "REDIS_MASTER_NAME" in check.advice
