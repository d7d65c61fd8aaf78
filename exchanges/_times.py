"""Times as venues write them: RFC 3339 with 0 to 9 fractional digits, cut (not rounded) to ms, and `Retry-After`."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Final

_RFC3339: Final = re.compile(r"(\d{4}-\d\d-\d\d)[Tt ](\d\d:\d\d:\d\d)(?:\.(\d+))?(?:[Zz]|([+-])(\d\d):?(\d\d))?$")
_MAX_WAIT_S: Final = 86_400.0
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


def milliseconds(text: str | None) -> int:
    """Milliseconds since the epoch; 0 for what is empty, unreadable or Coinbase's `0001-01-01` for none."""
    found = _RFC3339.match(text or "")
    if found is None:
        return 0
    day, clock, fraction, sign, hours, minutes = found.groups()
    try:
        moment = datetime.fromisoformat(f"{day}T{clock}+00:00")
    except ValueError:
        return 0
    if sign:
        offset = timedelta(hours=int(hours), minutes=int(minutes))
        moment = moment - offset if sign == "+" else moment + offset
    seconds = (moment - _EPOCH) // timedelta(seconds=1)
    return max(0, seconds * 1000 + int(f"{fraction or '0'}00"[:3]))


def rfc3339(time_ms: int) -> str:
    moment = _EPOCH + timedelta(milliseconds=time_ms)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{moment.microsecond // 1000:03d}Z"


def retry_after_s(header: str | None, now_ms: int) -> float | None:
    """Seconds that a `Retry-After` header asks for: a number, or until an HTTP date (RFC 9110 10.2.3), a day at most.

    None if there is no header, or nobody can read it.
    """
    text = (header or "").strip()
    if text.isascii() and text.isdigit():
        return min(float(text[:12]), _MAX_WAIT_S)
    try:
        until = parsedate_to_datetime(text)
    except (ValueError, IndexError, TypeError):
        return None
    aware = until if until.tzinfo is not None else until.replace(tzinfo=UTC)
    wait_s = ((aware - _EPOCH) // timedelta(milliseconds=1) - now_ms) / 1000
    return min(max(wait_s, 0.0), _MAX_WAIT_S)
