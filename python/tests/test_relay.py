"""The relay of the examples (forty lines on the npm package `ws`) as a backend that knows nothing of this package."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from realtime_client import WebSocketClient
from realtime_client.testing import FaultProxy

from .conftest import FAST, TIMEOUT, Heard

RELAY = Path(__file__).parents[2] / "examples" / "relay.mjs"

pytestmark = pytest.mark.skipif(
    shutil.which("node") is None or not (RELAY.parent / "node_modules").exists(),
    reason="needs Node and `npm ci` in examples/, which `make test` brings",
)


@pytest_asyncio.fixture
async def relay() -> AsyncIterator[str]:
    process = await asyncio.create_subprocess_exec("node", str(RELAY), stdout=asyncio.subprocess.PIPE)
    assert process.stdout is not None
    yield (await asyncio.wait_for(process.stdout.readline(), TIMEOUT)).decode().strip()
    process.terminate()
    await process.wait()


async def test_channels_work_and_receipts_say_that_there_are_none(relay: str) -> None:
    async with WebSocketClient(relay) as ann, WebSocketClient(relay) as ben:
        heard = Heard(ben.channel("room"), "said")
        await ben.channel("room").subscribe()
        await ben.channel("another").subscribe()
        # The relay takes what it is told in order: behind this, it has subscribed.
        echo = Heard(ben, "echo")
        await ben.send("echo", 0)
        await echo.count(1)
        receipt = await ann.channel("room").send("said", {"n": 1})
        assert not receipt.acknowledged
        assert receipt.offset is None
        assert await heard.count(1) == [{"n": 1}]


async def test_bytes_come_back_and_what_names_no_channel_goes_to_the_only_one(relay: str) -> None:
    async with WebSocketClient(relay) as client:
        room = client.channel("room")
        await room.subscribe()
        binary, hello, implied, everything = (
            Heard(client, "binary"),
            Heard(client, "hello"),
            Heard(room, "hello"),
            Heard(client, "message"),
        )
        await client.send_binary(b"\x00\xff")
        assert await binary.count(1) == [b"\x00\xff"]
        await client.send("hello", [1])
        assert await hello.count(1) == [[1]]
        assert await implied.count(1) == [[1]]
        assert len(everything.all) == 2


async def test_it_subscribes_again_after_a_cut(relay: str) -> None:
    async with FaultProxy(relay) as proxy, WebSocketClient(proxy.url, **FAST) as client:
        room = client.channel("room")
        heard = Heard(room, "said")
        await room.subscribe()
        await room.send("said", 1)
        await heard.count(1)
        opened = Heard(client, "open")
        proxy.cut_connections()
        await opened.count(1)
        await room.send("said", 2)
        assert await heard.count(2) == [1, 2]
