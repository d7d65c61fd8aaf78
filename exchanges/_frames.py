"""What is no use: bytes that can't be decoded, and answers that say nothing but that something went wrong."""

from __future__ import annotations

from typing import Final

import msgspec

UNREADABLE: Final = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
"""Not JSON, not UTF-8, not of the expected shape, or nested too deep. A frame that can't be read costs only itself."""

NO_WEIGHT: Final = "no REST weight left within the time limit"
"""Error of a call that was not made, because the venue's budget is used up."""

RETRYABLE: Final = frozenset({0, 408, 418, 429, 500, 502, 503, 504, 520, 521, 522, 523, 524, 530})
"""HTTP statuses (0 = no answer) that are worth asking again, whatever the body says."""
