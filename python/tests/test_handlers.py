"""Async handlers: order, backpressure, and sends from within."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from realtime_client import RealtimeError, WebSocketClient
from realtime_client.testing import RealtimeServer

from .conftest import TIMEOUT, Heard


async def test_async_handlers_of_a_channel_run_one_after_the_other(client: WebSocketClient) -> None:
    channel = client.channel("room")
    log: list[Any] = []
    done = asyncio.Event()

    @channel.on("a")
    async def slow(data: int) -> None:
        log.append(("begin", data))
        for _ in range(5 - data):
            await asyncio.sleep(0)
        log.append(("end", data))

    @channel.on("b")
    async def other(data: int) -> None:
        await slow(data)
        done.set()

    await channel.subscribe()
    for number in range(4):
        channel.send("a", number)
    channel.send("b", 4)
    await asyncio.wait_for(done.wait(), TIMEOUT)
    assert log == [(what, number) for number in range(5) for what in ("begin", "end")]


async def test_channels_do_not_wait_for_each_other(client: WebSocketClient) -> None:
    never = asyncio.get_running_loop().create_future()

    @client.channel("stuck").on("said")
    async def stuck(data: Any) -> None:
        await never

    got = Heard(client.channel("free"), "said")
    await asyncio.gather(client.channel("stuck").subscribe(), client.channel("free").subscribe())
    await client.channel("stuck").send("said", 1)
    await client.channel("free").send("said", 2)
    assert await got.count(1) == [2]
    never.cancel()


async def test_a_handler_that_awaits_its_own_send_never_deadlocks_even_with_a_full_inbox() -> None:
    # The inbox holds a message or two, the outbox three: both are full all the time.
    async with (
        RealtimeServer() as server,
        WebSocketClient(server.url, inbox_bytes=300, channel_inbox_bytes=300, queue_messages=3) as client,
        WebSocketClient(server.url) as sender,
    ):
        channel, answers = client.channel("questions"), sender.channel("answers")
        got = Heard(answers, "answer")

        @channel.on("question")
        async def answer(number: int) -> None:
            receipt = await client.channel("answers").send("answer", number)
            assert receipt.acknowledged

        await asyncio.gather(channel.subscribe(), answers.subscribe())
        await asyncio.gather(*(sender.channel("questions").send("question", number) for number in range(200)))
        assert await got.count(200) == list(range(200))


async def test_a_handler_that_awaits_a_send_into_its_own_channel_never_deadlocks() -> None:
    async with (
        RealtimeServer() as server,
        WebSocketClient(server.url, inbox_bytes=200, channel_inbox_bytes=200) as client,
    ):
        channel = client.channel("room")
        done = asyncio.Event()

        @channel.on("count")
        async def count(number: int) -> None:
            if number < 100:
                await channel.send("count", number + 1)
            else:
                done.set()

        await channel.subscribe()
        await channel.send("count", 0)
        await asyncio.wait_for(done.wait(), TIMEOUT)


async def test_a_slow_async_handler_holds_the_server_back_and_loses_nothing() -> None:
    async with (
        RealtimeServer() as server,
        WebSocketClient(server.url, inbox_bytes=8192, channel_inbox_bytes=4096) as client,
    ):
        channel = client.channel("room")
        numbers: list[int] = []
        most = 0
        done = asyncio.Event()

        @channel.on("said")
        async def slow(data: dict[str, Any]) -> None:
            nonlocal most
            await asyncio.sleep(0)
            most = max(most, client.get_stats().unconsumed_bytes)
            numbers.append(data["number"])
            if len(numbers) == 500:
                done.set()

        await channel.subscribe()
        for number in range(500):
            server.publish("room", "said", {"number": number, "filler": "x" * 100})
        await asyncio.wait_for(done.wait(), TIMEOUT)
        assert numbers == list(range(500))
        assert most <= 4096 + 400


async def test_plain_dialect_stops_reading_when_handlers_are_slow() -> None:
    async with (
        RealtimeServer() as server,
        WebSocketClient(server.url, protocol="plain", inbox_bytes=4096) as client,
    ):
        channel = client.channel("room")
        gate = asyncio.Event()
        numbers: list[int] = []
        done = asyncio.Event()

        @channel.on("said")
        async def slow(data: dict[str, Any]) -> None:
            await gate.wait()
            numbers.append(data["number"])
            if data["number"] == 299:
                done.set()

        await channel.subscribe()
        # The server knows the subscription once it has handled what came after it on the same socket.
        echo = Heard(client, "message")
        await channel.send("said", {"number": 0})
        await echo.count(1)
        for number in range(1, 300):
            server.publish("room", "said", {"number": number, "filler": "x" * 100})
        await echo.count(2)
        assert client.get_stats().unconsumed_bytes < 4096 + 100_000
        gate.set()
        await asyncio.wait_for(done.wait(), TIMEOUT)
        assert numbers == list(range(300))


async def test_a_handler_may_disconnect(server: RealtimeServer) -> None:
    async with WebSocketClient(server.url) as client:
        channel = client.channel("room")
        done = asyncio.Event()

        @channel.on("bye")
        async def bye() -> None:
            await channel.unsubscribe()
            await client.disconnect()
            done.set()

        await channel.subscribe()
        channel.send("bye")
        await asyncio.wait_for(done.wait(), TIMEOUT)
        with pytest.raises(RealtimeError):
            await channel.send("bye")


async def test_a_plain_handler_may_start_a_disconnect_and_what_follows_does_no_harm(server: RealtimeServer) -> None:
    async with WebSocketClient(server.url) as client:
        channel = client.channel("room")
        tasks = []
        status = Heard(client, "status")
        channel.on("said", lambda: tasks.append(asyncio.ensure_future(client.disconnect())))
        await channel.subscribe()
        for _ in range(50):
            channel.send("said")
        await status.until(lambda seen: "disconnected" in seen)
        await asyncio.gather(*tasks)


async def test_a_handler_whose_own_wait_is_cancelled_does_not_stop_the_next(client: WebSocketClient) -> None:
    channel = client.channel("room")
    errors, got = Heard(client, "error"), []
    done = asyncio.Event()

    @channel.on("said")
    async def handler(data: int) -> None:
        if data == 0:
            waiting = asyncio.get_running_loop().create_future()
            waiting.cancel()
            await waiting
        got.append(data)
        if data == 2:
            done.set()

    await channel.subscribe()
    for number in range(3):
        await channel.send("said", number)
    await asyncio.wait_for(done.wait(), TIMEOUT)
    assert got == [1, 2]
    assert [error.code for error in errors.values] == ["handler_failed"]


async def test_handlers_go_on_after_somebody_has_cancelled_all_tasks(client: WebSocketClient) -> None:
    channel = client.channel("room")
    got: list[int] = []
    begun, done = asyncio.Event(), asyncio.Event()

    @channel.on("said")
    async def handler(data: int) -> None:
        if data == 0:
            begun.set()
            await asyncio.get_running_loop().create_future()
        got.append(data)
        done.set()

    await channel.subscribe()
    await asyncio.gather(*(channel.send("said", number) for number in range(2)))
    await asyncio.wait_for(begun.wait(), TIMEOUT)
    for task in asyncio.all_tasks():
        if task is not asyncio.current_task():
            task.cancel()
    await asyncio.wait_for(done.wait(), TIMEOUT)
    assert got == [1]


async def test_nested_drains_do_not_reorder(client: WebSocketClient) -> None:
    channel = client.channel("room")
    got: list[int] = []
    done = asyncio.Event()

    def handler(data: int) -> None:
        got.append(data)
        # What a nested event loop would do.
        assert client._link is not None
        assert client._link.native.drain(client, client._outbox.futures) is False
        if data == 99:
            done.set()

    channel.on("said", handler)
    await channel.subscribe()
    for number in range(100):
        channel.send("said", number)
    await asyncio.wait_for(done.wait(), TIMEOUT)
    assert got == list(range(100))
