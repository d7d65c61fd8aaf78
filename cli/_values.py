"""Values of command-line options: what can't be used is refused with what it takes. For `type=` of argparse."""

from __future__ import annotations

import argparse
import math


def count(text: str) -> int:
    """A whole number from 1 on."""
    if not text.isascii() or not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError("takes a whole number from 1 on")
    return int(text)


def seconds(text: str) -> float:
    """A span of time above 0."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not (0 < value < math.inf):
        raise argparse.ArgumentTypeError("takes a number of seconds above 0")
    return value


def port(text: str) -> int:
    """A port of TCP; 0 = any free one."""
    if not text.isascii() or not text.isdigit() or int(text) > 65_535:
        raise argparse.ArgumentTypeError("takes 0 to 65535")
    return int(text)
