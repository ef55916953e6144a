"""The relay of the examples (forty lines on the npm package `ws`) as a backend that knows nothing of this package."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from realtime_client import RealtimeCollection, RealtimeError, WebSocketClient
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


async def test_presence_and_collections_work_among_the_clients_of_a_relay(relay: str) -> None:
    async with FaultProxy(relay) as proxy, WebSocketClient(proxy.url, **FAST) as ann, WebSocketClient(relay) as ben:
        messages = Heard(ann, "message"), Heard(ben, "message")

        async def seen(client: WebSocketClient, *ids: str) -> None:
            presence = client.channel("room").presence
            heard = Heard(presence, "sync")
            if {user.id for user in presence.users} != set(ids):
                await heard.until(lambda values: bool(values) and {user.id for user in values[-1]} == set(ids))

        await ann.channel("room").presence.track({"id": "ann", "name": "Ann"})
        await ben.channel("room").presence.track({"id": "ben"})
        await asyncio.gather(seen(ann, "ann", "ben"), seen(ben, "ann", "ben"))
        user = ben.channel("room").presence.get("ann")
        assert user is not None
        assert (user["name"], user.verified, user.is_self) == ("Ann", False, False)

        a = ann.channel("room").collection("tasks")
        b = ben.channel("room").collection("tasks")

        async def has(tasks: RealtimeCollection[dict[str, Any]], key: str, n: int) -> None:
            heard = Heard(tasks, "change")
            while (task := tasks.get(key)) is None or task["n"] != n:
                await heard.count(len(heard.all) + 1)

        await asyncio.gather(a.ready(), b.ready())
        assert await a.insert({"id": "t1", "n": 1}) == {"id": "t1", "n": 1}
        await has(b, "t1", 1)
        with pytest.raises(RealtimeError, match="no revisions") as caught:
            await b.update("t1", {"n": 9}, if_revision=1)
        assert caught.value.code == "unsupported"

        # What was changed while the line was cut meets afterwards.
        lost = Heard(ann, "status")
        proxy.cut()
        await lost.until(lambda seen: "reconnecting" in seen)
        late = a.insert({"id": "t2", "n": 2})
        await b.update("t1", {"n": 3})
        proxy.restore()
        await asyncio.gather(late, has(a, "t1", 3), has(b, "t2", 2))
        await ann.disconnect()
        await seen(ben, "ben")
        assert [len(heard.all) for heard in messages] == [0, 0]
