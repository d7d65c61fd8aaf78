"""Credentials at rest: sealed with Fernet keys from `CREDENTIALS_KEYS`, or with one made from the broker's password."""

from __future__ import annotations

import re

import msgspec
from cryptography.fernet import Fernet, InvalidToken, MultiFernet

from connector.core.errors import InvalidSetting
from connector.state.derived import derived_key, weakness
from exchanges.credentials import Credentials, Secret

SETTING = "CREDENTIALS_KEYS"
NONE = "none"
"""As the setting: keys stay in the memory of the process that read them."""
_KEY = re.compile(r"[A-Za-z0-9_-]{43}=", re.ASCII)
"""32 bytes in url-safe base64. Python's decoder skips foreign characters, so that a mangled key would pass as another one."""


class _Material(msgspec.Struct, frozen=True):
    """What is sealed. The options of an account are no secrets and stay outside."""

    key: str
    secret: str
    passphrase: str | None = None


class Vault:
    """Seals and opens key material. Any thread. The first key seals, every key opens: rotate by adding one in front."""

    def __init__(self, keys: list[str]) -> None:
        """Raises `InvalidSetting` for an unusable key; its text tells the key's place in the list, never the key."""
        if not keys:
            raise InvalidSetting(f"{SETTING} holds no key")
        ciphers = []
        for place, key in enumerate(keys, start=1):
            if not _KEY.fullmatch(key):
                raise InvalidSetting(
                    f"{SETTING}: key {place} of {len(keys)} is unusable; it takes Fernet keys "
                    "(32 random bytes as 44 characters of url-safe base64), separated by commas"
                )
            ciphers.append(Fernet(key.encode()))
        self._cipher = MultiFernet(ciphers)

    @classmethod
    def from_setting(cls, text: str | None, password: str = "") -> Vault | None:
        """The vault of a comma-separated list of keys. Without any: that of the password, unless it is weak. None: no vault.

        The password's key opens behind keys that are set, too, so that nothing is lost when they are set for the first time.
        """
        if (text or "").strip().lower() == NONE:
            return None
        keys = [key.strip() for key in (text or "").split(",") if key.strip()]
        vault = cls(keys) if keys else None
        return vault if weakness(password) is not None else cls([*keys, derived_key(password)])

    def seal(self, credentials: Credentials) -> bytes:
        passphrase = credentials.passphrase
        material = _Material(
            credentials.key.reveal(),
            credentials.secret.reveal(),
            passphrase.reveal() if passphrase is not None else None,
        )
        return self._cipher.encrypt(msgspec.json.encode(material))

    def open(self, sealed: bytes) -> Credentials | None:
        """The credentials without their options; None if no key opens them (their key was taken out of the setting)."""
        try:
            material = msgspec.json.decode(self._cipher.decrypt(sealed), type=_Material)
        except (InvalidToken, msgspec.MsgspecError):
            return None
        return Credentials(
            key=Secret(material.key),
            secret=Secret(material.secret),
            passphrase=Secret(material.passphrase) if material.passphrase is not None else None,
        )

    def __repr__(self) -> str:
        return "Vault(…)"
