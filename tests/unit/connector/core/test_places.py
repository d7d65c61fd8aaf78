"""Where RabbitMQ and Redis are: what the settings say in one URL or one by one."""

from __future__ import annotations

import pytest

from connector.core.places import Host, tagged
from connector.core.settings import Settings


def settings(**environ: str) -> Settings:
    return Settings.from_env(environ)


def test_without_any_setting_both_are_on_this_machine_and_not_named() -> None:
    found = settings()
    assert (str(found.rabbit), str(found.redis)) == ("127.0.0.1:5672", "127.0.0.1:6379")
    assert not found.names_rabbit
    assert not found.names_redis


def test_a_url_says_everything_about_a_broker() -> None:
    place = settings(RABBIT_URL="amqps://me:a%40b%2Fc@one,two:5673/my%2Fhost", TLS_CA_FILE="/ca").rabbit
    assert place.hosts == (Host("one", 5671), Host("two", 5673))
    assert (place.user, place.password, place.vhost, place.tls, place.ca_file) == (
        "me",
        "a@b/c",
        "my/host",
        True,
        "/ca",
    )


@pytest.mark.parametrize("url", ["amqp://h", "amqp://h/", "amqp://h/%2F"])
def test_a_url_without_a_virtual_host_means_the_default_one(url: str) -> None:
    assert settings(RABBIT_URL=url).rabbit.vhost == "/"


def test_what_a_url_leaves_out_is_said_by_its_own_setting() -> None:
    place = settings(RABBIT_URL="amqp://h", RABBIT_USER="me", RABBIT_PASSWORD="secret", RABBIT_VHOST="v").rabbit
    assert (place.user, place.password, place.vhost) == ("me", "secret", "v")
    found = settings(REDIS_URL="rediss://me@h:6380", REDIS_PASSWORD="secret", REDIS_DB="3").redis
    assert (found.hosts, found.user, found.password, found.db, found.tls) == (
        (Host("h", 6380),),
        "me",
        "secret",
        3,
        True,
    )


@pytest.mark.parametrize(
    ("url", "tls"), [("redis://h", False), ("rediss://h", True), ("amqp://h", False), ("amqps://h", True)]
)
def test_the_scheme_of_a_url_says_whether_tls_is_used(url: str, tls: bool) -> None:
    """`redis` ends with an s, too, and meant TLS."""
    found = settings(REDIS_URL=url).redis if url.startswith("redis") else settings(RABBIT_URL=url).rabbit
    assert found.tls is tls


def test_several_hosts_of_a_broker_share_a_port() -> None:
    assert str(settings(RABBIT_HOST="a, b,c", RABBIT_PORT="5673").rabbit) == "a:5673, b:5673, c:5673"


def test_a_url_of_redis_has_user_password_database_and_tls() -> None:
    place = settings(REDIS_URL="rediss://me:p%3Aw@[::1]:6380/2").redis
    assert place.hosts == (Host("::1", 6380),)
    assert (place.user, place.password, place.db, place.tls) == ("me", "p:w", 2, True)
    assert str(place) == "[::1]:6380"


def test_sentinels_have_a_port_and_a_password_of_their_own() -> None:
    found = settings(
        REDIS_SENTINELS="a,b:26380", REDIS_MASTER_NAME="main", REDIS_SENTINEL_PASSWORD="theirs", REDIS_PASSWORD="ours"
    )
    assert found.names_redis
    assert found.redis.sentinels == (Host("a", 26379), Host("b", 26380))
    assert (found.redis.master, found.redis.sentinel_password, found.redis.password) == ("main", "theirs", "ours")
    assert "main" in str(found.redis)


@pytest.mark.parametrize("environ", [{"REDIS_HOST": "a,b"}, {"REDIS_URL": "redis://a,b"}])
def test_several_hosts_of_redis_are_nodes_of_a_cluster(environ: dict[str, str]) -> None:
    place = settings(**environ, REDIS_CLUSTER="true").redis
    assert place.cluster
    assert place.hosts == (Host("a", 6379), Host("b", 6379))


def test_no_password_shows_when_a_place_is_printed() -> None:
    secret = "canary"
    found = settings(
        RABBIT_URL=f"amqp://u:{secret}@h", REDIS_SENTINELS="s", REDIS_PASSWORD=secret, REDIS_SENTINEL_PASSWORD=secret
    )
    for place in (found.rabbit, found.redis):
        assert "canary" not in f"{place!r} {place}"
    assert "canary" not in repr(found)
    assert set(found.server_secrets) >= {"canary", "amqp://u:canary@h"}


@pytest.mark.parametrize(
    ("prefix", "expected"),
    [("wsc:", "{wsc:}"), ("{wsc}:", "{wsc}:"), ("a{b}c", "a{b}c"), ("{}x", "{{}x}"), ("{x", "{{x}")],
)
def test_a_prefix_gets_a_hash_tag_unless_it_has_one(prefix: str, expected: str) -> None:
    assert tagged(prefix) == expected
