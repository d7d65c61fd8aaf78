"""Wanted streams as they stand in a Redis hash, and back."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import replace
from typing import Final

import msgspec

from connector.core.log import get_logger
from connector.core.ports import CandleKey, Wanted
from connector.state.vault import Vault
from exchanges.credentials import Credentials

_log = get_logger("state.entry")

OPTIONS: Final = ("keys_type", "okx_source", "bybit_host", "environment")
"""The fields of `Credentials` that hold no secret; kept readable, so that the options of two senders can be merged."""


def options_of(credentials: Credentials | None) -> list[str]:
    """The options in the order of the scripts; '' where the command named none."""
    return [getattr(credentials, name, None) or "" for name in OPTIONS]


def merged(new: Credentials, old: Credentials | None) -> Credentials:
    """The newer command, with the options that only the older one names."""
    if old is None:
        return new
    return replace(new, **{name: getattr(new, name) or getattr(old, name) for name in OPTIONS})


class Keyring:
    """Key material by stream: sealed into Redis if there is a vault, else only in this process. Any thread."""

    def __init__(self, vault: Vault | None) -> None:
        self._vault = vault
        self._lock = threading.Lock()
        self._local: dict[str, Credentials] = {}
        self._told = False

    def seal(self, credentials: Credentials | None) -> bytes:
        """What goes into Redis for these credentials; b"" without a vault."""
        return b"" if credentials is None or self._vault is None else self._vault.seal(credentials)

    def hold(self, stream_id: str, credentials: Credentials | None, *, replace_other: bool = True) -> None:
        """Without a vault, keep them here. To be called once Redis took the command, or the old ones would be lost early."""
        if credentials is None or self._vault is not None:
            return
        with self._lock:
            if replace_other or stream_id not in self._local:
                self._local[stream_id] = credentials

    def find(self, stream_id: str, digest: str, sealed: bytes | None) -> Credentials | None:
        """The material of that digest, or None if this process can't know it."""
        with self._lock:
            local = self._local.get(stream_id)
        if local is not None and local.digest == digest:
            return local
        if sealed is None or self._vault is None:
            return None
        found = self._vault.open(sealed)
        if found is None:
            self._report(stream_id)
        return found

    def _report(self, stream_id: str) -> None:
        """Once: this process's keys don't change, and after a change of the password no account's key can be read."""
        with self._lock:
            told, self._told = self._told, True
        if not told:
            _log.error(
                "keys at rest can't be read and are asked for again: was RABBIT_PASSWORD changed, or a key taken out of "
                "CREDENTIALS_KEYS?",
                stream=stream_id,
            )

    def drop(self, stream_id: str) -> None:
        with self._lock:
            self._local.pop(stream_id, None)


def decode(stream_id: str, row: Sequence[bytes | None], keyring: Keyring) -> Wanted | None:
    """A row of `entry()` in `_entry.lua`; None for an unknown stream."""
    if not row:
        return None
    exchange, user_id, count, generation, digest, epoch = ((value or b"").decode() for value in row[:6])
    found = keyring.find(stream_id, digest, row[6])
    if found is not None:
        options = [value.decode() if value else None for value in row[7:11]]
        # The digest is the command's: it was taken before anything reformatted the material (bug B6).
        if [found.digest, *(getattr(found, name) for name in OPTIONS)] != [digest, *options]:
            keys_type, okx_source, bybit_host, environment = options
            found = replace(
                found,
                digest=digest,
                keys_type=keys_type,
                okx_source=okx_source,
                bybit_host=bybit_host,
                environment=environment,
            )
    return Wanted(
        stream_id=stream_id,
        exchange=exchange,
        user_id=user_id,
        count=int(count),
        generation=int(generation),
        digest=digest,
        credentials=found,
        epoch=int(epoch),
        born=int(row[11] or 0),
    )


def candle_member(key: CandleKey) -> bytes:
    """A candle subscription as a member of the set."""
    return msgspec.json.encode([key.exchange, key.symbol, key.interval])
