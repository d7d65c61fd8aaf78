"""Mistakes that somebody who writes a venue makes, planted in the template one at a time: what the shared suites are worth.

A defect that a venue had and that no shared suite saw belongs here, too.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from tests.unit.exchanges.suites import ADAPTER, HALF


class Mistake(NamedTuple):
    """What is wrong, and the text of a file that becomes another one."""

    name: str
    file: str
    text: str
    planted: str


def _adapter(name: str, module: str, text: str, planted: str) -> Mistake:
    return Mistake(name, f"{ADAPTER}/{module}.py", text, planted)


def _half(name: str, text: str, planted: str) -> Mistake:
    return Mistake(name, HALF, text, planted)


PLANTED: Final = (
    _adapter(
        "confirmed topics are not handed on",
        "_connection",
        "        outputs = self._answered(request_id, now)\n",
        "        outputs = self._pump(now) if self._book.answered(request_id) else []\n",
    ),
    _adapter(
        "the gap is never read",
        "_user",
        "account.plan.first(account.resume) if account.resume else []",
        "[]",
    ),
    _adapter(
        "a refused key is told without its stream",
        "_user",
        "failure.fail(account.stream_id)",
        "failure.fail()",
    ),
    _adapter("a REST pool that the limits do not have", "_gap", 'tag="order", ', 'tag="order", pool="orders", '),
    _adapter(
        "the key stands in a reason",
        "_user",
        "[failure.fail(account.stream_id)]",
        "[failure._replace(reason=account._signer._key).fail(account.stream_id)]",
    ),
    _adapter(
        "one message id for all states of an order",
        "_orders",
        "{order.id}:{order.state}:{order.size}:{order.price}:{order.filled}:{order.changed}",
        "{order.id}",
    ),
    _adapter("running candles are published", "_candle", "[row for row in rows if row.closed]", "rows"),
    _adapter(
        "filled and value are exchanged",
        "_orders",
        "total_trade_quantity=plain(order.filled),\n        total_quote_trade_quantity=plain(order.value)",
        "total_trade_quantity=plain(order.value),\n        total_quote_trade_quantity=plain(order.filled)",
    ),
    _adapter(
        "live events pass the repair",
        "_user",
        "outputs += account.repair.live(event)",
        "account.repair._open = True; outputs += account.repair.live(event)",
    ),
    _adapter(
        "a dead key is told as transient", "_errors", '"EXPIRED": refused(', '"EXPIRED": Meaning(FailKind.TRANSIENT, '
    ),
    _adapter(
        "an unknown status is guessed",
        "_orders",
        "    if unclear(order):\n        return None\n",
        '    order.state = order.state if order.state in STATUSES else "cancelled"\n',
    ),
    _adapter(
        "orders that no list shows are not asked for",
        "_gap",
        "if not o.terminal and o.order_id not in self._seen]",
        "if o.order_id in self._seen]",
    ),
    _adapter(
        "a key that is refused in a gap is tried for ever",
        "_gap",
        "if failure.kind in (FailKind.CREDENTIAL, FailKind.REQUEST):",
        "if failure.kind is FailKind.REQUEST:",
    ),
    _adapter(
        "an account that is removed is not forgotten",
        "_user",
        "        self._account = None\n        self._alarms",
        "        self._alarms",
    ),
    _adapter(
        "no end to a login that is not answered",
        "_user",
        '        self._alarms.set("login", now.mono + ACK_TIMEOUT_S)\n',
        '        self._alarms.set("login", now.mono + 1e9)\n',
    ),
    _adapter("no heartbeat", "_user", "        self._beat.start(now)\n", "        self._beat.heard()\n"),
    _adapter(
        "a retry is stamped with the time of an earlier input",
        "_user",
        "        return self._signer.signed(call, self.clock.stamp(now))\n",
        "        self.at = now if call.attempt == 1 else self.at\n"
        "        return self._signer.signed(call, self.clock.stamp(self.at))\n",
    ),
    _adapter(
        "a private frame of an unknown kind is passed over",
        "_user",
        '                return [Note("a private frame of no known kind", "error")]\n',
        "                return []\n",
    ),
    _adapter("a ticker frame that raises", "_ticker", "if number(row.last) > 0]", "if 1 / number(row.last) > 0]"),
    _half(
        "the half checks no signature",
        '        if not signed_by(found[1], text, sign):\n            raise Failure("SIGNATURE")\n',
        "",
    ),
    _half(
        "the half keeps no limit",
        "if self.world.settings.limits and not self._calls.hit(request.remote, now.mono):",
        "if self._calls is None:",
    ),
    _half("the half accepts rejected keys", "if found is None or found[1].rejected:", "if found is None:"),
    _half(
        "the half never pushes the wallet",
        "        return (self.wallet(change.time_ms),)\n",
        "        return ()\n",
    ),
)
"""The 22 that were planted in a made-up venue when two of them were seen, and what was found since."""
