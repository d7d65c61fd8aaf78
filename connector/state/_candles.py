"""Candle subscriptions in Redis, and which of them somebody asked for since the last announcement."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from connector.core.ports import CandleKey
from connector.state import _scripts as lua
from connector.state._client import Commands
from connector.state._entry import candle_member
from connector.state._values import decoded

DROPPED: Final = "candles:dropped"
"""A text that changes whenever subscriptions were forgotten on purpose."""


class CandleSubscriptions:
    """Part of `RedisState`. Any thread; raises `StateUnavailable`."""

    _redis: Commands

    def _key(self, kind: str, name: str = "") -> str:
        raise NotImplementedError

    def add_candle(self, key: CandleKey, *, asked: bool = True) -> bool:
        member = candle_member(key)
        if asked:
            self._redis.call("SADD", self._key("candles", "asked"), member)
        return bool(self._redis.call("SADD", self._key("candles"), member))

    def remove_candle(self, key: CandleKey) -> None:
        self._redis.call("SREM", self._key("candles"), candle_member(key))

    def candles(self) -> set[CandleKey]:
        return _keys(self._redis.call("SMEMBERS", self._key("candles")))

    def begin_candles(self) -> None:
        self._redis.call("DEL", self._key("candles", "asked"))
        # Without it nothing is known: the key was evicted, or is of before.
        self._redis.call("SADD", self._key("candles", "asked"), b"")

    def drop_candles(self, name: str) -> set[CandleKey]:
        keys = [self._key("candles"), self._key("candles", "asked"), self._key("text", DROPPED)]
        return _keys(self._redis.run(lua.DROP_CANDLES, keys, [name]))


def _keys(members: Iterable[bytes]) -> set[CandleKey]:
    rows = (decoded(member, tuple[str, str, str], "candle") for member in members)
    return {CandleKey(*parts) for parts in rows if parts is not None}
