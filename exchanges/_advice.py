"""What a person can do about a refused key, in words that several venues' tables of codes share. Pure."""

from __future__ import annotations

from typing import Final

KEY: Final = (
    "the venue doesn't know this key: look for a typing error, a deleted or expired key, or a key of its test network"
)
SIGNATURE: Final = "the secret doesn't belong to this key: copy both again, completely"
PHRASE: Final = "the passphrase is not the one that was chosen when the key was made (it is not the login password)"
ADDRESS: Final = "the key's list of allowed addresses lacks this host's: add its outgoing address, or remove the list"
PERMISSION: Final = "the key lacks a permission: allow reading (and trading on this market) in the venue's key settings"
ACCOUNT: Final = "the account itself is blocked or not allowed to do this: ask the venue's support"
