"""Settings that can't be had are refused at start, with the reason."""

from __future__ import annotations

import pytest

from connector.core.errors import InvalidSetting
from connector.core.settings import Settings


def test_the_demo_of_kraken_that_is_gone_is_refused_at_start() -> None:
    """The service started, and sent keys of the demo to a host that redirects."""
    with pytest.raises(InvalidSetting, match=r"KRAKEN_ENV=demo.*retired on 2026-07-14"):
        Settings.from_env({"KRAKEN_ENV": "demo"})
    with pytest.raises(InvalidSetting, match=r"KRAKEN_FUTURES_ROUTE='new' is none of auto, classic, unified"):
        Settings.from_env({"KRAKEN_FUTURES_ROUTE": "new"})
    assert Settings.from_env({"KRAKEN_ENV": "live"}).venue_options == {"KRAKEN_ENV": "live"}
