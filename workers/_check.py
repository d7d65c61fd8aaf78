"""What can only be seen on the spot: whether files, folders and addresses of the settings are there. Blocks for moments."""

from __future__ import annotations

import os
import socket
import ssl
import tempfile
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from connector.core.errors import InvalidSetting
from connector.core.settings import Settings
from connector.streams.endpoints import Endpoints

Look = tuple[str, Callable[[], object]]
"""The name of a setting, and what raises `OSError` or `ValueError` if it can't be used."""


def check(settings: Settings) -> None:
    """Everything. Raises `InvalidSetting` naming every setting that can't be used here, and why."""
    _refuse([*_read(settings), *_reached(settings)])


def check_files(settings: Settings) -> None:
    """What is only read, and what a service needs before anything is made. Raises `InvalidSetting`."""
    _refuse([("RABBIT_HOST", lambda: _named(settings)), *_read(settings)])


def _refuse(looks: Sequence[Look]) -> None:
    problems = [problem for problem in map(_problem, looks) if problem is not None]
    if problems:
        raise InvalidSetting("; ".join(problems))


def _read(settings: Settings) -> list[Look]:
    tls = settings.rabbit.tls or settings.redis.tls
    return [
        ("VENUE_ENDPOINTS", lambda: Endpoints(settings.venue_gateway, settings.venue_endpoints)),
        ("VENUE_CA_FILE", lambda: _authority(settings.venue_ca_file)),
        ("TLS_CA_FILE", lambda: _authority(settings.tls_ca_file if tls else "")),
        ("SENTRY_DSN", lambda: _dsn(settings.sentry_dsn.get_secret_value())),
    ]


def _reached(settings: Settings) -> list[Look]:
    return [
        ("OUTBOX_DIR", lambda: _writable(settings.outbox_dir)),
        ("HEALTH_HOST", lambda: _own_address(settings.health_host)),
        *[("EGRESS_IPS", partial(_own_address, address)) for address in settings.egress_ips],
    ]


def _problem(look: Look) -> str | None:
    try:
        look[1]()
    except InvalidSetting as error:
        return str(error)
    except (OSError, ValueError) as error:
        return f"{look[0]}: {_reason(error)}"
    return None


def _reason(error: OSError | ValueError) -> str:
    """Never the value: it may be a secret."""
    if isinstance(error, ssl.SSLError):
        return "this is no file of certificates in PEM form"
    if isinstance(error, OSError):
        return os.strerror(error.errno) if error.errno and error.errno > 0 else "this address is not known here"
    return str(error)


def _named(settings: Settings) -> None:
    """Commands of whatever broker happens to run on this machine are nobody's wish."""
    if not settings.names_rabbit:
        raise ValueError("is not set: say where the broker is (or RABBIT_URL)")


def _authority(path: str) -> None:
    if path:
        ssl.create_default_context().load_verify_locations(path)


def _writable(folder: str) -> None:
    """Whether it can be made, if it is not there: looking makes nothing."""
    path = Path(folder).absolute()
    there = next(one for one in (path, *path.parents) if one.exists())
    with tempfile.TemporaryFile(dir=there):
        return


def _own_address(address: str) -> None:
    """Whether this host can listen on it or connect from it."""
    found = socket.getaddrinfo(address, 0, type=socket.SOCK_STREAM)
    family, kind, protocol, _, where = found[0]
    with socket.socket(family, kind, protocol) as one:
        one.bind(where)


def _dsn(text: str) -> None:
    if text:
        from sentry_sdk.utils import BadDsn, Dsn

        try:
            Dsn(text)
        except BadDsn:
            raise ValueError("this is no DSN of Sentry") from None
