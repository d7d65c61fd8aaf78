"""The console script `connector`: finds the commands and runs one.

Every module in this package without a leading underscore (but this one) is a command and has `NAME`, `HELP`,
`add_arguments(parser)` and `run(args) -> int`. A command named like its module (`-` for `_`) is started without importing
the others.
"""

from __future__ import annotations

import argparse
import importlib
import os
import pkgutil
import sys
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Protocol, cast

import cli
import connector
from connector.core.errors import ConnectorError

if TYPE_CHECKING:
    from typing import Any


class Command(Protocol):
    """What a command module has."""

    NAME: str
    HELP: str

    def add_arguments(self, parser: argparse.ArgumentParser, /) -> None: ...

    def run(self, args: argparse.Namespace, /) -> int:
        """Do it; the result is the exit code."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command that `argv` names; returns the exit code."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    parsed = _parser(_commands(arguments)).parse_args(arguments)
    command = cast(Command, parsed.command)
    try:
        return command.run(parsed)
    except ConnectorError as error:
        print(f"connector: {error}", file=sys.stderr)
        return error.exit_code
    except BrokenPipeError:  # `connector status | head`; what is still buffered must not fail at the exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except KeyboardInterrupt:
        return 130


def whole_parser() -> argparse.ArgumentParser:
    """With every command and its options."""
    return _parser(_commands(()))


def _parser(commands: Iterable[Command]) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="connector", description="Bridge between exchanges and a trading backend.")
    parser.add_argument("--version", action="version", version=f"%(prog)s {connector.VERSION}")
    subparsers = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for command in commands:
        _register(subparsers, command)
    return parser


def _register(subparsers: argparse._SubParsersAction[Any], command: Command) -> None:
    parser = subparsers.add_parser(command.NAME, help=command.HELP, description=command.HELP)
    command.add_arguments(parser)
    parser.set_defaults(command=command)


def _module_names() -> list[str]:
    names = (info.name for info in pkgutil.iter_modules(cli.__path__))
    return sorted(name for name in names if name != "main" and not name.startswith("_"))


def _commands(arguments: Sequence[str]) -> Iterable[Command]:
    names = _module_names()
    wanted = arguments[0] if arguments else ""
    module = wanted.replace("-", "_")
    if module in names:
        command = _load(module)
        if wanted == command.NAME:
            return [command]
    return [_load(name) for name in names]


def _load(name: str) -> Command:
    return cast(Command, importlib.import_module(f"cli.{name}"))


if __name__ == "__main__":
    sys.exit(main())
