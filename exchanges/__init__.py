"""Venue protocols, sans-I/O, and the vocabulary that they speak: events, ids, instruments, credentials, errors.

Every other module (or package) here without a leading underscore is a venue and has one `VENUE` value.
Nothing of ours is imported here: this is a library of its own.
"""

from __future__ import annotations

import importlib
import pkgutil
from functools import cache
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

    from exchanges._meaning import Meaning
    from exchanges._venue import Example, Venue

VOCABULARY: Final = frozenset({"credentials", "errors", "events", "ids", "instruments"})


@cache
def venues() -> Mapping[str, Venue]:
    """Every venue by family name, found by walking this package."""
    found: dict[str, Venue] = {}
    for info in pkgutil.iter_modules(__path__):
        if not info.name.startswith("_") and info.name not in VOCABULARY:
            venue: Venue = importlib.import_module(f"{__name__}.{info.name}").VENUE
            found[venue.name] = venue
    return MappingProxyType(found)


@cache
def _by_exchange() -> Mapping[str, Venue]:
    return MappingProxyType({exchange: venue for venue in venues().values() for exchange in venue.exchanges})


def venue_of(exchange: str) -> Venue | None:
    """The venue that serves an exchange id (live or paper), or None."""
    return _by_exchange().get(exchange)


def option_refusals(options: Mapping[str, str]) -> list[str]:
    """Why some of the deployment's options can't be had, one sentence each: a venue has ended what they choose."""
    asked = (getattr(venue, "option_refusal", None) for venue in venues().values())
    refused = (ask(options) for ask in asked if ask is not None)
    return [reason for reason in refused if reason is not None]


def example_of(exchange: str) -> Example | None:
    """What a candle request for an exchange id may name; None if there is none (`examples` of the venue)."""
    found: Mapping[str, Example] = getattr(venue_of(exchange), "examples", {})
    return found.get(exchange)


@cache
def closed_candles(exchange: str) -> bool:
    """Whether the candles of an exchange id are published once, when they have ended (`closed_candles` of the venue);
    the others are published as they run (contract 2.7)."""
    return bool(getattr(venue_of(exchange), "closed_candles", False))


@cache
def key_advice(family: str) -> Mapping[str, str]:
    """What a person can do about a refused key, by the venue's code or words (its `errors`); empty if it has none."""
    found: Mapping[str | int, Meaning] = getattr(venues().get(family), "errors", {})
    return MappingProxyType({str(code): meaning.advice for code, meaning in found.items() if meaning.advice})


def key_type_advice(family: str) -> str:
    """The same for a type of key that the venue refuses (`key_type_advice` of the venue); empty if it says nothing."""
    return str(getattr(venues().get(family), "key_type_advice", ""))
