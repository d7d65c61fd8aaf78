"""How a process says that it can't start: one line that names the setting, and an exit code of its own."""

from __future__ import annotations

import os
import threading
from collections.abc import Mapping
from typing import Final

from connector.core.errors import InvalidSetting
from connector.core.log import configure, get_logger
from connector.core.settings import Settings
from workers._check import check_files

log = get_logger(__name__)

REFUSED: Final = 78
"""Exit code of a process whose settings can't be used (`EX_CONFIG`): starting it again does not help."""
CRASHED: Final = 70
"""Exit code of a process that could not start for another reason (`EX_SOFTWARE`)."""
LEAVE_S: Final = 3.0
"""Threads that do not end by then are left behind."""


def settings_or_end(environ: Mapping[str, str] = os.environ) -> Settings:
    """The settings of an entry point. Ends the process (`SystemExit`) if they can't be used."""
    try:
        settings = Settings.from_env(environ)
        check_files(settings)
    except InvalidSetting as error:
        configure(json=environ.get("LOG_FORMAT", "").strip().lower() != "console")
        raise SystemExit(refuse(str(error))) from None
    return settings


def leave(code: int) -> None:
    """End this worker process from its main thread, with whatever threads it has. Raises `SystemExit`, so that Dramatiq's
    master hears at once that it need not wait for this process any more."""
    last_word = threading.Timer(LEAVE_S, os._exit, (code,))
    last_word.daemon = True
    last_word.start()
    raise SystemExit(code)


def refuse(reason: str) -> int:
    """Say it; returns the exit code."""
    log.error(f"can't start: {reason}", code="WSC-START-REFUSED")
    return REFUSED
