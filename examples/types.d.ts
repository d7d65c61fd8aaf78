// Made from docs/events.schema.json by `make contract`; change the classes instead.
// Fields may be added: ignore what you don't know. Decimal text stays text: Number() would round it.

export interface AccountConfigUpdate {
  /** Tells the events of an account apart. */
  eventType: "ACCOUNT_CONFIG_UPDATE";
  /** When the exchange made the event; for tickers, when this service sent it. (ms since the epoch) */
  eventTime: number;
  /** When the exchange carried it out. (ms since the epoch) */
  transactionTime: number;
  /** What was configured, in the exchange's word. */
  type: string;
  /** Tells this message from others; for repetitions use AMQP's `message_id`. */
  uniqueMessageId: string;
  /** Symbol, as the exchange writes it. */
  symbol?: string;
  /** New leverage of the symbol. */
  leverage?: number;
  /** Whether several assets serve as margin. */
  multiAssets?: boolean;
}

/** Balances of the listed assets; assets that are not listed stay as they were (contract 2.2). */
export interface AccountPosition {
  /** Tells the events of an account apart. */
  eventType: "outboundAccountPosition";
  /** When the exchange made the event; for tickers, when this service sent it. (ms since the epoch) */
  eventTime: number;
  /** When the account changed last. (ms since the epoch) */
  lastAccountUpdate: number;
  /** The assets that are told; others stay as they were. */
  balances: Array<Balance>;
  /** Tells this message from others; for repetitions use AMQP's `message_id`. */
  uniqueMessageId: string;
}

/** Binance futures balances and positions; both lists are partial (contract 2.2). */
export interface AccountUpdate {
  /** Tells the events of an account apart. */
  eventType: "ACCOUNT_UPDATE";
  /** When the exchange made the event; for tickers, when this service sent it. (ms since the epoch) */
  eventTime: number;
  /** When the exchange carried it out. (ms since the epoch) */
  transactionTime: number;
  /** Why the account changed, in the exchange's word: `ORDER`, `FUNDING_FEE`, `DEPOSIT` … */
  eventReasonType: string;
  /** The assets that are told; others stay as they were. */
  balances: Array<FuturesBalance>;
  /** The positions that are told; others stay as they were. */
  positions: Array<FuturesPosition>;
  /** Tells this message from others; for repetitions use AMQP's `message_id`. */
  uniqueMessageId: string;
}

/** The price service is there: after each start, then every 60 s. */
export interface Alive {
  /** Another one after each start from nothing. */
  bootId: string;
  /** Role of the price service: `all`, `ticker` or `candle`. */
  role: string;
}

/** An account whose key was refused delivers events again. */
export interface AuthRecovered {
  /** Id of the account stream. */
  exchangeUUID: string;
}

/** The exchange refuses a key; it is left alone for a while (30 min, doubling to 24 h). */
export interface AuthReject {
  /** Exchange id: `binance`, `okxLinear` … */
  exchange: string;
  /** Whose account it is; in `userStreamFlap` the stream's id. */
  userId: string;
  /** The exchange's own words. */
  reason: string;
  /** Id of the account stream. */
  exchangeUUID: string;
  /** `authReject`, or `legacyKey` where the type of key is refused; of a stall the feed: `price` or `candle`. */
  kind: string;
}

/** One asset of an `outboundAccountPosition`: absolute values. Only Kraken spot leaves `locked` out (2.2). */
export interface Balance {
  /** Code of the asset, as the exchange writes it. */
  asset: string;
  /** Amount that can be used; absolute. (decimal text) */
  free: string;
  /** Amount in open orders; absolute. Kraken spot leaves it out. (decimal text) */
  locked?: string;
  /** What the exchange calls available, where that is not `free`. (decimal text) */
  venueAvailable?: string;
}

