"""The few error classes of the service, by what the catcher does next."""

from __future__ import annotations


class ConnectorError(Exception):
    """Base of every error that this project raises on purpose. The text never holds a secret."""

    exit_code = 1
    """Of a command line that ends with it."""


class InvalidCommand(ConnectorError):
    """A command body that can't be understood. It is counted, logged without its body, and acknowledged."""


class InvalidSetting(ConnectorError):
    """A setting that can't be used; the text names the variable and what it takes."""


class StateUnavailable(ConnectorError):
    """Redis can't be reached. Nothing was lost yet: the caller keeps what it has and tries again."""
