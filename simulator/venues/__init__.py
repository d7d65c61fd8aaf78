"""Venue halves of the simulator: every module or package here without a leading underscore has one `HALF` class."""

from __future__ import annotations

import functools
import importlib
import pkgutil
from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from simulator._venue import VenueHalf


@functools.cache
def halves() -> Mapping[str, type[VenueHalf]]:
    """Every half by family name, found by walking this package once."""
    found: dict[str, type[VenueHalf]] = {}
    for info in pkgutil.iter_modules(__path__):
        if not info.name.startswith("_"):
            half: type[VenueHalf] = importlib.import_module(f"{__name__}.{info.name}").HALF
            found[half.name] = half
    return MappingProxyType(found)
