"""For all tests: a metric that is used other than declared fails the test instead of being counted as an error."""

from __future__ import annotations

from connector.core.metrics import METRICS

METRICS.strict = True
