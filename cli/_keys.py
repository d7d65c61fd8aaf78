"""Where commands get key material from: environment variables, files, standard input; never arguments."""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path
from typing import Final

from connector.core.errors import InvalidCommand
from exchanges.bybit import REGIONS

_FIELDS: Final = ("key", "secret", "passphrase")


def add_key_arguments(parser: argparse.ArgumentParser) -> None:
    """Options that name the sources of key material, and the options of single venues that belong to a key."""
    keys = parser.add_argument_group("keys", "never as arguments: those are visible to every user of the machine")
    for field in _FIELDS:
        keys.add_argument(f"--{field}-env", metavar="NAME", help=f"environment variable that holds the {field}")
    keys.add_argument("--secret-file", metavar="FILE", help="file that holds the secret alone (a PEM)")
    keys.add_argument("--keys", metavar="FILE", help="JSON object with key, secret, passphrase; - is standard input")
    options = parser.add_argument_group("options of single venues")
    options.add_argument("--keys-type", choices=("legacy", "cloud"), help="Coinbase")
    options.add_argument("--okx-source", choices=("my", "app", "com"), help="OKX region")
    options.add_argument("--bybit-host", choices=tuple(REGIONS), help="Bybit region")


def material(args: argparse.Namespace) -> dict[str, str]:
    """Key material from where the arguments say; single variables and files win over `--keys`.

    Raises `InvalidCommand` naming the source, never its content.
    """
    found = _from_json(args.keys) if args.keys else {}
    for field in _FIELDS:
        variable = getattr(args, f"{field}_env")
        if variable is None:
            continue
        if variable not in os.environ:
            raise InvalidCommand(f"--{field}-env: there is no environment variable {variable}")
        found[field] = os.environ[variable]
    if args.secret_file:
        found["secret"] = _text(args.secret_file, "--secret-file")
    return found


def _from_json(source: str) -> dict[str, str]:
    text = sys.stdin.read() if source == "-" else _text(source, "--keys")
    found: object = None
    try:
        found = json.loads(text)
    except ValueError:
        found = None
    # Outside the handler: its exception holds the text.
    if not isinstance(found, dict) or not all(isinstance(found.get(field, ""), str | None) for field in _FIELDS):
        raise InvalidCommand("--keys: not a JSON object with the texts key, secret and (if needed) passphrase")
    return {field: found[field] for field in _FIELDS if found.get(field) is not None}


def _text(path: str, option: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        problem = f"{option}: {path} can't be read: {type(error).__name__}"
    raise InvalidCommand(problem)
