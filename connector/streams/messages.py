"""What an admitted account event becomes on its way out: a message, and its field in the `orders` hash (contract 2.5)."""

from __future__ import annotations

from typing import Final

from connector.core.clock import Chance
from connector.core.messages import AccountMessage
from connector.streams.tracker import Admitted
from exchanges._adapter import KnownOrder
from exchanges.events import AccountEvent, ExecutionReport, OrderTradeUpdate, encode, event_type

OPEN_ORDER_TTL_S: Final = 86_400
FINISHED_ORDER_TTL_S: Final = 300
"""Expiry of a field of the `orders` hash (contract 2.5)."""

# fmt: off
ORDER_MARKERS: Final = (
    "GRID-TP", "GRIDTP", "GRID-STAB", "GRIDSTAB", "GRID-BO", "GRIDBO", "GRID-RO", "GRIDRO", "GA-F", "GAF", "D-ROA",
    "DROA", "D-SR", "DSR", "D-BO", "DBO", "D-TP", "DTP", "D-MTP", "DMTP", "D-MSL", "DMSL", "D-RO", "DRO", "CMB-BO",
    "CMBBO", "CMB-GR", "CMBGR", "CMB-RO", "CMBRO", "CMB-H", "CMBH",
)
# fmt: on


def account_message(stream_id: str, exchange: str, admitted: Admitted, mono: float, chance: Chance) -> AccountMessage:
    """`mono`: when its frame was read."""
    event = admitted.event
    field, ttl_s = _order_field(event, admitted.order, chance)
    return AccountMessage(
        stream_id=stream_id,
        exchange=exchange,
        event_type=event_type(event),
        event_id=admitted.event_id,
        event_time_ms=event.event_time,
        body=encode(event),
        received_mono=mono,
        order_field=field,
        order_ttl_s=ttl_s,
    )


def _order_field(event: AccountEvent, order: KnownOrder | None, chance: Chance) -> tuple[str | None, int]:
    """Where the event is stored in the `orders` hash, if at all (contract 2.5)."""
    if order is None or not isinstance(event, ExecutionReport | OrderTradeUpdate):
        return None, 0
    ttl_s = OPEN_ORDER_TTL_S if order.status in {"NEW", "PARTIALLY_FILLED"} else FINISHED_ORDER_TTL_S
    client_id = order.client_order_id
    if event.liquidation is True:
        return client_id or f"liq_{chance.new_uuid()}", ttl_s
    if client_id.startswith("0x") or any(marker in client_id for marker in ORDER_MARKERS):
        return client_id, ttl_s
    return None, 0
