"""The asyncio front: callbacks on the loop, one after another; and what a loop may do at any moment."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from connector import ConnectorError, Event, UnknownStream, aio
from simulator.simulator import Simulator
from tests.integration.api.desk import WAIT_S, account, api_of, place

pytestmark = pytest.mark.integration

EXCHANGE = "bybit"
AT_ONCE_S = 8.0
"""Less than what `stop` waits for events that nobody takes."""


@pytest.fixture
def exchange() -> Iterator[Simulator]:
    with Simulator(seed=13) as simulator:
        yield simulator


@pytest.fixture
def at(exchange: Simulator) -> str:
    return account(exchange, EXCHANGE)


async def opened(bot: aio.Connector) -> str:
    stream = await bot.open_stream(user_id="me", api=api_of(EXCHANGE))
    await bot.wait_live(stream, WAIT_S)
    return stream


def engine_threads() -> set[str]:
    return {
        one.name for one in threading.enumerate() if one.name.startswith(("io-", "supervisor", "connector-callbacks"))
    }


async def order_of(events: AsyncIterator[Event[Any]]) -> Event[Any]:
    async for event in events:
        if event.name == "executionReport":
            return event
    raise AssertionError("the events ended")


def test_coroutine_callbacks_run_on_the_loop_one_after_another(exchange: Simulator, at: str) -> None:
    inside: list[str] = []
    most: list[int] = []
    threads: set[int] = set()

    async def main() -> None:
        told = asyncio.Event()

        async def on_order(event: Event[Any]) -> None:
            inside.append(event.id)
            most.append(len(inside))
            threads.add(threading.get_ident())
            await asyncio.sleep(0)
            inside.remove(event.id)
            if event.data.order_status == "FILLED":
                told.set()

        async with aio.Connector(gateway=exchange.gateway) as bot:
            bot.on("executionReport", on_order)
            await opened(bot)
            exchange.fill(place(exchange, at, EXCHANGE).order_id)
            await asyncio.wait_for(told.wait(), WAIT_S)
        assert threads == {threading.get_ident()}

    asyncio.run(main())
    assert set(most) == {1}
    assert len(most) == 2


def test_a_coroutine_that_raises_costs_that_call_only(exchange: Simulator, at: str) -> None:
    async def main() -> list[str]:
        errors: list[Event[Any]] = []
        told = asyncio.Event()

        async def broken(_: Event[Any]) -> None:
            raise RuntimeError("mine")

        async def on_order(event: Event[Any]) -> None:
            if event.data.order_status == "FILLED":
                told.set()

        async with aio.Connector(gateway=exchange.gateway) as bot:
            bot.on("error", errors.append)
            bot.on("executionReport", broken)
            bot.on("executionReport", on_order)
            await opened(bot)
            exchange.fill(place(exchange, at, EXCHANGE).order_id)
            await asyncio.wait_for(told.wait(), WAIT_S)
        return [str(event.data.error) for event in errors]

    assert asyncio.run(main()) == ["mine", "mine"]


def test_a_callback_that_is_cancelled_holds_nobody_up(exchange: Simulator, at: str) -> None:
    async def main() -> None:
        begun, told = asyncio.Event(), asyncio.Event()
        tasks: list[asyncio.Task[Any]] = []

        async def for_ever(event: Event[Any]) -> None:
            if event.data.order_status == "NEW":
                tasks.append(asyncio.current_task())  # type: ignore[arg-type]
                begun.set()
                await asyncio.Event().wait()
            told.set()

        async with aio.Connector(gateway=exchange.gateway) as bot:
            bot.on("executionReport", for_ever)
            await opened(bot)
            exchange.fill(place(exchange, at, EXCHANGE).order_id)
            await asyncio.wait_for(begun.wait(), WAIT_S)
            assert not told.is_set()
            tasks[0].cancel()
            await asyncio.wait_for(told.wait(), WAIT_S)

    asyncio.run(main())


def test_a_program_that_is_cancelled_while_it_loops_leaves_nothing_behind(exchange: Simulator) -> None:
    async def main() -> None:
        reading = asyncio.Event()

        async def program() -> None:
            async with aio.Connector(gateway=exchange.gateway) as bot, bot.events() as events:
                await bot.open_stream(user_id="me", api=api_of(EXCHANGE))
                async for _ in events:
                    reading.set()

        task = asyncio.create_task(program())
        await asyncio.wait_for(reading.wait(), WAIT_S)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    before = engine_threads()
    asyncio.run(main())
    assert engine_threads() == before


@pytest.mark.parametrize("end", ["cancel", "close_stream", "stop"])
def test_a_wait_for_a_stream_ends_with_what_it_waits_for(end: str, exchange: Simulator, at: str) -> None:
    """And nothing keeps the program from ending: `asyncio.run` waits for the threads of its coroutines."""
    ends = {"cancel": asyncio.CancelledError, "close_stream": UnknownStream, "stop": ConnectorError}

    async def main() -> None:
        async with aio.Connector(gateway=exchange.gateway) as bot:
            exchange.fault("stall", venue=EXCHANGE, feed="user", standing=True)
            stream = await bot.open_stream(user_id="me", api=api_of(EXCHANGE))
            waiting = asyncio.create_task(bot.wait_live(stream, 10 * WAIT_S))
            await asyncio.sleep(0)
            if end == "cancel":
                waiting.cancel()
            elif end == "close_stream":
                await bot.close_stream("me")
            else:
                await bot.stop()
            with pytest.raises(ends[end]):
                await asyncio.wait_for(asyncio.shield(waiting), WAIT_S)

    asyncio.run(asyncio.wait_for(main(), WAIT_S))


def test_a_callback_may_stop_the_connector(exchange: Simulator, at: str) -> None:
    async def main() -> None:
        stopped = asyncio.Event()
        bot = aio.Connector(gateway=exchange.gateway)

        async def stop(_: Event[Any]) -> None:
            await bot.stop()
            stopped.set()

        bot.on("subscribed", stop)
        await bot.start()
        await bot.open_stream(user_id="me", api=api_of(EXCHANGE))
        await asyncio.wait_for(stopped.wait(), AT_ONCE_S)

    asyncio.run(main())


@pytest.mark.parametrize("leave", ["break", "close the iterator", "stop"])
def test_a_loop_may_be_left_at_any_event(leave: str, exchange: Simulator, at: str) -> None:
    async def main() -> None:
        told = asyncio.Event()
        async with aio.Connector(gateway=exchange.gateway) as bot:
            async with bot.events() as events:
                await bot.open_stream(user_id="me", api=api_of(EXCHANGE))
                async for _ in events:
                    if leave == "close the iterator":
                        await events.aclose()  # type: ignore[attr-defined]
                    elif leave == "stop":
                        async with asyncio.timeout(AT_ONCE_S):
                            await bot.stop()
                    break
            if leave != "stop":  # the others hear of what comes after
                bot.on("executionReport", lambda _: told.set())
                exchange.fill(place(exchange, at, EXCHANGE).order_id)
                await asyncio.wait_for(told.wait(), WAIT_S)

    asyncio.run(main())


def test_the_end_of_the_connector_ends_a_loop_that_waits(exchange: Simulator, at: str) -> None:
    async def main() -> list[str]:
        async with aio.Connector(gateway=exchange.gateway) as bot, bot.events() as events:
            await opened(bot)

            async def read() -> list[str]:
                return [event.name async for event in events]

            reading = asyncio.create_task(read())
            await bot.stop()
            return await asyncio.wait_for(reading, WAIT_S)

    assert "subscribed" in asyncio.run(main())


def test_two_loops_of_one_program_have_a_connector_each(exchange: Simulator, at: str) -> None:
    async def main() -> str:
        async with aio.Connector(gateway=exchange.gateway) as bot, bot.events() as events:
            await opened(bot)
            ready.wait(WAIT_S)
            return (await asyncio.wait_for(order_of(events), WAIT_S)).id

    ready = threading.Barrier(3)
    with ThreadPoolExecutor(2) as pool:
        both = [pool.submit(asyncio.run, main()) for _ in range(2)]
        ready.wait(WAIT_S)
        place(exchange, at, EXCHANGE)
        assert len({one.result(WAIT_S) for one in both}) == 1


def test_a_second_loop_may_go_on_with_the_connector_of_the_first(exchange: Simulator, at: str) -> None:
    bot = aio.Connector(gateway=exchange.gateway)

    async def first() -> None:
        await bot.start()
        await opened(bot)

    async def second() -> str:
        await bot.start()
        async with bot.events() as events:
            place(exchange, at, EXCHANGE)
            event = await asyncio.wait_for(order_of(events), WAIT_S)
        await bot.stop()
        return str(event.data.order_status)

    asyncio.run(first())
    assert asyncio.run(second()) == "NEW"


def test_errors_of_methods_reach_the_coroutine(exchange: Simulator) -> None:
    async def main() -> None:
        async with aio.Connector(gateway=exchange.gateway) as bot:
            for work in (bot.close_stream, bot.reconnect):
                with pytest.raises(UnknownStream, match="nobody"):
                    await work("nobody")

    asyncio.run(main())


def test_prices_and_candles_on_a_loop(exchange: Simulator) -> None:
    async def main() -> set[str]:
        heard: set[str] = set()
        both = asyncio.Event()

        def hear(name: str) -> Callable[[Event[Any]], None]:
            def one(_: Event[Any]) -> None:
                heard.add(name)
                if len(heard) == 2:
                    both.set()

            return one

        async with aio.PriceConnector(exchanges=["kucoin"], gateway=exchange.gateway) as prices:
            prices.on("ticker", hear("ticker"))
            prices.on("candle", hear("candle"))
            await prices.subscribe_candle(symbol="BTC-USDT", exchange="kucoin", interval="1min")
            await asyncio.wait_for(both.wait(), WAIT_S)
            await prices.unsubscribe_candle(symbol="BTC-USDT", exchange="kucoin", interval="1min")
        return heard

    assert asyncio.run(main()) == {"ticker", "candle"}
