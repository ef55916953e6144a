"""An event loop that is blocked: the connection lives, and the application hears for how long, and in which handler."""

from __future__ import annotations

import asyncio
import functools
import time
from typing import Any

import pytest

from realtime_client import StalledHandler, WebSocketClient
from realtime_client.testing import FaultProxy, RealtimeServer

from .conftest import TIMEOUT, Heard

BLOCK = 1.5
HEARTBEAT: dict[str, Any] = {"heartbeat_interval": 0.1, "heartbeat_timeout": 1.0}
"""Shorter than the block: a client whose heartbeat stood still with its loop would lose the connection."""


def block() -> None:
    time.sleep(BLOCK)  # blocking the loop is what is tested


def blocking_handler(data: Any) -> None:
    block()


class BlockingObject:
    def __call__(self, data: Any) -> None:
        block()


async def until_stalled(client: WebSocketClient, proxy: FaultProxy) -> StalledHandler | None:
    """What the event tells; the connection has lived all the time."""
    stalled = Heard(client, "stalled")
    await stalled.count(1)
    seconds, handler = stalled.all[0]
    assert seconds >= 1.0
    assert client.is_connected
    assert client.get_stats().reconnects == 0
    assert (proxy.connections, proxy.cuts) == (1, 0)
    return handler  # type: ignore[no-any-return]


async def test_a_handler_that_blocks_is_named(server: RealtimeServer, proxy: FaultProxy) -> None:
    async with WebSocketClient(proxy.url, **HEARTBEAT) as client:
        channel = client.channel("room")
        channel.on("said", blocking_handler)
        await channel.subscribe()
        server.publish("room", "said", 1)
        handler = await until_stalled(client, proxy)
    assert handler is not None
    assert (handler.channel, handler.event, handler.name) == ("room", "said", f"{__name__}.blocking_handler")
    assert handler.source == f"{__file__}:{blocking_handler.__code__.co_firstlineno}"


@pytest.mark.parametrize(
    ("blocks", "name"),
    [
        (functools.partial(blocking_handler), "blocking_handler"),
        (BlockingObject(), "BlockingObject.__call__"),
        (BlockingObject().__call__, "BlockingObject.__call__"),
    ],
)
async def test_it_is_named_beside_others(server: RealtimeServer, proxy: FaultProxy, blocks: Any, name: str) -> None:
    async with WebSocketClient(proxy.url, **HEARTBEAT) as client:
        channel = client.channel("room")
        got = Heard(channel, "said")
        channel.on("said", blocks)
        Heard(channel, "said")
        Heard(client, "message")
        await channel.subscribe()
        server.publish("room", "said", 1)
        server.publish("room", "said", 2)
        handler = await until_stalled(client, proxy)
        assert handler is not None
        assert (handler.channel, handler.event, handler.name) == ("room", "said", f"{__name__}.{name}")
        await got.count(2)


async def test_a_handler_of_the_client_is_named(server: RealtimeServer, proxy: FaultProxy) -> None:
    async with WebSocketClient(proxy.url, **HEARTBEAT) as client:

        @client.on("news")
        def news(data: Any) -> None:
            block()

        server.send_to_all("news", 1)
        handler = await until_stalled(client, proxy)
    assert handler is not None
    assert (handler.channel, handler.event) == (None, "news")
    assert handler.name.endswith(".news")


@pytest.mark.parametrize("awaits_before", [False, True])
async def test_an_async_handler_is_named(server: RealtimeServer, proxy: FaultProxy, awaits_before: bool) -> None:
    async with WebSocketClient(proxy.url, **HEARTBEAT) as client:
        channel, other = client.channel("room"), client.channel("other")

        @channel.on("said")
        async def said(data: Any) -> None:
            if awaits_before:
                await channel.send("heard")
            time.sleep(BLOCK)  # noqa: ASYNC251 - blocking the loop is what is tested

        @other.on("said")
        async def waits(data: Any) -> None:
            await asyncio.Event().wait()

        await other.subscribe()
        await channel.subscribe()
        server.publish("other", "said", 1)
        server.publish("room", "said", 1)
        handler = await until_stalled(client, proxy)
    assert handler is not None
    assert (handler.channel, handler.event) == ("room", "said")
    assert handler.name.endswith(".said")


async def test_a_plain_function_that_returns_an_awaitable_is_named(server: RealtimeServer, proxy: FaultProxy) -> None:
    async with WebSocketClient(proxy.url, **HEARTBEAT) as client:
        channel = client.channel("room")

        async def later() -> None:
            await asyncio.sleep(0)
            time.sleep(BLOCK)  # noqa: ASYNC251 - blocking the loop is what is tested

        @channel.on("said")
        def said(data: Any) -> Any:
            return later()

        await channel.subscribe()
        server.publish("room", "said", 1)
        handler = await until_stalled(client, proxy)
    assert handler is not None
    assert handler.name.endswith(".said")


async def test_a_block_outside_of_handlers_is_unknown(server: RealtimeServer, proxy: FaultProxy) -> None:
    async with WebSocketClient(proxy.url, **HEARTBEAT) as client:
        channel = client.channel("room")
        got = Heard(channel, "said")
        paused = asyncio.Event()

        @channel.on("said")
        async def waits(data: Any) -> None:
            await paused.wait()

        await channel.subscribe()
        server.publish("room", "said", 1)
        await got.count(1)
        # A handler waits, and is not what blocks.
        stalled = asyncio.create_task(until_stalled(client, proxy))
        await asyncio.sleep(0)
        server.publish("room", "said", 2)
        paused.set()
        block()
        assert await asyncio.wait_for(stalled, TIMEOUT) is None
        await got.count(2)


async def test_a_block_is_noticed_where_nothing_comes_meanwhile(proxy: FaultProxy) -> None:
    async with WebSocketClient(proxy.url, **HEARTBEAT) as client:
        stalled = asyncio.create_task(until_stalled(client, proxy))
        await asyncio.sleep(0)
        block()
        assert await asyncio.wait_for(stalled, TIMEOUT) is None


async def test_each_stall_has_its_own_handler(server: RealtimeServer, proxy: FaultProxy) -> None:
    async with WebSocketClient(proxy.url, **HEARTBEAT) as client:
        channel = client.channel("room")
        channel.on("said", blocking_handler)
        stalled = Heard(client, "stalled")
        await channel.subscribe()
        server.publish("room", "said", 1)
        await stalled.count(1)
        block()
        await stalled.count(2)
    assert [handler and handler.event for _, handler in stalled.all] == ["said", None]


def test_the_time_between_two_loops_is_no_stall(realtime_server: RealtimeServer) -> None:
    server = realtime_server
    client = WebSocketClient(server.url, **HEARTBEAT)
    stalled = Heard(client, "stalled")

    async def begin() -> None:
        await client.connect()
        await client.channel("room").subscribe()

    async def end() -> None:
        await client.connect()
        got = Heard(client.channel("room"), "said")
        server.publish("room", "said", 2)
        await got.until(lambda values: 2 in values)
        await client.disconnect()

    asyncio.run(begin())
    server.publish("room", "said", 1)
    block()
    asyncio.run(end())
    assert stalled.values == []
