"""A handler that is slower than the stream: memory is bounded, others go on, and what waits comes or is reported."""

from __future__ import annotations

import asyncio
import gc
import json
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from realtime_client import Gap, RealtimeChannel, WebSocketClient

from .conftest import Heard

INBOX = 2 << 20
CHANNEL_INBOX = 1 << 20
PADDING = 64 << 10
MESSAGES = 1024
"""64 MiB."""
OVERHEAD = 8 << 20
"""What a process may grow by besides the inbox: batches, buffers of the socket, what the allocator keeps."""
KEEPS_ALL: dict[str, Any] = {"history_messages": 10_000, "history_bytes": 256 << 20}
TIMEOUT = 60.0

Feed = Callable[[int, int, int], Awaitable[None]]


def resident() -> int:
    gc.collect()
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


@pytest_asyncio.fixture
async def start_feed() -> AsyncIterator[Callable[..., Awaitable[tuple[str, Feed]]]]:
    """Starts a server in a process of its own, whose memory is not counted here."""
    processes = []

    async def start(**options: Any) -> tuple[str, Feed]:
        command = [sys.executable, "-m", "tests.feed", json.dumps(options)]
        pipe = asyncio.subprocess.PIPE
        process = await asyncio.create_subprocess_exec(
            *command, stdin=pipe, stdout=pipe, cwd=Path(__file__).parent.parent
        )
        processes.append(process)
        assert process.stdout is not None
        assert process.stdin is not None
        stdin, stdout = process.stdin, process.stdout

        async def feed(messages: int, size: int, fast: int) -> None:
            stdin.write(f"{messages} {size} {fast}\n".encode())
            assert await asyncio.wait_for(stdout.readline(), TIMEOUT) == b"done\n"

        return (await asyncio.wait_for(stdout.readline(), TIMEOUT)).decode().strip(), feed

    yield start
    for process in processes:
        assert process.stdin is not None
        process.stdin.close()
        await asyncio.wait_for(process.wait(), TIMEOUT)


class Slow:
    """A handler that finishes nothing until it is released."""

    def __init__(self, channel: RealtimeChannel) -> None:
        self.begun: list[int] = []
        self.released = asyncio.Event()
        self._changed = asyncio.Event()

        @channel.on("n")
        async def handle(data: Any) -> None:
            self.begun.append(data["n"])
            self._changed.set()
            await self.released.wait()

    async def until(self, count: int) -> list[int]:
        async def wait() -> list[int]:
            while len(self.begun) < count:
                self._changed.clear()
                await self._changed.wait()
            return self.begun

        return await asyncio.wait_for(wait(), TIMEOUT)


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="reads the resident memory from /proc")
@pytest.mark.parametrize("history", [KEEPS_ALL, {"history_bytes": 16 << 20}], ids=["caught up", "gap"])
async def test_a_stalled_handler(start_feed: Any, history: dict[str, Any]) -> None:
    url, feed = await start_feed(**history)
    async with WebSocketClient(url, inbox_bytes=INBOX, channel_inbox_bytes=CHANNEL_INBOX) as client:
        channel, fast = client.channel("slow"), client.channel("fast")
        slow, got, gaps = Slow(channel), Heard(fast, "n"), Heard(channel, "gap")
        await asyncio.gather(channel.subscribe(), fast.subscribe())
        before = resident()
        await feed(MESSAGES, PADDING, 500)
        # The others went on meanwhile, and a send has its receipt.
        assert await got.count(500) == list(range(1, 501))
        assert (await fast.send("n", 0)).offset == 501
        assert slow.begun == [1]
        assert client.get_stats().unconsumed_bytes <= CHANNEL_INBOX + 2 * PADDING
        grown = resident() - before
        assert grown <= INBOX + OVERHEAD, f"{grown >> 20} MiB for a stream of {MESSAGES * PADDING >> 20} MiB"

        slow.released.set()
        if history is KEEPS_ALL:
            assert await slow.until(MESSAGES) == list(range(1, MESSAGES + 1))
            assert gaps.values == []
        else:
            (gap,) = await gaps.count(1)
            assert isinstance(gap, Gap)
            assert gap.reason == "evicted"
            assert gap.from_offset is not None
            assert gap.to_offset is not None
            came = [*range(1, gap.from_offset), *range(gap.to_offset + 1, MESSAGES + 1)]
            assert await slow.until(len(came)) == came
            assert gap.to_offset - gap.from_offset > MESSAGES // 2
        assert client.get_stats().gaps == len(gaps.values)
        assert client.get_stats().reconnects == 0


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="reads the resident memory from /proc")
async def test_a_stalled_handler_in_plain_slows_the_socket(start_feed: Any) -> None:
    # A socket that takes nothing for long is closed by the server, and `plain` has no positions to go on from.
    url, feed = await start_feed(**KEEPS_ALL, write_timeout=600)
    options: dict[str, Any] = {"heartbeat_interval": 0.1, "heartbeat_timeout": 0.5}
    async with WebSocketClient(url, protocol="plain", inbox_bytes=INBOX, **options) as client:
        channel = client.channel("slow")
        slow = Slow(channel)
        await channel.subscribe()
        before = resident()
        handed_over, full = 0, asyncio.Event()

        @client.on("message")
        def count() -> None:
            nonlocal handed_over
            handed_over += 1
            if handed_over * PADDING >= INBOX:
                full.set()

        await feed(MESSAGES, PADDING, 0)
        await asyncio.wait_for(full.wait(), TIMEOUT)
        assert slow.begun == [1]
        assert client.get_stats().unconsumed_bytes <= INBOX + (1 << 20)
        grown = resident() - before
        assert grown <= INBOX + OVERHEAD, f"{grown >> 20} MiB for a stream of {MESSAGES * PADDING >> 20} MiB"
        slow.released.set()
        assert await slow.until(MESSAGES) == list(range(1, MESSAGES + 1))
        assert client.get_stats().reconnects == 0
