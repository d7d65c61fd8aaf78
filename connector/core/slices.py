"""Goes round a large collection in parts, one with each look, so that no look takes longer the more there is."""

from __future__ import annotations

import math
from collections.abc import Collection
from typing import Final, Generic, TypeVar

T = TypeVar("T")

LEAST: Final = 200
"""A look takes at least so many: small collections are gone through each time."""


class Slices(Generic[T]):
    """One thread at a time."""

    __slots__ = ("_all", "_at", "_looks")

    def __init__(self, looks: int) -> None:
        """Once round takes so many looks, or fewer."""
        self._looks = looks
        self._all: list[T] = []
        self._at = 0

    def next(self, of: Collection[T]) -> list[T]:
        """The next part. What joins `of` has its turn in the next round; what left it may still be told: the caller looks."""
        if self._at >= len(self._all):
            self._all, self._at = list(of), 0
        count = max(LEAST, math.ceil(len(self._all) / self._looks))
        part = self._all[self._at : self._at + count]
        self._at += count
        return part
