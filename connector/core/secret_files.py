"""Secrets that stand in files: `RABBIT_PASSWORD_FILE=/run/secrets/rabbit` says where RABBIT_PASSWORD is, and so on."""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from typing import Final

from connector.core.errors import InvalidSetting
from connector.core.proxies import OF_VENUE

SECRETS: Final = (
    "RABBIT_URL",
    "RABBIT_PASSWORD",
    "REDIS_URL",
    "REDIS_PASSWORD",
    "REDIS_SENTINEL_PASSWORD",
    "CREDENTIALS_KEYS",
    "SENTRY_DSN",
    "READ_TOKEN",
    "CONTROL_TOKEN",
    "COINBASE_API_KEY",
    "COINBASE_API_SECRET",
    "EGRESS_PROXIES",
    "HTTPS_PROXY",
    "ALL_PROXY",
)
"""Settings that are secrets, or may hold one; beside them the proxies of single exchanges (`PROXY_…`)."""
SUFFIX: Final = "_FILE"
MAX_BYTES: Final = 65_536


def with_files(environ: Mapping[str, str]) -> dict[str, str]:
    """The environment with the contents of the files that it names in the place of their names.

    Raises `InvalidSetting` naming every variable that can't be used; never a path, which somebody may have taken for the
    place of the secret itself.
    """
    found, problems = dict(environ), []
    of_venues = {name.removesuffix(SUFFIX) for name in environ if name.startswith(OF_VENUE) and name.endswith(SUFFIX)}
    for name in (*SECRETS, *sorted(of_venues)):
        path = found.pop(name + SUFFIX, "").strip()
        if not path:
            continue
        if environ.get(name, "").strip():
            problems.append(f"{name}, {name}{SUFFIX}: set one of the two")
            continue
        try:
            found[name] = _read(path)
        except OSError as error:
            problems.append(f"{name}{SUFFIX}: {os.strerror(error.errno or 0)}")
        except ValueError as error:
            problems.append(f"{name}{SUFFIX}: {error}")
    if problems:
        raise InvalidSetting("; ".join(problems))
    return found


def _read(path: str) -> str:
    """Without the end of the line that editors add. Never waits: a pipe is refused."""
    if not stat.S_ISREG(os.stat(path).st_mode):
        raise ValueError("takes the path of a file")
    with open(path, "rb") as file:
        content = file.read(MAX_BYTES + 1)
    if len(content) > MAX_BYTES:
        raise ValueError("the file is too long for a secret")
    try:
        text = content.decode()
    except UnicodeDecodeError:
        raise ValueError("the file is no text in UTF-8") from None
    if not text.strip() or "\0" in text:
        raise ValueError("the file is empty" if not text.strip() else "the file is no text")
    return text.rstrip("\r\n")
