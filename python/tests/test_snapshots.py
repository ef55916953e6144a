"""Loading a snapshot where messages are missing; most of it is in `tests/scenarios`."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from realtime_client import Gap, Position, WebSocketClient
from realtime_client.testing import FaultProxy, RealtimeServer

from .conftest import FAST, TIMEOUT, Heard
from .peer import Connection, Peer


class Gappy:
    """A subscribed channel, and a server that keeps ten messages only."""

    def __init__(self, server: RealtimeServer, proxy: FaultProxy, client: WebSocketClient) -> None:
        self.server, self.proxy, self.client = server, proxy, client
        self.channel = client.channel("room")
        self._status = Heard(client, "status")

    async def miss(self, count: int) -> None:
        self._status.all.clear()
        self.proxy.cut()
        await self._status.until(lambda seen: "reconnecting" in seen)
        for number in range(count):
            self.server.publish("room", "said", number)
        self.proxy.restore()


@pytest_asyncio.fixture
async def gappy() -> AsyncIterator[Gappy]:
    async with RealtimeServer(history_messages=10) as server, FaultProxy(server.url) as proxy:
        async with WebSocketClient(proxy.url, **FAST) as client:
            yield Gappy(server, proxy, client)


async def test_the_snapshot_comes_after_what_was_before_and_before_what_follows(gappy: Gappy) -> None:
    log: list[object] = []
    slow, last = asyncio.Event(), asyncio.Event()

    async def said(data: object) -> None:
        if data == "before":
            await slow.wait()
        log.append(data)
        if data == 29:
            last.set()

    async def load(gap: Gap) -> Position:
        log.append("loading")
        await asyncio.sleep(0)
        return Position(gap.epoch, 29)

    gappy.channel.on("said", said)
    gaps, connected, got = Heard(gappy.channel, "gap"), Heard(gappy.client, "open"), Heard(gappy.channel, "said")
    gappy.channel.on_gap(load)
    await gappy.channel.subscribe()
    gappy.server.publish("room", "said", "before")
    await got.count(1)
    await gappy.miss(30)
    await gaps.count(1)
    await connected.count(1)
    assert log == []
    slow.set()
    await last.wait()
    assert log == ["before", "loading", 28, 29]
    assert gappy.client.get_stats().covered == 8


async def test_a_plain_loader_and_an_iteration(gappy: Gappy) -> None:
    seen: list[Gap] = []
    gappy.channel.on_gap(seen.append)
    await gappy.channel.subscribe()
    iteration = aiter(gappy.channel)
    await gappy.miss(11)
    message = await asyncio.wait_for(anext(iteration), TIMEOUT)
    assert (message.data, message.offset) == (1, 2)
    assert [gap.reason for gap in seen] == ["evicted"]
    assert (seen[0].from_offset, seen[0].to_offset) == (1, 1)


async def test_what_a_loader_returns_is_checked(gappy: Gappy) -> None:
    errors, said = Heard(gappy.client, "error"), Heard(gappy.channel, "said")
    gappy.channel.on_gap(lambda gap: "27")  # type: ignore[arg-type, return-value]
    await gappy.channel.subscribe()
    await gappy.miss(30)
    assert await said.count(10) == list(range(20, 30))
    assert "handler_failed" in {error.code for error in errors.values}


async def test_a_channel_has_one_loader_and_it_can_end(gappy: Gappy) -> None:
    said, loads = Heard(gappy.channel, "said"), list[str]()
    end_first = gappy.channel.on_gap(lambda gap: loads.append("first"))
    end = gappy.channel.on_gap(lambda gap: loads.append("second"))
    end_first()
    await gappy.channel.subscribe()
    await gappy.miss(11)
    await said.count(10)
    assert loads == ["second"]
    end()
    await gappy.miss(11)
    await said.count(20)
    assert loads == ["second"]
    with pytest.raises(TypeError):
        gappy.channel.on_gap("load")  # type: ignore[arg-type]


async def test_a_load_that_was_cut_off_by_the_end_of_its_loop_is_made_again() -> None:
    async with RealtimeServer() as server:
        calls: list[asyncio.AbstractEventLoop] = []
        called = asyncio.Event()

        async def load(gap: Gap) -> None:
            calls.append(asyncio.get_running_loop())
            called.set()
            if len(calls) == 1:
                await calls[0].create_future()

        client = WebSocketClient(server.url)
        channel = client.channel("room")
        channel.on_gap(load, initial=True)

        async def first() -> None:
            await client.connect()
            await channel.subscribe()
            await called.wait()

        async def second() -> None:
            await client.connect()
            said = Heard(channel, "said")
            server.publish("room", "said", 1)
            assert await said.count(1) == [1]
            await client.disconnect()

        def run_both() -> None:
            asyncio.run(first())
            asyncio.run(second())

        await asyncio.to_thread(run_both)
        assert len(calls) == 2


async def test_in_plain_a_reconnect_is_loaded_after() -> None:
    async def behave(connection: Connection) -> None:
        await connection.accept()
        await connection.receive_json("subscribe")
        await connection.send({"type": "said", "channel": "room", "payload": peer.connections})
        if peer.connections > 1:
            await connection.until_gone()

    async with Peer(behave) as peer, WebSocketClient(peer.url, protocol="plain", **FAST) as client:
        channel = client.channel("room")
        said, loads = Heard(channel, "said"), list[str]()
        channel.on_gap(lambda gap: loads.append(gap.reason), initial=True)
        await channel.subscribe()
        assert await said.count(2) == [1, 2]
        assert loads == ["initial", "reconnect"]