/** A signed change of one asset. The backend adds it: never publish one twice, never replay one (contract 2.2). */
export interface BalanceUpdate {
  /** Tells the events of an account apart. */
  eventType: "balanceUpdate";
  /** Code of the asset, as the exchange writes it. */
  asset: string;
  /** Signed change, to be added to what is stored. Told once, never repaired, never repeated. (decimal text) */
  balanceDelta: string;
  /** When the exchange booked the change. (ms since the epoch) */
  clearTime: number;
  /** When the exchange made the event; for tickers, when this service sent it. (ms since the epoch) */
  eventTime: number;
  /** Tells this message from others; for repetitions use AMQP's `message_id`. */
  uniqueMessageId: string;
}

/** One candle; `start` is its opening time in ms, the rest decimal text (contract 2.7). */
export interface Candle {
  /** Opening time of the candle. (ms since the epoch) */
  start: number;
  /** First price of the interval. (decimal text) */
  open: string;
  /** Highest price of the interval. (decimal text) */
  high: string;
  /** Lowest price of the interval. (decimal text) */
  low: string;
  /** Last price of the interval (so far, while the candle runs). (decimal text) */
  close: string;
  /** Traded in the interval, in the base asset. (decimal text) */
  volume: string;
  /** Tells this message from others; for repetitions use AMQP's `message_id`. */
  uniqueMessageId: string;
}

/** State of an order after one change; totals are cumulative (contract 2.1). */
export interface ExecutionReport {
  /** Tells the events of an account apart. */
  eventType: "executionReport";
  /** Symbol, as the exchange writes it. */
  symbol: string;
  /** Client id of the order. On a spot cancel the order's own, not the cancel's. */
  newClientOrderId: string;
  /** Client id before a change that gave the order another one; empty or null else. */
  originalClientOrderId: string | null;
  /** Id that the exchange gave the order: a number, or text above 2^53-1 and where it is no number. */
  orderId: string | number;
  /** State after the change. Nothing follows FILLED, CANCELED, EXPIRED or REJECTED. */
  orderStatus: string;
  /** `LIMIT`, `MARKET` … */
  orderType: string;
  /** `BUY` or `SELL`. */
  side: string;
  /** Limit price, in the quote asset; of a market order what the exchange says, often 0. (decimal text) */
  price: string;
  /** Size that was ordered, in the base asset; of inverse futures in the unit of the exchange. (decimal text) */
  quantity: string;
  /** Size of all fills so far; never falls. (decimal text) */
  totalTradeQuantity: string;
  /** Value of all fills so far, in the quote asset; not of the last fill alone. (decimal text) */
  totalQuoteTradeQuantity: string;
  /** When the order was made. (ms since the epoch) */
  creationTime: number;
  /** When the exchange made the event; for tickers, when this service sent it. (ms since the epoch) */
  eventTime: number;
  /** When this change of the order happened. (ms since the epoch) */
  orderTime: number;
  /** Tells this message from others; for repetitions use AMQP's `message_id`. */
  uniqueMessageId: string;
  /** True: the exchange closed the position by force. */
  liquidation?: boolean;
  /** Fee of all fills so far, in `feeAsset`; negative: a rebate. (decimal text) */
  feePaid?: string;
  /** Asset of `feePaid`. */
  feeAsset?: string;
  /** Whether the fee was taken from the `base` or the `quote` asset. */
  feeSide?: string;
  /** The fee's parts, where it was paid in several assets. */
  feeBreakdown?: Array<FeePart>;
  /** `feePaid` in US dollars, where the exchange tells it. (decimal text) */
  feePaidUsd?: string;
  /** Id that the order's sender gave it. */
  clientOrderId?: string;
  /** `GTC`, `IOC` … */
  timeInForce?: string;
  /** The exchange's word for what happened: `NEW`, `TRADE`, `CANCELED` … */
  executionType?: string;
  /** Trigger price; 0: none. (decimal text) */
  stopPrice?: string;
  /** Visible part of an iceberg order, in the base asset. (decimal text) */
  icebergQuantity?: string;
  /** Why it was rejected, in the exchange's word; `NONE` else. */
  orderRejectReason?: string;
  /** Size of this fill alone. (decimal text) */
  lastTradeQuantity?: string;
  /** Price of this fill alone, in the quote asset. (decimal text) */
  priceLastTrade?: string;
  /** Fee of this fill alone, in `commissionAsset`; negative: a rebate. (decimal text) */
  commission?: string;
  /** Asset of `commission`; null without a fill. */
  commissionAsset?: string | null;
  /** Id of this fill; -1 where there is none. */
  tradeId?: number;
  /** Whether the order is in the book. */
  isOrderWorking?: boolean;
  /** Whether the buyer's order rested in the book. */
  isBuyerMaker?: boolean;
  /** Id of the order's list (OCO …); -1: none. */
  orderListId?: number;
  /** Size that was ordered by value, in the quote asset; 0 else. (decimal text) */
  quoteOrderQuantity?: string;
  /** Value of this fill, in the quote asset. (decimal text) */
  lastQuoteTransacted?: string;
}

