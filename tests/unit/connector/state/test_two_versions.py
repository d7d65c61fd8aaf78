"""A rolling deploy: processes of this version and of the one before work on one Redis, in either direction.

`tests/golden/state.json` is what a version left in Redis; it stays as it is until the next minor version is made, which then
has to read what this one wrote. To write it anew: `python -m tests.unit.connector.state.test_two_versions`.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import fakeredis
import pytest
import redis

from connector.core.ports import CandleKey, Gate, WorkerInfo
from connector.state.redis_state import RedisState
from connector.state.vault import Vault
from connector.streams.lifecycle import StreamState
from connector.streams.positions import decode_position, encode_position
from connector.streams.spec import StreamSpec
from connector.streams.stories import BLIND, STORY, Stories, read_blind, read_story
from connector.streams.tracker import Position
from exchanges._adapter import FailKind
from exchanges.credentials import Credentials, credentials
from tests.clocks import Standing

GOLDEN: Final = Path(__file__).parents[3] / "golden" / "state.json"
KEY: Final = "c3RhdGUtZ29sZGVuLWtleS1vZi0zMi1ieXRlcy4uLi4="
NOW_MS: Final = 1_790_000_000_000
BEFORE, NOW = "user-host-a-1", "user-host-b-2"
KEPT_S: Final = 600
POSITION: Final = encode_position(Position(live_until_ms=NOW_MS - 5_000, stamp=7, seen=["e-1"]))

Dump = dict[str, Any]


class Redis:
    """One in-process server."""

    def __init__(self) -> None:
        self.server = fakeredis.FakeServer()
        self.client: redis.Redis = self.connect()
        self.state = RedisState(self.connect, prefix="wsc:", vault=Vault.from_setting(KEY))

    def connect(self) -> redis.Redis:
        return fakeredis.FakeRedis(server=self.server)

    def dump(self) -> Dump:
        client: Any = self.client
        readers = {
            b"string": client.get,
            b"hash": client.hgetall,
            b"set": lambda key: sorted(client.smembers(key)),
            b"zset": lambda key: client.zrange(key, 0, -1, withscores=True),
        }
        return {key.decode(): _text(readers[client.type(key)](key)) for key in sorted(client.keys("*"))}

    def load(self, dump: Dump) -> None:
        client: Any = self.client
        for key, value in dump.items():
            if isinstance(value, dict):
                client.hset(key, mapping=value)
            elif isinstance(value, str):
                client.set(key, value)
            elif value and isinstance(value[0], list):
                client.zadd(key, dict(value))
            else:
                client.sadd(key, *value)


def _text(value: Any) -> Any:
    if isinstance(value, bytes):
        return value.decode()
    if isinstance(value, Mapping):
        return {_text(name): _text(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [_text(one) for one in value]
    return value


def _keys(name: str) -> Credentials:
    return credentials(f"key-{name}", f"secret-{name}", "phrase", bybit_host="eu")


def leave(redis: Redis, owner: str) -> None:
    """What a process leaves that runs one account, is refused another, and knows of a third that nobody runs."""
    state, clock = redis.state, Standing(wall_at_0_ms=NOW_MS)
    state.begin_epoch(NOW_MS)
    for name in ("live", "refused", "lonely"):
        state.open(name, "bybit", f"user-{name}", _keys(name), NOW_MS, nonce=f"nonce-{name}")
    state.add_candle(CandleKey("okx", "BTC-USDT", "1h"))
    info = WorkerInfo(
        owner=owner, role="user", host="host-a", pid=1, started_ms=NOW_MS, capacity=5, streams=2, service="host-a:1",
        states={"live": 1, "cooling": 1}, matrix={"bybit": {"live": 1, "cooling": 1}}, wanted=3, unowned=1, ttl_s=3.0,
    )  # fmt: skip
    state.heartbeat(info, KEPT_S)
    state.claim(["live", "refused"], owner, KEPT_S)
    state.heartbeat(info, KEPT_S)
    refusal = Gate(digest="d", strikes=1, until_ms=NOW_MS, last_reject_ms=NOW_MS, cooldown_ms=1_000, reason="10003")
    state.set_gate("refused", refusal, 600_000, owner)
    state.save_positions({"live": POSITION}, KEPT_S, owner)
    state.take("okx:connect:default", 1, 3, 1.0, NOW_MS)
    state.block("okx:connect:default", NOW_MS + 60_000)
    stories = Stories(clock)
    for name in ("live", "refused"):
        spec = StreamSpec(stream_id=name, exchange="bybit", feed="user", user_id=f"user-{name}")
        stories.moved(spec, StreamState.LIVE)
        if name == "refused":
            stories.moved(spec, StreamState.COOLING, "10003 API key is invalid", FailKind.CREDENTIAL)
    stories.tell(state, owner, ["lonely"])


@pytest.fixture
def both() -> Iterator[Redis]:
    """A Redis in which a process of the version before lives; its `state` is that of a process of this one."""
    redis = Redis()
    redis.load(json.loads(GOLDEN.read_text()))
    for key in (f"wsc:worker:{BEFORE}", "wsc:lease:live", "wsc:lease:refused"):
        assert redis.client.expire(key, KEPT_S), f"the version before kept {key}"
    yield redis
    redis.state.close_connections()


def test_this_version_reads_what_the_one_before_wrote(both: Redis) -> None:
    state = both.state
    assert state.wanted_ids() == {"live", "refused", "lonely"}
    wanted = state.wanted(["live"])["live"]
    assert (wanted.exchange, wanted.user_id, wanted.count, wanted.epoch) == ("bybit", "user-live", 1, NOW_MS)
    assert wanted.credentials == _keys("live")
    assert state.owners(["live", "lonely"]) == {"live": BEFORE}
    assert state.held(BEFORE) == {"live", "refused"}
    (worker,) = state.workers("user")
    assert (worker.owner, worker.matrix) == (BEFORE, {"bybit": {"live": 1, "cooling": 1}})
    gate = state.gate("refused")
    assert gate is not None
    assert gate.reason == "10003"
    assert decode_position(state.positions(["live"])["live"]) == decode_position(POSITION)
    assert state.candles() == {CandleKey("okx", "BTC-USDT", "1h")}
    assert state.unowned().free == {"lonely"}
    assert state.take("okx:connect:default", 1, 3, 1.0, NOW_MS) == 60_000
    story, blind = state.get_all([f"{STORY}refused", f"{BLIND}{BEFORE}"])
    assert story is not None
    assert blind is not None
    assert read_story(story).reason == "10003 API key is invalid"
    assert {told.stream_id for told in read_blind(blind)} == {"refused", "lonely"}


def test_an_account_goes_from_a_process_of_the_version_before_to_one_of_this_and_back(both: Redis) -> None:
    state = both.state
    info = WorkerInfo(owner=NOW, role="user", host="host-b", pid=2, started_ms=NOW_MS, capacity=5, streams=0)
    state.heartbeat(info, KEPT_S)
    assert state.claim(["live", "lonely"], NOW, KEPT_S).keys() == {"lonely"}, "nobody takes what the other one runs"
    fence = int(both.client.get("wsc:lease:live").decode().partition("|")[0])  # type: ignore[union-attr]
    taken = state.hand_over("live", fence, BEFORE, NOW, KEPT_S)
    assert taken is not None
    assert taken > fence
    assert state.renew({"live": taken}, NOW, KEPT_S) == set()
    assert state.owners(["live"]) == {"live": NOW}
    assert state.hand_over("live", taken, NOW, BEFORE, KEPT_S)
    assert state.close("live", nonce="close-live").owner == BEFORE, "it is told who runs it"


def test_a_process_of_the_version_before_that_dies_is_buried_by_one_of_this(both: Redis) -> None:
    state = both.state
    state.heartbeat(
        WorkerInfo(owner=NOW, role="user", host="host-b", pid=2, started_ms=NOW_MS, capacity=5, streams=0), KEPT_S
    )
    assert state.bury(BEFORE) is None, "it lives"
    both.client.delete(f"wsc:worker:{BEFORE}")
    assert sorted(state.bury(BEFORE) or ()) == ["live", "refused"]
    assert state.claim(["live", "refused"], NOW, KEPT_S).keys() == {"live", "refused"}


def test_the_version_before_finds_what_it_knows_in_what_this_one_writes() -> None:
    """Keys, fields and their forms may be added to, never taken away: the way back loses nothing."""
    redis = Redis()
    leave(redis, BEFORE)
    written, golden = redis.dump(), json.loads(GOLDEN.read_text())
    redis.state.close_connections()
    assert golden.keys() <= written.keys()
    for key, before in golden.items():
        assert type(written[key]) is type(before), key
        lost = _fields(key, before) - _fields(key, written[key])
        assert not lost, f"{key}: {lost}"


def _fields(key: str, value: Any) -> set[str]:
    """Of a hash, or of the JSON in a text; nothing of anything else."""
    if isinstance(value, dict):
        return set(value)
    if isinstance(value, str) and value.startswith("{"):
        return set(json.loads(value))
    return set()


if __name__ == "__main__":
    sample = Redis()
    leave(sample, BEFORE)
    GOLDEN.write_text(json.dumps(sample.dump(), indent=1, sort_keys=True) + "\n")
    sys.stdout.write(f"{GOLDEN}\n")
