"""Key material of one account, opaque from the moment that a command is decoded."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass, field

_WHITE = re.compile(r"\s+")

_guards: list[Callable[[str], object]] = []


def guard(keep_secret: Callable[[str], object]) -> None:
    """From now on call this with each piece of material that becomes `Credentials`, before anything can print it.

    The engine's redaction registers itself here when it is imported: this package knows no log. Any thread.
    """
    if keep_secret not in _guards:
        _guards.append(keep_secret)


@dataclass(frozen=True, slots=True, repr=False)
class Credentials:
    """API key, secret and options of one exchange account.

    `repr`, `str` and `format` never show material, and creation tells it to those who `guard` secrets, so that no log line
    shows it either. `reveal()` on the fields is the only way to it; adapters call it while signing.
    """

    key: Secret
    secret: Secret
    passphrase: Secret | None = None
    keys_type: str | None = None
    """`cloud` or `legacy` (Coinbase)."""
    okx_source: str | None = None
    bybit_host: str | None = None
    environment: str | None = None
    """`live` or `sandbox`."""
    digest: str = field(default="", compare=True)
    """SHA-256 over key, secret and passphrase with all white space removed (bug B6); filled in on creation."""

    def __post_init__(self) -> None:
        for secret in (self.key, self.secret, self.passphrase):
            for keep_secret in _guards:
                if secret:
                    keep_secret(secret.reveal())
        if not self.digest:
            parts = (self.key.reveal(), self.secret.reveal(), self.passphrase.reveal() if self.passphrase else "")
            text = "\x00".join(_WHITE.sub("", part) for part in parts)
            object.__setattr__(self, "digest", hashlib.sha256(text.encode()).hexdigest())

    def __repr__(self) -> str:
        return f"Credentials(digest={self.digest[:8]}…)"


class Secret:
    """A text that refuses to be printed, compared by value, or pickled by accident."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        return self._value

    def __repr__(self) -> str:
        return "Secret(…)"

    __str__ = __repr__

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other._value == self._value

    def __hash__(self) -> int:
        return hash(self._value)

    def __reduce__(self) -> str:
        raise TypeError("secrets are not pickled")

    def __bool__(self) -> bool:
        return bool(self._value)


def credentials(
    key: str | None,
    secret: str | None,
    passphrase: str | None = None,
    *,
    keys_type: str | None = None,
    okx_source: str | None = None,
    bybit_host: str | None = None,
    environment: str | None = None,
) -> Credentials:
    """Build credentials as the contract says: trimmed on both ends, missing key or secret → empty (1.3)."""
    return Credentials(
        key=Secret((key or "").strip()),
        secret=Secret((secret or "").strip()),
        passphrase=Secret(passphrase.strip()) if passphrase is not None else None,
        keys_type=keys_type,
        okx_source=okx_source,
        bybit_host=bybit_host,
        environment=environment,
    )
