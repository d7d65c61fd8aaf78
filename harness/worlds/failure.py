"""A promise that did not hold."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Failure:
    """One promise that did not hold."""

    invariant: str
    text: str
    stream: str = ""
    life: str = ""
    """The life of the order that shows it."""
