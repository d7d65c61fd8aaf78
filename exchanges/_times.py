"""RFC 3339 timestamps as venues write them: 0 to 9 fractional digits, cut (not rounded) to milliseconds."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Final

_RFC3339: Final = re.compile(r"(\d{4}-\d\d-\d\d)[Tt ](\d\d:\d\d:\d\d)(?:\.(\d+))?(?:[Zz]|([+-])(\d\d):?(\d\d))?$")
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
