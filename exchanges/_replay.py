"""What a recorded frame is replayed with: the adapter's setup, and the account or stream that the frame counts as."""

from __future__ import annotations

from typing import Final

from exchanges._adapter import UserSubscription
from exchanges._venue import Setup
from exchanges.credentials import credentials
from exchanges.instruments import EMPTY, SymbolTable

RECORDED: Final = "replay"
"""Stream id of everything that comes out of recorded frames."""
_BASE64: Final = "cmVwbGF5"
"""Some venues give out secrets in base64."""


def recorded_setup(exchange: str, table: SymbolTable = EMPTY) -> Setup:
    return Setup(exchange=exchange, new_id=lambda: RECORDED, table=lambda: table)


def recorded_account(exchange: str, okx_source: str | None = None) -> UserSubscription:
    """An account whose key is good for signing, and for nothing else."""
    nobody = credentials(RECORDED, _BASE64, RECORDED, okx_source=okx_source)
    return UserSubscription(stream_id=RECORDED, exchange=exchange, credentials=nobody)
