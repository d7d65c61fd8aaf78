"""For all tests: a metric that is used other than declared fails the test instead of being counted as an error, and no
example of a property has a deadline: how fast the machine is proves nothing."""

from __future__ import annotations

from hypothesis import settings

from connector.core.metrics import METRICS

METRICS.strict = True

settings.register_profile("patient", deadline=None)
settings.load_profile("patient")
