"""What the health port may change, for whoever knows `CONTROL_TOKEN`: restart a stream, try a refused key now.

Each use and each refusal is a line in the log. Without the token set, the port is read-only.
"""

from __future__ import annotations

import hmac
import json
from collections import deque
from collections.abc import Mapping
from typing import Final
from urllib.parse import parse_qs, unquote, urlsplit

from connector.core.clock import Chance
from connector.core.log import get_logger
from connector.core.ports import Clock, State
from connector.streams.notifications import RECONCILE, TRY_NOW

log = get_logger(__name__)

RESTART: Final = "restart"
TRY_KEY: Final = "try-key"
WRONG_ALLOWED: Final = 5
"""Wrong tokens in `WRONG_WITHIN_S`; then nobody is let in until the oldest is so old."""
WRONG_WITHIN_S: Final = 60.0
MAX_BODY: Final = 4_096


class Control:
    """Any thread. May raise `StateUnavailable`."""

    def __init__(self, token: str, state: State, clock: Clock, chance: Chance) -> None:
        self._token, self._state, self._clock, self._chance = token, state, clock, chance
        self._wrong: deque[float] = deque(maxlen=WRONG_ALLOWED)

    def posted(self, path: str, headers: Mapping[str, str], body: bytes, peer: str) -> tuple[int, str]:
        """The answer to a POST: status, and why or what happened. 303: done, look at the stream's page.

        The token comes as the field `token` of a form, or as `Authorization: Bearer`.
        """
        stream_id, _, action = path.removeprefix("/streams/").rpartition("/")
        stream_id = unquote(stream_id)
        if not path.startswith("/streams/") or not stream_id or action not in {RESTART, TRY_KEY}:
            return 404, "there is no such action"
        if not _same_origin(headers):
            return self._refused(403, "the page of another site asked for it", peer)
        if self._shut():
            return self._refused(429, "too many wrong tokens: wait a minute", peer)
        if not hmac.compare_digest(_token(headers, body).encode(), self._token.encode()):
            self._wrong.append(self._clock.mono())
            return self._refused(403, "this is not the CONTROL_TOKEN", peer)
        if self._state.wanted([stream_id]).get(stream_id) is None:
            return 404, "nobody wants this stream"
        log.info("control: somebody acted on a stream", code="WSC-CONTROL", action=action, stream=stream_id, peer=peer)
        self._restart(stream_id) if action == RESTART else self._tell(stream_id, TRY_NOW)
        return 303, f"/streams/{path.removeprefix('/streams/').rpartition('/')[0]}"

    def _restart(self, stream_id: str) -> None:
        applied = self._state.restart(stream_id, nonce=self._chance.new_id())
        self._tell(stream_id, RECONCILE, applied.owner or "*")

    def _tell(self, stream_id: str, kind: str, owner: str = "") -> None:
        to = owner or self._state.owners([stream_id]).get(stream_id, "*")
        self._state.notify(to, json.dumps({"t": kind, "id": stream_id}))

    def _shut(self) -> bool:
        return len(self._wrong) == WRONG_ALLOWED and self._clock.mono() - self._wrong[0] < WRONG_WITHIN_S

    def _refused(self, status: int, why: str, peer: str) -> tuple[int, str]:
        log.warning("control refused", why=why, peer=peer)
        return status, why


def may_read(token: str, headers: Mapping[str, str]) -> bool:
    """Whether these headers hold `READ_TOKEN`: as a bearer token, or as the password of whatever name (a browser asks)."""
    kind, _, given = headers.get("Authorization", "").partition(" ")
    if kind.lower() == "basic":
        from base64 import b64decode

        try:
            given = b64decode(given, validate=True).decode().partition(":")[2]
        except ValueError:
            return False
    return kind.lower() in {"basic", "bearer"} and hmac.compare_digest(given.strip().encode(), token.encode())


def _token(headers: Mapping[str, str], body: bytes) -> str:
    kind, _, given = headers.get("Authorization", "").partition(" ")
    if kind.lower() == "bearer":
        return given.strip()
    try:
        return parse_qs(body.decode(), max_num_fields=8).get("token", [""])[0]
    except ValueError:
        return ""


def _same_origin(headers: Mapping[str, str]) -> bool:
    """A browser says where a form stood; another site's is refused, whatever it holds."""
    origin = headers.get("Origin")
    if headers.get("Sec-Fetch-Site", "same-origin") not in {"same-origin", "none"}:
        return False
    return origin is None or urlsplit(origin).netloc == headers.get("Host", "")
