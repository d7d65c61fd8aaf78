"""Where the events of sessions go."""

from __future__ import annotations

from typing import Protocol

from exchanges._adapter import Emit, EmitCandle, EmitTickers


class Publisher(Protocol):
    """Where events go. Called on the I/O thread; must not block."""

    def account(self, emit: Emit, mono: float) -> bool: ...

    def tickers(self, emit: EmitTickers, mono: float) -> None: ...

    def candle(self, emit: EmitCandle, mono: float) -> None: ...