export interface FeePart {
  /** Code of the asset, as the exchange writes it. */
  asset: string;
  /** Part of the fee, in `asset`. (decimal text) */
  amount: string;
}

/** An account reconnected that often within the window. */
export interface Flap {
  /** Exchange id: `binance`, `okxLinear` … */
  exchange: string;
  /** Whose account it is; in `userStreamFlap` the stream's id. */
  userId: string;
  /** How often, within the window. */
  reconnects: number;
  /** The window, in seconds. */
  windowSec: number;
}

export interface FuturesBalance {
  /** Code of the asset, as the exchange writes it. */
  asset: string;
  /** Balance without unrealised profit; absolute. (decimal text) */
  walletBalance: string;
  /** Wallet balance without isolated positions. (decimal text) */
  crossWalletBalance: string;
  /** Change of the wallet balance without profit, loss and fees; may be negative. (decimal text) */
  balanceChange: string;
}

export interface FuturesPosition {
  /** Symbol, as the exchange writes it. */
  symbol: string;
  /** Size of the position; negative: short. (decimal text) */
  positionAmount: string;
  /** Mean price of the position. (decimal text) */
  entryPrice: string;
  /** Profit realised by the position so far, in the margin asset. (decimal text) */
  accumulatedRealized: string;
  /** Profit of the open position at the mark price; may be negative. (decimal text) */
  unrealizedPnL: string;
  /** `cross` or `isolated`. */
  marginType: string;
  /** Margin of an isolated position. (decimal text) */
  isolatedWallet: string;
  /** `BOTH`, `LONG` or `SHORT`. */
  positionSide: string;
}

/** The account is live. */
export interface Info {
  info: string;
}

export interface MarginCall {
  /** Tells the events of an account apart. */
  eventType: "MARGIN_CALL";
  /** When the exchange made the event; for tickers, when this service sent it. (ms since the epoch) */
  eventTime: number;
  /** The positions that are told; others stay as they were. */
  positions: Array<MarginPosition>;
  /** Tells this message from others; for repetitions use AMQP's `message_id`. */
  uniqueMessageId: string;
  /** Wallet balance without isolated positions. (decimal text) */
  crossWalletBalance?: string;
}

export interface MarginPosition {
  /** Symbol, as the exchange writes it. */
  symbol: string;
  /** `BOTH`, `LONG` or `SHORT`. */
  positionSide: string;
  /** Size of the position; negative: short. (decimal text) */
  positionAmount: string;
  /** `cross` or `isolated`. */
  marginType: string;
  /** Margin of an isolated position. (decimal text) */
  isolatedWallet?: string;
  /** Price by which the exchange values the position. (decimal text) */
  markPrice?: string;
  /** Profit of the open position at the mark price; may be negative. (decimal text) */
  unrealizedPnL?: string;
  /** Margin that the position must keep. (decimal text) */
  maintenanceMarginRequired?: string;
}

