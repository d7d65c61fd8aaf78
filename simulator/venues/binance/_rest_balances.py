"""Private REST answers: fills, balances, positions."""

from __future__ import annotations

from typing import Any

from simulator._values import LEVERAGE, ZERO, Trade, liquidation_price, unrealised
from simulator.venues.binance._auth import Failure
from simulator.venues.binance._context import Context
from simulator.venues.binance._frames import ALIAS, digits, eight, price_text, quantity_text
from simulator.venues.binance._rest_trading import span_of
from simulator.venues.binance._symbols import US

Row = dict[str, Any]

# --- fills ---


def _trades(context: Context, wire: str | None) -> list[Trade]:
    since, until = span_of(context)
    number, first = context.integer("orderId"), context.integer("fromId")
    rows = [
        trade
        for trade in context.state.world.engine.trades(context.owner.account_id, context.exchange, wire)
        if (since is None or trade.time_ms >= since)
        and (until is None or trade.time_ms <= until)
        and (number is None or trade.order_id + context.profile.order_offset == number)
        and (first is None or trade.trade_id >= first)
    ]
    limit = context.limit(500, 1000)
    return rows[:limit] if since is not None or first is not None else rows[-limit:]


def my_trades(context: Context) -> list[Row]:
    return [
        {
            "symbol": trade.symbol,
            "id": trade.trade_id,
            "orderId": trade.order_id + context.profile.order_offset,
            "orderListId": -1,
            "price": eight(trade.price),
            "qty": eight(trade.quantity),
            "quoteQty": eight(trade.value),
            "commission": eight(trade.fee),
            "commissionAsset": trade.fee_asset,
            "time": trade.time_ms,
            "isBuyer": trade.side == "BUY",
            "isMaker": trade.maker,
            "isBestMatch": True,
        }
        for trade in _trades(context, context.symbol().wire)
    ]


def user_trades(context: Context) -> list[Row]:
    rows = []
    for trade in _trades(context, context.maybe_symbol()):
        symbol = context.state.world.markets.symbol(context.exchange, trade.symbol)
        if symbol is None:
            continue
        row: Row = {
            "symbol": trade.symbol,
            "id": trade.trade_id,
            "orderId": trade.order_id + context.profile.order_offset,
            "side": trade.side,
            "price": price_text(symbol, trade.price),
            "qty": quantity_text(symbol, trade.quantity),
            "realizedPnl": eight(trade.realised),
            "commission": eight(trade.fee),
            "commissionAsset": trade.fee_asset,
            "time": trade.time_ms,
            "positionSide": "BOTH",
            "buyer": trade.side == "BUY",
            "maker": trade.maker,
        }
        if context.profile.style == "coinm":
            row |= {"pair": trade.symbol.split("_")[0], "marginAsset": symbol.settle, "baseQty": eight(trade.value)}
        else:
            row |= {"quoteQty": eight(trade.value)}
        rows.append(row)
    return rows


# --- balances ---


def spot_account(context: Context) -> Row:
    account = context.owner
    if context.profile is US and "omitZeroBalances" in context.params:
        raise Failure(400, -1104, "Not all sent parameters were read; read '2' parameter(s) but was sent '3'.")
    hide = context.params.get("omitZeroBalances") == "true"
    return {
        "makerCommission": 8,
        "takerCommission": 10,
        "buyerCommission": 0,
        "sellerCommission": 0,
        "canTrade": True,
        "canWithdraw": False,
        "canDeposit": False,
        "updateTime": account.last_ms,
        "accountType": "SPOT",
        "balances": [
            {"asset": held.asset, "free": eight(held.free), "locked": eight(held.locked)}
            for held in account.holdings(context.exchange)
            if held.total or not hide
        ],
        "permissions": ["SPOT"],
        "uid": 354_937_868,
    }


def futures_balance(context: Context) -> list[Row]:
    return [
        {
            "accountAlias": ALIAS,
            "asset": held.asset,
            "balance": eight(held.total),
            "crossWalletBalance": eight(held.free),
            "crossUnPnl": "0.00000000",
            "availableBalance": eight(held.free),
            "maxWithdrawAmount": eight(held.free),
            "marginAvailable": True,
            "updateTime": _moved_ms(context, held.asset),
        }
        for held in context.owner.holdings(context.exchange)
    ]


def _moved_ms(context: Context, asset: str) -> int:
    """When the wallet of an asset moved last: each tells of itself only. Transfers are not remembered."""
    symbol_of = context.state.world.markets.symbol
    times = [
        trade.time_ms
        for trade in context.state.world.engine.trades(context.owner.account_id, context.exchange)
        if (symbol := symbol_of(context.exchange, trade.symbol)) is not None and symbol.settle == asset
    ]
    return max(times, default=0)


def position_risk(context: Context) -> list[Row]:
    wanted = context.maybe_symbol()
    rows = []
    for position in context.owner.positions(context.exchange):
        if wanted not in {None, position.symbol}:
            continue
        quote = context.state.world.markets.quote(context.exchange, position.symbol)
        rows.append(
            {
                "symbol": position.symbol,
                "positionAmt": digits(position.amount, quote.symbol.quantity_decimals),
                "entryPrice": price_text(quote.symbol, position.entry),
                "breakEvenPrice": price_text(quote.symbol, position.entry),
                "markPrice": price_text(quote.symbol, quote.price),
                "unRealizedProfit": eight(unrealised(position, quote)),
                "liquidationPrice": price_text(quote.symbol, liquidation_price(position, quote.symbol)),
                "isolatedMargin": "0.00000000",
                "isolatedWallet": "0",
                "positionSide": position.side,
                "notional": eight(quote.symbol.value(position.amount, quote.price)),
                "updateTime": position.updated_ms,
            }
        )
        if quote.symbol.inverse:  # version 3 of USD-M has neither
            rows[-1] |= {"leverage": str(LEVERAGE), "marginType": "cross"}
    return rows


def futures_account(context: Context) -> Row:
    holdings = context.owner.holdings(context.exchange)
    return {
        "canTrade": True,
        "canDeposit": False,
        "canWithdraw": False,
        "feeTier": 0,
        "updateTime": context.owner.last_ms,
        "totalWalletBalance": eight(sum((held.total for held in holdings), ZERO)),
        "assets": [
            {
                "asset": held.asset,
                "walletBalance": eight(held.total),
                "crossWalletBalance": eight(held.free),
                "unrealizedProfit": "0.00000000",
                "marginBalance": eight(held.total),
                "availableBalance": eight(held.free),
                "updateTime": context.owner.last_ms,
            }
            for held in holdings
        ],
        "positions": position_risk(context),
    }
