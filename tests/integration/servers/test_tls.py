"""Redis over TLS with an authority of one's own: by URL, for state and sink, and refused where the certificate is not."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from cli import doctor
from connector.core.errors import StateUnavailable
from connector.core.settings import Settings
from connector.sinks.redis_pubsub import RedisSink
from connector.state.redis_state import RedisState
from harness.servers import PrivateRedis, free_port
from simulator.tls import server_context
from tests.integration.sinks.receivers import account

pytestmark = pytest.mark.integration

USER, PASSWORD = "connector", "p@ss/word"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    folder = tmp_path_factory.mktemp("tls")
    _, authority = server_context(folder, ["localhost"])
    port = str(free_port())
    chain = str(folder / "server.pem")
    options = ["--tls-port", port, "--tls-auth-clients", "no", "--tls-ca-cert-file", str(authority)]
    options += ["--tls-cert-file", chain, "--tls-key-file", chain]
    redis = PrivateRedis(*options)
    with redis.client() as client:
        client.execute_command("ACL", "SETUSER", USER, "on", f">{PASSWORD}", "~*", "&*", "+@all")
    yield {"REDIS_URL": f"rediss://{USER}:p%40ss%2Fword@localhost:{port}/3", "TLS_CA_FILE": str(authority)}
    redis.stop()


def test_state_and_sink_are_reached_by_one_url_with_user_database_and_tls(server: dict[str, str]) -> None:
    settings = Settings.from_env(server)
    state = RedisState(settings.redis, prefix="t:")
    state.put("text", "here")
    assert state.get("text") == "here"
    info = state._redis.call("CLIENT", "INFO")
    assert b" db=3 " in info
    assert f" user={USER} ".encode() in info
    sink = RedisSink(place=settings.redis)
    sink.start()
    assert sink.submit([account("u", 1)])
    assert sink.flush(10.0)
    assert sink.stop(5.0)
    state.close_connections()


def test_doctor_uses_the_authority_and_the_user(server: dict[str, str]) -> None:
    (check, *_) = doctor.check_redis(Settings.from_env(server))
    assert check.ok, check
    assert PASSWORD not in check.text
    (check,) = doctor.check_redis(Settings.from_env({"REDIS_URL": server["REDIS_URL"]}))
    assert not check.ok
    assert "certificate" in check.text.lower()


def test_a_certificate_of_an_unknown_authority_is_refused(server: dict[str, str]) -> None:
    state = RedisState(Settings.from_env({"REDIS_URL": server["REDIS_URL"]}).redis, prefix="t:")
    with pytest.raises(StateUnavailable, match=r"(?i)certificate"):
        state.get("text")
    state.close_connections()