/** An order change on Binance futures, in that venue's own shape (contract 2.1). */
export interface OrderTradeUpdate {
  /** Tells the events of an account apart. */
  eventType: "ORDER_TRADE_UPDATE";
  /** When the exchange made the event; for tickers, when this service sent it. (ms since the epoch) */
  eventTime: number;
  /** When the exchange carried it out. (ms since the epoch) */
  transactionTime: number;
  /** Symbol, as the exchange writes it. */
  symbol: string;
  /** Id that the order's sender gave it. */
  clientOrderId: string;
  /** `BUY` or `SELL`. */
  side: string;
  /** `LIMIT`, `MARKET` … */
  orderType: string;
  /** `GTC`, `IOC` … */
  timeInForce?: string;
  /** Size that was ordered, in the base asset; of inverse futures in the unit of the exchange. (decimal text) */
  quantity: string;
  /** Limit price, in the quote asset; of a market order what the exchange says, often 0. (decimal text) */
  price: string;
  /** Mean price of all fills so far, in the quote asset; 0 before the first. (decimal text) */
  averagePrice: string;
  /** State after the change. Nothing follows FILLED, CANCELED, EXPIRED or REJECTED. */
  orderStatus: string;
  /** Id that the exchange gave the order: a number, or text above 2^53-1 and where it is no number. */
  orderId: string | number;
  /** Size of all fills so far; never falls. (decimal text) */
  totalTradeQuantity: string;
  /** When this change of the order happened. (ms since the epoch) */
  orderTime: number;
  /** True: the exchange closed the position by force. */
  liquidation: boolean;
  /** Tells this message from others; for repetitions use AMQP's `message_id`. */
  uniqueMessageId: string;
  /** Trigger price; 0: none. (decimal text) */
  stopPrice?: string;
  /** The exchange's word for what happened: `NEW`, `TRADE`, `CANCELED` … */
  executionType?: string;
  /** Size of this fill alone. (decimal text) */
  lastTradeQuantity?: string;
  /** Price of this fill alone, in the quote asset. (decimal text) */
  priceLastTrade?: string;
  /** Asset of `commission`; null without a fill. */
  commissionAsset?: string | null;
  /** Fee of this fill alone, in `commissionAsset`; negative: a rebate. (decimal text) */
  commission?: string;
  /** Id of this fill; -1 where there is none. */
  tradeId?: number;
  /** Value of the open buy orders of the symbol, in the quote asset. (decimal text) */
  bidsNotional?: string;
  /** Value of the open sell orders of the symbol, in the quote asset. (decimal text) */
  asksNotional?: string;
  /** Whether this fill came from an order that rested in the book. */
  isMaker?: boolean;
  /** Whether the order can only reduce a position. */
  isReduceOnly?: boolean;
  /** Price that triggers: `MARK_PRICE` or `CONTRACT_PRICE`. */
  workingType?: string;
  /** Type of the conditional order that this one came from. */
  originalOrderType?: string;
  /** `BOTH`, `LONG` or `SHORT`. */
  positionSide?: string;
  /** Whether the order closes the whole position. */
  closePosition?: boolean;
  /** Price at which a trailing stop begins to follow; in the quote asset. (decimal text) */
  activationPrice?: string;
  /** Distance of a trailing stop, in percent. (decimal text) */
  callbackRate?: string;
  /** Profit realised by this fill. (decimal text) */
  realizedProfit?: string;
}

/** What an account of derivatives holds of one symbol (and side, in hedge mode) now. Both sizes are 0 when it is closed. Told when size, entry price, leverage or margin mode changed; the other figures are those of that moment. */
export interface PositionUpdate {
  /** Tells the events of an account apart. */
  eventType: "positionUpdate";
  /** Symbol, as the exchange writes it. */
  symbol: string;
  /** `BOTH` for a net position; `LONG` or `SHORT` in hedge mode. */
  positionSide: string;
  /** Size in the base asset (of inverse contracts: at the entry price); negative: short; 0: closed. (decimal text) */
  quantity?: string;
  /** Size in the exchange's contracts; negative: short; 0: closed. (decimal text) */
  contracts?: string;
  /** Mean price of the position. (decimal text) */
  entryPrice?: string;
  /** Price by which the exchange values the position. (decimal text) */
  markPrice?: string;
  /** Where the exchange would close the position, as it reckoned then. (decimal text) */
  liquidationPrice?: string;
  /** Leverage of the position. (decimal text) */
  leverage?: string;
  /** `cross` or `isolated`. */
  marginType?: string;
  /** Profit of the open position at the mark price; may be negative. (decimal text) */
  unrealizedPnL?: string;
  /** When the exchange changed the position. (ms since the epoch) */
  updateTime?: number;
  /** Whether it is part of what was held when the connection began; else something changed. */
  snapshot: boolean;
  /** When the exchange made the event; for tickers, when this service sent it. (ms since the epoch) */
  eventTime: number;
  /** Tells this message from others; for repetitions use AMQP's `message_id`. */
  uniqueMessageId: string;
}

