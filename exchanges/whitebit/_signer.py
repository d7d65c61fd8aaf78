"""WhiteBIT's signed calls (docs.whitebit.com: authentication)."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Final
from urllib.parse import urlsplit

import msgspec

from exchanges._adapter import Call
from exchanges._signing import hmac_sha512_hex
from exchanges.credentials import Credentials
from exchanges.errors import CredentialUnusable
from exchanges.whitebit._hosts import COM, Site

WINDOW_MS: Final = 5_000
"""How far a nonce may be from the venue's clock."""


class Signer:
    """Signs the calls of one key. Raises `CredentialUnusable` for material that can't sign. I/O thread only."""

    def __init__(self, credentials: Credentials, site: Site = COM) -> None:
        self._site = site
        self._key, self._secret = credentials.key.reveal(), credentials.secret.reveal()
        if not self._key or not self._secret:
            raise CredentialUnusable("the API key or its secret is missing")
        if not self._key.isascii() or not self._key.isprintable():
            raise CredentialUnusable("the API key has characters that no header can carry")
        hmac_sha512_hex(self._secret, "")
        self._nonce = 0

    def signed(self, call: Call, wall_ms: int) -> Call:
        """The call with a fresh nonce. `call.body` holds the parameters as a JSON object, also when it was signed before.

        With `nonceWindow` a nonce need not be higher than those of everybody else who uses the key, only near the venue's
        clock and used once; without it an old one is answered as 429.
        """
        # A clock that turned out to be ahead is followed back: the venue takes nothing from outside its window.
        behind = self._nonce - WINDOW_MS <= wall_ms <= self._nonce
        self._nonce = self._nonce + 1 if behind else wall_ms
        params = msgspec.json.decode(call.body or "{}", type=dict[str, object])
        head = {"request": urlsplit(call.url).path, "nonce": self._nonce, "nonceWindow": True}
        body = msgspec.json.encode({**params, **head}).decode()
        payload = base64.b64encode(body.encode()).decode()
        headers = {
            "Content-Type": "application/json",
            "X-TXC-APIKEY": self._key,
            "X-TXC-PAYLOAD": payload,
            "X-TXC-SIGNATURE": hmac_sha512_hex(self._secret, payload),
        }
        url = call.url if call.url.startswith("https:") else self._site.rest + call.url
        return msgspec.structs.replace(call, url=url, body=body, headers=headers)


def private_call(tag: str, path: str, params: Mapping[str, object], **more: object) -> Call:
    """An unsigned private call, whose site the signature adds: all of them are POST."""
    body = msgspec.json.encode(params).decode()
    call = Call(tag=tag, method="POST", url=f"/api/v4/{path}", body=body, pool="private")
    return msgspec.structs.replace(call, **more) if more else call
