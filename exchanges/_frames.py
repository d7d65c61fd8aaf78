"""What decoding a venue's bytes can raise, in one place: a frame that can't be read costs only itself."""

from __future__ import annotations

from typing import Final

import msgspec

UNREADABLE: Final = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
"""Not JSON, not UTF-8, not of the expected shape, or nested too deep."""
