"""Event loops of every kind, threads, forks."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import sys
import threading
from collections.abc import Callable
from typing import Any

import pytest

from realtime_client import RealtimeError, WebSocketClient
from realtime_client.testing import RealtimeServer

from .conftest import TIMEOUT

pytestmark = pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")


class Watchless(asyncio.SelectorEventLoop):
    """A loop that watches no descriptors, as the default one of Windows."""

    def add_reader(self, *arguments: Any) -> None:  # type: ignore[override]
        raise NotImplementedError


def uvloop() -> asyncio.AbstractEventLoop:
    return pytest.importorskip("uvloop").new_event_loop()  # type: ignore[no-any-return]


@pytest.fixture
def url(realtime_server: RealtimeServer) -> str:
    return realtime_server.url


async def talk(url: str, messages: int = 200) -> None:
    async with WebSocketClient(url) as client:
        await talk_with(client, messages)


async def talk_with(client: WebSocketClient, messages: int = 200) -> None:
    channel = client.channel(f"room {threading.get_ident()} {os.getpid()}")
    got: list[Any] = []
    done = asyncio.Event()

    async def handler(data: Any) -> None:
        got.append(data)
        if len(got) == messages:
            done.set()

    stop = channel.on("said", handler)
    await channel.subscribe()
    await asyncio.gather(*(channel.send("said", number) for number in range(messages)))
    await asyncio.wait_for(done.wait(), TIMEOUT)
    stop()
    assert got == list(range(messages))


def run(coroutine: Any, make: Callable[[], asyncio.AbstractEventLoop] = asyncio.new_event_loop) -> Any:
    loop = make()
    try:
        return loop.run_until_complete(coroutine)
    finally:
        loop.close()


@pytest.mark.parametrize("make", [asyncio.SelectorEventLoop, uvloop, Watchless])
def test_loops_of_every_kind(url: str, make: Callable[[], asyncio.AbstractEventLoop]) -> None:
    run(talk(url), make)


def test_a_client_of_each_thread(url: str) -> None:
    failures: list[BaseException] = []

    def work() -> None:
        try:
            run(talk(url))
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(TIMEOUT)
    assert not any(thread.is_alive() for thread in threads)
    assert failures == []


def test_a_client_is_made_anywhere_and_goes_from_loop_to_loop(url: str) -> None:
    client = WebSocketClient(url)
    client.on("error", lambda: None)

    async def first() -> None:
        await client.connect()
        await talk_with(client)
        # The loop ends with the client open, and something on its way.
        client.channel("other").send("said", 1)

    async def second() -> None:
        await client.connect()
        await talk_with(client)
        await client.disconnect()

    run(first())
    run(second())
    run(second(), uvloop)


def test_a_client_of_another_loop_is_refused(url: str) -> None:
    client = WebSocketClient(url)

    async def main() -> None:
        await client.connect()

        def other() -> str:
            async def use() -> None:
                await client.channel("room").send("said", 1)

            with pytest.raises(RealtimeError) as raised:
                run(use())
            return raised.value.code

        assert await asyncio.get_running_loop().run_in_executor(None, other) == "unsupported"
        await client.disconnect()

    run(main())


def test_without_a_loop_it_says_what_it_needs(url: str) -> None:
    client = WebSocketClient(url)
    with pytest.raises(RealtimeError, match="running event loop") as raised:
        client.channel("room").send("said", 1)
    assert raised.value.code == "unsupported"


def test_disconnect_after_its_loop_is_gone(url: str) -> None:
    client = WebSocketClient(url)
    run(client.connect())
    run(client.disconnect())
    assert client.status == "disconnected"
    run(talk(url))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_client_from_before_a_fork_says_so_and_a_new_one_works(url: str) -> None:
    client = WebSocketClient(url)
    unused = WebSocketClient(url)

    async def main() -> None:
        await client.connect()
        context = multiprocessing.get_context("fork")
        queue = context.SimpleQueue()
        process = context.Process(target=in_child, args=(client, unused, url, queue))
        process.start()
        await asyncio.get_running_loop().run_in_executor(None, process.join, TIMEOUT)
        assert process.exitcode == 0
        assert queue.get() == ["unsupported", "unsupported", "unsupported", "talked", "talked"]
        # The parent's client does not mind.
        await talk_with(client)
        await client.disconnect()

    run(main())


def in_child(client: WebSocketClient, unused: WebSocketClient, url: str, queue: Any) -> None:
    # What the fork has copied of the parent's loop is not for this process.
    asyncio._set_running_loop(None)
    outcomes = []

    async def send() -> None:
        await client.channel("room").send("said", 1)

    async def subscribe() -> None:
        await client.channel("room").subscribe()

    for attempt in (client.connect, send, subscribe):
        try:
            run(attempt())
            outcomes.append("nothing")
        except RealtimeError as error:
            outcomes.append(error.code)
    run(talk(url))
    outcomes.append("talked")

    async def use_unused() -> None:
        async with unused:
            await talk_with(unused)

    run(use_unused())
    outcomes.append("talked")
    queue.put(outcomes)


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX")
def test_descriptors_are_given_back(url: str) -> None:
    def count() -> int:
        return len(os.listdir("/proc/self/fd"))

    async def many() -> None:
        for _ in range(20):
            await talk(url, 1)

    run(many())
    before = count()
    run(many())
    assert count() <= before + 2
