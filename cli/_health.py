"""Asking the health port of a running service."""

from __future__ import annotations

import argparse
import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final, TypeVar
from urllib.parse import quote, urlsplit

from connector.core.errors import ConnectorError

if TYPE_CHECKING:
    from workers.streams_seen import StreamPage

T = TypeVar("T")
TIMEOUT_S: Final = 10.0
_DEFAULT_PORT: Final = 3000


class Unanswered(ConnectorError):
    """The port could not be asked, or answered with an error; the text says which and what to look at."""

    def __init__(self, text: str, *, missing: bool = False) -> None:
        super().__init__(text)
        self.missing = missing
        """The service answered: it does not know what was asked for."""
        self.exit_code = 1 if missing else 2


def add_url(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--url", help="health endpoint (default: http://127.0.0.1:HEALTH_PORT)")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Of the commands that print what the port tells."""
    add_url(parser)
    parser.add_argument("--json", action="store_true", help="print the raw JSON")


def fetched(url: str | None, path: str, kind: type[T], *, missing: str = "") -> tuple[str, T]:
    """The JSON of a page, and what it says. Raises `Unanswered`, also for what is none of ours."""
    import msgspec

    body = ask(url, path, missing=missing)
    try:
        return body.decode(), msgspec.json.decode(body, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Unanswered(f"this is not the service's health port: {error}") from None


def story(url: str | None, stream_id: str) -> tuple[str, StreamPage]:
    """The page of one stream, as JSON and as what it says. Raises `Unanswered` (`missing`: nobody knows it)."""
    from workers.streams_seen import StreamPage

    path = f"/streams/{quote(stream_id, safe='')}.json"
    return fetched(url, path, StreamPage, missing=f"no stream {stream_id!r} is known")


def ask(url: str | None, path: str, *, missing: str = "") -> bytes:
    """The body of a GET. `missing`: what to say if there is no such thing. Raises `Unanswered`."""
    return _request("GET", _base(url), path, None, {}, missing)


def tell(path: str, body: bytes, headers: Mapping[str, str], *, missing: str = "") -> None:
    """A POST to the health port of this machine. Raises `Unanswered`."""
    _request("POST", _base(None), path, body, headers, missing)


def _request(method: str, base: str, path: str, body: bytes | None, headers: Mapping[str, str], missing: str) -> bytes:
    import requests

    token = os.environ.get("READ_TOKEN", "")
    sent = {**headers, **({"Authorization": f"Bearer {token}"} if token else {})}
    try:
        response = requests.request(method, base + path, data=body, headers=sent, timeout=TIMEOUT_S)
    except requests.ConnectionError:
        where = urlsplit(base).netloc
        raise Unanswered(f"nothing answers on {where} (HEALTH_PORT, --url)") from None
    except requests.Timeout:
        raise Unanswered(f"{base} did not answer within {TIMEOUT_S:.0f} s") from None
    except requests.RequestException as error:
        raise Unanswered(f"{base} can't be asked: {type(error).__name__} (--url takes http://host:port)") from None
    if response.status_code in {404, 405} and missing:
        raise Unanswered(missing, missing=True)
    if response.status_code == 401:
        raise Unanswered(f"{base} asks for a token (READ_TOKEN)")
    if not response.ok:
        raise Unanswered(f"{base}{path.partition('?')[0]} answers {response.status_code}: {response.text[:200]}")
    return response.content


def _base(url: str | None) -> str:
    if not url:
        return f"http://127.0.0.1:{os.environ.get('HEALTH_PORT') or _DEFAULT_PORT}"
    return (url if "://" in url else f"http://{url}").rstrip("/")
