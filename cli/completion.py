"""`connector completion`: what a shell has to know to complete commands and options."""

from __future__ import annotations

import argparse
from typing import Final

from connector.core.errors import ConnectorError

NAME: Final = "completion"
HELP: Final = "print the completion of this command line for a shell"
SHELLS: Final = ("bash", "zsh", "tcsh")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Prints a script: `connector completion bash > ~/.local/share/bash-completion/completions/connector`, "
        "`connector completion zsh > DIR/_connector` with DIR in fpath."
    )
    parser.add_argument("shell", choices=SHELLS)


def run(args: argparse.Namespace) -> int:
    from cli.main import whole_parser

    try:
        import shtab
    except ModuleNotFoundError:
        raise ConnectorError("completion needs shtab: pip install 'websocket-connector[completion]'") from None
    print(shtab.complete(whole_parser(), shell=args.shell))
    return 0
