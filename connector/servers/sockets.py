"""How sockets to servers end."""

from __future__ import annotations

import struct
from typing import Final

DISCARD: Final = struct.pack("ii", 1, 0)
"""`SO_LINGER` of a connection whose end takes back what did not arrive yet: the kernel would go on sending it for minutes,
also behind what another process published meanwhile."""