/** The price service is there: after each start, then every 60 s. */
export interface PriceConnectorAliveMessage {
  priceConnectorAlive: Alive;
}

/** The service started from nothing, or lost commands or keys: everybody asks again. */
export interface Restart {
  restart: "userStream" | "priceConnector";
  bootId?: string;
}

/** A price feed went silent and is being restarted. */
export interface Stall {
  /** Exchange id: `binance`, `okxLinear` … */
  exchange: string;
  /** `authReject`, or `legacyKey` where the type of key is refused; of a stall the feed: `price` or `candle`. */
  kind: string;
  /** For how long nothing came, in seconds. */
  staleSeconds: number;
  /** Role of the price service: `all`, `ticker` or `candle`. */
  role: string;
}

/** An account was not connected for a while, and what was found of that time. Times: ms since the epoch. */
export interface StreamGap {
  /** Exchange id: `binance`, `okxLinear` … */
  exchange: string;
  /** Id of the account stream. */
  stream: string;
  /** When the account was last surely connected; 0: nobody knows. (ms since the epoch) */
  from: number;
  /** When it was live again. (ms since the epoch) */
  to: number;
  /** Order changes that were found and told. */
  orders: number;
  /** Balances that were found and told. */
  balances: number;
  /** Closed candles that were found and told. */
  candles: number;
  /** What the exchange could not tell, in plain words; empty: nothing is missing. */
  missing: Array<string>;
}

/** An account was not connected for a while, and what was found of that time. Times: ms since the epoch. */
export interface StreamGapMessage {
  streamGap: StreamGap;
}

/** Last price of one symbol; every figure is a JSON number, ask and bid carry the last price (contract 2.6). Positional, in this order, because thousands are built a second. `time` is the venue's, `event_time` our wall clock. */
export interface Ticker {
  /** Symbol, as the exchange writes it. */
  symbol: string;
  /** The exchange's time of the price. (ms since the epoch) */
  time: number;
  /** Last price, in the quote asset. */
  price: number;
  /** Traded in 24 hours, in the base asset. */
  volume: number;
  /** The last price. */
  bestAsk: number;
  /** The last price. */
  bestBid: number;
  /** Not a size of the book: filled for consumers that expect the field. */
  bestAskQnt: number;
  /** Not a size of the book: filled for consumers that expect the field. */
  bestBidQnt: number;
  /** Tells this message from others; for repetitions use AMQP's `message_id`. */
  uniqueMessageId: string;
  /** When the exchange made the event; for tickers, when this service sent it. (ms since the epoch) */
  eventTime: number;
  /** Exchange id: `binance`, `okxLinear` … */
  exchange: string;
}

/** Up to 100 tickers of one exchange id. */
export type Tickers = Array<Ticker>;

export interface UserDataStreamExpired {
  /** Tells the events of an account apart. */
  eventType: "USER_DATA_STREAM_EXPIRED";
  /** When the exchange made the event; for tickers, when this service sent it. (ms since the epoch) */
  eventTime: number;
  /** Tells this message from others; for repetitions use AMQP's `message_id`. */
  uniqueMessageId: string;
}

/** An account whose key was refused delivers events again. */
export interface UserStreamAuthRecoveredMessage {
  userStreamAuthRecovered: AuthRecovered;
}

/** The exchange refuses a key; it is left alone for a while (30 min, doubling to 24 h). */
export interface UserStreamAuthRejectMessage {
  userStreamAuthReject: AuthReject;
}

