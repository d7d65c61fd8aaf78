"""Names of settings that are nearly right: what a typing error leaves without effect."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches
from typing import Final

from connector.core.secret_files import SUFFIX
from connector.core.settings import Settings
from connector.core.venue_options import VENUE_OPTIONS

ALIKE: Final = 0.88
"""Of the letters in common: one letter too many, too few or wrong in a name of nine."""
OTHERS: Final = frozenset({"LIVE", "SIMULATOR_PORT", "HTTP_PROXY"})
"""Names that only `connector run` reads, and one that whoever has HTTPS_PROXY has as well."""


def known() -> frozenset[str]:
    """Every name that is read, as it is written in an environment."""
    names = {str(field.alias) for field in Settings.model_fields.values() if field.alias}
    return frozenset(names | set(VENUE_OPTIONS) | OTHERS | {name + SUFFIX for name in names})


def mistyped(names: Iterable[str]) -> dict[str, str]:
    """Those that are no setting but look like one, and which they look like."""
    right = known()
    found: dict[str, str] = {}
    for name in sorted(set(names) - right):
        alike = get_close_matches(name, right, n=1, cutoff=ALIKE)
        if alike:
            found[name] = alike[0]
    return found
