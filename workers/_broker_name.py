"""How a broker names itself, shortened: equal for all connections to one cluster and virtual host."""

from __future__ import annotations

import hashlib
from typing import Any


def broker_name(connection: Any) -> str:
    """Of an open blocking connection; empty if the broker tells no name."""
    inner = getattr(connection, "_impl", None)
    name = (getattr(inner, "server_properties", None) or {}).get("cluster_name", b"")
    text = name.decode("utf-8", "replace") if isinstance(name, bytes) else str(name)
    if inner is None or not text:
        return ""
    return hashlib.sha256(f"{text}\n{inner.params.virtual_host}".encode()).hexdigest()[:16]