/** An account reconnected that often within the window. */
export interface UserStreamFlapMessage {
  userStreamFlap: Flap;
}

/** A price feed went silent and is being restarted. */
export interface WatchdogStallMessage {
  watchdogStall: Stall;
}

/** One subscriber more. */
export interface OpenStream {
  payload: {
    event: "open stream";
    uuid?: string;
    data: {
      userId: string;
      api: {
        /** Exchange id. */
        provider: "binance" | "binanceCoinm" | "binanceUS" | "binanceUsdm" | "bitget" | "bitgetCoinm" | "bitgetUsdm" | "bybit" | "bybitInverse" | "bybitLinear" | "coinbase" | "ftx" | "ftxUS" | "hyperliquid" | "hyperliquidLinear" | "kraken" | "krakenUsdm" | "kucoin" | "kucoinInverse" | "kucoinLinear" | "mexc" | "okx" | "okxInverse" | "okxLinear" | "paperBinance" | "paperBinanceCoinm" | "paperBinanceUsdm" | "paperBitget" | "paperBitgetCoinm" | "paperBitgetUsdm" | "paperBybit" | "paperBybitInverse" | "paperBybitLinear" | "paperCoinbase" | "paperFtx" | "paperHyperliquid" | "paperHyperliquidLinear" | "paperKraken" | "paperKrakenUsdm" | "paperKucoin" | "paperKucoinInverse" | "paperKucoinLinear" | "paperMexc" | "paperOkx" | "paperOkxInverse" | "paperOkxLinear" | "paperWhitebit" | "paperWhitebitUsdm" | "whitebit" | "whitebitUsdm";
        key?: string;
        secret?: string;
        /** OKX, KuCoin, Bitget. */
        passphrase?: string;
        /** Coinbase. */
        keysType?: "legacy" | "cloud";
        /** Site of OKX that the key is of. */
        okxSource?: string;
        /** Site of Bybit that the key is of. */
        bybitHost?: string;
        /** The exchange's own test network, or not. */
        environment?: "live" | "sandbox";
      };
    };
  };
}

/** One subscriber less. */
export interface CloseStream {
  payload: {
    event: "close stream";
    uuid: string;
  };
}

/** Replace the connection; without `uuid` of all streams. */
export interface RestartStream {
  payload: {
    event: "force restart stream";
    uuid?: string;
  };
}

/** Tell these candles. */
export interface CandleRequest {
  payload: {
    symbol: string;
    exchange: "binance" | "binanceCoinm" | "binanceUS" | "binanceUsdm" | "bitget" | "bitgetCoinm" | "bitgetUsdm" | "bybit" | "bybitInverse" | "bybitLinear" | "coinbase" | "ftx" | "ftxUS" | "hyperliquid" | "hyperliquidLinear" | "kraken" | "krakenUsdm" | "kucoin" | "kucoinInverse" | "kucoinLinear" | "mexc" | "okx" | "okxInverse" | "okxLinear" | "paperBinance" | "paperBinanceCoinm" | "paperBinanceUsdm" | "paperBitget" | "paperBitgetCoinm" | "paperBitgetUsdm" | "paperBybit" | "paperBybitInverse" | "paperBybitLinear" | "paperCoinbase" | "paperFtx" | "paperHyperliquid" | "paperHyperliquidLinear" | "paperKraken" | "paperKrakenUsdm" | "paperKucoin" | "paperKucoinInverse" | "paperKucoinLinear" | "paperMexc" | "paperOkx" | "paperOkxInverse" | "paperOkxLinear" | "paperWhitebit" | "paperWhitebitUsdm" | "whitebit" | "whitebitUsdm";
    /** The exchange's own code. */
    interval: string;
  };
}

/** What comes on an account's channel and queue; `eventType` tells which. */
export type AccountEvent = AccountConfigUpdate | AccountPosition | AccountUpdate | BalanceUpdate | ExecutionReport | MarginCall | OrderTradeUpdate | PositionUpdate | UserDataStreamExpired;
