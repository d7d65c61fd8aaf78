"""Structured, redacted logs: one line per life-cycle change (design section 10)."""

from __future__ import annotations

import logging


class Logger:
    """`log.info("session live", stream=…, venue=…)`: a constant text and named fields. Any thread; never raises."""

    def __init__(self, name: str) -> None:
        self._logger = logging.getLogger(name)

    def _log(self, level: int, text: str, fields: dict[str, object], *, exc_info: bool = False) -> None:
        if self._logger.isEnabledFor(level):
            self._logger.log(level, text, extra={"fields": fields}, exc_info=exc_info)

    def debug(self, text: str, **fields: object) -> None:
        self._log(logging.DEBUG, text, fields)

    def info(self, text: str, **fields: object) -> None:
        self._log(logging.INFO, text, fields)

    def warning(self, text: str, **fields: object) -> None:
        self._log(logging.WARNING, text, fields)

    def error(self, text: str, **fields: object) -> None:
        self._log(logging.ERROR, text, fields)

    def exception(self, text: str, **fields: object) -> None:
        """Like `error`, with the traceback of the exception being handled."""
        self._log(logging.ERROR, text, fields, exc_info=True)


def get_logger(name: str) -> Logger:
    return Logger(name)
