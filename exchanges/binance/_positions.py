"""Positions of the futures markets: changes out of `ACCOUNT_UPDATE`, which goes on as it is, and all of them over REST.

Source: pages "Event: Balance and Position Update", "Position Information V3" (USD-M) and "Position Information" (COIN-M) of
developers.binance.com. USD-M's answer has neither leverage nor margin mode: isolated positions are those with a wallet.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

import msgspec

from exchanges._adapter import Answer, Call, Instant, Output, UserSubscription
from exchanges._frames import UNREADABLE
from exchanges._numbers import decimal
from exchanges._positions import Positions, Read, coins, position
from exchanges._renewal import renewable
from exchanges._rows import read_rows, tolerant
from exchanges.binance import _errors
from exchanges.binance._clock import BinanceClock
from exchanges.binance._hosts import Market
from exchanges.binance._signer import Signer
from exchanges.binance._symbols import belongs
from exchanges.events import AccountConfigUpdate, AccountEvent, AccountUpdate, PositionUpdate
from exchanges.instruments import SymbolTable

TAG: Final = "all positions"
_PATHS: Final = {"binanceUsdm": "/fapi/v3/positionRisk", "binanceCoinm": "/dapi/v1/positionRisk"}
_WEIGHT: Final = 5


class _Row(msgspec.Struct, rename="camel"):
    symbol: str
    position_amt: str
    position_side: str = "BOTH"
    entry_price: str = ""
    mark_price: str = ""
    un_realized_profit: str = ""
    liquidation_price: str = ""
    leverage: str = ""
    margin_type: str = ""
    isolated_wallet: str = ""
    update_time: int = 0


_decode_row = tolerant(_Row, strict=False)


class AccountPositions:
    """The positions of one account. I/O thread of the session only."""

    def __init__(
        self,
        market: Market,
        subscription: UserSubscription,
        signer: Signer,
        clock: BinanceClock,
        table: Callable[[], SymbolTable],
        ready: Callable[[], bool],
    ) -> None:
        self._market, self._signer, self._clock, self._table = market, signer, clock, table
        self._stream_id = subscription.stream_id
        self._leverage: dict[str, str] = {}
        """By symbol: frames of positions don't tell it."""
        self._kept = Positions(subscription, calls=self._calls, parse=self._read, sign=self._sign, ready=ready)
        self.owns, self.answered = self._kept.owns, self._kept.answered
        self.deadline, self.due = self._kept.deadline, self._kept.due

    def begin(self, now: Instant) -> None:
        if not self._market.spot:
            self._kept.begin(now)

    def live(self, event: AccountEvent) -> list[Output]:
        """What an event that is told beside this one says of positions."""
        if isinstance(event, AccountConfigUpdate) and event.symbol and event.leverage:
            self._leverage[event.symbol] = str(event.leverage)
        if not isinstance(event, AccountUpdate):
            return []
        return self._kept.live(
            self._update(
                row.symbol,
                row.position_amount,
                side=row.position_side,
                entry=row.entry_price,
                margin=row.margin_type,
                pnl=row.unrealized_pnl,
                update_ms=event.transaction_time,
                event_ms=event.event_time,
            )
            for row in event.positions
            if self._own(row.symbol)
        )

    def _own(self, symbol: str) -> bool:
        return belongs(self._market, symbol, self._table())

    def _calls(self) -> Sequence[Call]:
        url = self._market.rest + _PATHS[self._market.exchange]
        headers, pool = self._signer.headers, self._market.pool
        return [
            Call(tag=TAG, method="GET", url=url, headers=headers, stream_id=self._stream_id, weight=_WEIGHT, pool=pool)
        ]

    @renewable
    def _sign(self, call: Call, now: Instant) -> Call:
        query = self._signer.query("", self._clock.stamp(now))
        return msgspec.structs.replace(call, url=f"{call.url.split('?')[0]}?{query}")

    def _read(self, _call: Call, answer: Answer, now: Instant) -> Read:
        error = _errors.of_answer(answer)
        if error is not None:
            resync = self._clock.resync() if error.code == _errors.CLOCK else ()
            return Read(failed=_errors.describe(error), outputs=resync)
        try:
            rows, odd = read_rows(answer.body, _decode_row)
        except UNREADABLE as problem:
            return Read(failed=str(problem))
        rows = [row for row in rows if self._own(row.symbol)]
        event_ms = self._clock.stamp(now)
        self._leverage.update({row.symbol: row.leverage for row in rows if row.leverage})
        return Read(
            positions=[
                self._update(
                    row.symbol,
                    row.position_amt,
                    side=row.position_side,
                    entry=row.entry_price,
                    margin=row.margin_type or ("isolated" if decimal(row.isolated_wallet) else "cross"),
                    mark=row.mark_price,
                    liquidation=row.liquidation_price,
                    pnl=row.un_realized_profit,
                    update_ms=row.update_time,
                    event_ms=event_ms,
                )
                for row in rows
            ],
            time_ms=event_ms,
            notes=[odd.phrase("positions")] if odd else (),
        )

    def _update(
        self,
        symbol: str,
        amount: str,
        *,
        side: str,
        entry: str,
        margin: str,
        pnl: str,
        update_ms: int,
        event_ms: int,
        mark: str = "",
        liquidation: str = "",
    ) -> PositionUpdate:
        contracts = decimal(amount)
        inverse = self._market.exchange == "binanceCoinm"
        instrument = self._table().wire(symbol) if inverse else None
        size = instrument.contract_size if instrument is not None else None if inverse else "1"
        return position(
            symbol,
            side=side,
            contracts=contracts,
            quantity=coins(contracts, size, inverse=inverse, entry=entry),
            entry=entry,
            mark=mark,
            liquidation=liquidation,
            leverage=self._leverage.get(symbol),
            margin=margin.lower(),
            pnl=pnl,
            update_ms=update_ms,
            event_ms=event_ms,
        )
