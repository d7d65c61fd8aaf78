"""What the engine did, as typed changes for the venue halves and as journal entries for tests. Pure."""

from __future__ import annotations

from collections import deque
from itertools import takewhile

from simulator._accounts import Account
from simulator._kept import TESTS
from simulator._values import Change, Entry, Holding, Order, OrderChange, OrderKind, Trade, WalletChange


class Record:
    """Numbers every change; keeps the journal and what was not delivered yet."""

    def __init__(self) -> None:
        self._changes: list[Change] = []
        self._journal: deque[Entry] = deque(maxlen=TESTS.journal)
        self._seq = 0

    def keep(self, entries: int) -> None:
        """So many entries of the journal from now on, the newest."""
        self._journal = deque(self._journal, maxlen=entries)

    def drain(self) -> list[Change]:
        """Changes since the last call, in order."""
        changes, self._changes = self._changes, []
        return changes

    @property
    def last_seq(self) -> int:
        return self._seq

    def journal(self, since: int) -> list[Entry]:
        """Looks at the new entries only: readers ask after each deed, while the journal grows long."""
        found = list(takewhile(lambda entry: entry.seq > since, reversed(self._journal)))
        found.reverse()
        return found

    def order(self, order: Order, kind: OrderKind, trade: Trade | None, request_id: str) -> int:
        """An order reached the state `order`, whose `updated_ms` is the time of the step. Returns its `seq`."""
        self._seq += 1
        self._changes.append(
            OrderChange(
                seq=self._seq,
                time_ms=order.updated_ms,
                account=order.account,
                exchange=order.exchange,
                kind=kind,
                order=order,
                trade=trade,
                request_id=request_id,
            )
        )
        self._journal.append(
            Entry(
                seq=self._seq,
                time_ms=order.updated_ms,
                account=order.account,
                exchange=order.exchange,
                symbol=order.symbol,
                order_id=order.order_id,
                client_id=order.client_id,
                status=order.status,
                kind=kind,
                executed=order.executed,
                value=order.value,
                trade_id=trade.trade_id if trade else -1,
            )
        )
        return self._seq

    def wallet(
        self, account: Account, exchange: str, wallet: str, now_ms: int, reason: str, order_seq: int = 0
    ) -> tuple[Holding, ...]:
        """What the ledger moved since the last call, if anything; returns the holdings."""
        holdings, positions = account.ledger.drain(exchange, max(now_ms, account.last_ms + 1))
        if holdings or positions:
            self._seq += 1
            self._changes.append(
                WalletChange(
                    seq=self._seq,
                    time_ms=account.stamp(now_ms),
                    account=account.account_id,
                    exchange=exchange,
                    wallet=wallet,
                    reason=reason,
                    holdings=holdings,
                    positions=positions,
                    order_seq=order_seq,
                )
            )
        return holdings
