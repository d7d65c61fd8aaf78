"""Small texts in Redis: who does something once, and what all processes have to agree on."""

from __future__ import annotations

from connector.state import _scripts as lua
from connector.state._client import Commands
from connector.state._values import as_ms


class Texts:
    """Part of `RedisState`. Any thread; raises `StateUnavailable`."""

    _redis: Commands

    def _key(self, kind: str, name: str = "") -> str:
        raise NotImplementedError

    def once(self, name: str, owner: str, ttl_s: float) -> bool:
        return self._redis.call("SET", self._key("once", name), owner, "NX", "PX", as_ms(ttl_s)) is not None

    def get(self, name: str) -> str | None:
        value = self._redis.call("GET", self._key("text", name))
        return None if value is None else value.decode()

    def put(self, name: str, value: str, ttl_s: float | None = None) -> None:
        expiry = () if ttl_s is None else ("PX", as_ms(ttl_s))
        self._redis.call("SET", self._key("text", name), value, *expiry)

    def swap(self, name: str, before: str | None, after: str | None, ttl_s: float | None = None) -> bool:
        old, new = (int(before is not None), before or ""), (int(after is not None), after or "")
        arguments = [*old, *new, 0 if ttl_s is None else as_ms(ttl_s)]
        return bool(self._redis.run(lua.SWAP, [self._key("text", name)], arguments))
