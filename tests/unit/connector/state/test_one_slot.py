"""With a hash tag in its prefix, each command of the state names keys of one slot of a Redis Cluster: it refuses any other.

A nonce that was not given stood as an empty key in the scripts of commands: another slot.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final

import pytest
from redis.crc import key_slot

from connector.state._client import Commands
from connector.state.redis_state import RedisState
from connector.state.vault import Vault
from tests.unit.connector.state.promises import Promises
from tests.unit.connector.state.test_redis_state import FakeBacking

PREFIX: Final = "{t:}"
KEYLESS: Final = frozenset({"PUBLISH", "PUBSUB", "PING"})


class TaggedBacking(FakeBacking):
    def state(self, keys: str | None = "the shared ones", **options: Any) -> RedisState:
        vault = Vault.from_setting(self.keys if keys == "the shared ones" else keys)
        state = RedisState(self.client, prefix=PREFIX, vault=vault, **options)
        self._built.append(state)
        return state

    def evict(self, key: str) -> None:
        assert self.client().delete(f"{PREFIX}{key}")


def _keys(command: Sequence[Any]) -> Sequence[Any]:
    name = command[0]
    if name in KEYLESS:
        return ()
    if name == "EVAL":
        return command[3 : 3 + int(command[2])]
    return command[1:] if name in {"MGET", "DEL"} else command[1:2]


def _one_slot(command: Sequence[Any]) -> None:
    keys = [str(key) for key in _keys(command)]
    if any(key.startswith("gainium:") for key in keys):
        assert len(keys) == 1
        return
    slots = {key_slot(key.encode()) for key in keys}
    assert slots <= {key_slot(PREFIX.encode())}, f"{command[0]}: {keys}"


@pytest.fixture
def backing(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeBacking]:
    call, pipeline = Commands.call, Commands.pipeline

    def checked_call(self: Commands, *command: object) -> Any:
        _one_slot(command)
        return call(self, *command)

    def checked_pipeline(self: Commands, commands: Sequence[Sequence[object]]) -> list[Any]:
        for command in commands:
            _one_slot(command)
        return pipeline(self, commands)

    monkeypatch.setattr(Commands, "call", checked_call)
    monkeypatch.setattr(Commands, "pipeline", checked_pipeline)
    backing = TaggedBacking()
    yield backing
    backing.end()


class TestOneSlot(Promises):
    """Everything that every `State` promises."""
